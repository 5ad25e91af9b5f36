//! Steps behind a chain of names: `[0]`, `["key"]`, `.name`, as far as they can be taken without running anything.

use herald_value::Value;

/// Follows the steps that begin at `end`; gives where they end, and the value there.
pub(crate) fn follow(source: &str, mut end: usize, mut value: Value) -> (usize, Value) {
    while let Some((length, next)) = source.get(end..).and_then(|rest| step(rest, &value)) {
        end += length;
        value = next;
    }
    (end, value)
}

/// One step: how long it is, and where it leads.
fn step(rest: &str, value: &Value) -> Option<(usize, Value)> {
    if let Some(inside) = rest.strip_prefix('[') {
        let close = inside.find(']')?;
        let index = inside.get(..close)?;
        return Some((close + 2, at(value, index.trim())?));
    }
    let name = rest.strip_prefix("?.").or_else(|| rest.strip_prefix('.'))?;
    let length = name.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(name.len());
    let (name, after) = name.split_at_checked(length)?;
    // A method is no value.
    if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') || after.trim_start().starts_with('(')
    {
        return None;
    }
    Some((rest.len() - after.len(), member(value, name)))
}

fn at(value: &Value, index: &str) -> Option<Value> {
    for quote in ['"', '\''] {
        if let Some(key) = index.strip_prefix(quote).and_then(|key| key.strip_suffix(quote)) {
            let plain = !key.contains(['\\', quote]);
            return plain.then(|| member(value, key));
        }
    }
    let index: i64 = index.parse().ok()?;
    let list = match value {
        Value::Nil => return Some(Value::Nil),
        other => other.as_list()?,
    };
    let place = if index < 0 { index.checked_add(i64::try_from(list.len()).ok()?)? } else { index };
    Some(usize::try_from(place).ok().and_then(|place| list.get(place)).cloned().unwrap_or_default())
}

fn member(value: &Value, name: &str) -> Value {
    value.as_map().and_then(|map| map.get_bytes(name.as_bytes())).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_what_is_constant() {
        let value = Value::from_json(br#"{"a": [{"image": "x:1", "the key": 2}]}"#).unwrap();
        let list = value.get("a").unwrap().clone();
        for (rest, length, wanted) in [
            ("[0].image == 'x'", 9, Some("x:1")),
            ("[-1].image", 10, Some("x:1")),
            ("[0]?.image", 10, Some("x:1")),
            ("[0]['image']", 12, Some("x:1")),
            ("[7].image", 9, None),
            ("[i].image", 0, None),
            ("[0:1]", 0, None),
            ("[0].image.Format('x')", 9, Some("x:1")),
            (" + 1", 0, None),
        ] {
            let (end, value) = follow(rest, 0, list.clone());
            assert_eq!((end, value.as_str()), (length, wanted), "{rest}");
        }
    }
}
