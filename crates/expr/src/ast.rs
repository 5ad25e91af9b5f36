//! The syntax tree: nodes in one arena, children before their parents.
//!
//! An arena has no recursive drop, and passes that go bottom up are plain loops.

use std::sync::Arc;

use herald_value::{Str, Value};

use crate::{builtin::Builtin, types::Ty};

/// The place of a node in its [`Ast`].
pub(crate) type Id = u32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnaryOp {
    Not,
    Minus,
    Plus,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BinaryOp {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    More,
    LessOrEqual,
    MoreOrEqual,
    In,
    Matches,
    Contains,
    StartsWith,
    EndsWith,
    Range,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
    Coalesce,
}

impl BinaryOp {
    /// The operator, how tightly it binds, and whether it groups from the right.
    pub(crate) fn lookup(text: &str) -> Option<(BinaryOp, u16, bool)> {
        use BinaryOp::*;
        Some(match text {
            "or" | "||" => (Or, 10, false),
            "and" | "&&" => (And, 15, false),
            "==" => (Equal, 20, false),
            "!=" => (NotEqual, 20, false),
            "<" => (Less, 20, false),
            ">" => (More, 20, false),
            ">=" => (MoreOrEqual, 20, false),
            "<=" => (LessOrEqual, 20, false),
            "in" => (In, 20, false),
            "matches" => (Matches, 20, false),
            "contains" => (Contains, 20, false),
            "startsWith" => (StartsWith, 20, false),
            "endsWith" => (EndsWith, 20, false),
            ".." => (Range, 25, false),
            "+" => (Add, 30, false),
            "-" => (Subtract, 30, false),
            "*" => (Multiply, 60, false),
            "/" => (Divide, 60, false),
            "%" => (Modulo, 60, false),
            "**" | "^" => (Power, 100, true),
            "??" => (Coalesce, 500, false),
            _ => return None,
        })
    }

    pub(crate) fn is_comparison(self) -> bool {
        matches!(self, Self::Less | Self::More | Self::LessOrEqual | Self::MoreOrEqual)
    }

    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::Or => "or",
            Self::And => "and",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::More => ">",
            Self::LessOrEqual => "<=",
            Self::MoreOrEqual => ">=",
            Self::In => "in",
            Self::Matches => "matches",
            Self::Contains => "contains",
            Self::StartsWith => "startsWith",
            Self::EndsWith => "endsWith",
            Self::Range => "..",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
            Self::Power => "**",
            Self::Coalesce => "??",
        }
    }
}

/// What `#` stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pointer {
    Item,
    Index,
    Acc,
    /// A name that nothing declares; the checker refuses it.
    Other(Box<str>),
}

/// A list of literals that `in` looks through.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Set {
    Ints(Vec<i64>),
    Strs(Vec<Str>),
}

/// Up to so many elements are compared one after another; beyond that they are sorted.
const FEW: usize = 8;

impl Set {
    /// The same elements, as [`Set::has_text`] and [`Set::has_int`] look for them.
    pub(crate) fn sorted(&self) -> Set {
        let mut set = self.clone();
        match &mut set {
            Set::Ints(all) => all.sort_unstable(),
            Set::Strs(all) => all.sort_unstable(),
        }
        set
    }

    /// Whether a text is one of the elements.
    #[inline]
    pub(crate) fn has_text(all: &[Str], text: &Str) -> bool {
        if all.len() <= FEW { all.contains(text) } else { all.binary_search(text).is_ok() }
    }

    /// Whether a number is one of the elements.
    pub(crate) fn has_int(all: &[i64], number: i64) -> bool {
        if all.len() <= FEW { all.contains(&number) } else { all.binary_search(&number).is_ok() }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Node {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(Str),
    Bytes(Arc<[u8]>),
    Ident(Str),
    Unary(UnaryOp, Id),
    Binary(BinaryOp, Id, Id),
    /// A group that ends as nil where a `?.` inside meets nil.
    Chain(Id),
    Member {
        base: Id,
        property: Id,
        optional: bool,
        method: bool,
    },
    Slice {
        base: Id,
        from: Option<Id>,
        to: Option<Id>,
    },
    Call {
        callee: Id,
        args: Vec<Id>,
    },
    Builtin {
        name: Builtin,
        args: Vec<Id>,
        extra: Extra,
    },
    Predicate(Id),
    Pointer(Pointer),
    Let {
        name: Str,
        value: Id,
        body: Id,
    },
    Sequence(Vec<Id>),
    If {
        cond: Id,
        yes: Id,
        no: Id,
    },
    Array(Vec<Id>),
    Map(Vec<(Id, Id)>),
    /// Made by folding.
    Const(Value),
    /// Made by folding: the right side of `in`.
    Set(Arc<Set>),
}

/// What rewriting adds to a loop.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Extra {
    /// What to take instead of the element that was found or kept.
    pub(crate) map: Option<Id>,
    /// Finding nothing is an error.
    pub(crate) throws: bool,
    /// Counting may stop here.
    pub(crate) threshold: Option<i64>,
}

/// The nodes of one expression.
#[derive(Debug, Default)]
pub(crate) struct Ast {
    pub(crate) nodes: Vec<Node>,
    /// Where each node is, as a byte offset in the source.
    pub(crate) at: Vec<u32>,
    /// How deep each node nests. Left operands count nothing: passes go down them in a loop.
    pub(crate) depth: Vec<u32>,
    /// What the checker knows of each node's value.
    pub(crate) types: Vec<Ty>,
}

impl Ast {
    pub(crate) fn add(&mut self, node: Node, at: u32) -> Id {
        let depth = match &node {
            Node::Binary(_, left, right) => self.depth_of(*left).max(self.depth_of(*right) + 1),
            other => {
                let mut depth = 0;
                each_child(other, |id| depth = depth.max(self.depth_of(id) + 1));
                depth
            }
        };
        self.nodes.push(node);
        self.at.push(at);
        self.depth.push(depth);
        self.types.push(Ty::Unknown);
        (self.nodes.len() - 1) as Id
    }

    fn depth_of(&self, id: Id) -> u32 {
        self.depth.get(id as usize).copied().unwrap_or(0)
    }

    pub(crate) fn node(&self, id: Id) -> &Node {
        self.nodes.get(id as usize).unwrap_or(&Node::Nil)
    }

    pub(crate) fn place(&self, id: Id) -> u32 {
        self.at.get(id as usize).copied().unwrap_or(0)
    }

    pub(crate) fn ty(&self, id: Id) -> &Ty {
        self.types.get(id as usize).unwrap_or(&Ty::Unknown)
    }

    pub(crate) fn set_ty(&mut self, id: Id, ty: Ty) {
        if let Some(slot) = self.types.get_mut(id as usize) {
            *slot = ty;
        }
    }

    /// Puts another node in the place of one.
    pub(crate) fn replace(&mut self, id: Id, node: Node) {
        if let Some(slot) = self.nodes.get_mut(id as usize) {
            *slot = node;
        }
    }
}

/// Calls `visit` for each child of a node.
pub(crate) fn each_child(node: &Node, mut visit: impl FnMut(Id)) {
    match node {
        Node::Unary(_, a) | Node::Chain(a) | Node::Predicate(a) => visit(*a),
        Node::Binary(_, a, b) => {
            visit(*a);
            visit(*b);
        }
        Node::Member { base, property, .. } => {
            visit(*base);
            visit(*property);
        }
        Node::Slice { base, from, to } => {
            visit(*base);
            from.iter().chain(to).for_each(|id| visit(*id));
        }
        Node::Call { callee, args } => {
            visit(*callee);
            args.iter().for_each(|id| visit(*id));
        }
        Node::Builtin { args, extra, .. } => {
            args.iter().for_each(|id| visit(*id));
            extra.map.iter().for_each(|id| visit(*id));
        }
        Node::Let { value, body, .. } => {
            visit(*value);
            visit(*body);
        }
        Node::Sequence(ids) | Node::Array(ids) => ids.iter().for_each(|id| visit(*id)),
        Node::If { cond, yes, no } => [cond, yes, no].into_iter().for_each(|id| visit(*id)),
        Node::Map(pairs) => pairs.iter().for_each(|(k, v)| {
            visit(*k);
            visit(*v);
        }),
        Node::Nil
        | Node::Bool(_)
        | Node::Int(_)
        | Node::Float(_)
        | Node::Str(_)
        | Node::Bytes(_)
        | Node::Ident(_)
        | Node::Pointer(_)
        | Node::Const(_)
        | Node::Set(_) => {}
    }
}
