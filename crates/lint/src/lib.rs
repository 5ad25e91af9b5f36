//! What is wrong with a configuration and with the manifests that subscribe to it.
