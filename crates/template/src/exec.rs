//! Rendering.

mod call;

use herald_value::{CallError, IntKind, Value, gofmt, limits::Limits, limits::Meter};

use crate::{
    ast::{Branch, Command, Invocation, Kind, Name, Node, Operand, Pipe, Pos, Program, Range, VarId},
    builtin, hint,
    overlay::Overlay,
};

/// How deep rendering and sources may nest, whatever the limits say, so that the stack suffices.
pub(crate) const MOST_DEPTH: u32 = 200;

/// What an evaluation gives.
#[derive(Clone, Debug)]
pub(crate) enum Ev<'d> {
    /// No value at all: a missing key. It prints `<no value>` and has no field that would be an error.
    Missing,
    /// A value of the data or the program; nil is Go's nil `interface{}`, whose fields are errors.
    Ref(&'d Value),
    /// A value that was made on the way.
    Own(Value),
}

impl<'d> Ev<'d> {
    #[inline]
    pub(crate) fn get(&self) -> Option<&Value> {
        match self {
            Ev::Missing => None,
            Ev::Ref(value) => Some(value),
            Ev::Own(value) => Some(value),
        }
    }

    /// Something inside the value, without a copy where the data itself is looked at.
    #[inline]
    pub(crate) fn child(&self, find: impl for<'x> Fn(&'x Value) -> Option<&'x Value>) -> Ev<'d> {
        match self {
            Ev::Missing => Ev::Missing,
            Ev::Ref(value) => find(value).map_or(Ev::Missing, Ev::Ref),
            Ev::Own(value) => find(value).map_or(Ev::Missing, |found| Ev::Own(found.clone())),
        }
    }

    fn into_value(self) -> Value {
        match self {
            Ev::Missing => Value::Nil,
            Ev::Ref(value) => value.clone(),
            Ev::Own(value) => value,
        }
    }
}

/// A failure and where it happened.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) pos: Pos,
    pub(crate) error: CallError,
    pub(crate) hint: Option<String>,
}

type Result<T> = std::result::Result<T, Box<Failure>>;

fn failure(pos: Pos, error: CallError) -> Box<Failure> {
    Box::new(Failure { pos, error, hint: None })
}

fn fail<T>(pos: Pos, message: impl Into<String>) -> Result<T> {
    Err(failure(pos, CallError::new(message)))
}

/// How a list of nodes was left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

struct Machine<'d, 'o> {
    program: &'d Program,
    out: &'o mut Vec<u8>,
    meter: Meter,
    overlay: Overlay,
    now: Option<jiff::Timestamp>,
    /// `$` of the main template, which is in `variables` for all others: most templates then need no memory for them.
    root: Ev<'d>,
    variables: Vec<(VarId, Ev<'d>)>,
    /// Where the variables of the running template begin.
    base: usize,
    depth: u32,
    most_depth: u32,
    /// The last key that was not there: the map and the key.
    missing: Option<(&'d Value, &'d Name)>,
}

/// Renders a program.
pub(crate) fn render(
    program: &Program,
    vars: &Value,
    limits: Limits,
    now: Option<jiff::Timestamp>,
    out: &mut Vec<u8>,
) -> Result<()> {
    let dot = Ev::Ref(vars);
    let mut machine = Machine {
        program,
        out,
        meter: Meter::new(limits),
        overlay: Overlay::default(),
        now,
        root: dot.clone(),
        variables: Vec::new(),
        base: 0,
        depth: 0,
        most_depth: limits.depth.min(MOST_DEPTH),
        missing: None,
    };
    let Some(main) = program.templates.get(program.main) else { return Ok(()) };
    let result = machine.list(&dot, &main.body).map(|_| ());
    result.map_err(|mut failure| {
        if failure.hint.is_none() {
            failure.hint = machine.missing_hint();
        }
        failure
    })
}

impl<'d> Machine<'d, '_> {
    fn missing_hint(&self) -> Option<String> {
        let (map, key) = self.missing?;
        let key = key.text.to_str()?;
        let near = hint::nearest(key, map.as_map()?.entries().iter().filter_map(|(k, _)| k.to_str()))?;
        Some(format!("there is no field `{key}`; did you mean `{near}`?"))
    }

    fn deeper(&mut self, pos: Pos) -> Result<()> {
        self.depth += 1;
        if self.depth > self.most_depth {
            let message = format!("templates and blocks run nested deeper than {} levels", self.most_depth);
            return Err(failure(pos, CallError::over_limit(message)));
        }
        Ok(())
    }

    fn list(&mut self, dot: &Ev<'d>, nodes: &'d [Node]) -> Result<Flow> {
        for node in nodes {
            let pos = node_pos(node);
            self.meter.step(1).map_err(|e| failure(pos, e))?;
            match node {
                Node::Text(start, end) => {
                    let text =
                        self.program.source.as_bytes().get(*start as usize..*end as usize).unwrap_or(&[]);
                    self.meter.grow(text.len() as u64).map_err(|e| failure(*start, e))?;
                    self.out.extend_from_slice(text);
                }
                Node::Action(pipe) => {
                    let value = self.pipe(dot, pipe)?;
                    if pipe.variables.is_empty() {
                        self.print(pipe.pos, &value)?;
                    }
                }
                Node::If(branch) => match self.branch(dot, branch, false)? {
                    Flow::Next => {}
                    flow => return Ok(flow),
                },
                Node::With(branch) => match self.branch(dot, branch, true)? {
                    Flow::Next => {}
                    flow => return Ok(flow),
                },
                Node::Range(range) => match self.range(dot, range)? {
                    Flow::Next => {}
                    flow => return Ok(flow),
                },
                Node::Template(call) => self.template(dot, call)?,
                Node::Break => return Ok(Flow::Break),
                Node::Continue => return Ok(Flow::Continue),
            }
        }
        Ok(Flow::Next)
    }

    fn print(&mut self, pos: Pos, value: &Ev<'d>) -> Result<()> {
        let before = self.out.len();
        match value.get() {
            None | Some(Value::Nil) => self.out.extend_from_slice(b"<no value>"),
            Some(Value::Str(text)) => {
                self.meter.grow(text.len() as u64).map_err(|e| failure(pos, e))?;
                self.out.extend_from_slice(text.as_bytes());
                return Ok(());
            }
            Some(Value::Func(function)) => {
                return fail(pos, format!("can't print {} of type func", function.name));
            }
            Some(value) => {
                let left = usize::try_from(self.meter.bytes_left()).unwrap_or(usize::MAX);
                let limit = before.saturating_add(left);
                let resolved;
                let value = if self.overlay.is_empty() {
                    value
                } else {
                    resolved = self.overlay.resolve(value, &mut self.meter).map_err(|e| failure(pos, e))?;
                    &resolved
                };
                if !gofmt::print_bounded(self.out, value, limit) {
                    self.meter.grow(u64::MAX).map_err(|e| failure(pos, e))?;
                }
            }
        }
        self.meter.grow((self.out.len() - before) as u64).map_err(|e| failure(pos, e))
    }

    fn branch(&mut self, dot: &Ev<'d>, branch: &'d Branch, with: bool) -> Result<Flow> {
        let mark = self.variables.len();
        let first = branch.arms.first().map_or(0, |(pipe, _)| pipe.pos);
        self.deeper(first)?;
        let mut flow = None;
        for (pipe, body) in &branch.arms {
            self.meter.step(1).map_err(|e| failure(pipe.pos, e))?;
            let value = self.pipe(dot, pipe)?;
            if builtin::is_true(&value, &self.overlay) {
                flow = Some(self.list(if with { &value } else { dot }, body)?);
                break;
            }
        }
        let flow = match flow {
            Some(flow) => flow,
            None => self.list(dot, &branch.otherwise)?,
        };
        self.variables.truncate(mark);
        self.depth -= 1;
        Ok(flow)
    }

    fn range(&mut self, dot: &Ev<'d>, range: &'d Range) -> Result<Flow> {
        let outer = self.variables.len();
        let pos = range.pipe.pos;
        self.deeper(pos)?;
        let value = self.pipe(dot, &range.pipe)?;
        let mut ran = false;
        match value.get() {
            None | Some(Value::Nil) => {}
            Some(Value::Int(n, kind)) => {
                if range.pipe.variables.len() > 1 {
                    return fail(pos, format!("can't use {n} to iterate over more than one variable"));
                }
                let count = if kind.is_unsigned() { *n as u64 } else { (*n).max(0) as u64 };
                for i in 0..count {
                    ran = true;
                    if !self.iteration(range, Ev::Missing, Ev::Own(Value::Int(i as i64, *kind)))? {
                        break;
                    }
                }
            }
            Some(Value::Duration(n)) => {
                if range.pipe.variables.len() > 1 {
                    return fail(pos, format!("can't use {n} to iterate over more than one variable"));
                }
                for i in 0..*n {
                    ran = true;
                    if !self.iteration(range, Ev::Missing, Ev::Own(Value::Duration(i)))? {
                        break;
                    }
                }
            }
            Some(Value::Bytes(bytes)) => {
                for (i, byte) in bytes.iter().enumerate() {
                    ran = true;
                    let elem = Ev::Own(Value::Int(i64::from(*byte), IntKind::Uint8));
                    if !self.iteration(range, Ev::Own(Value::int(i as i64)), elem)? {
                        break;
                    }
                }
            }
            Some(Value::List(list)) => {
                for i in 0..list.items().len() {
                    ran = true;
                    let elem = value.child(|value| match value {
                        Value::List(list) => list.items().get(i),
                        _ => None,
                    });
                    if !self.iteration(range, Ev::Own(Value::int(i as i64)), elem)? {
                        break;
                    }
                }
            }
            Some(Value::Map(map)) => {
                let current = if self.overlay.is_empty() {
                    value.clone()
                } else {
                    Ev::Own(Value::Map(self.overlay.current(map)))
                };
                let keyed = range.pipe.variables.len() > 1;
                for i in 0..current.get().and_then(Value::as_map).map_or(0, |map| map.len()) {
                    ran = true;
                    let entry = current.get().and_then(Value::as_map).and_then(|map| map.entries().get(i));
                    let key = match entry {
                        Some((key, _)) if keyed => Ev::Own(Value::Str(key.clone())),
                        _ => Ev::Missing,
                    };
                    let elem = current.child(|value| Some(&value.as_map()?.entries().get(i)?.1));
                    if !self.iteration(range, key, elem)? {
                        break;
                    }
                }
            }
            Some(Value::AnyMap(map)) => {
                for (key, item) in gofmt::sorted_entries(map) {
                    ran = true;
                    if !self.iteration(range, Ev::Own(key.clone()), Ev::Own(item.clone()))? {
                        break;
                    }
                }
            }
            Some(other) => {
                let mut text = Vec::new();
                gofmt::print_bounded(&mut text, other, 200);
                let text = String::from_utf8_lossy(&text);
                return fail(pos, format!("range can't iterate over {text} of type {}", other.go_type()));
            }
        }
        let flow = if ran { Flow::Next } else { self.list(dot, &range.otherwise)? };
        self.variables.truncate(outer);
        self.depth -= 1;
        Ok(flow)
    }

    /// Runs the body once; `false` after a `break`.
    fn iteration(&mut self, range: &'d Range, index: Ev<'d>, elem: Ev<'d>) -> Result<bool> {
        self.meter.step(1).map_err(|e| failure(range.pipe.pos, e))?;
        let mark = self.variables.len();
        match (range.pipe.assign, &*range.pipe.variables) {
            (_, []) => {}
            (true, [only]) => self.assign(range.pipe.pos, *only, elem.clone())?,
            (true, [first, second, ..]) => {
                self.assign(range.pipe.pos, *first, index)?;
                self.assign(range.pipe.pos, *second, elem.clone())?;
            }
            (false, names) => {
                // The pipeline has pushed its variables; they take the values of this round.
                if let Some(slot) = self.variables.last_mut() {
                    slot.1 = elem.clone();
                }
                if names.len() > 1
                    && mark >= 2
                    && let Some(slot) = self.variables.get_mut(mark - 2)
                {
                    slot.1 = index;
                }
            }
        }
        let flow = self.list(&elem, &range.body)?;
        self.variables.truncate(mark);
        Ok(flow != Flow::Break)
    }

    fn template(&mut self, dot: &Ev<'d>, call: &'d Invocation) -> Result<()> {
        let Some(target) = call.target.and_then(|i| self.program.templates.get(i)) else {
            let near = hint::nearest(&call.name, self.program.templates.iter().map(|t| &*t.name));
            let mut problem =
                failure(call.pos, CallError::new(format!("template {:?} is not defined", call.name)));
            problem.hint = near.map(|near| format!("did you mean {near:?}?"));
            return Err(problem);
        };
        self.deeper(call.pos)?;
        let value = match &call.pipe {
            Some(pipe) => self.pipe(dot, pipe)?,
            None => Ev::Missing,
        };
        let mark = self.variables.len();
        let base = std::mem::replace(&mut self.base, mark);
        self.variables.push((0, value.clone()));
        self.list(&value, &target.body)?;
        self.variables.truncate(mark);
        self.base = base;
        self.depth -= 1;
        Ok(())
    }

    fn assign(&mut self, pos: Pos, id: VarId, value: Ev<'d>) -> Result<()> {
        let base = self.base;
        match self.variables.iter_mut().skip(base).rev().find(|(name, _)| *name == id) {
            Some(slot) => {
                slot.1 = value;
                Ok(())
            }
            None if id == 0 && base == 0 => {
                self.root = value;
                Ok(())
            }
            None => self.undefined(pos, id),
        }
    }

    fn undefined<T>(&self, pos: Pos, id: VarId) -> Result<T> {
        let name = self.program.variables.get(id as usize).map_or("", |name| name);
        fail(pos, format!("undefined variable: {name}"))
    }

    fn variable(&self, pos: Pos, id: VarId) -> Result<Ev<'d>> {
        let local = self.variables.get(self.base..).unwrap_or(&[]);
        match local.iter().rev().find(|(name, _)| *name == id) {
            Some((_, value)) => Ok(value.clone()),
            None if id == 0 && self.base == 0 => Ok(self.root.clone()),
            None => self.undefined(pos, id),
        }
    }

    fn pipe(&mut self, dot: &Ev<'d>, pipe: &'d Pipe) -> Result<Ev<'d>> {
        let mut value = None;
        for command in &pipe.commands {
            let result = self.command(dot, command, value)?;
            // A nil interface is no value at all once it has left its command.
            value = Some(match result {
                Ev::Ref(Value::Nil) | Ev::Own(Value::Nil) => Ev::Missing,
                other => other,
            });
        }
        let value = value.unwrap_or(Ev::Missing);
        for id in &pipe.variables {
            if pipe.assign {
                self.assign(pipe.pos, *id, value.clone())?;
            } else {
                self.variables.push((*id, value.clone()));
            }
        }
        Ok(value)
    }

    fn command(&mut self, dot: &Ev<'d>, command: &'d Command, last: Option<Ev<'d>>) -> Result<Ev<'d>> {
        let first = &command.first;
        match &first.kind {
            Kind::Field(names) => return self.chain(dot, dot.clone(), names, first.pos, &command.args, last),
            Kind::Chain(inner, names) => {
                let receiver = self.operand(dot, inner)?;
                return self.chain(dot, receiver, names, first.pos, &command.args, last);
            }
            Kind::Variable(id, names) => {
                let value = self.variable(first.pos, *id)?;
                if !names.is_empty() {
                    return self.chain(dot, value, names, first.pos, &command.args, last);
                }
                self.no_arguments(command, &last)?;
                return Ok(value);
            }
            Kind::Builtin(builtin) => return self.builtin(dot, *builtin, first.pos, &command.args, last),
            Kind::Function(function) => return self.function(dot, function, first.pos, &command.args, last),
            _ => self.no_arguments(command, &last)?,
        }
        match &first.kind {
            Kind::Pipe(pipe) => {
                self.deeper(first.pos)?;
                let value = self.pipe(dot, pipe)?;
                self.depth -= 1;
                Ok(value)
            }
            Kind::Nil => fail(first.pos, "nil is not a command"),
            _ => self.operand(dot, first),
        }
    }

    fn no_arguments(&self, command: &Command, last: &Option<Ev<'d>>) -> Result<()> {
        if command.args.is_empty() && last.is_none() {
            return Ok(());
        }
        let text = self.source_of(&command.first);
        fail(command.first.pos, format!("can't give argument to non-function {text}"))
    }

    fn source_of(&self, operand: &Operand) -> &'d str {
        self.program.source.get(operand.pos as usize..operand.end as usize).unwrap_or("")
    }

    /// An operand where any type will do.
    fn operand(&mut self, dot: &Ev<'d>, operand: &'d Operand) -> Result<Ev<'d>> {
        let pos = operand.pos;
        match &operand.kind {
            Kind::Dot => Ok(dot.clone()),
            Kind::Nil => Ok(Ev::Missing),
            Kind::Bool(value) | Kind::Str(value) => Ok(Ev::Ref(value)),
            Kind::Number(number) => match &number.ideal {
                Some(value) => Ok(Ev::Ref(value)),
                None => fail(pos, format!("{} overflows int", self.source_of(operand))),
            },
            Kind::Field(names) => self.chain(dot, dot.clone(), names, pos, &[], None),
            Kind::Variable(id, names) => {
                let value = self.variable(pos, *id)?;
                if names.is_empty() { Ok(value) } else { self.chain(dot, value, names, pos, &[], None) }
            }
            Kind::Chain(inner, names) => {
                let receiver = self.operand(dot, inner)?;
                self.chain(dot, receiver, names, pos, &[], None)
            }
            Kind::Pipe(pipe) => {
                self.deeper(pos)?;
                let value = self.pipe(dot, pipe)?;
                self.depth -= 1;
                Ok(value)
            }
            Kind::Builtin(builtin) => self.builtin(dot, *builtin, pos, &[], None),
            Kind::Function(function) => self.function(dot, function, pos, &[], None),
        }
    }

    fn chain(
        &mut self,
        dot: &Ev<'d>,
        receiver: Ev<'d>,
        names: &'d [Name],
        pos: Pos,
        args: &'d [Operand],
        last: Option<Ev<'d>>,
    ) -> Result<Ev<'d>> {
        let mut value = receiver;
        let mut names = names;
        let has_args = !args.is_empty() || last.is_some();
        // Most chains walk through maps of the data: by reference, from one to the next.
        if self.overlay.is_empty()
            && let Ev::Ref(mut whole) = value
        {
            while let (Value::Map(map), Some((name, rest))) = (whole, names.split_first())
                && !(has_args && rest.is_empty())
            {
                match name.hint.lookup(map, &name.text) {
                    Some(found) => whole = found,
                    None => {
                        self.missing = Some((whole, name));
                        return if has_args {
                            self.rest(dot, Ev::Missing, rest, pos, args, last)
                        } else {
                            Ok(Ev::Missing)
                        };
                    }
                }
                names = rest;
            }
            value = Ev::Ref(whole);
        }
        self.rest(dot, value, names, pos, args, last)
    }

    fn rest(
        &mut self,
        dot: &Ev<'d>,
        mut value: Ev<'d>,
        names: &'d [Name],
        pos: Pos,
        args: &'d [Operand],
        last: Option<Ev<'d>>,
    ) -> Result<Ev<'d>> {
        let Some((final_name, before)) = names.split_last() else { return Ok(value) };
        for name in before {
            value = self.field(dot, value, name, pos, &[], None)?;
        }
        self.field(dot, value, final_name, pos, args, last)
    }

    fn field(
        &mut self,
        dot: &Ev<'d>,
        receiver: Ev<'d>,
        name: &'d Name,
        pos: Pos,
        args: &'d [Operand],
        last: Option<Ev<'d>>,
    ) -> Result<Ev<'d>> {
        let has_args = !args.is_empty() || last.is_some();
        match receiver.get() {
            None => Ok(Ev::Missing),
            Some(Value::Nil) => {
                fail(pos, format!("the value is null, so it has no field {}", name.text.to_str_lossy()))
            }
            Some(Value::Map(map)) => {
                if has_args {
                    return fail(
                        pos,
                        format!("{} is not a method but has arguments", name.text.to_str_lossy()),
                    );
                }
                if !self.overlay.is_empty() {
                    let current = self.overlay.current(map);
                    return Ok(current
                        .get_bytes(name.text.as_bytes())
                        .map_or(Ev::Missing, |v| Ev::Own(v.clone())));
                }
                let found = receiver.child(|value| match value {
                    Value::Map(map) => name.hint.lookup(map, &name.text),
                    _ => None,
                });
                if let (Ev::Missing, Ev::Ref(map)) = (&found, &receiver) {
                    self.missing = Some((map, name));
                }
                Ok(found)
            }
            Some(Value::AnyMap(map)) => {
                let found =
                    map.entries().iter().find(|(key, _)| matches!(key, Value::Str(key) if *key == name.text));
                Ok(found.map_or(Ev::Missing, |(_, value)| Ev::Own(value.clone())))
            }
            Some(value) => {
                let value = value.clone();
                self.method(dot, &value, &name.text, pos, args, last)
            }
        }
    }
}

fn node_pos(node: &Node) -> Pos {
    match node {
        Node::Text(start, _) => *start,
        Node::Action(pipe) => pipe.pos,
        Node::If(branch) | Node::With(branch) => branch.arms.first().map_or(0, |(pipe, _)| pipe.pos),
        Node::Range(range) => range.pipe.pos,
        Node::Template(call) => call.pos,
        Node::Break | Node::Continue => 0,
    }
}
