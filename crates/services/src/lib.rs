//! Delivery services.
