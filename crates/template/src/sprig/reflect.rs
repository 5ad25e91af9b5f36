//! Types and kinds.

use herald_value::Value;

use super::help::{Result, deep_equal, kind};
use crate::function::{Call, Function, Param::*};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("typeOf", &[Any], |c| Ok(Value::str(c.arg(0).go_type()))).identity(),
    Function::new("typeIs", &[Str, Any], |c| Ok(Value::Bool(c.text(0) == c.arg(1).go_type()))).identity(),
    Function::new("typeIsLike", &[Str, Any], |c| {
        let (wanted, found) = (c.text(0), c.arg(1).go_type());
        Ok(Value::Bool(found == wanted || found.strip_prefix('*') == Some(&*wanted)))
    })
    .identity(),
    Function::new("kindOf", &[Any], |c| Ok(Value::str(kind(c.arg(0))))).identity(),
    Function::new("kindIs", &[Str, Any], |c| Ok(Value::Bool(c.text(0) == kind(c.arg(1))))).identity(),
    Function::new("deepEqual", &[Any, Any], equal),
];

fn equal(call: &mut Call<'_>) -> Result<Value> {
    let (a, b) = (call.arg(0).clone(), call.arg(1).clone());
    Ok(Value::Bool(deep_equal(call, &a, &b)?))
}
