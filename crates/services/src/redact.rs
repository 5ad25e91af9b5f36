//! Keeping secrets out of errors and logs.

use std::sync::{PoisonError, RwLock};

/// What stands in a secret's place.
pub const MASK: &str = "***";

/// Secrets shorter than this are not masked: they would tear holes into ordinary words.
const SHORTEST: usize = 4;

/// Knows the secret values of a configuration, and removes them from texts.
#[derive(Default)]
pub struct Redactor {
    // Longest first, so that a secret that contains another one goes as a whole.
    values: RwLock<Vec<String>>,
}

impl Redactor {
    /// A redactor for these values.
    pub fn new<S: AsRef<str>>(values: impl IntoIterator<Item = S>) -> Self {
        let redactor = Redactor::default();
        for value in values {
            redactor.add(value.as_ref());
        }
        redactor
    }

    /// Adds a value, each of its lines, and what it looks like in a URL or a form.
    pub fn add(&self, value: &str) {
        let mut values = self.values.write().unwrap_or_else(PoisonError::into_inner);
        let encoded: String = url::form_urlencoded::byte_serialize(value.trim().as_bytes()).collect();
        // Templates print a value of the Secret as Go prints bytes.
        let as_numbers = match value.len() {
            // A few numbers in a row stand in many texts.
            ..SHORTEST => String::new(),
            _ => value.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(" "),
        };
        for text in value.lines().map(str::trim).chain([encoded.as_str(), as_numbers.as_str()]) {
            if text.len() >= SHORTEST && !values.iter().any(|known| known == text) {
                values.push(text.to_string());
            }
        }
        values.sort_by_key(|text| std::cmp::Reverse(text.len()));
    }

    /// Adds what is secret in a URL that is a credential by itself: all after the host, and of that the values of
    /// the query and such segments of the path as look like no words.
    pub fn add_url(&self, url: &str) {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let Some(secret) = rest.find(['/', '?']).and_then(|at| rest.get(at + 1..)) else { return };
        // A path of one ordinary word is no credential, and masking it would tear holes into sentences.
        if secret.len() >= 16 || secret.contains(|c: char| !c.is_ascii_lowercase() && c != '-') {
            self.add(secret);
        }
        let (path, query) = secret.split_once('?').unwrap_or((secret, ""));
        let random = |segment: &&str| segment.len() >= 8 && segment.contains(|c: char| c.is_ascii_digit());
        path.split('/').filter(random).for_each(|segment| self.add(segment));
        for (_, value) in url::form_urlencoded::parse(query.as_bytes()).filter(|(_, value)| value.len() >= 8)
        {
            self.add(&value);
        }
    }

    /// A redactor for the values of both.
    pub fn beside(&self, other: &Redactor) -> Redactor {
        let mut all = self.values.read().unwrap_or_else(PoisonError::into_inner).clone();
        all.extend_from_slice(&other.values.read().unwrap_or_else(PoisonError::into_inner));
        all.sort_by_key(|text| std::cmp::Reverse(text.len()));
        all.dedup();
        Redactor { values: RwLock::new(all) }
    }

    /// The text without secrets.
    pub fn clean(&self, text: &str) -> String {
        let values = self.values.read().unwrap_or_else(PoisonError::into_inner);
        values.iter().fold(text.to_string(), |text, secret| match text.contains(secret.as_str()) {
            true => text.replace(secret.as_str(), MASK),
            false => text,
        })
    }
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Redactor")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_whole_values_in_every_form() {
        let redactor = Redactor::new(["s3cr+t x", "s3cr", "abc", "line one\nline two\n"]);
        redactor.add_url("https://hooks.example.com/services/T0/B0?sig=1");
        assert_eq!(redactor.clean("a s3cr+t x b"), "a *** b");
        assert_eq!(redactor.clean("k=s3cr%2Bt+x&abc"), "k=***&abc");
        assert_eq!(redactor.clean("line two"), "***");
        // As `{{.secrets.token}}` prints it: bytes, in brackets.
        assert_eq!(
            redactor.clean("token [115 51 99 114] and [115 51 99 114 43 116 32 120]"),
            "token [***] and [***]"
        );
        let longer = Redactor::new(["s3cr+t x and more"]);
        assert_eq!(redactor.beside(&longer).clean("s3cr+t x and more, s3cr"), "***, ***");
        // Three numbers in a row stand in many texts.
        assert_eq!(redactor.clean("[97 98 99]"), "[97 98 99]");
        assert_eq!(
            redactor.clean("POST https://hooks.example.com/services/T0/B0?sig=1"),
            "POST https://hooks.example.com/***"
        );
    }
}
