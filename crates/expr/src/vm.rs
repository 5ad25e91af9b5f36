//! Runs a flat program on borrowed values: nothing is copied until it must outlive its owner.

mod loops;

use std::sync::Arc;

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
    /// What lies on top of `stack`, if it isn't there: most conditions never need more than this one place, and so no
    /// memory of their own.
    top: Option<Slot<'a>>,
    stack: Vec<Slot<'a>>,
    scopes: Vec<Scope<'a>>,
    variables: Vec<Slot<'a>>,
    elements: u64,
    place: Option<u32>,
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
            stack: Vec::new(),
            scopes: Vec::new(),
            variables: vec![Slot::Own(Value::Nil); code.variables],
            elements: 0,
            place: None,
            hint: None,
            pattern: None,
        }
    }

    pub(crate) fn run(mut self) -> std::result::Result<Value, Failure> {
        let mut ip = 0;
        while let Some(op) = self.code.ops.get(ip) {
            ip += 1;
            if let Err(error) = self.step(*op, &mut ip) {
                let place = self.code.places.get(ip - 1).copied().unwrap_or(0);
                return Err(Failure { error, place: self.place.unwrap_or(place), hint: self.hint });
            }
        }
        Ok(self.pop().into_value())
    }

    #[inline(always)]
    fn push_slot(&mut self, slot: Slot<'a>) {
        if let Some(below) = self.top.replace(slot) {
            self.stack.push(below);
        }
    }

    #[inline(always)]
    fn push(&mut self, value: Value) {
        self.push_slot(Slot::Own(value));
    }

    #[inline(always)]
    fn pop(&mut self) -> Slot<'a> {
        match self.top.take() {
            Some(slot) => slot,
            None => self.stack.pop().unwrap_or(Slot::Own(Value::Nil)),
        }
    }

    #[inline(always)]
    fn top(&self) -> &Value {
        self.top.as_ref().or_else(|| self.stack.last()).map_or(&Value::Nil, Slot::get)
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
        if let Some(top) = self.top.take() {
            self.stack.push(top);
        }
        let from = self.stack.len().saturating_sub(count);
        self.stack.drain(from..).map(Slot::into_value).collect()
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
                let slot = self.variables.get(i as usize).cloned().unwrap_or(Slot::Own(Value::Nil));
                self.push_slot(slot);
            }
            Op::Store(i) => {
                let slot = self.pop();
                if let Some(variable) = self.variables.get_mut(i as usize) {
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
                let slot = match &base {
                    Slot::Ref(Value::Map(map)) => hint.lookup(map, key).map(Slot::Ref),
                    Slot::Own(Value::Map(map)) => hint.lookup(map, key).cloned().map(Slot::Own),
                    _ => None,
                };
                let slot = match slot {
                    Some(slot) => slot,
                    None => base.fetch(&Value::Str(key.clone()), &mut self.meter)?,
                };
                self.push_slot(slot);
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
                let found = match (code.sets.get(i as usize).map(Arc::as_ref), needle.get()) {
                    (Some(Set::Strs(set)), Value::Str(text)) => set.contains(text),
                    (Some(Set::Strs(set)), Value::Nil) => set.iter().any(Str::is_empty),
                    (Some(Set::Ints(set)), Value::Int(n, herald_value::IntKind::Int)) => set.contains(n),
                    (Some(Set::Ints(set)), Value::Nil) => set.contains(&0),
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
            Op::JumpIfTrue(to) => {
                if boolean(self.top())? {
                    *ip = to as usize;
                }
            }
            Op::JumpIfFalse(to) => {
                if !boolean(self.top())? {
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
                        let arg = self.pop().into_value();
                        self.call(callee.get(), &[arg], near)?
                    }
                    _ => {
                        let args = self.take(count as usize);
                        self.call(callee.get(), &args, near)?
                    }
                };
                self.push(value);
            }
            Op::CallKey(key, count) => {
                let Some((key, hint)) = code.keys.get(key as usize) else { return Ok(()) };
                let base = self.pop();
                let value = match count {
                    1 => {
                        let arg = self.pop().into_value();
                        self.call_key(base, key, hint, &[arg])?
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
                        let arg = self.pop().into_value();
                        functions::call(builtin, &[arg], &mut self.meter, now)?
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
        let regex = match self.pattern.take() {
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
        self.pattern = Some((pattern.clone(), regex));
        Ok(Value::Bool(found))
    }

    fn search(&mut self, regex: &Regex, text: &[u8]) -> Result<bool> {
        self.meter.step(text.len() as u64 / ops::BYTES_A_STEP)?;
        Ok(regex.is_match(text))
    }

    #[inline]
    fn path(&mut self, path: Option<&'a Path>) -> Result<Slot<'a>> {
        let Some(path) = path else { return Ok(Slot::Own(Value::Nil)) };
        let mut value = self.vars;
        for (i, ((key, place), hint)) in path.keys.iter().zip(&path.hints).enumerate() {
            match value {
                Value::Map(map) => match hint.lookup(map, key) {
                    Some(found) => value = found,
                    None if map.elem() == Elem::Any => value = &Value::Nil,
                    None => return self.slow_path(value, path, i),
                },
                _ if i == 0 => value = &Value::Nil,
                _ => {
                    self.place = Some(*place);
                    return self.slow_path(value, path, i);
                }
            }
        }
        Ok(Slot::Ref(value))
    }

    /// The rest of a chain below a value that is no ordinary map.
    #[cold]
    fn slow_path(&mut self, value: &'a Value, path: &'a Path, from: usize) -> Result<Slot<'a>> {
        let mut slot = Slot::Ref(value);
        for (i, (key, place)) in path.keys.iter().enumerate().skip(from) {
            self.place = Some(*place);
            if slot.get().is_nil() {
                self.hint = path.keys.get(..i).and_then(|keys| advice::missing(self.vars, keys));
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
                self.hint = near.map(|near| format!("did you mean `{near}`?"));
                fail("there is no such function".into())
            }
            other => fail(format!("cannot call a {}", other.go_type())),
        }
    }
}

/// A list of strings.
pub(crate) fn strings(items: Vec<Value>) -> Result<Value> {
    Ok(Value::List(Arc::new(List::new(Elem::Str, items)?)))
}
