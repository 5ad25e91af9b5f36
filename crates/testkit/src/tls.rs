//! Certificates for tests: a CA that nothing trusts by itself, and a server of it for `localhost` and `127.0.0.1`.

use std::sync::Arc;

use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

/// The CA's certificate.
pub const CA_PEM: &str = include_str!("../certs/ca.pem");

/// The server's certificate.
pub const SERVER_PEM: &str = include_str!("../certs/server.pem");

/// The server's private key.
pub const SERVER_KEY: &str = include_str!("../certs/server.key");

/// Accepts TLS as the server of these certificates.
///
/// # Panics
/// If the certificates of this crate are broken.
pub fn acceptor() -> TlsAcceptor {
    let chain = CertificateDer::pem_slice_iter(SERVER_PEM.as_bytes()).collect::<Result<Vec<_>, _>>();
    let key = PrivateKeyDer::from_pem_slice(SERVER_KEY.as_bytes()).expect("a key");
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_no_client_auth()
        .with_single_cert(chain.expect("a certificate"), key)
        .expect("a matching key");
    TlsAcceptor::from(Arc::new(config))
}
