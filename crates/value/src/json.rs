//! JSON: decoding in one pass into a [`Value`], and encoding the way Go's `encoding/json` does.

mod encode;
mod keys;

use std::{fmt, sync::Arc};

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::{Elem, List, Map, Str, Value};

pub use encode::{Style, encode};
use keys::{KeySeed, Keys};

/// How numbers are decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// As Kubernetes does: int64 where the text is an integer that fits, else float64.
    Kubernetes,
    /// As `encoding/json` does into an `interface {}`: always float64.
    Float,
}

/// Why JSON could not be decoded.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(#[from] serde_json::Error);

/// Decodes one JSON value. Of duplicate keys the last one stays.
pub fn decode(text: &[u8], numbers: Numbers) -> Result<Value, DecodeError> {
    whole(text, Seed { numbers, keys: None })
}

/// Decodes many values that look alike, as the objects of a list do: they share the names of their fields.
#[derive(Debug)]
pub struct Decoder {
    numbers: Numbers,
    keys: Keys,
}

impl Decoder {
    /// Nothing was decoded yet.
    pub fn new(numbers: Numbers) -> Decoder {
        Decoder { numbers, keys: Keys::default() }
    }

    /// As [`decode`].
    pub fn decode(&mut self, text: &[u8]) -> Result<Value, DecodeError> {
        whole(text, Seed { numbers: self.numbers, keys: Some(&mut self.keys) })
    }
}

fn whole(text: &[u8], seed: Seed<'_>) -> Result<Value, DecodeError> {
    let mut input = serde_json::Deserializer::from_slice(text);
    let value = seed.deserialize(&mut input)?;
    input.end()?;
    Ok(value)
}

struct Seed<'k> {
    numbers: Numbers,
    keys: Option<&'k mut Keys>,
}

impl Seed<'_> {
    /// For what is inside.
    fn lend(&mut self) -> Seed<'_> {
        Seed { numbers: self.numbers, keys: self.keys.as_deref_mut() }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(match self.numbers {
            Numbers::Kubernetes => Value::int64(value),
            Numbers::Float => Value::Float(value as f64),
        })
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(match (self.numbers, i64::try_from(value)) {
            (Numbers::Kubernetes, Ok(value)) => Value::int64(value),
            _ => Value::Float(value as f64),
        })
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::str(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::with_capacity(access.size_hint().unwrap_or(0).min(1024));
        while let Some(item) = access.next_element_seed(self.lend())? {
            items.push(item);
        }
        List::new(Elem::Any, items).map(|list| Value::List(Arc::new(list))).map_err(A::Error::custom)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut access: A) -> Result<Value, A::Error> {
        let mut entries: Vec<(Str, Value)> = Vec::with_capacity(access.size_hint().unwrap_or(0).min(1024));
        while let Some(key) = access.next_key_seed(KeySeed(self.keys.as_deref_mut()))? {
            let value = access.next_value_seed(self.lend())?;
            entries.push((key, value));
        }
        Map::new(Elem::Any, entries).map(|map| Value::Map(Arc::new(map))).map_err(A::Error::custom)
    }
}
