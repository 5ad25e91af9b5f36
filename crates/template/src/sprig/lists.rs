//! Functions on lists.

use std::sync::Arc;

use herald_value::{CallError, Elem, List as Items, Value};

use super::help::{Result, deep_equal, elements, fail, is_empty, kind, list, nil_pointer, slice_arg, to_int};
use crate::function::{Call, Function, Param::*};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("list", &[], new_list).variadic(Any).identity(),
    Function::new("tuple", &[], new_list).variadic(Any).identity(),
    Function::new("append", &[Any, Any], push).identity(),
    Function::new("push", &[Any, Any], push).identity(),
    Function::new("mustAppend", &[Any, Any], push).identity(),
    Function::new("mustPush", &[Any, Any], push).identity(),
    Function::new("prepend", &[Any, Any], prepend).identity(),
    Function::new("mustPrepend", &[Any, Any], prepend).identity(),
    Function::new("first", &[Any], first).identity(),
    Function::new("mustFirst", &[Any], first).identity(),
    Function::new("last", &[Any], last).identity(),
    Function::new("mustLast", &[Any], last).identity(),
    Function::new("rest", &[Any], rest).identity(),
    Function::new("mustRest", &[Any], rest).identity(),
    Function::new("initial", &[Any], initial).identity(),
    Function::new("mustInitial", &[Any], initial).identity(),
    Function::new("reverse", &[Any], reverse).identity(),
    Function::new("mustReverse", &[Any], reverse).identity(),
    Function::new("compact", &[Any], compact).identity(),
    Function::new("mustCompact", &[Any], compact).identity(),
    Function::new("uniq", &[Any], uniq).identity(),
    Function::new("mustUniq", &[Any], uniq).identity(),
    Function::new("without", &[Any], without).variadic(Any).identity(),
    Function::new("mustWithout", &[Any], without).variadic(Any).identity(),
    Function::new("has", &[Any, Any], has).identity(),
    Function::new("mustHas", &[Any, Any], has).identity(),
    Function::new("slice", &[Any], slice).variadic(Any).identity(),
    Function::new("mustSlice", &[Any], slice).variadic(Any).identity(),
    Function::new("concat", &[], concat).variadic(Any).identity(),
    Function::new("chunk", &[Int, Any], chunk).identity(),
    Function::new("mustChunk", &[Int, Any], chunk).identity(),
];

fn new_list(call: &mut Call<'_>) -> Result<Value> {
    call.meter.grow(call.args.len() as u64 * 24)?;
    list(call.args.to_vec())
}

fn push(call: &mut Call<'_>) -> Result<Value> {
    let mut items = slice_arg(call, 0, "push on type")?;
    items.push(call.arg(1).clone());
    list(items)
}

fn prepend(call: &mut Call<'_>) -> Result<Value> {
    let mut items = slice_arg(call, 0, "prepend on type")?;
    items.insert(0, call.arg(1).clone());
    list(items)
}

fn first(call: &mut Call<'_>) -> Result<Value> {
    match call.arg(0) {
        Value::List(items) => Ok(items.items().first().cloned().unwrap_or(Value::Nil)),
        _ => Ok(slice_arg(call, 0, "find first on type")?.into_iter().next().unwrap_or(Value::Nil)),
    }
}

fn last(call: &mut Call<'_>) -> Result<Value> {
    match call.arg(0) {
        Value::List(items) => Ok(items.items().last().cloned().unwrap_or(Value::Nil)),
        _ => Ok(slice_arg(call, 0, "find last on type")?.pop().unwrap_or(Value::Nil)),
    }
}

fn rest(call: &mut Call<'_>) -> Result<Value> {
    let items = slice_arg(call, 0, "find rest on type")?;
    list(items.into_iter().skip(1).collect())
}

fn initial(call: &mut Call<'_>) -> Result<Value> {
    let mut items = slice_arg(call, 0, "find initial on type")?;
    items.pop();
    list(items)
}

fn reverse(call: &mut Call<'_>) -> Result<Value> {
    let mut items = slice_arg(call, 0, "find reverse on type")?;
    items.reverse();
    list(items)
}

fn compact(call: &mut Call<'_>) -> Result<Value> {
    let mut items = slice_arg(call, 0, "compact on type")?;
    items.retain(|item| !is_empty(call, item));
    list(items)
}

/// Whether a list holds a value. Comparing counts as steps, because lists of lists make it quadratic work.
fn holds(call: &mut Call<'_>, items: &[Value], wanted: &Value) -> Result<bool> {
    for item in items {
        if deep_equal(call, wanted, item)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn uniq(call: &mut Call<'_>) -> Result<Value> {
    let items = slice_arg(call, 0, "find uniq on type")?;
    let mut kept: Vec<Value> = Vec::new();
    for item in items {
        if !holds(call, &kept, &item)? {
            kept.push(item);
        }
    }
    list(kept)
}

fn without(call: &mut Call<'_>) -> Result<Value> {
    let items = slice_arg(call, 0, "find without on type")?;
    let unwanted = call.args.get(1..).unwrap_or_default();
    let mut kept = Vec::new();
    for item in items {
        if !holds(call, unwanted, &item)? {
            kept.push(item);
        }
    }
    list(kept)
}

fn has(call: &mut Call<'_>) -> Result<Value> {
    if call.arg(1).is_nil() {
        return Ok(Value::Bool(false));
    }
    let items = slice_arg(call, 1, "find has on type")?;
    let wanted = call.arg(0).clone();
    Ok(Value::Bool(holds(call, &items, &wanted)?))
}

fn slice(call: &mut Call<'_>) -> Result<Value> {
    let value = call.arg(0).clone();
    if value.is_nil() {
        return Err(nil_pointer());
    }
    let Some(items) = elements(&value) else {
        return fail(format!("list should be type of slice or array but {}", kind(&value)));
    };
    if items.is_empty() {
        return Ok(Value::Nil);
    }
    let len = items.len() as i64;
    let start = if call.args.len() > 1 { to_int(call.arg(1)) } else { 0 };
    let end = if call.args.len() > 2 { to_int(call.arg(2)) } else { len };
    let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
    let Some(part) = range.and_then(|(start, end)| items.get(start..end)) else {
        return fail(format!("reflect.Value.Slice: slice index out of bounds: [{start}:{end}] of {len}"));
    };
    call.meter.grow(part.len() as u64 * 24)?;
    Ok(match &value {
        Value::List(list) => Value::List(Arc::new(Items::new(list.elem(), part.to_vec())?)),
        Value::Bytes(bytes) => Value::bytes(bytes.get(start as usize..end as usize).unwrap_or_default()),
        _ => Value::Nil,
    })
}

fn concat(call: &mut Call<'_>) -> Result<Value> {
    let mut all = Vec::new();
    for at in 0..call.args.len() {
        let items = match call.arg(at) {
            Value::List(_) | Value::Bytes(_) => slice_arg(call, at, "concat type")?,
            Value::Nil => return Err(nil_pointer()),
            other => return fail(format!("Cannot concat type {} as list", kind(other))),
        };
        all.extend(items);
    }
    list(all)
}

fn chunk(call: &mut Call<'_>) -> Result<Value> {
    let size = call.int(0);
    let items = match call.arg(1) {
        Value::List(_) | Value::Bytes(_) => slice_arg(call, 1, "chunk type")?,
        Value::Nil => return Err(nil_pointer()),
        other => return fail(format!("Cannot chunk type {}", kind(other))),
    };
    // The number of chunks is (length - 1) / size + 1, rounded down, also where that makes no sense.
    match (items.len() as u64, size) {
        (0, 1..) => return chunks(Vec::new()),
        (1, ..-1) => return chunks(vec![list(items)?]),
        (length @ 2.., ..0) if length - 1 <= size.unsigned_abs() => return chunks(Vec::new()),
        _ => {}
    }
    let Some(size) = usize::try_from(size).ok().filter(|size| *size > 0) else {
        return fail("runtime error: makeslice: len out of range");
    };
    let parts = items.chunks(size).map(|part| list(part.to_vec())).collect::<Result<Vec<_>>>()?;
    chunks(parts)
}

fn chunks(parts: Vec<Value>) -> Result<Value> {
    Items::new(Elem::List, parts).map(|l| Value::List(Arc::new(l))).map_err(CallError::from)
}
