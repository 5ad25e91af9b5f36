//! What is kept in memory of the objects that belong to a Rollout: what the lifecycle and templates look at.

use herald_value::{Map, Value};

use crate::pipeline::look::text;

/// A ReplicaSet: who owns it, its revision and hash, its replicas, its pod template, and when `spec.replicas` was
/// written last (`core::lifecycle::view`).
pub(super) fn replica_set(object: &Value) -> Value {
    let written = |entry: &&Value| entry.path(&["fieldsV1", "f:spec", "f:replicas"]).is_some();
    let managed = object.path(&["metadata", "managedFields"]).and_then(Value::as_list).unwrap_or_default();
    let managed: Vec<Value> = managed.iter().filter(written).cloned().collect();
    let metadata = object.get("metadata").and_then(Value::as_map);
    let metadata = metadata.and_then(|map| {
        let bare = map.without(b"managedFields");
        bare.with("managedFields".into(), Value::list(managed).ok()?).ok()
    });
    let Some(metadata) = metadata else { return object.clone() };
    let kept = only(object, &["apiVersion", "kind", "spec", "status"]);
    kept.and_then(|kept| kept.with("metadata".into(), Value::Map(metadata.into())).ok())
        .map_or_else(|| object.clone(), |map| Value::Map(map.into()))
}

/// Anything else: whole, less who wrote which field.
pub(super) fn without_managers(object: &Value) -> Value {
    let stripped = || {
        let all = object.as_map()?;
        let metadata = object.get("metadata")?.as_map()?.without(b"managedFields");
        all.with("metadata".into(), Value::Map(metadata.into())).ok()
    };
    stripped().map_or_else(|| object.clone(), |map| Value::Map(map.into()))
}

fn only(object: &Value, fields: &[&str]) -> Option<Map> {
    let wanted = |key: &[u8]| fields.iter().any(|field| key == field.as_bytes());
    let entries = object.as_map()?.entries().iter().filter(|(key, _)| wanted(key.as_bytes()));
    Map::new(herald_value::Elem::Any, entries.cloned().collect()).ok()
}

/// The owner that an object says it has: kind, name, uid. The controlling one, if several are named.
pub(super) fn owner(object: &Value) -> Option<(&str, &str, &str)> {
    let owners = object.path(&["metadata", "ownerReferences"]).and_then(Value::as_list)?;
    let controlling = |owner: &&Value| owner.get("controller").and_then(Value::as_bool) == Some(true);
    let owner = owners.iter().find(controlling).or(owners.first())?;
    Some((text(owner, &["kind"]), text(owner, &["name"]), text(owner, &["uid"])))
}
