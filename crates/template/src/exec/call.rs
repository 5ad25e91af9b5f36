//! Calls: methods, builtins and functions, and the types of their arguments.

use std::sync::Arc;

use herald_value::{Elem, IntKind, Object, Str, Value, time};

use crate::{
    ast::{Kind, Operand, Pos},
    builtin::{self, Builtin},
    function::{Call, Function, Param},
};

use super::{Ev, Machine, Result, fail, failure};

/// Up to how many arguments stay on the stack.
const FEW: usize = 3;

impl<'d> Machine<'d, '_> {
    pub(super) fn method(
        &mut self,
        dot: &Ev<'d>,
        receiver: &Value,
        name: &'d Str,
        pos: Pos,
        args: &'d [Operand],
        last: Option<Ev<'d>>,
    ) -> Result<Ev<'d>> {
        let has_args = !args.is_empty() || last.is_some();
        let text = name.to_str_lossy();
        let object: Option<&Arc<dyn Object>> = match receiver {
            Value::Object(object) => Some(object),
            Value::Time(_) | Value::Duration(_) | Value::Int(_, IntKind::Month | IntKind::Weekday) => None,
            other => {
                return fail(pos, format!("can't evaluate field {text} in type {}", other.go_type()));
            }
        };
        if let (Some(object), false) = (object, has_args)
            && let Some(value) = object.member(&text)
        {
            return Ok(Ev::Own(value));
        }
        let mut values = Vec::with_capacity(args.len() + 1);
        for arg in args {
            let value = self.operand(dot, arg)?;
            values.push(self.resolved(arg.pos, value)?);
        }
        if let Some(last) = last {
            values.push(self.resolved(pos, last)?);
        }
        let result = match object {
            Some(object) => object.call(&text, &values),
            None => time::call_method(receiver, &text, &values),
        };
        match result {
            Some(Ok(value)) => Ok(Ev::Own(value)),
            Some(Err(mut error)) => {
                error.message = format!("error calling {text}: {}", error.message);
                Err(failure(pos, error))
            }
            None => fail(pos, format!("can't evaluate field {text} in type {}", receiver.go_type())),
        }
    }

    pub(super) fn resolved(&mut self, pos: Pos, value: Ev<'d>) -> Result<Value> {
        let value = value.into_value();
        if self.overlay.is_empty() {
            return Ok(value);
        }
        self.overlay.resolve(&value, &mut self.meter).map_err(|e| failure(pos, e))
    }

    pub(super) fn count(
        &self,
        pos: Pos,
        name: &str,
        given: usize,
        least: usize,
        most: Option<usize>,
    ) -> Result<()> {
        if given < least || most.is_some_and(|most| given > most) {
            let at_least = if most.is_none() { "at least " } else { "" };
            return fail(pos, format!("wrong number of args for {name}: want {at_least}{least} got {given}"));
        }
        Ok(())
    }

    pub(super) fn builtin(
        &mut self,
        dot: &Ev<'d>,
        builtin: Builtin,
        pos: Pos,
        args: &'d [Operand],
        last: Option<Ev<'d>>,
    ) -> Result<Ev<'d>> {
        let (least, most) = builtin.arity();
        self.count(pos, builtin.name(), args.len() + usize::from(last.is_some()), least, most)?;
        if matches!(builtin, Builtin::And | Builtin::Or) {
            let mut value = Ev::Missing;
            for arg in args {
                value = self.operand(dot, arg)?;
                if builtin::is_true(&value, &self.overlay) == (builtin == Builtin::Or) {
                    return Ok(value);
                }
            }
            return Ok(last.unwrap_or(value));
        }
        let given = args.len() + usize::from(last.is_some());
        // Few arguments, as nearly all calls have, need no memory of their own.
        let mut few = [const { Ev::Missing }; FEW];
        let mut many = Vec::new();
        let values = match few.get_mut(..given) {
            Some(few) => few,
            None => {
                many.resize(given, Ev::Missing);
                &mut many
            }
        };
        for (value, arg) in values.iter_mut().zip(args) {
            *value = self.operand(dot, arg)?;
        }
        if let (Some(slot), Some(last)) = (values.last_mut(), last) {
            *slot = last;
        }
        if builtin == Builtin::Printf {
            let place = args.first().map_or(pos, |arg| arg.pos);
            let format = values.first().cloned().unwrap_or(Ev::Missing);
            self.checked(place, format, Param::Str)?;
        }
        self.meter.step(work(values.iter().filter_map(Ev::get))).map_err(|e| failure(pos, e))?;
        let context = builtin::Context { meter: &mut self.meter, overlay: &self.overlay };
        builtin::call(builtin, values, context).map_err(|mut error| {
            if !error.over_limit {
                error.message = format!("error calling {}: {}", builtin.name(), error.message);
            }
            failure(pos, error)
        })
    }

    pub(super) fn function(
        &mut self,
        dot: &Ev<'d>,
        function: &'static Function,
        pos: Pos,
        args: &'d [Operand],
        last: Option<Ev<'d>>,
    ) -> Result<Ev<'d>> {
        let fixed = function.params.len();
        let given = args.len() + usize::from(last.is_some());
        self.count(
            pos,
            function.name,
            given,
            fixed,
            if function.variadic.is_some() { None } else { Some(fixed) },
        )?;
        let param = |i: usize| function.params.get(i).copied().or(function.variadic).unwrap_or(Param::Any);
        let mut few = [const { Value::Nil }; FEW];
        let mut many = Vec::new();
        let values = match few.get_mut(..given) {
            Some(few) => few,
            None => {
                many.resize(given, Value::Nil);
                &mut many
            }
        };
        for (i, (value, arg)) in values.iter_mut().zip(args).enumerate() {
            *value = self.argument(dot, arg, param(i))?;
        }
        if let (Some(slot), Some(last)) = (values.last_mut(), last) {
            let place = args.last().map_or(pos, |arg| arg.pos);
            *slot = self.checked(place, last, param(args.len()))?;
        }
        if !function.identity && !self.overlay.is_empty() {
            for value in values.iter_mut() {
                *value = self.overlay.resolve(value, &mut self.meter).map_err(|e| failure(pos, e))?;
            }
        }
        self.meter.step(work(values.iter())).map_err(|e| failure(pos, e))?;
        let mut call =
            Call { args: values, meter: &mut self.meter, overlay: &mut self.overlay, now: self.now };
        match (function.body)(&mut call) {
            Ok(value) => Ok(Ev::Own(value)),
            Err(mut error) => {
                if !error.over_limit {
                    error.message = format!("error calling {}: {}", function.name, error.message);
                }
                Err(failure(pos, error))
            }
        }
    }

    /// An argument for a parameter of a declared type.
    pub(super) fn argument(&mut self, dot: &Ev<'d>, operand: &'d Operand, param: Param) -> Result<Value> {
        let pos = operand.pos;
        let text = || self.program.source.get(pos as usize..operand.end as usize).unwrap_or("");
        let expected = |what: &str| fail(pos, format!("expected {what}; found {}", text()));
        match (&operand.kind, param) {
            (Kind::Nil, param) if param.nilable() => Ok(Value::Nil),
            (Kind::Nil, param) => fail(pos, format!("cannot assign nil to {}", param.go_name())),
            (Kind::Bool(value), Param::Any | Param::Bool) => Ok(value.clone()),
            (Kind::Str(value), Param::Any | Param::Str) => Ok(value.clone()),
            (Kind::Number(number), Param::Any) => match &number.ideal {
                Some(value) => Ok(value.clone()),
                None => fail(pos, format!("{} overflows int", text())),
            },
            (Kind::Number(number), Param::Int | Param::Int64 | Param::Duration) => {
                match (number.int, param) {
                    (Some(n), Param::Int) => Ok(Value::int(n)),
                    (Some(n), Param::Int64) => Ok(Value::int64(n)),
                    (Some(n), _) => Ok(Value::Duration(n)),
                    (None, _) => expected("integer"),
                }
            }
            (Kind::Number(number), Param::Float) => match number.float {
                Some(x) => Ok(Value::Float(x)),
                None => expected("float"),
            },
            (Kind::Str(_) | Kind::Number(_), Param::Bool) => expected("bool"),
            (Kind::Bool(_) | Kind::Number(_), Param::Str) => expected("string"),
            (Kind::Bool(_) | Kind::Str(_), Param::Int | Param::Int64 | Param::Duration) => {
                expected("integer")
            }
            (Kind::Bool(_) | Kind::Str(_), Param::Float) => expected("float"),
            (Kind::Bool(_) | Kind::Str(_) | Kind::Number(_), param) => {
                fail(pos, format!("can't handle {} for arg of type {}", text(), param.go_name()))
            }
            _ => {
                let value = self.operand(dot, operand)?;
                self.checked(pos, value, param)
            }
        }
    }

    /// A value for a parameter of a declared type.
    pub(super) fn checked(&self, pos: Pos, value: Ev<'d>, param: Param) -> Result<Value> {
        let fits = match value.get() {
            None if param.nilable() => return Ok(Value::Nil),
            None => return fail(pos, format!("there is no value; expected {}", param.go_name())),
            Some(Value::Nil) if param == Param::Any => return Ok(Value::Nil),
            Some(value) => match (param, value) {
                (Param::Any, _)
                | (Param::Str, Value::Str(_))
                | (Param::Int, Value::Int(_, IntKind::Int))
                | (Param::Int64, Value::Int(_, IntKind::Int64))
                | (Param::Float, Value::Float(_))
                | (Param::Bool, Value::Bool(_))
                | (Param::Bytes, Value::Bytes(_))
                | (Param::Time, Value::Time(_))
                | (Param::Duration, Value::Duration(_)) => true,
                (Param::List, Value::List(list)) => list.elem() == Elem::Any,
                (Param::StrList, Value::List(list)) => list.elem() == Elem::Str,
                (Param::Map, Value::Map(map)) => map.elem() == Elem::Any,
                (Param::Object(name), Value::Object(object)) => object.go_type() == name,
                _ => false,
            },
        };
        if fits {
            return Ok(value.into_value());
        }
        let found = match value.get() {
            None | Some(Value::Nil) => "interface {}".into(),
            Some(value) => value.go_type(),
        };
        fail(pos, format!("wrong type for value; expected {}; got {found}", param.go_name()))
    }
}

/// The steps that a call costs: functions look at all of their texts, at least once.
fn work<'v>(args: impl Iterator<Item = &'v Value>) -> u64 {
    args.fold(1, |steps, arg| {
        steps
            + 1
            + match arg {
                Value::Str(text) => text.len() as u64 / 8,
                Value::Bytes(bytes) => bytes.len() as u64 / 8,
                _ => 0,
            }
    })
}
