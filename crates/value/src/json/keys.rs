//! Names of fields. Objects of a kind have the same ones over and over: each is kept once, and shared.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Visitor};

use crate::Str;

/// Names are kept in so many places; two that belong into the same one take turns.
const PLACES: usize = 512;

/// Nobody names a field with more than this; labels and annotations may have longer keys.
const LONGEST: usize = 64;

/// The names that were met last.
#[derive(Debug, Default)]
pub(super) struct Keys {
    places: Vec<Option<Str>>,
}

impl Keys {
    fn share(&mut self, text: &str) -> Str {
        if text.len() > LONGEST {
            return Str::from(text);
        }
        if self.places.is_empty() {
            self.places.resize(PLACES, None);
        }
        match self.places.get_mut(place(text.as_bytes())) {
            Some(Some(known)) if *known == text => known.clone(),
            Some(place) => place.insert(Str::from(text)).clone(),
            None => Str::from(text),
        }
    }
}

/// By its length and both its ends: enough to tell the fields of an object apart, mostly.
fn place(text: &[u8]) -> usize {
    let mut ends = [0; 16];
    let (head, tail) = ends.split_at_mut(8);
    let few = text.len().min(8);
    if let (Some(head), Some(first)) = (head.get_mut(..few), text.get(..few)) {
        head.copy_from_slice(first);
    }
    if let (Some(tail), Some(last)) = (tail.get_mut(..few), text.get(text.len() - few..)) {
        tail.copy_from_slice(last);
    }
    let mixed = (u128::from_le_bytes(ends) ^ text.len() as u128)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    (mixed >> 119) as usize % PLACES
}

/// Decodes a name.
pub(super) struct KeySeed<'k>(pub(super) Option<&'k mut Keys>);

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = Str;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Str, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = Str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E>(self, text: &str) -> Result<Str, E> {
        Ok(match self.0 {
            Some(keys) => keys.share(text),
            None => Str::from(text),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        Value,
        json::{Decoder, Numbers, decode},
    };

    fn key(value: &Value) -> *const u8 {
        value.as_map().unwrap().entries()[0].0.as_bytes().as_ptr()
    }

    #[test]
    fn objects_share_the_names_of_their_fields() {
        let mut decoder = Decoder::new(Numbers::Kubernetes);
        let (one, other) =
            (decoder.decode(b"{\"spec\":1}").unwrap(), decoder.decode(b"{\"spec\":2}").unwrap());
        assert_eq!(key(&one), key(&other));
        assert_ne!(key(&decode(b"{\"spec\":1}", Numbers::Kubernetes).unwrap()), key(&one));
    }

    /// Three times as many as there are places, of all lengths, twice over.
    #[test]
    fn names_that_take_each_others_place_stay_themselves() {
        let mut decoder = Decoder::new(Numbers::Kubernetes);
        let names: Vec<String> = (0..1536).map(|n| format!("{}{n}é", "x".repeat(n % 90))).collect();
        let text: Vec<String> = names.iter().map(|name| format!("{name:?}:{{\"{name}\":1}}")).collect();
        let text = format!("{{{},\"\":2,\"a\":3,\"\\u00e9\":4}}", text.join(","));
        let expected = decode(text.as_bytes(), Numbers::Kubernetes).unwrap();
        for _ in 0..2 {
            let value = decoder.decode(text.as_bytes()).unwrap();
            assert_eq!(value, expected);
            for name in &names {
                assert_eq!(value.path(&[name, name]).and_then(Value::as_i64), Some(1), "{name}");
            }
        }
    }
}
