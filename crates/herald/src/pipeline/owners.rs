//! Owner references of manifests that never were in a cluster: they have no uid, or one that nothing else has.

use herald_sources::{ObjectKey, directory};
use herald_value::Value;

use super::look::text;

/// Kinds that own others.
pub(crate) const OWNERS: &[&str] = &["Rollout", "Experiment"];

/// Kinds that are owned.
pub(crate) const OWNED: &[&str] = &["ReplicaSet", "AnalysisRun", "Experiment"];

/// The object with the uids of its owners, as `uid` finds them by kind and name, where its own or theirs is made up;
/// `None` if nothing is to be changed. Two real uids that differ mean that the owner was replaced.
pub(crate) fn linked(
    object: &Value,
    key: &ObjectKey,
    uid: impl Fn(&ObjectKey) -> Option<String>,
) -> Option<Value> {
    if !OWNED.contains(&&*key.kind) {
        return None;
    }
    let metadata = object.get("metadata")?.as_map()?;
    let references = object.path(&["metadata", "ownerReferences"])?.as_list()?;
    let made_up = |uid: &str| uid.is_empty() || uid.starts_with(directory::MADE_UP_UID);
    let mut changed = false;
    let link = |reference: &Value| {
        let owner = ObjectKey {
            kind: text(reference, &["kind"]).into(),
            namespace: key.namespace.clone(),
            name: text(reference, &["name"]).into(),
        };
        let (named, real) = (text(reference, &["uid"]), uid(&owner)?);
        if named == real || !(made_up(named) || made_up(&real)) {
            return None;
        }
        let with = reference.as_map()?.with("uid".into(), Value::str(real.as_str())).ok()?;
        Some(Value::Map(with.into()))
    };
    let references = references
        .iter()
        .map(|reference| match link(reference) {
            Some(linked) => {
                changed = true;
                linked
            }
            None => reference.clone(),
        })
        .collect();
    if !changed {
        return None;
    }
    let metadata = metadata.with("ownerReferences".into(), Value::list(references).ok()?).ok()?;
    object
        .as_map()?
        .with("metadata".into(), Value::Map(metadata.into()))
        .ok()
        .map(|all| Value::Map(all.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_found_by_name_only_where_a_uid_is_made_up() {
        let key = |kind: &str, name: &str| ObjectKey {
            kind: kind.into(),
            namespace: "shop".into(),
            name: name.into(),
        };
        let owned = |uid: &str| {
            let text = format!(
                r#"{{"metadata":{{"ownerReferences":[{{"kind":"Rollout","name":"web","uid":"{uid}","controller":true}}]}}}}"#
            );
            Value::from_json(text.as_bytes()).unwrap()
        };
        let made_up = "directory:Rollout/shop/web";
        for (named, real, wanted) in [
            ("", made_up, Some(made_up)),
            ("1-2-3", made_up, Some(made_up)),
            ("", "1-2-3", Some("1-2-3")),
            (made_up, "1-2-3", Some("1-2-3")),
            ("1-2-3", "1-2-3", None),
            ("4-5-6", "1-2-3", None),
        ] {
            let find = |owner: &ObjectKey| (*owner == key("Rollout", "web")).then(|| real.to_owned());
            let linked = linked(&owned(named), &key("ReplicaSet", "web-1"), find);
            let uid = linked.map(|object| {
                let references = object.path(&["metadata", "ownerReferences"]).unwrap().as_list().unwrap();
                assert_eq!(references[0].get("controller"), Some(&Value::Bool(true)));
                text(&references[0], &["uid"]).to_owned()
            });
            assert_eq!(uid.as_deref(), wanted, "{named:?} and {real:?}");
            let nobody = super::linked(&owned(named), &key("ReplicaSet", "web-1"), |_| None);
            assert!(nobody.is_none());
        }
    }
}
