//! Runs a flat program on borrowed values: nothing is copied until it must outlive its owner.

mod loops;

use std::{slice, sync::Arc};

use herald_value::{CallError, Elem, Hint, List, Map, Str, Value, limits::Meter};
use jiff::Timestamp;
use regex::bytes::Regex;

use crate::{
    advice,
    ast::{BinaryOp, Set},
    builtin::Builtin,
    code::{Code, Op, Path},
    functions,
    hint::nearest,
    ops::{self, Result, boolean, fail},
    pattern,
};

use loops::Scope;

/// What compiling a pattern costs while running; the worst ones take milliseconds.
const PATTERN_STEPS: u64 = 50_000;

/// The original's budget of elements that one run may make.
const MAX_ELEMENTS: u64 = 1_000_000;

/// A value on the stack.
#[derive(Clone)]
enum Slot<'a> {
    Ref(&'a Value),
    Own(Value),
}

impl<'a> Slot<'a> {
    fn get(&self) -> &Value {
        match self {
            Slot::Ref(value) => value,
            Slot::Own(value) => value,
        }
    }

    fn into_value(self) -> Value {
        match self {
            Slot::Ref(value) => value.clone(),
            Slot::Own(value) => value,
        }
    }

    /// A field that is borrowed where this is.
    #[inline]
    fn field(self, key: &Str, hint: &Hint, meter: &mut Meter) -> Result<Slot<'a>> {
        match &self {
            Slot::Ref(Value::Map(map)) => match hint.lookup(map, key) {
                Some(found) => return Ok(Slot::Ref(found)),
                None if map.elem() == Elem::Any => return Ok(Slot::Ref(&Value::Nil)),
                None => {}
            },
            Slot::Own(Value::Map(map)) => {
                if let Some(found) = hint.lookup(map, key) {
                    return Ok(Slot::Own(found.clone()));
                }
            }
            _ => {}
        }
        self.fetch(&Value::Str(key.clone()), meter)
    }

    /// A member that is borrowed where this is.
    fn fetch(self, key: &Value, meter: &mut Meter) -> Result<Slot<'a>> {
        match self {
            Slot::Ref(value) => match ops::borrowed(value, key) {
                Some(found) => Ok(Slot::Ref(found)),
                None => ops::fetch(value, key, meter).map(Slot::Own),
            },
            Slot::Own(value) => ops::fetch(&value, key, meter).map(Slot::Own),
        }
    }
}

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
    /// What lies on top of `stack`, if it isn't there: most conditions never need more than these two places, and so no
    /// memory of their own.
    top: Option<Slot<'a>>,
    second: Option<Slot<'a>>,
    /// The innermost loop.
    scope: Option<Scope<'a>>,
    elements: u64,
    place: Option<u32>,
    rest: Option<Box<Rest<'a>>>,
}

/// What few conditions need.
#[derive(Default)]
struct Rest<'a> {
    stack: Vec<Slot<'a>>,
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
            top: None,
            second: None,
            scope: None,
            elements: 0,
            place: None,
            rest: None,
        }
    }

    #[inline]
    fn rest(&mut self) -> &mut Rest<'a> {
        self.rest.get_or_insert_default()
    }

    pub(crate) fn run(mut self) -> std::result::Result<Value, Failure> {
        let mut ip = 0;
        while let Some(op) = self.code.ops.get(ip) {
            ip += 1;
            if let Err(error) = self.step(*op, &mut ip) {
                let place = self.code.places.get(ip - 1).copied().unwrap_or(0);
                let hint = self.rest.and_then(|rest| rest.hint);
                return Err(Failure { error, place: self.place.unwrap_or(place), hint });
            }
        }
        Ok(self.pop().into_value())
    }

    #[inline(always)]
    fn push_slot(&mut self, slot: Slot<'a>) {
        if let Some(below) = self.top.replace(slot)
            && let Some(below) = self.second.replace(below)
        {
            self.rest().stack.push(below);
        }
    }

    #[inline(always)]
    fn push(&mut self, value: Value) {
        self.push_slot(Slot::Own(value));
    }

    #[inline(always)]
    fn pop(&mut self) -> Slot<'a> {
        match self.top.take().or_else(|| self.second.take()) {
            Some(slot) => slot,
            None => self.rest().stack.pop().unwrap_or(Slot::Own(Value::Nil)),
        }
    }

    #[inline(always)]
    fn top(&self) -> &Value {
        let top = self.top.as_ref().or(self.second.as_ref());
        top.or_else(|| self.rest.as_ref()?.stack.last()).map_or(&Value::Nil, Slot::get)
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

    fn take(&mut self, count: usize) -> Vec<Value> {
        if count == 0 {
            return Vec::new();
        }
        let upper = [self.second.take(), self.top.take()];
        let stack = &mut self.rest().stack;
        stack.extend(upper.into_iter().flatten());
        let from = stack.len().saturating_sub(count);
        stack.drain(from..).map(Slot::into_value).collect()
    }

    fn array(&mut self, count: usize) -> Result<()> {
        self.grow(count)?;
        self.meter.grow(count as u64 * 24)?;
        let items = self.take(count);
        let list = Value::list(items)?;
        self.push(list);
        Ok(())
    }

    #[inline(always)]
    fn step(&mut self, op: Op, ip: &mut usize) -> Result<()> {
        let code = self.code;
        match op {
            Op::Const(i) => {
                if let Some(value) = code.consts.get(i as usize) {
                    self.push_slot(Slot::Ref(value));
                }
            }
            Op::Path(i) => {
                let slot = self.path(code.paths.get(i as usize))?;
                self.push_slot(slot);
            }
            Op::Env => self.push_slot(Slot::Ref(self.vars)),
            Op::Var(i) => {
                let variable = self.rest.as_ref().and_then(|rest| rest.variables.get(i as usize));
                let slot = variable.cloned().unwrap_or(Slot::Own(Value::Nil));
                self.push_slot(slot);
            }
            Op::Store(i) => {
                let slot = self.pop();
                let variables = &mut self.rest().variables;
                if variables.len() < code.variables {
                    variables.resize(code.variables, Slot::Own(Value::Nil));
                }
                if let Some(variable) = variables.get_mut(i as usize) {
                    *variable = slot;
                }
            }
            Op::Pop => drop(self.pop()),
            Op::Fetch => {
                let key = self.pop();
                let slot = self.pop().fetch(key.get(), &mut self.meter)?;
                self.push_slot(slot);
            }
            Op::Key(i) => {
                let Some((key, hint)) = code.keys.get(i as usize) else { return Ok(()) };
                let base = self.pop();
                let slot = base.field(key, hint, &mut self.meter)?;
                self.push_slot(slot);
            }
            Op::ItemKey(key, place) => {
                let Some((key, hint)) = code.keys.get(key as usize) else { return Ok(()) };
                let found = match self.scope.as_ref().and_then(Scope::borrowed) {
                    Some(Value::Map(map)) => hint.lookup(map, key),
                    _ => None,
                };
                if let Some(found) = found {
                    self.push_slot(Slot::Ref(found));
                    return Ok(());
                }
                let item = match self.scope()?.item() {
                    Ok(item) => item,
                    Err(error) => {
                        self.place = Some(place);
                        return Err(error);
                    }
                };
                let slot = item.field(key, hint, &mut self.meter)?;
                self.push_slot(slot);
            }
            Op::JumpIfEnd(to) => {
                let scope = self.scope()?;
                if scope.index >= scope.len {
                    *ip = to as usize;
                }
            }
            Op::Again(to) => {
                self.meter.step(1)?;
                let scope = self.scope()?;
                scope.index += 1;
                if scope.index < scope.len {
                    *ip = to as usize;
                }
            }
            Op::Not => {
                let value = !boolean(self.pop().get())?;
                self.push(Value::Bool(value));
            }
            Op::Negate => {
                let value = ops::negate(self.pop().get())?;
                self.push(value);
            }
            Op::EqualConst(i) => {
                let Some(constant) = code.consts.get(i as usize) else { return Ok(()) };
                let equal = {
                    let a = self.pop();
                    match (a.get(), constant) {
                        (Value::Str(x), Value::Str(y)) => ops::same_text(x, y, &mut self.meter)?,
                        (x, y) => ops::equal(x, y, &mut self.meter)?,
                    }
                };
                self.push(Value::Bool(equal));
            }
            Op::BinaryConst(op, i) => {
                let Some(constant) = code.consts.get(i as usize) else { return Ok(()) };
                let a = self.pop();
                let value = ops::binary(op, a.get(), constant, &mut self.meter)?;
                self.push(value);
            }
            Op::Binary(BinaryOp::Equal) => {
                let b = self.pop();
                let a = self.pop();
                let equal = match (a.get(), b.get()) {
                    (Value::Str(x), Value::Str(y)) => ops::same_text(x, y, &mut self.meter)?,
                    (x, y) => ops::equal(x, y, &mut self.meter)?,
                };
                self.push(Value::Bool(equal));
            }
            Op::Binary(op) => {
                let b = self.pop();
                let a = self.pop();
                let value = match op {
                    BinaryOp::Matches => self.matches(a.get(), b.get())?,
                    op => ops::binary(op, a.get(), b.get(), &mut self.meter)?,
                };
                if op == BinaryOp::Range {
                    self.grow(value.as_list().map_or(0, <[Value]>::len))?;
                }
                self.push(value);
            }
            Op::EqualInt => {
                let (b, a) = (self.pop(), self.pop());
                match (a.get(), b.get()) {
                    (Value::Int(x, ka), Value::Int(y, kb))
                        if *ka == herald_value::IntKind::Int && ka == kb =>
                    {
                        let equal = x == y;
                        self.push(Value::Bool(equal));
                    }
                    (x, y) => {
                        return fail(format!(
                            "expected two ints, found {} and {}",
                            ops::type_name(x),
                            ops::type_name(y)
                        ));
                    }
                }
            }
            Op::EqualStr => {
                let (b, a) = (self.pop(), self.pop());
                match (a.get(), b.get()) {
                    (Value::Str(x), Value::Str(y)) => {
                        let equal = ops::same_text(x, y, &mut self.meter)?;
                        self.push(Value::Bool(equal));
                    }
                    (x, y) => {
                        return fail(format!(
                            "expected two strings, found {} and {}",
                            ops::type_name(x),
                            ops::type_name(y)
                        ));
                    }
                }
            }
            Op::InSet(i) => {
                let needle = self.pop();
                let found = match (code.sets.get(i as usize), needle.get()) {
                    (Some(Set::Strs(set)), Value::Str(text)) => Set::has_text(set, text),
                    (Some(Set::Strs(set)), Value::Nil) => set.first().is_some_and(Str::is_empty),
                    (Some(Set::Ints(set)), Value::Int(n, herald_value::IntKind::Int)) => {
                        Set::has_int(set, *n)
                    }
                    (Some(Set::Ints(set)), Value::Nil) => Set::has_int(set, 0),
                    (Some(Set::Strs(_)), other) => {
                        return fail(format!("in a list of strings there is no {}", ops::type_name(other)));
                    }
                    (_, other) => {
                        return fail(format!("in a list of ints there is no {}", ops::type_name(other)));
                    }
                };
                self.push(Value::Bool(found));
            }
            Op::MatchesConst(i) => {
                let text = self.pop();
                let found = match (code.patterns.get(i as usize), text.get()) {
                    (_, Value::Nil) => false,
                    (Some(regex), Value::Str(text)) => self.search(regex, text.as_bytes())?,
                    (Some(regex), Value::Bytes(bytes)) => self.search(regex, bytes)?,
                    (_, other) => {
                        return fail(format!("matches needs a string, found {}", ops::type_name(other)));
                    }
                };
                self.push(Value::Bool(found));
            }
            Op::Jump(to) => *ip = to as usize,
            Op::TrueOrPop(to) => match boolean(self.top())? {
                true => *ip = to as usize,
                false => drop(self.pop()),
            },
            Op::FalseOrPop(to) => match boolean(self.top())? {
                true => drop(self.pop()),
                false => *ip = to as usize,
            },
            Op::PopJumpIfFalse(to) => {
                if !boolean(self.pop().get())? {
                    *ip = to as usize;
                }
            }
            Op::JumpIfNil(to) => {
                if ops::is_nil(self.top()) {
                    *ip = to as usize;
                }
            }
            Op::JumpIfNotNil(to) => {
                if !ops::is_nil(self.top()) {
                    *ip = to as usize;
                }
            }
            Op::Slice => {
                let (from, to, base) = (self.pop(), self.pop(), self.pop());
                let value = ops::slice(base.get(), from.get(), to.get(), &mut self.meter)?;
                self.push(value);
            }
            Op::Len => {
                let len = match self.top() {
                    Value::List(list) => list.items().len(),
                    Value::Str(text) => text.len(),
                    Value::Bytes(bytes) => bytes.len(),
                    other => return fail(format!("cannot slice {}", ops::type_name(other))),
                };
                self.push(Value::int(len as i64));
            }
            Op::Array(count) => self.array(count as usize)?,
            Op::Map(count) => self.map(count as usize)?,
            Op::Call(count) => {
                let callee = self.pop();
                let near = match (callee.get(), ip.checked_sub(2).and_then(|at| code.ops.get(at))) {
                    (Value::Nil, Some(Op::Path(i))) => self.near_function(code.paths.get(*i as usize)),
                    _ => None,
                };
                let value = match count {
                    1 => {
                        let arg = self.pop();
                        self.call(callee.get(), slice::from_ref(arg.get()), near)?
                    }
                    _ => {
                        let args = self.take(count as usize);
                        self.call(callee.get(), &args, near)?
                    }
                };
                self.push(value);
            }
            Op::NotNil => {
                if self.top().is_nil() {
                    return fail("this method takes no nil".into());
                }
            }
            Op::CallKey(key, count) => {
                let Some((key, hint)) = code.keys.get(key as usize) else { return Ok(()) };
                let base = self.pop();
                let value = match count {
                    1 => {
                        let arg = self.pop();
                        self.call_key(base, key, hint, slice::from_ref(arg.get()))?
                    }
                    _ => {
                        let args = self.take(count as usize);
                        self.call_key(base, key, hint, &args)?
                    }
                };
                self.push(value);
            }
            Op::Builtin(builtin, count) => {
                let now = self.now;
                let value = match count {
                    1 => {
                        let arg = self.pop();
                        functions::call(builtin, slice::from_ref(arg.get()), &mut self.meter, now)?
                    }
                    2 => {
                        let second = self.pop().into_value();
                        let both = [self.pop().into_value(), second];
                        functions::call(builtin, &both, &mut self.meter, now)?
                    }
                    _ => {
                        let args = self.take(count as usize);
                        functions::call(builtin, &args, &mut self.meter, now)?
                    }
                };
                if functions::counts(builtin) {
                    self.grow(match &value {
                        Value::Str(text) => text.len(),
                        other => other.as_list().map_or(0, <[Value]>::len),
                    })?;
                }
                self.push(value);
            }
            Op::Throw(0) => return fail("no element matches, so there is none at this index".into()),
            Op::Throw(_) => return fail("reduce of empty array with no initial value".into()),
            other => self.step_loop(other, ip)?,
        }
        Ok(())
    }

    fn matches(&mut self, text: &Value, pattern: &Value) -> Result<Value> {
        let pattern = match (text, pattern) {
            (Value::Nil, _) | (_, Value::Nil) => return Ok(Value::Bool(false)),
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
        Ok(Value::Bool(found))
    }

    fn search(&mut self, regex: &Regex, text: &[u8]) -> Result<bool> {
        self.meter.step(text.len() as u64 / ops::BYTES_A_STEP)?;
        Ok(regex.is_match(text))
    }

    #[inline]
    fn path(&mut self, path: Option<&'a Path>) -> Result<Slot<'a>> {
        let Some(path) = path else { return Ok(Slot::Own(Value::Nil)) };
        match along(path, self.vars) {
            Ok(value) => Ok(Slot::Ref(value)),
            Err((value, at)) => self.slow_path(value, path, at),
        }
    }

    /// The rest of a chain below a value that is no ordinary map.
    #[cold]
    fn slow_path(&mut self, value: &'a Value, path: &'a Path, from: usize) -> Result<Slot<'a>> {
        let mut slot = Slot::Ref(value);
        for (i, (key, place)) in path.keys.iter().enumerate().skip(from) {
            self.place = Some(*place);
            if slot.get().is_nil() {
                let hint = path.keys.get(..i).and_then(|keys| advice::missing(self.vars, keys));
                self.rest().hint = hint;
            }
            slot = slot.fetch(&Value::Str(key.clone()), &mut self.meter)?;
        }
        self.place = None;
        Ok(slot)
    }

    /// A function whose name is like the one that was called.
    #[cold]
    fn near_function(&self, path: Option<&Path>) -> Option<String> {
        let name = path?.keys.first()?.0.to_str()?;
        nearest(name, Builtin::NAMES.iter().copied())
    }

    fn map(&mut self, count: usize) -> Result<()> {
        self.grow(count)?;
        let mut flat = self.take(count * 2).into_iter();
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
        self.push(Value::Map(Arc::new(Map::new(Elem::Any, entries)?)));
        Ok(())
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

/// Goes along a chain of names; where a value is no ordinary map, that value and how far it went.
#[inline]
fn along<'a>(path: &Path, vars: &'a Value) -> std::result::Result<&'a Value, (&'a Value, usize)> {
    let mut value = vars;
    for (i, ((key, _), hint)) in path.keys.iter().zip(&path.hints).enumerate() {
        match value {
            Value::Map(map) => match hint.lookup(map, key) {
                Some(found) => value = found,
                None if map.elem() == Elem::Any => value = &Value::Nil,
                None => return Err((value, i)),
            },
            _ if i == 0 => value = &Value::Nil,
            _ => return Err((value, i)),
        }
    }
    Ok(value)
}

/// The result of a program that is one chain of names, or compares it with a constant. Many conditions are no more
/// than that, and making a machine takes longer than running them. `None`: let the machine do it.
pub(crate) fn at_once(code: &Code, vars: &Value) -> Option<Value> {
    let (path, op, constant) = match *code.ops.as_slice() {
        [Op::Const(i)] => return code.consts.get(i as usize).cloned(),
        [Op::Path(path)] => return along(code.paths.get(path as usize)?, vars).ok().cloned(),
        [Op::Path(path), Op::EqualConst(constant)] => (path, BinaryOp::Equal, constant),
        [Op::Path(path), Op::EqualConst(constant), Op::Not] => (path, BinaryOp::NotEqual, constant),
        [Op::Path(path), Op::BinaryConst(op, constant)] => (path, op, constant),
        _ => return None,
    };
    let constant = code.consts.get(constant as usize)?;
    let value = along(code.paths.get(path as usize)?, vars).ok()?;
    if let (Some(a), Some(b)) = (ops::integer(value), ops::integer(constant)) {
        return Some(Value::Bool(match op {
            BinaryOp::Equal => a == b,
            BinaryOp::NotEqual => a != b,
            BinaryOp::Less => a < b,
            BinaryOp::More => a > b,
            BinaryOp::LessOrEqual => a <= b,
            BinaryOp::MoreOrEqual => a >= b,
            _ => return None,
        }));
    }
    let wanted = match op {
        BinaryOp::Equal => true,
        BinaryOp::NotEqual => false,
        _ => return None,
    };
    let same = match (value, constant) {
        // Longer ones count as steps.
        (Value::Str(a), Value::Str(b)) if (b.len() as u64) < ops::BYTES_A_STEP => a == b,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Nil, Value::Str(_) | Value::Bool(_)) | (Value::Str(_) | Value::Bool(_), Value::Nil) => false,
        (Value::Nil, Value::Nil) => true,
        _ => return None,
    };
    Some(Value::Bool(same == wanted))
}

/// A list of strings.
pub(crate) fn strings(items: Vec<Value>) -> Result<Value> {
    Ok(Value::List(Arc::new(List::new(Elem::Str, items)?)))
}
