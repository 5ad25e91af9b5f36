//! Signed claims (JWT, RS256) and the RSA keys that sign them: how Apps and service accounts prove who they are.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ring::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use serde_json::{Value, json};

/// Reads an RSA key, PEM of PKCS#1 or PKCS#8. The error begins with the option's name and never shows the key.
pub(crate) fn private_key(option: &str, pem: &str) -> Result<RsaKeyPair, String> {
    let invalid = |why: &str| format!("{option} is no RSA private key in PEM form: {why}");
    let (label, rest) = pem
        .split_once("-----BEGIN ")
        .and_then(|(_, rest)| rest.split_once("-----"))
        .ok_or_else(|| invalid("it has no line -----BEGIN … PRIVATE KEY-----"))?;
    let (body, _) = rest.split_once("-----END").ok_or_else(|| invalid("it has no line -----END"))?;
    let text: String = body.chars().filter(|c| !c.is_whitespace()).collect();
    let der = STANDARD.decode(text).map_err(|_| invalid("its text is no base64"))?;
    let key =
        if label == "RSA PRIVATE KEY" { RsaKeyPair::from_der(&der) } else { RsaKeyPair::from_pkcs8(&der) };
    key.map_err(|error| invalid(&error.to_string()))
}

/// Signs claims. `key_id` goes into the head if there is one.
pub(crate) fn sign(key: &RsaKeyPair, key_id: &str, claims: &Value) -> Result<String, String> {
    let mut head = json!({"alg": "RS256", "typ": "JWT"});
    if !key_id.is_empty() {
        head["kid"] = key_id.into();
    }
    let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let signed = format!("{}.{}", encode(&head), encode(claims));
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
        .map_err(|_| "the private key can't sign".to_string())?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}
