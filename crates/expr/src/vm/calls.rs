//! Calls: of functions in the environment, of methods and of built-in functions; and patterns.

use std::slice;

use herald_value::{Hint, Str, Value};
use regex::bytes::Regex;

use super::{Machine, Slot};
use crate::{
    builtin::Builtin,
    code::{Op, Path},
    functions,
    hint::nearest,
    ops::{self, Result, fail},
    pattern,
};

/// What compiling a pattern costs while running; the worst ones take milliseconds.
const PATTERN_STEPS: u64 = 50_000;

impl<'a> Machine<'a> {
    /// Calls what lies on top with the values below it.
    pub(super) fn call_value(&mut self, count: usize, ip: usize) -> Result<()> {
        let callee = self.stack.pop();
        let near = match (callee.get(), ip.checked_sub(1).and_then(|at| self.code.ops.get(at))) {
            (Value::Nil, Some(Op::Path(i))) => near_function(self.code.paths.get(*i as usize)),
            _ => None,
        };
        let value = match count {
            1 => {
                let arg = self.stack.pop();
                self.call(callee.get(), slice::from_ref(arg.get()), near)?
            }
            _ => {
                let args = self.stack.take(count);
                self.call(callee.get(), &args, near)?
            }
        };
        self.stack.push(value);
        Ok(())
    }

    /// Calls a member of what lies on top with the values below it.
    pub(super) fn call_member(&mut self, key: usize, count: usize) -> Result<()> {
        let Some((key, hint)) = self.code.keys.get(key) else { return Ok(()) };
        let base = self.stack.pop();
        let value = match count {
            1 => {
                let arg = self.stack.pop();
                self.call_key(base, key, hint, slice::from_ref(arg.get()))?
            }
            _ => {
                let args = self.stack.take(count);
                self.call_key(base, key, hint, &args)?
            }
        };
        self.stack.push(value);
        Ok(())
    }

    pub(super) fn call_builtin(&mut self, builtin: Builtin, count: usize) -> Result<()> {
        let now = self.now;
        let value = match count {
            1 => {
                let arg = slice::from_ref(self.stack.top());
                let value = functions::call(builtin, arg, &mut self.meter, now)?;
                self.stack.discard();
                value
            }
            2 => {
                let second = self.stack.pop().into_value();
                let both = [self.stack.pop().into_value(), second];
                functions::call(builtin, &both, &mut self.meter, now)?
            }
            _ => {
                let args = self.stack.take(count);
                functions::call(builtin, &args, &mut self.meter, now)?
            }
        };
        if functions::counts(builtin) {
            self.grow(match &value {
                Value::Str(text) => text.len(),
                other => other.as_list().map_or(0, <[Value]>::len),
            })?;
        }
        self.stack.push(value);
        Ok(())
    }

    pub(super) fn matches(&mut self, text: &Value, pattern: &Value) -> Result<bool> {
        let pattern = match (text, pattern) {
            (Value::Nil, _) | (_, Value::Nil) => return Ok(false),
            (_, Value::Str(pattern)) => pattern,
            (_, other) => return fail(format!("matches needs a string, found {}", ops::type_name(other))),
        };
        let regex = match self.rest().pattern.take() {
            Some((known, regex)) if known == *pattern => regex,
            _ => {
                self.meter.step(PATTERN_STEPS)?;
                pattern::compile(&pattern.to_str_lossy(), self.meter.limits().regex_bytes)?
            }
        };
        let found = match text {
            Value::Str(text) => self.search(&regex, text.as_bytes())?,
            Value::Bytes(bytes) => self.search(&regex, bytes)?,
            other => return fail(format!("matches needs a string, found {}", ops::type_name(other))),
        };
        self.rest().pattern = Some((pattern.clone(), regex));
        Ok(found)
    }

    pub(super) fn search(&mut self, regex: &Regex, text: &[u8]) -> Result<bool> {
        self.meter.step(text.len() as u64 / ops::BYTES_A_STEP)?;
        Ok(regex.is_match(text))
    }

    fn call_key(&mut self, base: Slot<'a>, key: &Str, hint: &Hint, args: &[Value]) -> Result<Value> {
        if let Value::Map(map) = base.get() {
            if let Some(callee @ Value::Func(_)) = hint.lookup(map, key) {
                return self.call(callee, args, None);
            }
        } else if let Some(result) = ops::call_method(base.get(), &key.to_str_lossy(), args) {
            return result;
        }
        let near = match base.get() {
            Value::Map(map) if map.get_bytes(key.as_bytes()).is_none_or(Value::is_nil) => {
                nearest(&key.to_str_lossy(), map.entries().iter().filter_map(|(k, _)| k.to_str()))
            }
            _ => None,
        };
        let callee = base.fetch(&Value::Str(key.clone()), &mut self.meter)?;
        self.call(callee.get(), args, near)
    }

    fn call(&mut self, callee: &Value, args: &[Value], near: Option<String>) -> Result<Value> {
        match callee {
            Value::Func(func) => {
                if func.arity.is_some_and(|arity| arity != args.len()) {
                    let arity = func.arity.unwrap_or(0);
                    return fail(format!("{} takes {arity} arguments, not {}", func.name, args.len()));
                }
                self.meter.step(1)?;
                // Go puts the zero value in the place of nil, and these take texts alone.
                if args.iter().any(Value::is_nil)
                    && ["strings.", "time."].iter().any(|of| func.name.starts_with(of))
                {
                    let text = |arg: &Value| if arg.is_nil() { Value::str("") } else { arg.clone() };
                    return (func.body)(&args.iter().map(text).collect::<Vec<_>>());
                }
                (func.body)(args)
            }
            Value::Nil => {
                self.rest().hint = near.map(|near| format!("did you mean `{near}`?"));
                fail("there is no such function".into())
            }
            other => fail(format!("cannot call a {}", other.go_type())),
        }
    }
}

/// A function whose name is like the one that was called.
#[cold]
fn near_function(path: Option<&Path>) -> Option<String> {
    let name = path?.names.first()?.text.to_str()?;
    nearest(name, Builtin::NAMES.iter().copied())
}
