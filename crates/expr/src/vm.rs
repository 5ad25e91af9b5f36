//! Runs a flat program on borrowed values: nothing is copied until it must outlive its owner.

mod calls;
mod loops;
mod stack;

use std::sync::Arc;

use herald_value::{CallError, Elem, IntKind, List, Map, Str, Value, limits::Meter};
use jiff::Timestamp;
use regex::bytes::Regex;

use crate::{
    advice,
    ast::{BinaryOp, Set},
    code::{Code, Op, Path},
    ops::{self, Result, boolean, fail},
};

use self::{
    loops::Scope,
    stack::{Slot, Stack},
};

/// The original's budget of elements that one run may make.
const MAX_ELEMENTS: u64 = 1_000_000;

/// Why a run ended early: the failure, the instruction's place if it differs, and what might help.
pub(crate) struct Failure {
    pub(crate) error: CallError,
    pub(crate) place: u32,
    pub(crate) hint: Option<String>,
}

pub(crate) struct Machine<'a> {
    code: &'a Code,
    vars: &'a Value,
    meter: Meter,
    now: Option<Timestamp>,
    stack: Stack<'a>,
    /// The innermost loop.
    scope: Option<Scope<'a>>,
    elements: u64,
    place: Option<u32>,
    rest: Option<Box<Rest<'a>>>,
}

/// What few conditions need.
#[derive(Default)]
struct Rest<'a> {
    /// The loops around the innermost one.
    scopes: Vec<Scope<'a>>,
    variables: Vec<Slot<'a>>,
    hint: Option<String>,
    /// The pattern that was compiled last while running.
    pattern: Option<(Str, Regex)>,
}

impl<'a> Machine<'a> {
    pub(crate) fn new(code: &'a Code, vars: &'a Value, meter: Meter, now: Option<Timestamp>) -> Self {
        Machine {
            code,
            vars,
            meter,
            now,
            stack: Stack::default(),
            scope: None,
            elements: 0,
            place: None,
            rest: None,
        }
    }

    fn rest(&mut self) -> &mut Rest<'a> {
        self.rest.get_or_insert_default()
    }

    /// Runs the program to its end.
    pub(crate) fn run(&mut self) -> std::result::Result<(), Box<Failure>> {
        let code = self.code;
        let mut ip = 0;
        while let Some(op) = code.ops.get(ip) {
            match self.step(code, op, ip) {
                Ok(next) => ip = next,
                Err(error) => return Err(self.failure(error, ip)),
            }
        }
        Ok(())
    }

    /// What the program left.
    pub(crate) fn result(&mut self) -> Value {
        self.stack.pop().into_value()
    }

    #[cold]
    fn failure(&mut self, error: CallError, ip: usize) -> Box<Failure> {
        let place = self.code.places.get(ip).copied().unwrap_or(0);
        let hint = self.rest.take().and_then(|rest| rest.hint);
        Box::new(Failure { error, place: self.place.unwrap_or(place), hint })
    }

    fn grow(&mut self, count: usize) -> Result<()> {
        self.elements += count as u64;
        if self.elements >= MAX_ELEMENTS {
            return Err(CallError::over_limit(format!(
                "memory budget exceeded: made {MAX_ELEMENTS} or more elements"
            )));
        }
        self.meter.step(count as u64)
    }

    fn array(&mut self, count: usize) -> Result<()> {
        self.grow(count)?;
        self.meter.grow(count as u64 * 24)?;
        let items = self.stack.take(count);
        self.stack.push(Value::list(items)?);
        Ok(())
    }

    /// Carries out one instruction, and gives the place of the next one. What conditions are made of is here; the rest is
    /// further away, so that this stays small.
    #[inline(always)]
    fn step(&mut self, code: &'a Code, op: &Op, ip: usize) -> Result<usize> {
        let next = ip + 1;
        let jump = |to: u32, condition: bool| if condition { to as usize } else { next };
        match *op {
            Op::Const(i) => {
                if let Some(value) = code.consts.get(i as usize) {
                    self.stack.lend(value);
                }
            }
            Op::Path(i) => {
                let Some(path) = code.paths.get(i as usize) else { return Ok(next) };
                let (value, went) = along(path, self.vars);
                if went == path.names.len() {
                    self.stack.lend(value);
                } else {
                    self.slow_path(value, path, went)?;
                }
            }
            Op::Pop => self.stack.discard(),
            Op::Fetch => {
                let key = self.stack.top();
                match self.stack.lent_below().and_then(|base| ops::borrowed(base, key)) {
                    Some(found) => {
                        self.stack.discard();
                        self.stack.discard();
                        self.stack.lend(found);
                    }
                    None => self.fetch()?,
                }
            }
            Op::Key(i) => {
                let Some((key, hint)) = code.keys.get(i as usize) else { return Ok(next) };
                let found = match self.stack.lent() {
                    Some(Value::Map(map)) => hint.lookup(map, key),
                    _ => None,
                };
                match found {
                    Some(found) => {
                        self.stack.discard();
                        self.stack.lend(found);
                    }
                    None => {
                        let base = self.stack.pop();
                        let slot = base.field(key, hint, &mut self.meter)?;
                        self.stack.push_slot(slot);
                    }
                }
            }
            Op::ItemKey(key, place) => {
                let Some((key, hint)) = code.keys.get(key as usize) else { return Ok(next) };
                let found = match self.scope.as_ref().and_then(Scope::borrowed) {
                    Some(Value::Map(map)) => hint.lookup(map, key),
                    _ => None,
                };
                if let Some(found) = found {
                    self.stack.lend(found);
                    return Ok(next);
                }
                let item = match self.scope()?.item() {
                    Ok(item) => item,
                    Err(error) => {
                        self.place = Some(place);
                        return Err(error);
                    }
                };
                let slot = item.field(key, hint, &mut self.meter)?;
                self.stack.push_slot(slot);
            }
            Op::JumpIfEnd(to) => {
                let scope = self.scope()?;
                return Ok(jump(to, scope.index >= scope.len));
            }
            Op::Again(to) => {
                self.meter.step(1)?;
                let scope = self.scope()?;
                scope.index += 1;
                return Ok(jump(to, scope.index < scope.len));
            }
            Op::Not => {
                let value = !boolean(self.stack.top())?;
                self.stack.discard();
                self.stack.answer(value);
            }
            Op::EqualConst(i) => {
                let Some(constant) = code.consts.get(i as usize) else { return Ok(next) };
                let equal = ops::equal(self.stack.top(), constant, &mut self.meter)?;
                self.stack.discard();
                self.stack.answer(equal);
            }
            Op::BinaryConst(op, i) => {
                let Some(constant) = code.consts.get(i as usize) else { return Ok(next) };
                let value = ops::binary(op, self.stack.top(), constant, &mut self.meter)?;
                self.stack.discard();
                self.stack.push(value);
            }
            Op::Binary(BinaryOp::Equal) => {
                let equal = ops::equal(self.stack.below(), self.stack.top(), &mut self.meter)?;
                self.stack.discard();
                self.stack.discard();
                self.stack.answer(equal);
            }
            Op::InSet(i) => {
                let found = in_set(code.sets.get(i as usize), self.stack.top())?;
                self.stack.discard();
                self.stack.answer(found);
            }
            Op::Jump(to) => return Ok(to as usize),
            Op::TrueOrPop(to) => {
                if boolean(self.stack.top())? {
                    return Ok(to as usize);
                }
                self.stack.discard();
            }
            Op::FalseOrPop(to) => {
                if !boolean(self.stack.top())? {
                    return Ok(to as usize);
                }
                self.stack.discard();
            }
            Op::PopJumpIfFalse(to) => {
                let yes = boolean(self.stack.top())?;
                self.stack.discard();
                return Ok(jump(to, !yes));
            }
            Op::JumpIfNil(to) => return Ok(jump(to, ops::is_nil(self.stack.top()))),
            Op::JumpIfNotNil(to) => return Ok(jump(to, !ops::is_nil(self.stack.top()))),
            _ => return self.step_further(*op, ip),
        }
        Ok(next)
    }

    /// Instructions that are rare or do much by themselves.
    #[inline(never)]
    fn step_further(&mut self, op: Op, ip: usize) -> Result<usize> {
        let code = self.code;
        match op {
            Op::Env => self.stack.lend(self.vars),
            Op::Var(i) => {
                let variable = self.rest.as_ref().and_then(|rest| rest.variables.get(i as usize));
                let slot = variable.cloned().unwrap_or(Slot::Own(Value::Nil));
                self.stack.push_slot(slot);
            }
            Op::Store(i) => {
                let slot = self.stack.pop();
                let variables = &mut self.rest().variables;
                if variables.len() < code.variables {
                    variables.resize(code.variables, Slot::Own(Value::Nil));
                }
                if let Some(variable) = variables.get_mut(i as usize) {
                    *variable = slot;
                }
            }
            Op::Negate => {
                let value = ops::negate(self.stack.top())?;
                self.stack.discard();
                self.stack.push(value);
            }
            Op::Binary(op) => {
                let (a, b) = (self.stack.below(), self.stack.top());
                let value = match op {
                    BinaryOp::Matches => {
                        let (b, a) = (self.stack.pop(), self.stack.pop());
                        let found = self.matches(a.get(), b.get())?;
                        self.stack.answer(found);
                        return Ok(ip + 1);
                    }
                    op => ops::binary(op, a, b, &mut self.meter)?,
                };
                if op == BinaryOp::Range {
                    self.grow(value.as_list().map_or(0, <[Value]>::len))?;
                }
                self.stack.discard();
                self.stack.discard();
                self.stack.push(value);
            }
            Op::EqualInt => {
                let equal = match (self.stack.below(), self.stack.top()) {
                    (Value::Int(x, IntKind::Int), Value::Int(y, IntKind::Int)) => x == y,
                    (x, y) => {
                        let (x, y) = (ops::type_name(x), ops::type_name(y));
                        return fail(format!("expected two ints, found {x} and {y}"));
                    }
                };
                self.stack.discard();
                self.stack.discard();
                self.stack.answer(equal);
            }
            Op::EqualStr => {
                let equal = match (self.stack.below(), self.stack.top()) {
                    (Value::Str(x), Value::Str(y)) => ops::same_text(x, y, &mut self.meter)?,
                    (x, y) => {
                        let (x, y) = (ops::type_name(x), ops::type_name(y));
                        return fail(format!("expected two strings, found {x} and {y}"));
                    }
                };
                self.stack.discard();
                self.stack.discard();
                self.stack.answer(equal);
            }
            Op::MatchesConst(i) => {
                let text = self.stack.pop();
                let found = match (code.patterns.get(i as usize), text.get()) {
                    (_, Value::Nil) => false,
                    (Some(regex), Value::Str(text)) => self.search(regex, text.as_bytes())?,
                    (Some(regex), Value::Bytes(bytes)) => self.search(regex, bytes)?,
                    (_, other) => {
                        return fail(format!("matches needs a string, found {}", ops::type_name(other)));
                    }
                };
                self.stack.answer(found);
            }
            Op::Slice => {
                let (from, to, base) = (self.stack.pop(), self.stack.pop(), self.stack.pop());
                let value = ops::slice(base.get(), from.get(), to.get(), &mut self.meter)?;
                self.stack.push(value);
            }
            Op::Len => {
                let len = match self.stack.top() {
                    Value::List(list) => list.items().len(),
                    Value::Str(text) => text.len(),
                    Value::Bytes(bytes) => bytes.len(),
                    other => return fail(format!("cannot slice {}", ops::type_name(other))),
                };
                self.stack.push(Value::int(len as i64));
            }
            Op::Array(count) => self.array(count as usize)?,
            Op::Map(count) => self.map(count as usize)?,
            Op::NotNil => {
                if self.stack.top().is_nil() {
                    return fail("this method takes no nil".into());
                }
            }
            Op::Call(count) => self.call_value(count as usize, ip)?,
            Op::CallKey(key, count) => self.call_member(key as usize, count as usize)?,
            Op::Builtin(builtin, count) => self.call_builtin(builtin, count as usize)?,
            Op::Throw(0) => return fail("no element matches, so there is none at this index".into()),
            Op::Throw(_) => return fail("reduce of empty array with no initial value".into()),
            other => return self.step_loop(other, ip),
        }
        Ok(ip + 1)
    }

    #[cold]
    fn fetch(&mut self) -> Result<()> {
        let (key, base) = (self.stack.pop(), self.stack.pop());
        let slot = base.fetch(key.get(), &mut self.meter)?;
        self.stack.push_slot(slot);
        Ok(())
    }

    /// The rest of a chain below a value that is no ordinary map.
    #[cold]
    fn slow_path(&mut self, value: &'a Value, path: &'a Path, from: usize) -> Result<()> {
        let mut slot = Slot::Ref(value);
        for (i, name) in path.names.iter().enumerate().skip(from) {
            self.place = Some(name.place);
            if slot.get().is_nil() {
                let hint = path.names.get(..i).and_then(|names| advice::missing(self.vars, names));
                self.rest().hint = hint;
            }
            slot = slot.fetch(&Value::Str(name.text.clone()), &mut self.meter)?;
        }
        self.place = None;
        self.stack.push_slot(slot);
        Ok(())
    }

    fn map(&mut self, count: usize) -> Result<()> {
        self.grow(count)?;
        let mut flat = self.stack.take(count * 2).into_iter();
        let mut entries = Vec::with_capacity(count);
        while let (Some(key), Some(value)) = (flat.next(), flat.next()) {
            match key {
                Value::Str(key) => entries.push((key, value)),
                other => {
                    return fail(format!("a map key must be a string, found {}", ops::type_name(&other)));
                }
            }
        }
        // Of equal keys the first one stays.
        entries.reverse();
        self.stack.push(Value::Map(Arc::new(Map::new(Elem::Any, entries)?)));
        Ok(())
    }
}

/// Whether a value is one of a constant list.
#[inline]
fn in_set(set: Option<&Set>, needle: &Value) -> Result<bool> {
    Ok(match (set, needle) {
        (Some(Set::Strs(set)), Value::Str(text)) => Set::has_text(set, text),
        (Some(Set::Strs(set)), Value::Nil) => set.first().is_some_and(Str::is_empty),
        (Some(Set::Ints(set)), Value::Int(n, IntKind::Int)) => Set::has_int(set, *n),
        (Some(Set::Ints(set)), Value::Nil) => Set::has_int(set, 0),
        (Some(Set::Strs(_)), other) => {
            return fail(format!("in a list of strings there is no {}", ops::type_name(other)));
        }
        (_, other) => return fail(format!("in a list of ints there is no {}", ops::type_name(other))),
    })
}

/// Goes along a chain of names: where it came to, and how many names it went. It stops at a value that is no map.
#[inline(never)]
fn along<'a>(path: &Path, vars: &'a Value) -> (&'a Value, usize) {
    let mut value = vars;
    for (i, name) in path.names.iter().enumerate() {
        value = match value {
            Value::Map(map) => match name.hint.lookup(map, &name.text) {
                Some(found) => found,
                None => map.elem().zero(),
            },
            _ if i == 0 => &Value::Nil,
            _ => return (value, i),
        };
    }
    (value, path.names.len())
}

/// A list of strings.
pub(crate) fn strings(items: Vec<Value>) -> Result<Value> {
    Ok(Value::List(Arc::new(List::new(Elem::Str, items)?)))
}
