//! The tree to a flat program.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use herald_value::{IntKind, Map, Str, Value};
use regex::bytes::Regex;

use crate::{
    ast::{Ast, BinaryOp, Id, Node, Pointer, Set, UnaryOp},
    builtin::Builtin,
    parser::Problem,
    pattern,
    types::{INT, Ty},
};

type Result<T> = std::result::Result<T, Problem>;

/// Shared nodes could make a short text into an endless program.
const MAX_CODE: usize = 200_000;

/// One instruction. Jumps name their target.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    Const(u32),
    Env,
    /// A chain of names from the environment on.
    Path(u32),
    Var(u32),
    Store(u32),
    Pop,
    Fetch,
    Key(u32),
    Not,
    Negate,
    Binary(BinaryOp),
    EqualInt,
    EqualStr,
    InSet(u32),
    MatchesConst(u32),
    Jump(u32),
    JumpIfTrue(u32),
    JumpIfFalse(u32),
    JumpIfNil(u32),
    JumpIfNotNil(u32),
    Slice,
    Len,
    Array(u32),
    Map(u32),
    Call(u32),
    CallKey(u32, u32),
    Builtin(Builtin, u32),
    Begin,
    End,
    JumpIfEnd(u32),
    Next(u32),
    ToLast,
    JumpIfBefore(u32),
    Previous(u32),
    Item,
    Index,
    Acc,
    SetAcc,
    AddToAcc,
    CountUp,
    Count,
    CountReaches(u32, i64),
    /// Ends a loop whose results, as many as it counted, lie on the stack.
    Collect,
    /// The same for a loop that has one result for each element.
    CollectAll,
    OneCounted,
    Throw(u32),
    GroupBy,
    Groups,
    SortOrder,
    SortBy,
    Sorted,
}

/// Where a name was found last: objects of a kind mostly have the same fields, so it is mostly there again.
#[derive(Debug, Default)]
pub(crate) struct Hint(AtomicU32);

impl Hint {
    /// The value of a key.
    #[inline]
    pub(crate) fn lookup<'v>(&self, map: &'v Map, key: &Str) -> Option<&'v Value> {
        let entries = map.entries();
        match entries.get(self.0.load(Ordering::Relaxed) as usize) {
            Some((known, value)) if known == key => Some(value),
            _ => self.search(entries, key),
        }
    }

    fn search<'v>(&self, entries: &'v [(Str, Value)], key: &Str) -> Option<&'v Value> {
        let at = entries.binary_search_by(|(known, _)| known.cmp(key)).ok()?;
        self.0.store(at as u32, Ordering::Relaxed);
        entries.get(at).map(|(_, value)| value)
    }
}

/// A chain of names, each with its place in the source.
#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) keys: Vec<(Str, u32)>,
    pub(crate) hints: Vec<Hint>,
    /// Where the chain starts in the source.
    pub(crate) start: u32,
}

/// A compiled program.
#[derive(Debug, Default)]
pub(crate) struct Code {
    pub(crate) ops: Vec<Op>,
    /// Where each instruction comes from, as a byte offset in the source.
    pub(crate) places: Vec<u32>,
    pub(crate) consts: Vec<Value>,
    pub(crate) keys: Vec<(Str, Hint)>,
    pub(crate) paths: Vec<Path>,
    pub(crate) sets: Vec<Arc<Set>>,
    pub(crate) patterns: Vec<Regex>,
    pub(crate) variables: usize,
}

struct Compiler<'a> {
    ast: &'a Ast,
    code: Code,
    lets: Vec<(Str, u32)>,
    chains: Vec<Vec<usize>>,
    regex_bytes: usize,
}

pub(crate) fn compile(ast: &Ast, root: Id, regex_bytes: usize) -> Result<Code> {
    let mut compiler =
        Compiler { ast, code: Code::default(), lets: Vec::new(), chains: Vec::new(), regex_bytes };
    compiler.node(root)?;
    Ok(compiler.code)
}

impl Compiler<'_> {
    fn emit(&mut self, id: Id, op: Op) -> usize {
        self.code.ops.push(op);
        self.code.places.push(self.ast.place(id));
        self.code.ops.len() - 1
    }

    fn here(&self) -> u32 {
        self.code.ops.len() as u32
    }

    fn patch(&mut self, jump: usize) {
        let here = self.here();
        if let Some(
            Op::Jump(to)
            | Op::JumpIfTrue(to)
            | Op::JumpIfFalse(to)
            | Op::JumpIfNil(to)
            | Op::JumpIfNotNil(to)
            | Op::JumpIfEnd(to)
            | Op::JumpIfBefore(to)
            | Op::CountReaches(to, _),
        ) = self.code.ops.get_mut(jump)
        {
            *to = here;
        }
    }

    fn constant(&mut self, id: Id, value: Value) {
        self.code.consts.push(value);
        let index = self.code.consts.len() as u32 - 1;
        self.emit(id, Op::Const(index));
    }

    fn key(&mut self, key: &Str) -> u32 {
        self.code.keys.push((key.clone(), Hint::default()));
        self.code.keys.len() as u32 - 1
    }

    fn all(&mut self, ids: &[Id]) -> Result<()> {
        ids.iter().try_for_each(|id| self.node(*id))
    }

    fn node(&mut self, id: Id) -> Result<()> {
        if self.code.ops.len() > MAX_CODE {
            return Err(Problem::over_limit(self.ast.place(id), "the expression is too complex"));
        }
        let ast = self.ast;
        match ast.node(id) {
            Node::Nil => self.constant(id, Value::Nil),
            Node::Bool(b) => self.constant(id, Value::Bool(*b)),
            Node::Int(n) => self.constant(id, Value::Int(*n, IntKind::Int)),
            Node::Float(x) => self.constant(id, Value::Float(*x)),
            Node::Str(text) => self.constant(id, Value::Str(text.clone())),
            Node::Bytes(bytes) => self.constant(id, Value::Bytes(bytes.clone())),
            Node::Const(value) => self.constant(id, value.clone()),
            Node::Set(_) => self.constant(id, Value::Nil),
            Node::Ident(name) => self.ident(id, name),
            Node::Unary(op, inner) => {
                self.node(*inner)?;
                match op {
                    UnaryOp::Not => drop(self.emit(id, Op::Not)),
                    UnaryOp::Minus => drop(self.emit(id, Op::Negate)),
                    UnaryOp::Plus => {}
                }
            }
            Node::Binary(..) => self.binary(id)?,
            Node::Chain(inner) => {
                self.chains.push(Vec::new());
                self.node(*inner)?;
                let jumps = self.chains.pop().unwrap_or_default();
                if !jumps.is_empty() {
                    for jump in jumps {
                        self.patch(jump);
                    }
                    // A nil list leaves a chain as plain nil.
                    let end = self.emit(id, Op::JumpIfNotNil(0));
                    self.emit(id, Op::Pop);
                    self.constant(id, Value::Nil);
                    self.patch(end);
                }
            }
            Node::Member { base, property, optional, .. } => {
                if let Some(path) = self.path(id) {
                    self.code.paths.push(path);
                    let index = self.code.paths.len() as u32 - 1;
                    self.emit(id, Op::Path(index));
                    return Ok(());
                }
                self.node(*base)?;
                self.optional(id, *optional);
                match ast.node(*property) {
                    Node::Str(name) => {
                        let key = self.key(name);
                        self.emit(id, Op::Key(key));
                    }
                    _ => {
                        self.node(*property)?;
                        self.emit(id, Op::Fetch);
                    }
                }
            }
            Node::Slice { base, from, to } => {
                self.node(*base)?;
                match to {
                    Some(to) => self.node(*to)?,
                    None => drop(self.emit(id, Op::Len)),
                }
                match from {
                    Some(from) => self.node(*from)?,
                    None => self.constant(id, Value::int(0)),
                }
                self.emit(id, Op::Slice);
            }
            Node::Call { callee, args } => {
                self.all(args)?;
                let count = args.len() as u32;
                if let Node::Member { base, property, optional, .. } = ast.node(*callee)
                    && let Node::Str(name) = ast.node(*property)
                {
                    self.node(*base)?;
                    self.optional(*callee, *optional);
                    let key = self.key(name);
                    self.emit(id, Op::CallKey(key, count));
                    return Ok(());
                }
                self.node(*callee)?;
                self.emit(id, Op::Call(count));
            }
            Node::Builtin { name, args, .. } => {
                if name.predicate_params().is_some() {
                    return self.looping(id);
                }
                self.all(args)?;
                self.emit(id, Op::Builtin(*name, args.len() as u32));
            }
            Node::Predicate(inner) => self.node(*inner)?,
            Node::Pointer(pointer) => {
                let op = match pointer {
                    Pointer::Index => Op::Index,
                    Pointer::Acc => Op::Acc,
                    _ => Op::Item,
                };
                self.emit(id, op);
            }
            Node::Let { name, value, body } => {
                self.node(*value)?;
                let index = self.code.variables as u32;
                self.code.variables += 1;
                self.emit(id, Op::Store(index));
                self.lets.push((name.clone(), index));
                self.node(*body)?;
                self.lets.pop();
            }
            Node::Sequence(ids) => {
                for (i, inner) in ids.iter().enumerate() {
                    if i > 0 {
                        self.emit(id, Op::Pop);
                    }
                    self.node(*inner)?;
                }
            }
            Node::If { cond, yes, no } => {
                self.node(*cond)?;
                let otherwise = self.emit(*cond, Op::JumpIfFalse(0));
                self.emit(id, Op::Pop);
                self.node(*yes)?;
                let end = self.emit(id, Op::Jump(0));
                self.patch(otherwise);
                self.emit(id, Op::Pop);
                self.node(*no)?;
                self.patch(end);
            }
            Node::Array(ids) => {
                self.all(ids)?;
                self.emit(id, Op::Array(ids.len() as u32));
            }
            Node::Map(pairs) => {
                for (key, value) in pairs {
                    self.node(*key)?;
                    self.node(*value)?;
                }
                self.emit(id, Op::Map(pairs.len() as u32));
            }
        }
        Ok(())
    }

    fn optional(&mut self, id: Id, optional: bool) {
        if optional && !self.chains.is_empty() {
            let jump = self.emit(id, Op::JumpIfNil(0));
            if let Some(chain) = self.chains.last_mut() {
                chain.push(jump);
            }
        }
    }

    fn ident(&mut self, id: Id, name: &Str) {
        if let Some((_, index)) = self.lets.iter().rev().find(|(known, _)| known == name) {
            let index = *index;
            self.emit(id, Op::Var(index));
        } else if *name == "$env" {
            self.emit(id, Op::Env);
        } else {
            let place = self.ast.place(id);
            self.code.paths.push(Path {
                hints: vec![Hint::default()],
                keys: vec![(name.clone(), place)],
                start: place,
            });
            let index = self.code.paths.len() as u32 - 1;
            self.emit(id, Op::Path(index));
        }
    }

    /// The names of a chain like `rollout.status.phase`, if this is one.
    fn path(&self, id: Id) -> Option<Path> {
        let mut keys = Vec::new();
        let mut at = id;
        loop {
            match self.ast.node(at) {
                Node::Member { base, property, optional: false, .. } => {
                    let Node::Str(name) = self.ast.node(*property) else { return None };
                    keys.push((name.clone(), self.ast.place(at)));
                    at = *base;
                }
                Node::Ident(name) => {
                    if *name == "$env" || self.lets.iter().any(|(known, _)| known == name) {
                        return None;
                    }
                    keys.push((name.clone(), self.ast.place(at)));
                    keys.reverse();
                    let hints = keys.iter().map(|_| Hint::default()).collect();
                    return Some(Path { keys, hints, start: self.ast.place(at) });
                }
                _ => return None,
            }
        }
    }

    fn binary(&mut self, id: Id) -> Result<()> {
        let ast = self.ast;
        let mut spine = Vec::new();
        let mut at = id;
        while let Node::Binary(op, left, right) = ast.node(at) {
            spine.push((at, *op, *left, *right));
            at = *left;
        }
        self.node(at)?;
        while let Some((id, op, left, right)) = spine.pop() {
            match op {
                BinaryOp::Or | BinaryOp::And | BinaryOp::Coalesce => {
                    let jump = match op {
                        BinaryOp::Or => Op::JumpIfTrue(0),
                        BinaryOp::And => Op::JumpIfFalse(0),
                        _ => Op::JumpIfNotNil(0),
                    };
                    let jump = self.emit(id, jump);
                    self.emit(id, Op::Pop);
                    self.node(right)?;
                    self.patch(jump);
                    continue;
                }
                BinaryOp::Matches => {
                    if let Node::Str(text) = ast.node(right) {
                        let regex = pattern::compile(&text.to_str_lossy(), self.regex_bytes)
                            .map_err(|message| Problem::new(ast.place(right), message))?;
                        self.code.patterns.push(regex);
                        let index = self.code.patterns.len() as u32 - 1;
                        self.emit(id, Op::MatchesConst(index));
                        continue;
                    }
                }
                BinaryOp::In => {
                    if let Node::Set(set) = ast.node(right) {
                        self.code.sets.push(set.clone());
                        let index = self.code.sets.len() as u32 - 1;
                        self.emit(id, Op::InSet(index));
                        continue;
                    }
                }
                _ => {}
            }
            self.node(right)?;
            let equal = match (ast.ty(left), ast.ty(right)) {
                (&INT, &INT) => Op::EqualInt,
                (Ty::Str, Ty::Str) => Op::EqualStr,
                _ => Op::Binary(BinaryOp::Equal),
            };
            match op {
                BinaryOp::Equal => drop(self.emit(id, equal)),
                BinaryOp::NotEqual => {
                    self.emit(id, equal);
                    self.emit(id, Op::Not);
                }
                op => drop(self.emit(id, Op::Binary(op))),
            }
        }
        Ok(())
    }

    /// A loop over all elements, in order.
    fn each(&mut self, id: Id, body: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let begin = self.here();
        let end = self.emit(id, Op::JumpIfEnd(0));
        body(self)?;
        self.emit(id, Op::Next(begin));
        self.patch(end);
        Ok(())
    }

    /// Runs `body` where the value on the stack is true; takes that value off.
    fn when(&mut self, id: Id, body: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let no = self.emit(id, Op::JumpIfFalse(0));
        self.emit(id, Op::Pop);
        body(self)?;
        let end = self.emit(id, Op::Jump(0));
        self.patch(no);
        self.emit(id, Op::Pop);
        self.patch(end);
        Ok(())
    }

    fn looping(&mut self, id: Id) -> Result<()> {
        let ast = self.ast;
        let Node::Builtin { name, args, extra } = ast.node(id) else { return Ok(()) };
        let (Some(&list), predicate, last) = (args.first(), args.get(1).copied(), args.get(2).copied())
        else {
            return Ok(());
        };
        let test = |this: &mut Self| match predicate {
            Some(predicate) => this.node(predicate),
            None => {
                this.emit(id, Op::Item);
                Ok(())
            }
        };
        self.node(list)?;
        self.emit(id, Op::Begin);
        match name {
            Builtin::All | Builtin::NoneOf | Builtin::Any => {
                let mut stop = 0;
                self.each(id, |this| {
                    test(this)?;
                    if *name == Builtin::NoneOf {
                        this.emit(id, Op::Not);
                    }
                    let jump = if *name == Builtin::Any { Op::JumpIfTrue(0) } else { Op::JumpIfFalse(0) };
                    stop = this.emit(id, jump);
                    this.emit(id, Op::Pop);
                    Ok(())
                })?;
                self.constant(id, Value::Bool(*name != Builtin::Any));
                self.patch(stop);
                self.emit(id, Op::End);
            }
            Builtin::One => {
                self.each(id, |this| {
                    test(this)?;
                    this.when(id, |this| {
                        this.emit(id, Op::CountUp);
                        Ok(())
                    })
                })?;
                self.emit(id, Op::OneCounted);
                self.emit(id, Op::End);
            }
            Builtin::Filter => {
                self.each(id, |this| {
                    test(this)?;
                    this.when(id, |this| {
                        this.emit(id, Op::CountUp);
                        this.element(id, extra.map)
                    })
                })?;
                self.emit(id, Op::Collect);
            }
            Builtin::Map => {
                self.each(id, test)?;
                self.emit(id, Op::CollectAll);
            }
            Builtin::Count => {
                let mut stop = None;
                self.each(id, |this| {
                    test(this)?;
                    this.when(id, |this| {
                        this.emit(id, Op::CountUp);
                        stop = extra.threshold.map(|limit| this.emit(id, Op::CountReaches(0, limit)));
                        Ok(())
                    })
                })?;
                if let Some(stop) = stop {
                    self.patch(stop);
                }
                self.emit(id, Op::Count);
                self.emit(id, Op::End);
            }
            Builtin::Sum => {
                self.constant(id, Value::int(0));
                self.emit(id, Op::SetAcc);
                self.each(id, |this| {
                    test(this)?;
                    this.emit(id, Op::AddToAcc);
                    Ok(())
                })?;
                self.emit(id, Op::Acc);
                self.emit(id, Op::End);
            }
            Builtin::Find | Builtin::FindIndex | Builtin::FindLast | Builtin::FindLastIndex => {
                let backward = matches!(name, Builtin::FindLast | Builtin::FindLastIndex);
                if backward {
                    self.emit(id, Op::ToLast);
                }
                let begin = self.here();
                let end = self.emit(id, if backward { Op::JumpIfBefore(0) } else { Op::JumpIfEnd(0) });
                test(self)?;
                let no = self.emit(id, Op::JumpIfFalse(0));
                self.emit(id, Op::Pop);
                match name {
                    Builtin::Find | Builtin::FindLast => self.element(id, extra.map)?,
                    _ => drop(self.emit(id, Op::Index)),
                }
                let found = self.emit(id, Op::Jump(0));
                self.patch(no);
                self.emit(id, Op::Pop);
                self.emit(id, if backward { Op::Previous(begin) } else { Op::Next(begin) });
                self.patch(end);
                if extra.throws {
                    self.emit(id, Op::Throw(0));
                } else {
                    self.constant(id, Value::Nil);
                }
                self.patch(found);
                self.emit(id, Op::End);
            }
            Builtin::GroupBy => {
                self.each(id, |this| {
                    test(this)?;
                    this.emit(id, Op::GroupBy);
                    Ok(())
                })?;
                self.emit(id, Op::Groups);
            }
            Builtin::SortBy => {
                match last {
                    Some(order) => self.node(order)?,
                    None => self.constant(id, Value::str("asc")),
                }
                self.emit(id, Op::SortOrder);
                self.each(id, |this| {
                    test(this)?;
                    this.emit(id, Op::SortBy);
                    Ok(())
                })?;
                self.emit(id, Op::Sorted);
            }
            _ => {
                match last {
                    Some(initial) => {
                        self.node(initial)?;
                        self.emit(id, Op::SetAcc);
                    }
                    None => {
                        let empty = self.emit(id, Op::JumpIfEnd(0));
                        self.emit(id, Op::Item);
                        self.emit(id, Op::SetAcc);
                        let next = self.here() + 2;
                        self.emit(id, Op::Next(next));
                        self.patch(empty);
                        self.emit(id, Op::Throw(1));
                    }
                }
                self.each(id, |this| {
                    test(this)?;
                    this.emit(id, Op::SetAcc);
                    Ok(())
                })?;
                self.emit(id, Op::Acc);
                self.emit(id, Op::End);
            }
        }
        Ok(())
    }

    fn element(&mut self, id: Id, map: Option<Id>) -> Result<()> {
        match map {
            Some(map) => self.node(map),
            None => {
                self.emit(id, Op::Item);
                Ok(())
            }
        }
    }
}
