//! Signed webhooks: the three headers of Standard Webhooks (standardwebhooks.com), so that the receiver can tell who
//! sent a request, and know a repeated one by its id.

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use ring::hmac;

/// The keys of an instance. While keys are exchanged there are two, and a signature of each.
#[derive(Default)]
pub(super) struct Signer(Vec<hmac::Key>);

impl Signer {
    /// Reads keys, separated by blanks: `whsec_` and base64, or any other text as it stands.
    pub(super) fn read(secrets: &str) -> Result<Signer, String> {
        let keys = secrets.split_whitespace().map(|secret| match secret.strip_prefix("whsec_") {
            None => Ok(secret.as_bytes().to_vec()),
            Some(encoded) => STANDARD
                .decode(encoded)
                .map_err(|_| "signingSecret begins with whsec_, but what follows is not base64".to_string()),
        });
        let keys = keys.map(|key| key.map(|key| hmac::Key::new(hmac::HMAC_SHA256, &key)));
        Ok(Signer(keys.collect::<Result<_, String>>()?))
    }

    /// The headers of a request. The id is that of the notice: the same for each attempt.
    pub(super) fn headers(&self, id: &str, now: Timestamp, body: &[u8]) -> Vec<(&'static str, String)> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let id: String = id.chars().map(|c| if c.is_ascii_graphic() && c != '.' { c } else { '-' }).collect();
        let now = now.as_second().to_string();
        let mut signed = format!("{id}.{now}.").into_bytes();
        signed.extend_from_slice(body);
        let signatures: Vec<String> = self
            .0
            .iter()
            .map(|key| format!("v1,{}", STANDARD.encode(hmac::sign(key, &signed).as_ref())))
            .collect();
        vec![("webhook-id", id), ("webhook-timestamp", now), ("webhook-signature", signatures.join(" "))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_as_the_specification_s_example() {
        // The example of the specification's libraries.
        let signer = Signer::read("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let now = Timestamp::from_second(1_614_265_330).unwrap();
        let headers = signer.headers("msg_p5jXN8AQM9LWM0D4loKWxJek", now, br#"{"test": 2432232314}"#);
        assert_eq!(
            headers[2],
            ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=".to_string())
        );
        assert_eq!(headers[1].1, "1614265330");
    }

    #[test]
    fn two_keys_make_two_signatures_and_none_makes_none() {
        let now = Timestamp::UNIX_EPOCH;
        let both = Signer::read("old new").unwrap().headers("a.b c", now, b"x");
        assert_eq!(both[0].1, "a-b-c");
        assert_eq!(both[2].1.matches("v1,").count(), 2);
        assert!(Signer::read("").unwrap().headers("i", now, b"").is_empty());
        assert!(Signer::read("whsec_***").is_err());
    }
}
