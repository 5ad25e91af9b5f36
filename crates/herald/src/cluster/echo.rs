//! What we write onto a Rollout comes back as a change of it. There is nothing to decide then, so there is no look: in a
//! storm that is half of all looks, and half of what the store writes.

use std::{
    hash::{BuildHasher as _, Hash as _, Hasher as _},
    sync::LazyLock,
};

use foldhash::quality::{FoldHasher, RandomState};
use herald_core::state::ANNOTATION;
use herald_value::{Map, Value};

use crate::pipeline::engine::CURSOR;

type Hashing = FoldHasher<'static>;

/// Another one in each process: nobody can prepare a change that looks like none.
static SEEDED: LazyLock<RandomState> = LazyLock::new(RandomState::default);

/// A hash of everything that our own patch leaves as it was.
pub(super) fn fingerprint(object: &Value) -> u64 {
    let mut hash = SEEDED.build_hasher();
    each(object, &[], &mut hash, |key, value, hash| match (key, value) {
        (b"metadata", Value::Map(_)) => {
            each(value, &[b"resourceVersion", b"managedFields"], hash, |key, value, hash| match key {
                b"annotations" => {
                    each(value, &[ANNOTATION.as_bytes(), CURSOR.as_bytes()], hash, |_, value, hash| {
                        walk(value, hash);
                    });
                }
                _ => walk(value, hash),
            });
        }
        _ => walk(value, hash),
    });
    hash.finish()
}

/// The entries of a map but some, each with its key.
fn each(
    value: &Value,
    without: &[&[u8]],
    hash: &mut Hashing,
    mut visit: impl FnMut(&[u8], &Value, &mut Hashing),
) {
    for (key, value) in value.as_map().map(Map::entries).unwrap_or_default() {
        let key = key.as_bytes();
        if !without.contains(&key) {
            key.hash(hash);
            visit(key, value, hash);
        }
    }
    hash.write_u8(0xff);
}

/// Values of an API server nest to a limited depth: their decoder sees to it.
fn walk(value: &Value, hash: &mut Hashing) {
    std::mem::discriminant(value).hash(hash);
    match value {
        Value::Bool(value) => value.hash(hash),
        Value::Int(value, _) => value.hash(hash),
        Value::Float(value) => value.to_bits().hash(hash),
        Value::Str(text) => text.as_bytes().hash(hash),
        Value::List(list) => {
            list.items().len().hash(hash);
            for item in list.items() {
                walk(item, hash);
            }
        }
        Value::Map(map) => {
            map.entries().len().hash(hash);
            for (key, value) in map.entries() {
                key.as_bytes().hash(hash);
                walk(value, hash);
            }
        }
        // JSON has no other kinds.
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use herald_value::json::{Numbers, decode};

    use super::*;

    fn print(text: &str) -> u64 {
        fingerprint(&decode(text.as_bytes(), Numbers::Kubernetes).unwrap())
    }

    #[test]
    fn only_what_we_write_ourselves_makes_no_difference() {
        let with = |version: &str, annotations: &str, spec: &str, status: &str| {
            print(&format!(
                r#"{{"kind":"Rollout","metadata":{{"name":"web","resourceVersion":"{version}","managedFields":[{{"time":"{version}"}}],"annotations":{{{annotations}}}}},"spec":{spec},"status":{status}}}"#
            ))
        };
        let before = with("1", r#""a":"b""#, "{}", r#"{"replicas":1}"#);
        let ours = r#""a":"b","notified.notifications.argoproj.io":"{}","herald.dev/cursor":"{}""#;
        assert_eq!(with("2", ours, "{}", r#"{"replicas":1}"#), before);
        assert_ne!(with("2", r#""a":"c""#, "{}", r#"{"replicas":1}"#), before);
        assert_ne!(with("2", r#""a":"b","c":"d""#, "{}", r#"{"replicas":1}"#), before);
        assert_ne!(with("2", ours, r#"{"paused":true}"#, r#"{"replicas":1}"#), before);
        assert_ne!(with("2", ours, "{}", r#"{"replicas":2}"#), before);
        assert_ne!(with("2", ours, "{}", r#"{"replicas":1.5}"#), before);
        assert_ne!(with("2", ours, "{}", r#"{"replicas":[1]}"#), before);
        // Moving something from one place to another is a change.
        assert_ne!(with("2", ours, r#"{"replicas":1}"#, "{}"), before);
    }
}
