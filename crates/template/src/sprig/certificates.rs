//! Private keys and certificates.

use std::net::IpAddr;

use base64::{Engine, engine::general_purpose::STANDARD};
use herald_value::{CallError, Object, Value};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use rsa::{
    RsaPrivateKey,
    pkcs1::{DecodeRsaPrivateKey, EncodeRsaPrivateKey},
    pkcs8::EncodePrivateKey,
};

use super::crypto::SLOW;
use super::encoding::base64_decode;
use super::help::{Result, fail, printed};
use super::random;
use crate::function::{Call, Function, Param::*};

const CERTIFICATE: &str = "sprig.certificate";

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("genPrivateKey", &[Str], private_key),
    Function::new("genCA", &[Str, Int], |c| issue(c, &Request::ca(None))),
    Function::new("genCAWithKey", &[Str, Int, Str], |c| issue(c, &Request::ca(Some(2)))),
    Function::new("genSelfSignedCert", &[Str, List, List, Int], |c| issue(c, &Request::leaf(None, None))),
    Function::new("genSelfSignedCertWithKey", &[Str, List, List, Int, Str], |c| {
        issue(c, &Request::leaf(None, Some(4)))
    }),
    Function::new("genSignedCert", &[Str, List, List, Int, Object(CERTIFICATE)], |c| {
        issue(c, &Request::leaf(Some(4), None))
    }),
    Function::new("genSignedCertWithKey", &[Str, List, List, Int, Object(CERTIFICATE), Str], |c| {
        issue(c, &Request::leaf(Some(4), Some(5)))
    }),
    Function::new("buildCustomCert", &[Str, Str], |c| {
        c.meter.grow((c.bytes(0).len() + c.bytes(1).len()) as u64)?;
        let decoded = |index: usize, what: &str| {
            let bytes = base64_decode(c.bytes(index)).ok().map(|b| String::from_utf8_lossy(&b).into_owned());
            bytes.ok_or_else(|| CallError::new(format!("unable to decode base64 {what}")))
        };
        let (cert, key) = (decoded(0, "certificate")?, decoded(1, "private key")?);
        if block(&cert).is_none() {
            return fail("unable to decode certificate");
        }
        // Only reading the certificate as an issuer looks into it, and that needs its key.
        let pair = Key::read(&key)
            .map_err(|e| CallError::new(format!("error parsing private key: {}", e.message)))?;
        Issuer::from_ca_cert_pem(&cert, pair.pair()?)
            .map_err(|e| CallError::new(format!("error parsing certificate: decodedCert.Bytes: {e}")))?;
        Ok(certificate(cert, key))
    }),
];

/// What sprig calls a certificate: its text and that of its key.
#[derive(Debug)]
struct Certificate {
    cert: String,
    key: String,
}

impl Object for Certificate {
    fn go_type(&self) -> &'static str {
        CERTIFICATE
    }

    fn print(&self) -> String {
        format!("{{{} {}}}", self.cert, self.key)
    }

    fn member(&self, name: &str) -> Option<Value> {
        match name {
            "Cert" => Some(Value::str(self.cert.as_str())),
            "Key" => Some(Value::str(self.key.as_str())),
            _ => None,
        }
    }

    fn call(&self, _name: &str, _args: &[Value]) -> Option<Result<Value>> {
        None
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

fn certificate(cert: String, key: String) -> Value {
    Value::Object(std::sync::Arc::new(Certificate { cert, key }))
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        out.extend(line.iter().map(|b| char::from(*b)));
        out.push('\n');
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

/// The label and content of the first block of PEM text.
fn block(text: &str) -> Option<(String, Vec<u8>)> {
    let (_, rest) = text.split_once("-----BEGIN ")?;
    let (label, rest) = rest.split_once("-----")?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let body: Vec<u8> = body.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    Some((label.to_string(), base64_decode(&body).ok()?))
}

/// A private key: how it is written, and the form that signing takes.
struct Key {
    pem: String,
    pkcs8: Vec<u8>,
}

const ED25519_HEAD: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
const EC_HEAD: [u8; 7] = [0x30, 0x77, 0x02, 0x01, 0x01, 0x04, 0x20];
const EC_CURVE: [u8; 12] = [0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const EC_PUBLIC: [u8; 5] = [0xa1, 0x44, 0x03, 0x42, 0x00];
const EC_PKCS8_HEAD: [u8; 36] = [
    0x30, 0x81, 0x87, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
    0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x04, 0x6d, 0x30, 0x6b, 0x02, 0x01, 0x01,
    0x04, 0x20,
];

impl Key {
    fn rsa(bits: usize) -> Result<Key> {
        let failed = |e: String| CallError::new(format!("error generating rsa key: {e}"));
        let key = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, bits).map_err(|e| failed(e.to_string()))?;
        let pkcs1 = key.to_pkcs1_der().map_err(|e| failed(e.to_string()))?;
        let pkcs8 = key.to_pkcs8_der().map_err(|e| failed(e.to_string()))?;
        Ok(Key { pem: pem("RSA PRIVATE KEY", pkcs1.as_bytes()), pkcs8: pkcs8.as_bytes().to_vec() })
    }

    fn ecdsa() -> Result<Key> {
        let random = ring::rand::SystemRandom::new();
        let failed = || CallError::new("failed to generate private key: ecdsa");
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).map_err(|_| failed())?;
        let pkcs8 = pkcs8.as_ref().to_vec();
        let (Some(secret), Some(public)) = (pkcs8.get(36..68), pkcs8.get(73..138)) else {
            return Err(failed());
        };
        let der = [&EC_HEAD[..], secret, &EC_CURVE, &EC_PUBLIC, public].concat();
        Ok(Key { pem: pem("EC PRIVATE KEY", &der), pkcs8 })
    }

    fn ed25519() -> Result<Key> {
        let mut seed = [0; 32];
        random::fill(&mut seed)?;
        let pkcs8 = [&ED25519_HEAD[..], &seed].concat();
        Ok(Key { pem: pem("PRIVATE KEY", &pkcs8), pkcs8 })
    }

    /// Reads PKCS#8, PKCS#1 of RSA, and SEC 1 of P-256.
    fn read(text: &str) -> Result<Key> {
        let Some((label, der)) = block(text) else { return fail("no PEM data in input") };
        let pkcs8 = match label.as_str() {
            "PRIVATE KEY" => der,
            "RSA PRIVATE KEY" => {
                let bad = |e: String| CallError::new(format!("parsing RSA private key from PEM: {e}"));
                let key = RsaPrivateKey::from_pkcs1_der(&der).map_err(|e| bad(e.to_string()))?;
                key.to_pkcs8_der().map_err(|e| bad(e.to_string()))?.as_bytes().to_vec()
            }
            "EC PRIVATE KEY" => {
                let secret = der.strip_prefix(&EC_HEAD).and_then(|rest| rest.get(..32));
                let public = der.get(der.len().saturating_sub(65)..).filter(|p| p.first() == Some(&4));
                let (Some(secret), Some(public)) = (secret, public) else {
                    return fail("parsing EC private key from PEM: not a key of the curve P-256");
                };
                [&EC_PKCS8_HEAD[..], secret, &EC_PUBLIC, public].concat()
            }
            other if other.ends_with(" PRIVATE KEY") => {
                return fail(format!("invalid private key type {}", other.trim_end_matches(" PRIVATE KEY")));
            }
            other => return fail(format!("no private key data in PEM block of type {other}")),
        };
        Ok(Key { pem: pem(&label, &block(text).map(|b| b.1).unwrap_or_default()), pkcs8 })
    }

    fn pair(&self) -> Result<KeyPair> {
        KeyPair::try_from(self.pkcs8.as_slice())
            .map_err(|e| CallError::new(format!("decoding PEM as PKCS#8: {e}")))
    }
}

fn private_key(call: &mut Call<'_>) -> Result<Value> {
    let kind = call.text(0).into_owned();
    // Looking for primes of 2048 bits takes seconds, so that there is one of them in a rendering.
    call.meter.step(if matches!(kind.as_str(), "" | "rsa") { SLOW * 6 } else { SLOW })?;
    let key = match kind.as_str() {
        "" | "rsa" => Key::rsa(4096)?,
        "ecdsa" => Key::ecdsa()?,
        "ed25519" => Key::ed25519()?,
        "dsa" => return fail("keys of type dsa are not made any more; use rsa, ecdsa or ed25519"),
        other => return Ok(Value::str(format!("Unknown type {other}"))),
    };
    Ok(Value::str(key.pem))
}

/// What kind of certificate is asked for, and which argument holds what.
struct Request {
    ca: bool,
    signer: Option<usize>,
    key: Option<usize>,
}

impl Request {
    fn ca(key: Option<usize>) -> Request {
        Request { ca: true, signer: None, key }
    }

    fn leaf(signer: Option<usize>, key: Option<usize>) -> Request {
        Request { ca: false, signer, key }
    }
}

fn issue(call: &mut Call<'_>, request: &Request) -> Result<Value> {
    // A key of its own takes most of the time; an authority and one certificate of it must be possible.
    call.meter.step(if request.key.is_none() { SLOW * 9 / 2 } else { SLOW })?;
    let key = match request.key {
        None => Key::rsa(2048)?,
        Some(index) => Key::read(&call.text(index))
            .map_err(|e| CallError::new(format!("parsing private key: {}", e.message)))?,
    };
    let failed = |e: rcgen::Error| CallError::new(format!("error creating certificate: {e}"));
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, call.text(0).into_owned());
    let mut serial = [0; 16];
    random::fill(&mut serial)?;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.key_usages = vec![KeyUsagePurpose::KeyEncipherment, KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let days = if request.ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages.push(KeyUsagePurpose::KeyCertSign);
        call.int(1)
    } else {
        params.is_ca = IsCa::ExplicitNoCa;
        params.subject_alt_names = alternative_names(call)?;
        call.int(3)
    };
    let out_of_range = || CallError::new("error creating certificate: the time of validity is out of range");
    let now =
        time::OffsetDateTime::from_unix_timestamp(call.now().as_second()).map_err(|_| out_of_range())?;
    params.not_before = now;
    params.not_after =
        now.checked_add(time::Duration::days(days.clamp(-4_000_000, 4_000_000))).ok_or_else(out_of_range)?;
    let pair = key.pair()?;
    let signed = match request.signer {
        None => params.self_signed(&pair).map_err(failed)?,
        Some(index) => {
            let Value::Object(object) = call.arg(index) else { return fail("unable to decode certificate") };
            let Some(ca) = object.as_any().downcast_ref::<Certificate>() else {
                return fail("unable to decode certificate");
            };
            let ca_key = Key::read(&ca.key)
                .map_err(|e| CallError::new(format!("error parsing private key: {}", e.message)))?;
            let issuer = Issuer::from_ca_cert_pem(&ca.cert, ca_key.pair()?).map_err(|e| {
                CallError::new(format!("error parsing certificate: decodedSignerCert.Bytes: {e}"))
            })?;
            params.signed_by(&pair, &issuer).map_err(failed)?
        }
    };
    Ok(certificate(pem("CERTIFICATE", signed.der()), key.pem))
}

fn alternative_names(call: &Call<'_>) -> Result<Vec<SanType>> {
    let mut names = Vec::new();
    let shown = |value: &Value| String::from_utf8_lossy(&printed(value)).into_owned();
    for name in call.items(2) {
        let Some(text) = name.as_str() else {
            return fail(format!("error processing alternate dns name: {} is not a string", shown(name)));
        };
        let name = text.try_into().map_err(|e| CallError::new(format!("error creating certificate: {e}")))?;
        names.push(SanType::DnsName(name));
    }
    for ip in call.items(1) {
        let Some(text) = ip.as_str() else {
            return fail(format!("error parsing ip: {} is not a string", shown(ip)));
        };
        let address: IpAddr =
            text.parse().map_err(|_| CallError::new(format!("error parsing ip: {text}")))?;
        names.push(SanType::IpAddress(address));
    }
    Ok(names)
}
