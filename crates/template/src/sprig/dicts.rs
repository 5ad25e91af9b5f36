//! Functions on maps.

use std::sync::Arc;

use herald_value::{AnyMap, CallError, Elem, List as Items, Map as Entries, Str as Text, Value};

use super::help::{Result, fail, is_empty, list, text_of};
use crate::function::{Call, Function, Param::*};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("dict", &[], dict).variadic(Any).identity(),
    Function::new("get", &[Map, Str], |c| {
        let found = c.map(0).and_then(|map| map.get_bytes(c.bytes(1)).cloned());
        Ok(found.unwrap_or_else(|| Value::str("")))
    })
    .identity(),
    Function::new("set", &[Map, Str, Any], |c| {
        let Some(map) = c.map(0) else { return fail("assignment to entry in nil map") };
        let (target, key) = (c.arg(0).clone(), Text::from(c.bytes(1)));
        c.meter.step(map.len() as u64)?;
        c.meter.grow(map.len() as u64 * 40)?;
        c.replace(&target, map.with(key, c.arg(2).clone())?)?;
        Ok(target)
    })
    .identity(),
    Function::new("unset", &[Map, Str], |c| {
        let target = c.arg(0).clone();
        // Go's nil map prints as an empty one.
        let Some(map) = c.map(0) else { return new_map(Vec::new()) };
        c.meter.step(map.len() as u64)?;
        c.replace(&target, map.without(c.bytes(1)))?;
        Ok(target)
    })
    .identity(),
    Function::new("hasKey", &[Map, Str], |c| {
        Ok(Value::Bool(c.map(0).is_some_and(|map| map.get_bytes(c.bytes(1)).is_some())))
    })
    .identity(),
    Function::new("pluck", &[Str], |c| {
        let found = (1..c.args.len()).filter_map(|at| c.map(at)?.get_bytes(c.bytes(0)).cloned());
        list(found.collect())
    })
    .variadic(Map)
    .identity(),
    Function::new("keys", &[], |c| {
        let mut keys = Vec::new();
        for at in 0..c.args.len() {
            let Some(map) = c.map(at) else { continue };
            c.meter.step(map.len() as u64)?;
            c.meter.grow(map.len() as u64 * 24)?;
            keys.extend(map.entries().iter().map(|(key, _)| key.clone()));
        }
        Ok(Value::str_list(keys))
    })
    .variadic(Map)
    .identity(),
    Function::new("values", &[Map], |c| {
        let Some(map) = c.map(0) else { return list(Vec::new()) };
        c.meter.grow(map.len() as u64 * 24)?;
        list(map.entries().iter().map(|(_, value)| value.clone()).collect())
    })
    .identity(),
    Function::new("pick", &[Map], |c| chosen(c, true)).variadic(Str).identity(),
    Function::new("omit", &[Map], |c| chosen(c, false)).variadic(Str).identity(),
    Function::new("merge", &[Map], |c| merge(c, false)).variadic(Map).identity(),
    Function::new("mustMerge", &[Map], |c| merge(c, false)).variadic(Map).identity(),
    Function::new("mergeOverwrite", &[Map], |c| merge(c, true)).variadic(Map).identity(),
    Function::new("mustMergeOverwrite", &[Map], |c| merge(c, true)).variadic(Map).identity(),
    Function::new("dig", &[], dig).variadic(Any).identity(),
    Function::new("deepCopy", &[Any], deep_copy),
    Function::new("mustDeepCopy", &[Any], deep_copy),
];

fn new_map(entries: Vec<(Text, Value)>) -> Result<Value> {
    Ok(Value::Map(Arc::new(Entries::new(Elem::Any, entries)?)))
}

fn dict(call: &mut Call<'_>) -> Result<Value> {
    call.meter.grow(call.args.len() as u64 * 40)?;
    let mut pairs = Vec::with_capacity(call.args.len().div_ceil(2));
    for pair in call.args.chunks(2) {
        let Some(key) = pair.first() else { continue };
        let key = Text::from(text_of(&call.resolved(key)?));
        pairs.push((key, pair.get(1).cloned().unwrap_or_else(|| Value::str(""))));
    }
    new_map(pairs)
}

fn chosen(call: &mut Call<'_>, named: bool) -> Result<Value> {
    let Some(map) = call.map(0) else { return new_map(Vec::new()) };
    let mut names: Vec<&[u8]> = (1..call.args.len()).map(|at| call.bytes(at)).collect();
    names.sort_unstable();
    let kept = map.entries().iter().filter(|(key, _)| names.binary_search(&key.as_bytes()).is_ok() == named);
    let kept: Vec<_> = kept.cloned().collect();
    call.meter.step(map.len() as u64)?;
    call.meter.grow(map.len() as u64 * 40)?;
    new_map(kept)
}

fn dig(call: &mut Call<'_>) -> Result<Value> {
    let [keys @ .., fallback, map] = call.args else { return fail("dig needs at least three arguments") };
    if keys.is_empty() {
        return fail("dig needs at least three arguments");
    }
    let is_dict = |v: &Value| matches!(v, Value::Map(m) if m.elem() == Elem::Any);
    let conversion = |v: &Value, to: &str| {
        CallError::new(format!("interface conversion: interface {{}} is {}, not {to}", type_name(v)))
    };
    if !is_dict(map) {
        return Err(conversion(map, "map[string]interface {}"));
    }
    if let Some(key) = keys.iter().find(|key| !matches!(key, Value::Str(_))) {
        return Err(conversion(key, "string"));
    }
    let mut at = map.clone();
    for key in keys {
        if !is_dict(&at) {
            return Err(conversion(&at, "map[string]interface {}"));
        }
        let Value::Str(key) = key else { continue };
        match call.current(&at).as_map().and_then(|m| m.get_bytes(key.as_bytes())) {
            Some(found) => at = found.clone(),
            None => return Ok(fallback.clone()),
        }
    }
    Ok(at)
}

fn type_name(value: &Value) -> String {
    if value.is_nil() { "nil".into() } else { value.go_type() }
}

fn deep_copy(call: &mut Call<'_>) -> Result<Value> {
    let value = call.arg(0).clone();
    if value.is_nil() {
        return fail("reflect: call of reflect.Value.Type on zero Value");
    }
    copied(call, &value, 0)
}

/// New containers all the way down, so that a later `set` leaves the original alone.
fn copied(call: &mut Call<'_>, value: &Value, level: u16) -> Result<Value> {
    // A map can be put into itself, so the depth of the values is no bound here.
    if level > herald_value::MAX_DEPTH {
        return Err(herald_value::TooDeep.into());
    }
    call.meter.step(1)?;
    Ok(match value {
        Value::List(items) => {
            call.meter.grow(items.items().len() as u64 * 24)?;
            let copies = items.items().iter().map(|v| copied(call, v, level + 1)).collect::<Result<_>>()?;
            Value::List(Arc::new(Items::new(items.elem(), copies)?))
        }
        Value::Map(_) => {
            let current = call.current(value);
            let Some(map) = current.as_map() else { return Ok(Value::Nil) };
            call.meter.grow(map.len() as u64 * 40)?;
            let copies = map.entries().iter().map(|(k, v)| Ok((k.clone(), copied(call, v, level + 1)?)));
            Value::Map(Arc::new(Entries::new(map.elem(), copies.collect::<Result<_>>()?)?))
        }
        Value::AnyMap(map) => {
            let copies = map.entries().iter().map(|(k, v)| Ok((k.clone(), copied(call, v, level + 1)?)));
            Value::AnyMap(Arc::new(AnyMap::new(map.elem(), copies.collect::<Result<_>>()?)?))
        }
        // The fields of a version are private, which the original's copying leaves out.
        Value::Object(object) if object.go_type() == super::semver::GO_TYPE => super::semver::zero(),
        other => other.clone(),
    })
}

fn merge(call: &mut Call<'_>, overwrite: bool) -> Result<Value> {
    let target = call.arg(0).clone();
    for source in call.args.get(1..).unwrap_or_default() {
        merge_into(call, &target, source, overwrite, 0)?;
    }
    Ok(target)
}

/// Merges one map into another in place. What counts as empty in the target is taken for unset.
fn merge_into(
    call: &mut Call<'_>,
    target: &Value,
    source: &Value,
    overwrite: bool,
    level: u16,
) -> Result<()> {
    if level > herald_value::MAX_DEPTH {
        return Err(herald_value::TooDeep.into());
    }
    let (source, current) = (call.current(source), call.current(target));
    let (Some(source), Some(map)) = (source.as_map(), current.as_map()) else { return Ok(()) };
    let mut changes = Vec::new();
    for (key, theirs) in source.entries() {
        call.meter.step(1)?;
        let ours = map.get_bytes(key.as_bytes());
        if let (Some(Value::Map(a)), Value::Map(b)) = (ours, theirs) {
            if !Arc::ptr_eq(a, b) {
                merge_into(call, &Value::Map(a.clone()), theirs, overwrite, level + 1)?;
            }
        } else if theirs.is_nil() && !overwrite {
            continue;
        } else if overwrite || ours.is_none_or(|ours| merge_empty(call, ours)) {
            changes.push((key.clone(), theirs.clone()));
        }
    }
    if !changes.is_empty() {
        let mut entries = map.entries().to_vec();
        call.meter.grow((entries.len() + changes.len()) as u64 * 40)?;
        entries.extend(changes);
        call.replace(target, Entries::new(map.elem(), entries)?)?;
    }
    Ok(())
}

/// What merging takes for empty.
fn merge_empty(call: &Call<'_>, value: &Value) -> bool {
    is_empty(call, value)
}
