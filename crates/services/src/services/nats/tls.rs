//! TLS for a protocol that is not HTTP, with the same options.

use std::sync::Arc;

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use rustls_platform_verifier::Verifier;

use crate::http::HttpOptions;

/// Whether the options say anything about certificates.
pub(super) fn is_asked_for(options: &HttpOptions) -> bool {
    options.insecure_skip_verify
        || [&options.ca_bundle, &options.client_certificate].iter().any(|pem| !pem.trim().is_empty())
}

fn certificates(option: &str, pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    match CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>() {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(format!("{option} holds no certificate in PEM form")),
    }
}

/// The configuration of TLS for these options. Reads the system's certificates.
pub(super) fn config(options: &HttpOptions) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = if options.insecure_skip_verify {
        Arc::new(AnyCertificate(provider.clone()))
    } else {
        let extra = match options.ca_bundle.trim() {
            "" => Vec::new(),
            pem => certificates("caBundle", pem)?,
        };
        let verifier = Verifier::new_with_extra_roots(extra, provider.clone());
        Arc::new(verifier.map_err(|e| format!("certificates can't be checked: {e}"))?)
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    if options.client_certificate.trim().is_empty() {
        return Ok(builder.with_no_client_auth());
    }
    let chain = certificates("clientCertificate", &options.client_certificate)?;
    let key = PrivateKeyDer::from_pem_slice(options.client_key.as_bytes())
        .map_err(|_| "clientKey holds no private key in PEM form")?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|_| "clientCertificate and clientKey don't match".into())
}

/// `insecureSkipVerify`: any certificate will do, but the other side must still own its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
