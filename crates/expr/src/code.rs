//! The tree to a flat program.

mod loops;

use herald_value::{Hint, IntKind, Str, Value};
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
    /// An operator whose right side is a constant.
    BinaryConst(BinaryOp, u32),
    EqualConst(u32),
    EqualInt,
    EqualStr,
    InSet(u32),
    MatchesConst(u32),
    Jump(u32),
    /// Jumps if the value on the stack is true, else takes it off.
    TrueOrPop(u32),
    FalseOrPop(u32),
    /// Takes the value off the stack, and jumps if it is false.
    PopJumpIfFalse(u32),
    JumpIfNil(u32),
    JumpIfNotNil(u32),
    Slice,
    Len,
    Array(u32),
    Map(u32),
    Call(u32),
    CallKey(u32, u32),
    /// The argument on top of the stack must not be nil: the type of the method that takes it is known.
    NotNil,
    Builtin(Builtin, u32),
    Begin,
    End,
    JumpIfEnd(u32),
    /// Goes to the next element, and jumps.
    Next(u32),
    /// Goes to the next element, and jumps if there is one.
    Again(u32),
    ToLast,
    JumpIfBefore(u32),
    Previous(u32),
    Item,
    /// A field of the element; then the place of the element itself.
    ItemKey(u32, u32),
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

/// A name in a chain.
#[derive(Debug)]
pub(crate) struct Name {
    pub(crate) text: Str,
    pub(crate) hint: Hint,
    /// Where it is in the source.
    pub(crate) place: u32,
}

impl Name {
    fn new(text: &Str, place: u32) -> Name {
        Name { text: text.clone(), hint: Hint::default(), place }
    }
}

/// A chain of names.
#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) names: Vec<Name>,
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
    pub(crate) sets: Vec<Set>,
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

/// Whether a node is compiled to one constant and nothing else.
fn is_constant(node: &Node) -> bool {
    matches!(
        node,
        Node::Nil
            | Node::Bool(_)
            | Node::Int(_)
            | Node::Float(_)
            | Node::Str(_)
            | Node::Bytes(_)
            | Node::Const(_)
    )
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
            | Op::TrueOrPop(to)
            | Op::FalseOrPop(to)
            | Op::PopJumpIfFalse(to)
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
                if let (Node::Pointer(Pointer::Item), Node::Str(name), false) =
                    (ast.node(*base), ast.node(*property), *optional)
                {
                    let key = self.key(name);
                    self.emit(id, Op::ItemKey(key, ast.place(*base)));
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
                    // The original calls methods of one parameter by their type, and such a call takes no nil. All other
                    // calls put the zero value in its place.
                    if matches!(ast.ty(*callee), Ty::Method(..))
                        && count == 1
                        && !matches!(name.to_str(), Some("In" | "Compare"))
                    {
                        self.emit(*callee, Op::NotNil);
                    }
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
                let otherwise = self.emit(*cond, Op::PopJumpIfFalse(0));
                self.node(*yes)?;
                let end = self.emit(id, Op::Jump(0));
                self.patch(otherwise);
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
            self.code.paths.push(Path { names: vec![Name::new(name, place)], start: place });
            let index = self.code.paths.len() as u32 - 1;
            self.emit(id, Op::Path(index));
        }
    }

    /// The names of a chain like `rollout.status.phase`, if this is one.
    fn path(&self, id: Id) -> Option<Path> {
        let mut names = Vec::new();
        let mut at = id;
        loop {
            match self.ast.node(at) {
                Node::Member { base, property, optional: false, .. } => {
                    let Node::Str(name) = self.ast.node(*property) else { return None };
                    names.push(Name::new(name, self.ast.place(at)));
                    at = *base;
                }
                Node::Ident(name) => {
                    if *name == "$env" || self.lets.iter().any(|(known, _)| known == name) {
                        return None;
                    }
                    names.push(Name::new(name, self.ast.place(at)));
                    names.reverse();
                    return Some(Path { names, start: self.ast.place(at) });
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
                        BinaryOp::Or => self.emit(id, Op::TrueOrPop(0)),
                        BinaryOp::And => self.emit(id, Op::FalseOrPop(0)),
                        _ => {
                            let jump = self.emit(id, Op::JumpIfNotNil(0));
                            self.emit(id, Op::Pop);
                            jump
                        }
                    };
                    self.node(right)?;
                    self.patch(jump);
                    continue;
                }
                BinaryOp::Matches => {
                    if let Node::Str(text) = ast.node(right) {
                        let regex =
                            pattern::compile(&text.to_str_lossy(), self.regex_bytes).map_err(|error| {
                                Problem {
                                    over_limit: error.over_limit,
                                    ..Problem::new(ast.place(right), error.message)
                                }
                            })?;
                        self.code.patterns.push(regex);
                        let index = self.code.patterns.len() as u32 - 1;
                        self.emit(id, Op::MatchesConst(index));
                        continue;
                    }
                }
                BinaryOp::In => {
                    if let Node::Set(set) = ast.node(right) {
                        self.code.sets.push(set.sorted());
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
            let last = self.code.ops.len().wrapping_sub(1);
            let equal = match (equal, self.code.ops.get(last)) {
                // A constant on the right needs no instruction of its own. `last` is no target of a jump: it comes
                // right from the constant's node.
                (Op::Binary(_), Some(Op::Const(constant))) if is_constant(ast.node(right)) => {
                    let constant = *constant;
                    let fused = match op {
                        BinaryOp::Equal | BinaryOp::NotEqual => Op::EqualConst(constant),
                        BinaryOp::Matches | BinaryOp::Range => Op::Binary(op),
                        op => Op::BinaryConst(op, constant),
                    };
                    if !matches!(fused, Op::Binary(_)) {
                        self.code.ops.pop();
                        self.code.places.pop();
                    }
                    if !matches!(op, BinaryOp::Equal | BinaryOp::NotEqual) {
                        self.emit(id, fused);
                        continue;
                    }
                    fused
                }
                (equal, _) => equal,
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
}
