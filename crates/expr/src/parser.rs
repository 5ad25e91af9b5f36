//! Tokens to the tree.

use herald_value::{Str, limits::Limits, num};

use crate::{
    ast::{Ast, BinaryOp, Extra, Id, Node, Pointer, UnaryOp},
    builtin::{Builtin, Param},
    lexer::{Kind, LexError, Lexer, Token, is_name},
};

/// More nodes than this are refused, as the original does.
const MAX_NODES: usize = 10_000;

/// Nesting beyond this is refused whatever the limits say: each level takes some of the stack.
const MAX_DEPTH: u32 = 100;

/// Why a source is no expression, and where (a byte offset).
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) at: u32,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    pub(crate) over_limit: bool,
}

impl Problem {
    pub(crate) fn new(at: u32, message: impl Into<String>) -> Problem {
        Problem { at, message: message.into(), hint: None, over_limit: false }
    }

    pub(crate) fn over_limit(at: u32, message: impl Into<String>) -> Problem {
        Problem { over_limit: true, ..Problem::new(at, message) }
    }
}

impl From<LexError> for Problem {
    fn from(error: LexError) -> Self {
        Problem::new(error.at, error.message)
    }
}

type Result<T> = std::result::Result<T, Problem>;

struct Parser<'s> {
    lexer: Lexer<'s>,
    current: Token<'s>,
    stash: Option<Token<'s>>,
    ast: Ast,
    /// How many predicates are open: `#` and `.field` mean something only there.
    predicates: u32,
    depth: u32,
    max_depth: u32,
}

/// Parses a whole expression; also gives its root.
pub(crate) fn parse(source: &str, limits: &Limits) -> Result<(Ast, Id)> {
    let mut lexer = Lexer::new(source);
    let current = lexer.next()?;
    let mut parser = Parser {
        lexer,
        current,
        stash: None,
        ast: Ast::default(),
        predicates: 0,
        depth: 0,
        max_depth: limits.depth.min(MAX_DEPTH),
    };
    let root = parser.sequence()?;
    if parser.current.kind != Kind::End {
        return parser.unexpected();
    }
    Ok((parser.ast, root))
}

impl<'s> Parser<'s> {
    fn unexpected<T>(&self) -> Result<T> {
        Err(Problem::new(self.current.at, format!("unexpected {}", self.current.describe())))
    }

    fn advance(&mut self) -> Result<Token<'s>> {
        let next = match self.stash.take() {
            Some(token) => token,
            None if self.current.kind == Kind::End => {
                return Err(Problem::new(self.current.at, "unexpected end of the expression"));
            }
            None => self.lexer.next()?,
        };
        Ok(std::mem::replace(&mut self.current, next))
    }

    fn is_op(&self, text: &str) -> bool {
        self.current.is(Kind::Op, text)
    }

    fn is_bracket(&self, text: &str) -> bool {
        self.current.is(Kind::Bracket, text)
    }

    fn expect(&mut self, kind: Kind, text: &str) -> Result<()> {
        if !self.current.is(kind, text) {
            return self.unexpected();
        }
        self.advance().map(drop)
    }

    fn expect_ident(&mut self) -> Result<Token<'s>> {
        if self.current.kind != Kind::Ident {
            return self.unexpected();
        }
        self.advance()
    }

    fn add(&mut self, node: Node, at: u32) -> Result<Id> {
        if self.ast.nodes.len() >= MAX_NODES {
            return Err(Problem::over_limit(at, format!("the expression has more than {MAX_NODES} parts")));
        }
        let id = self.ast.add(node, at);
        if self.ast.depth.last().is_some_and(|depth| *depth > self.max_depth) {
            return Err(self.too_deep(at));
        }
        Ok(id)
    }

    fn too_deep(&self, at: u32) -> Problem {
        Problem::over_limit(at, format!("the expression nests deeper than {} levels", self.max_depth))
    }

    fn sequence(&mut self) -> Result<Id> {
        let first = self.expression(0)?;
        let mut ids = vec![first];
        while self.is_op(";") {
            self.advance()?;
            if self.current.kind == Kind::End {
                break;
            }
            ids.push(self.expression(0)?);
        }
        if ids.len() == 1 {
            return Ok(first);
        }
        let at = self.ast.place(first);
        self.add(Node::Sequence(ids), at)
    }

    fn expression(&mut self, precedence: u16) -> Result<Id> {
        self.depth += 1;
        if self.depth > self.max_depth {
            return Err(self.too_deep(self.current.at));
        }
        let id = self.expression_inner(precedence)?;
        self.depth -= 1;
        Ok(id)
    }

    fn expression_inner(&mut self, precedence: u16) -> Result<Id> {
        if precedence == 0 && self.is_op("let") {
            return self.declaration();
        }
        if precedence == 0 && self.is_op("if") {
            return self.if_else();
        }
        let mut left = self.primary()?;
        let mut after_coalesce = false;
        while self.current.kind == Kind::Op {
            let mut negated = None;
            if self.is_op("not") {
                let not = self.advance()?;
                if !matches!(self.current.str(), "contains" | "matches" | "startsWith" | "endsWith" | "in") {
                    return self.unexpected();
                }
                match BinaryOp::lookup(self.current.str()) {
                    Some((_, binds, _)) if binds >= precedence => negated = Some(self.current.at),
                    _ => {
                        self.stash = Some(std::mem::replace(&mut self.current, not));
                        break;
                    }
                }
            }
            if self.is_op("|") {
                if precedence > 0 {
                    break;
                }
                self.advance()?;
                let name = self.expect_ident()?;
                left = self.call(name, vec![left])?;
                after_coalesce = false;
                continue;
            }
            let Some((op, binds, right_first)) = BinaryOp::lookup(self.current.str()) else { break };
            if binds < precedence {
                break;
            }
            let token = self.advance()?;
            if after_coalesce && op != BinaryOp::Coalesce {
                return Err(Problem::new(
                    token.at,
                    format!("operator {} cannot be mixed with ??: wrap either in parentheses", token.str()),
                ));
            }
            if op.is_comparison() {
                left = self.comparison(left, op, token.at, binds)?;
            } else {
                let right = self.expression(if right_first { binds } else { binds + 1 })?;
                left = self.add(Node::Binary(op, left, right), token.at)?;
                if let Some(at) = negated {
                    left = self.add(Node::Unary(UnaryOp::Not, left), at)?;
                }
            }
            after_coalesce = op == BinaryOp::Coalesce;
        }
        if precedence == 0 {
            left = self.ternary(left)?;
        }
        Ok(left)
    }

    /// `a < b < c` means `a < b && b < c`.
    fn comparison(&mut self, first: Id, op: BinaryOp, at: u32, binds: u16) -> Result<Id> {
        let (mut left, mut op, mut at) = (first, op, at);
        let mut root = None;
        loop {
            let right = self.expression(binds + 1)?;
            let one = self.add(Node::Binary(op, left, right), at)?;
            let all = match root {
                None => one,
                Some(before) => self.add(Node::Binary(BinaryOp::And, before, one), at)?,
            };
            root = Some(all);
            left = right;
            match BinaryOp::lookup(self.current.str()) {
                Some((next, ..)) if self.current.kind == Kind::Op && next.is_comparison() => {
                    op = next;
                    at = self.advance()?.at;
                }
                _ => return Ok(all),
            }
        }
    }

    fn declaration(&mut self) -> Result<Id> {
        self.advance()?;
        let name = self.expect_ident()?;
        self.expect(Kind::Op, "=")?;
        let value = self.expression(0)?;
        self.expect(Kind::Op, ";")?;
        let body = self.sequence()?;
        self.add(Node::Let { name: Str::from(&*name.text), value, body }, name.at)
    }

    fn if_else(&mut self) -> Result<Id> {
        self.depth += 1;
        if self.depth > self.max_depth {
            return Err(self.too_deep(self.current.at));
        }
        let at = self.advance()?.at;
        let cond = self.expression(0)?;
        self.expect(Kind::Bracket, "{")?;
        let yes = self.sequence()?;
        self.expect(Kind::Bracket, "}")?;
        self.expect(Kind::Op, "else")?;
        let no = if self.is_op("if") {
            self.if_else()?
        } else {
            self.expect(Kind::Bracket, "{")?;
            let no = self.sequence()?;
            self.expect(Kind::Bracket, "}")?;
            no
        };
        self.depth -= 1;
        self.add(Node::If { cond, yes, no }, at)
    }

    fn ternary(&mut self, node: Id) -> Result<Id> {
        let mut node = node;
        while self.is_op("?") {
            let at = self.advance()?.at;
            let yes = if self.is_op(":") { node } else { self.expression(0)? };
            self.expect(Kind::Op, ":")?;
            let no = self.expression(0)?;
            node = self.add(Node::If { cond: node, yes, no }, at)?;
        }
        Ok(node)
    }

    fn primary(&mut self) -> Result<Id> {
        if self.current.kind == Kind::Op {
            let unary = match self.current.str() {
                "not" | "!" => Some((UnaryOp::Not, 50)),
                "-" => Some((UnaryOp::Minus, 90)),
                "+" => Some((UnaryOp::Plus, 90)),
                _ => None,
            };
            if let Some((op, binds)) = unary {
                let at = self.advance()?.at;
                let inner = self.expression(binds)?;
                let node = self.add(Node::Unary(op, inner), at)?;
                return self.postfix(node);
            }
        }
        if self.is_bracket("(") {
            self.advance()?;
            let inner = self.sequence()?;
            self.expect(Kind::Bracket, ")")?;
            return self.postfix(inner);
        }
        if self.predicates > 0 && (self.is_op("#") || self.is_op(".")) {
            let at = self.current.at;
            let mut pointer = Pointer::Item;
            if self.is_op("#") {
                self.advance()?;
                if self.current.kind == Kind::Ident {
                    pointer = match self.advance()?.str() {
                        "index" => Pointer::Index,
                        "acc" => Pointer::Acc,
                        other => Pointer::Other(other.into()),
                    };
                }
            }
            let node = self.add(Node::Pointer(pointer), at)?;
            return self.postfix(node);
        }
        if self.is_op("::") {
            self.advance()?;
            let name = self.expect_ident()?;
            let node = self.call(name, Vec::new())?;
            return self.postfix(node);
        }
        self.secondary()
    }

    fn secondary(&mut self) -> Result<Id> {
        let at = self.current.at;
        let node = match self.current.kind {
            Kind::Ident => {
                let name = self.advance()?;
                match &*name.text {
                    b"true" => return self.add(Node::Bool(true), at),
                    b"false" => return self.add(Node::Bool(false), at),
                    b"nil" => return self.add(Node::Nil, at),
                    _ if self.is_bracket("(") => self.call(name, Vec::new())?,
                    text => self.add(Node::Ident(Str::from(text)), at)?,
                }
            }
            Kind::Number => {
                let token = self.advance()?;
                let node = number(token.str()).map_err(|message| Problem::new(at, message))?;
                return self.add(node, at);
            }
            Kind::Str => {
                let token = self.advance()?;
                self.add(Node::Str(Str::from(&*token.text)), at)?
            }
            Kind::Bytes => {
                let token = self.advance()?;
                self.add(Node::Bytes((&*token.text).into()), at)?
            }
            _ if self.is_bracket("[") => self.array()?,
            _ if self.is_bracket("{") => self.map()?,
            _ => return self.unexpected(),
        };
        self.postfix(node)
    }

    fn call(&mut self, name: Token<'s>, mut args: Vec<Id>) -> Result<Id> {
        let builtin = Builtin::lookup(&name.text);
        if let Some((builtin, params)) = builtin.and_then(|b| Some((b, b.predicate_params()?))) {
            self.expect(Kind::Bracket, "(")?;
            let params = params.get(args.len()..).unwrap_or_default();
            for (i, param) in params.iter().enumerate() {
                if self.is_bracket(")") {
                    if matches!(param, Param::OptionalValue | Param::OptionalPredicate) {
                        break;
                    }
                    return Err(Problem::new(
                        self.current.at,
                        format!("{} needs at least {} arguments", builtin.name(), params.len()),
                    ));
                }
                if i > 0 {
                    self.expect(Kind::Op, ",")?;
                }
                args.push(match param {
                    Param::Value | Param::OptionalValue => self.expression(0)?,
                    Param::Predicate | Param::OptionalPredicate => self.predicate()?,
                });
            }
            if self.is_op(",") {
                self.advance()?;
            }
            self.expect(Kind::Bracket, ")")?;
            return self.add(Node::Builtin { name: builtin, args, extra: Extra::default() }, name.at);
        }
        match builtin {
            Some(builtin) => {
                let args = self.arguments(args)?;
                self.add(Node::Builtin { name: builtin, args, extra: Extra::default() }, name.at)
            }
            None => {
                let callee = self.add(Node::Ident(Str::from(&*name.text)), name.at)?;
                let args = self.arguments(args)?;
                self.add(Node::Call { callee, args }, name.at)
            }
        }
    }

    fn arguments(&mut self, mut args: Vec<Id>) -> Result<Vec<Id>> {
        let given = args.len();
        self.expect(Kind::Bracket, "(")?;
        while !self.is_bracket(")") {
            if args.len() > given {
                self.expect(Kind::Op, ",")?;
            }
            if self.is_bracket(")") {
                break;
            }
            args.push(self.expression(0)?);
        }
        self.expect(Kind::Bracket, ")")?;
        Ok(args)
    }

    fn predicate(&mut self) -> Result<Id> {
        let at = self.current.at;
        self.predicates += 1;
        let inner = if self.is_bracket("{") {
            self.advance()?;
            let inner = self.sequence()?;
            self.expect(Kind::Bracket, "}")?;
            inner
        } else {
            let inner = self.expression(0)?;
            if self.is_op(";") {
                return Err(Problem::new(self.current.at, "wrap the predicate in brackets { and }"));
            }
            inner
        };
        self.predicates -= 1;
        self.add(Node::Predicate(inner), at)
    }

    fn array(&mut self) -> Result<Id> {
        let at = self.advance()?.at;
        let mut ids = Vec::new();
        while !self.is_bracket("]") {
            if !ids.is_empty() {
                self.expect(Kind::Op, ",")?;
                if self.is_bracket("]") {
                    break;
                }
            }
            ids.push(self.expression(0)?);
        }
        self.expect(Kind::Bracket, "]")?;
        self.add(Node::Array(ids), at)
    }

    fn map(&mut self) -> Result<Id> {
        let at = self.advance()?.at;
        let mut pairs = Vec::new();
        while !self.is_bracket("}") {
            if !pairs.is_empty() {
                self.expect(Kind::Op, ",")?;
                if self.is_bracket("}") {
                    break;
                }
            }
            let key = match self.current.kind {
                Kind::Number | Kind::Str | Kind::Ident => {
                    let token = self.advance()?;
                    self.add(Node::Str(Str::from(&*token.text)), token.at)?
                }
                _ if self.is_bracket("(") => self.expression(0)?,
                _ => {
                    return Err(Problem::new(
                        self.current.at,
                        format!(
                            "a map key must be a string, a number, a name, or an expression in parentheses, not {}",
                            self.current.describe()
                        ),
                    ));
                }
            };
            self.expect(Kind::Op, ":")?;
            let value = self.expression(0)?;
            pairs.push((key, value));
        }
        self.expect(Kind::Bracket, "}")?;
        self.add(Node::Map(pairs), at)
    }

    fn postfix(&mut self, node: Id) -> Result<Id> {
        let mut node = node;
        loop {
            let optional = self.is_op("?.");
            if optional || self.is_op(".") {
                self.advance()?;
                if !(optional && self.is_bracket("[")) {
                    node = self.field(node, optional)?;
                    continue;
                }
            }
            if !self.is_bracket("[") {
                return Ok(node);
            }
            let at = self.advance()?.at;
            let mut from = None;
            if !self.is_op(":") {
                from = Some(self.expression(0)?);
            }
            if self.is_op(":") {
                self.advance()?;
                let to = if self.is_bracket("]") { None } else { Some(self.expression(0)?) };
                self.expect(Kind::Bracket, "]")?;
                node = self.add(Node::Slice { base: node, from, to }, at)?;
            } else if let Some(property) = from {
                self.expect(Kind::Bracket, "]")?;
                node = self.add(Node::Member { base: node, property, optional, method: false }, at)?;
                if optional {
                    node = self.add(Node::Chain(node), at)?;
                }
            }
        }
    }

    fn field(&mut self, node: Id, optional: bool) -> Result<Id> {
        let token = self.current.clone();
        if token.kind != Kind::Ident && !(token.kind == Kind::Op && is_name(token.str())) {
            let message =
                if token.kind == Kind::End { "unexpected end of expression" } else { "expected a name" };
            return Err(Problem::new(token.at, message));
        }
        self.advance()?;
        let property = self.add(Node::Str(Str::from(&*token.text)), token.at)?;
        let (base, chained) = match self.ast.node(node) {
            Node::Chain(inner) => (*inner, true),
            _ => (node, false),
        };
        let method = self.is_bracket("(");
        let mut node = self.add(Node::Member { base, property, optional, method }, token.at)?;
        if method {
            let args = self.arguments(Vec::new())?;
            node = self.add(Node::Call { callee: node, args }, token.at)?;
        }
        if chained || optional {
            node = self.add(Node::Chain(node), token.at)?;
        }
        Ok(node)
    }
}

fn number(text: &str) -> std::result::Result<Node, String> {
    let clean = text.replace('_', "");
    let lower = clean.to_ascii_lowercase();
    let wrong = |kind: &str| format!("invalid {kind} literal {text}");
    let integer = |kind, base| {
        num::parse_int(&lower, base, 64).map(Node::Int).map_err(|e| format!("{}: {e}", wrong(kind)))
    };
    if lower.starts_with("0x") {
        integer("hex", 0)
    } else if lower.contains(['.', 'e']) {
        match num::parse_float(&clean) {
            Ok(x) if x.is_finite() => Ok(Node::Float(x)),
            Ok(_) => Err(format!("{}: value out of range", wrong("float"))),
            Err(e) => Err(format!("{}: {e}", wrong("float"))),
        }
    } else if lower.starts_with("0b") {
        integer("binary", 0)
    } else if lower.starts_with("0o") {
        integer("octal", 0)
    } else {
        integer("integer", 10)
    }
}
