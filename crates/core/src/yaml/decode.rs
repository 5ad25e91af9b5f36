//! A serde deserializer over nodes, with Go's rules and some kindness.

use std::{cell::RefCell, fmt, marker::PhantomData};

use serde::{
    Deserialize,
    de::{
        DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, MapAccess,
        SeqAccess, VariantAccess, Visitor,
        value::{StrDeserializer, StringDeserializer, U32Deserializer},
    },
};

use super::{Kind, Located, Node, Position, UnknownField, YamlError, scalar};

/// The name by which [`Located`] asks for its place.
const LOCATED: &str = "$herald::Located";

type Unknown<'a> = Option<&'a RefCell<Vec<UnknownField>>>;

pub(super) fn decode<T: DeserializeOwned>(node: &Node, unknown: Unknown<'_>) -> Result<T, YamlError> {
    T::deserialize(NodeDeserializer { node, unknown })
}

/// A message that carries a place through serde's text-only errors; [`YamlError::custom`] takes it off again.
pub(super) fn mark(message: impl fmt::Display, at: Position) -> String {
    format!("\u{1}{}:{}\u{1}{message}", at.line, at.column)
}

fn unmark(text: &str) -> Option<(Position, &str)> {
    let (place, message) = text.strip_prefix('\u{1}')?.split_once('\u{1}')?;
    let (line, column) = place.split_once(':')?;
    Some((Position { line: line.parse().ok()?, column: column.parse().ok()? }, message))
}

impl serde::de::Error for YamlError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let text = message.to_string();
        match unmark(&text) {
            Some((at, message)) => YamlError::new(message, at),
            None => YamlError { message: text, at: Position::default() },
        }
    }
}

pub(super) fn located<'de, T, D>(deserializer: D) -> Result<Located<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    struct Visit<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Visit<T> {
        type Value = Located<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a value")
        }

        fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Located<T>, D::Error> {
            T::deserialize(deserializer).map(|value| Located { value, at: Position::default() })
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Located<T>, A::Error> {
            let missing = || A::Error::custom("a place is missing");
            let line = seq.next_element()?.ok_or_else(missing)?;
            let column = seq.next_element()?.ok_or_else(missing)?;
            let value = seq.next_element()?.ok_or_else(missing)?;
            Ok(Located { value, at: Position { line, column } })
        }
    }
    deserializer.deserialize_newtype_struct(LOCATED, Visit(PhantomData))
}

#[derive(Clone, Copy)]
struct NodeDeserializer<'a> {
    node: &'a Node,
    unknown: Unknown<'a>,
}

impl<'a> NodeDeserializer<'a> {
    fn place<T>(self, result: Result<T, YamlError>) -> Result<T, YamlError> {
        result.map_err(
            |error| {
                if error.at.is_unknown() { YamlError { at: self.node.at, ..error } } else { error }
            },
        )
    }

    fn unexpected(self, wanted: &dyn serde::de::Expected) -> YamlError {
        // Serde's words are those of programs.
        let wanted = wanted.to_string();
        let wanted = match wanted.as_str() {
            "a sequence" => "a list",
            "a boolean" => "true or false",
            text if text.starts_with(['u', 'i']) && text.len() < 6 => "a whole number",
            text if text.starts_with("struct ") => "a map",
            text => text,
        };
        YamlError::new(format!("this must be {wanted}, not {}", self.node.describe()), self.node.at)
    }

    /// A number, quoted ones included.
    fn number(self) -> Option<Kind> {
        match &self.node.kind {
            kind @ (Kind::Int(..) | Kind::Float(..)) => Some(kind.clone()),
            Kind::Text(text) => scalar::number(text.trim()),
            Kind::Null => Some(Kind::Int(0, String::new())),
            _ => None,
        }
    }

    fn integer<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, YamlError> {
        let result = match self.number() {
            Some(Kind::Int(value, _)) => visitor.visit_i64(value),
            Some(Kind::Float(_, text)) if text.parse::<u64>().is_ok() => {
                visitor.visit_u64(text.parse().unwrap_or_default())
            }
            Some(Kind::Float(value, _)) if value.fract() == 0.0 && value.abs() < 9e15 => {
                visitor.visit_i64(value as i64)
            }
            _ => Err(self.unexpected(&visitor)),
        };
        self.place(result)
    }

    fn float<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, YamlError> {
        let result = match self.number() {
            Some(Kind::Int(value, _)) => visitor.visit_f64(value as f64),
            Some(Kind::Float(value, _)) => visitor.visit_f64(value),
            _ => Err(self.unexpected(&visitor)),
        };
        self.place(result)
    }

    fn text<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, YamlError> {
        let result = match &self.node.kind {
            Kind::Null => visitor.visit_str(""),
            Kind::List(_) | Kind::Map(_) => match serde_json::to_string(&self.node.to_json()) {
                Ok(json) => visitor.visit_string(json),
                Err(error) => Err(YamlError::custom(error)),
            },
            Kind::Bool(_, text) | Kind::Int(_, text) | Kind::Float(_, text) | Kind::Text(text) => {
                visitor.visit_borrowed_str(text)
            }
        };
        self.place(result)
    }

    fn list<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, YamlError> {
        let result = match &self.node.kind {
            Kind::Null => visitor.visit_seq(Items { rest: [].iter(), unknown: self.unknown }),
            Kind::List(items) => visitor.visit_seq(Items { rest: items.iter(), unknown: self.unknown }),
            _ => Err(self.unexpected(&visitor)),
        };
        self.place(result)
    }

    fn map<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, YamlError> {
        let entries: Vec<(&str, &Node)> = match &self.node.kind {
            Kind::Null => Vec::new(),
            Kind::Map(entries) => entries.iter().map(|(key, _, node)| (key.as_str(), node)).collect(),
            _ => return Err(self.unexpected(&visitor)),
        };
        self.place(visitor.visit_map(Entries {
            rest: entries.into_iter(),
            value: None,
            unknown: self.unknown,
        }))
    }

    fn fields<V: Visitor<'a>>(
        self,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, YamlError> {
        let all: &[(String, Position, Node)] = match &self.node.kind {
            Kind::Null => &[],
            Kind::Map(entries) => entries,
            _ => return Err(self.unexpected(&visitor)),
        };
        let mut entries: Vec<(&str, &Node)> = Vec::with_capacity(all.len());
        for (key, at, node) in all {
            let known = names.iter().find(|name| *name == key);
            let known = known.or_else(|| names.iter().find(|name| same_but_case(name, key)));
            let Some(known) = known else {
                if let Some(unknown) = self.unknown {
                    unknown.borrow_mut().push(UnknownField { name: key.clone(), at: *at, known: names });
                }
                continue;
            };
            // Null leaves a field as if it were missing; of one name in two spellings the last one stays.
            entries.retain(|(name, _)| name != known);
            if !node.is_null() {
                entries.push((known, node));
            }
        }
        self.place(visitor.visit_map(Entries {
            rest: entries.into_iter(),
            value: None,
            unknown: self.unknown,
        }))
    }
}

fn same_but_case(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b) || (!b.is_ascii() && a.to_lowercase() == b.to_lowercase())
}

macro_rules! forward {
    ($helper:ident: $($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
            self.$helper(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for NodeDeserializer<'de> {
    type Error = YamlError;

    forward!(integer: deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128);
    forward!(float: deserialize_f32 deserialize_f64);
    forward!(text: deserialize_str deserialize_string deserialize_char deserialize_identifier
        deserialize_bytes deserialize_byte_buf);
    forward!(list: deserialize_seq);
    forward!(map: deserialize_map);

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        let result = match &self.node.kind {
            Kind::Null => visitor.visit_unit(),
            Kind::Bool(value, _) => visitor.visit_bool(*value),
            Kind::Int(..) => return self.integer(visitor),
            Kind::Float(value, text) => match text.parse::<u64>() {
                Ok(value) => visitor.visit_u64(value),
                Err(_) => visitor.visit_f64(*value),
            },
            Kind::Text(text) => visitor.visit_borrowed_str(text),
            Kind::List(_) => return self.list(visitor),
            Kind::Map(_) => return self.map(visitor),
        };
        self.place(result)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        let result = match &self.node.kind {
            Kind::Bool(value, _) => visitor.visit_bool(*value),
            Kind::Null => visitor.visit_bool(false),
            Kind::Text(text) => match scalar::resolve(text.trim()) {
                Kind::Bool(value, _) => visitor.visit_bool(value),
                _ => Err(self.unexpected(&visitor)),
            },
            _ => Err(self.unexpected(&visitor)),
        };
        self.place(result)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        let result = if self.node.is_null() { visitor.visit_none() } else { visitor.visit_some(self) };
        self.place(result)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        if self.node.is_null() { visitor.visit_unit() } else { Err(self.unexpected(&visitor)) }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, YamlError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, YamlError> {
        let result = if name == LOCATED {
            visitor.visit_seq(WithPlace { from: self, next: 0 })
        } else {
            visitor.visit_newtype_struct(self)
        };
        self.place(result)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, YamlError> {
        self.list(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, YamlError> {
        self.list(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, YamlError> {
        self.fields(fields, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, YamlError> {
        let result = match (&self.node.kind, self.node.text()) {
            (_, Some(text)) => visitor.visit_enum(StrDeserializer::new(text)),
            (Kind::Map(entries), _) => match entries.as_slice() {
                [(name, _, value)] => {
                    visitor.visit_enum(Variant { name, value: NodeDeserializer { node: value, ..self } })
                }
                _ => Err(YamlError::custom("this map must have exactly one key")),
            },
            _ => Err(self.unexpected(&visitor)),
        };
        self.place(result)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        visitor.visit_unit()
    }
}

struct Items<'a> {
    rest: std::slice::Iter<'a, Node>,
    unknown: Unknown<'a>,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = YamlError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, YamlError> {
        let Some(node) = self.rest.next() else { return Ok(None) };
        seed.deserialize(NodeDeserializer { node, unknown: self.unknown }).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

struct Entries<'a> {
    rest: std::vec::IntoIter<(&'a str, &'a Node)>,
    value: Option<&'a Node>,
    unknown: Unknown<'a>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = YamlError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, YamlError> {
        let Some((key, value)) = self.rest.next() else { return Ok(None) };
        self.value = Some(value);
        seed.deserialize(StringDeserializer::new(key.to_owned())).map(Some).map_err(|error: YamlError| {
            if error.at.is_unknown() { YamlError { at: value.at, ..error } } else { error }
        })
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, YamlError> {
        let node = self.value.take().ok_or_else(|| YamlError::custom("a value was read before its key"))?;
        seed.deserialize(NodeDeserializer { node, unknown: self.unknown })
    }
}

/// Line, column, value: what [`Located`] reads.
struct WithPlace<'a> {
    from: NodeDeserializer<'a>,
    next: u8,
}

impl<'de> SeqAccess<'de> for WithPlace<'de> {
    type Error = YamlError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, YamlError> {
        let number = |n: u32| -> U32Deserializer<YamlError> { n.into_deserializer() };
        self.next += 1;
        match self.next {
            1 => seed.deserialize(number(self.from.node.at.line)).map(Some),
            2 => seed.deserialize(number(self.from.node.at.column)).map(Some),
            _ => seed.deserialize(self.from).map(Some),
        }
    }
}

struct Variant<'a> {
    name: &'a str,
    value: NodeDeserializer<'a>,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = YamlError;
    type Variant = NodeDeserializer<'de>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self::Variant), YamlError> {
        let name: StrDeserializer<'_, YamlError> = StrDeserializer::new(self.name);
        Ok((seed.deserialize(name)?, self.value))
    }
}

impl<'de> VariantAccess<'de> for NodeDeserializer<'de> {
    type Error = YamlError;

    fn unit_variant(self) -> Result<(), YamlError> {
        if self.node.is_null() { Ok(()) } else { Err(self.unexpected(&"nothing")) }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, YamlError> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, YamlError> {
        self.list(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, YamlError> {
        self.fields(fields, visitor)
    }
}
