//! JSON: decoding in one pass into a [`Value`], and encoding the way Go's `encoding/json` does.

mod encode;

use std::{fmt, sync::Arc};

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::{Elem, List, Map, Str, Value};

pub use encode::{Style, encode};

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
    let mut input = serde_json::Deserializer::from_slice(text);
    let value = ValueSeed(numbers).deserialize(&mut input)?;
    input.end()?;
    Ok(value)
}

/// Builds a [`Value`] from any serde format.
#[derive(Clone, Copy, Debug)]
pub struct ValueSeed(pub Numbers);

impl<'de> DeserializeSeed<'de> for ValueSeed {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(match self.0 {
            Numbers::Kubernetes => Value::int64(value),
            Numbers::Float => Value::Float(value as f64),
        })
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(match (self.0, i64::try_from(value)) {
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

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::with_capacity(access.size_hint().unwrap_or(0).min(1024));
        while let Some(item) = access.next_element_seed(self)? {
            items.push(item);
        }
        List::new(Elem::Any, items).map(|list| Value::List(Arc::new(list))).map_err(A::Error::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries: Vec<(Str, Value)> = Vec::with_capacity(access.size_hint().unwrap_or(0).min(1024));
        while let Some(key) = access.next_key::<std::borrow::Cow<'_, str>>()? {
            let value = access.next_value_seed(self)?;
            entries.push((Str::from(key), value));
        }
        Map::new(Elem::Any, entries).map(|map| Value::Map(Arc::new(map))).map_err(A::Error::custom)
    }
}
