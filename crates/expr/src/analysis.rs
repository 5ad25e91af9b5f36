//! What an expression reads and compares, found without running it.
//!
//! ```
//! use herald_expr::analysis::analyse;
//! use herald_value::limits::Limits;
//!
//! let found = analyse("rollout.status.phase == 'Done'", Limits::DEFAULT)?;
//! assert_eq!(found.accesses[0].to_string(), "rollout.status.phase");
//! assert_eq!(found.comparisons[0].constants.len(), 1);
//! # Ok::<(), herald_expr::ExprError>(())
//! ```

use std::fmt;

use herald_value::{Str, Value, limits::Limits};

use crate::{
    ExprError, Phase,
    ast::{Ast, BinaryOp, Id, Node, Pointer, UnaryOp},
    builtin::Builtin,
    check, fold, parser,
    types::Ty,
};

/// One step of a path from the variables to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The value of a key.
    Key(String),
    /// Any element of a list, or any value of a map.
    Item,
}

/// A value that an expression reads: the path to it from the variables, each step with its byte in the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The steps, the first one a variable.
    pub steps: Vec<(Step, usize)>,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (step, _)) in self.steps.iter().enumerate() {
            match step {
                Step::Key(key) if index == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Item => f.write_str("[]")?,
            }
        }
        Ok(())
    }
}

/// How a value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `in [...]`
    In,
    /// `not (... in [...])`, `... not in [...]`
    NotIn,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    More,
    /// `>=`
    MoreOrEqual,
    /// `contains`, `startsWith`, `endsWith`, `matches`
    Text,
}

/// A value that is compared with constants.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// The value.
    pub access: Access,
    /// How.
    pub how: Comparison,
    /// With what, and where that stands.
    pub constants: Vec<(Value, usize)>,
    /// Whether the whole expression is false where this comparison is.
    pub decides: bool,
    /// Where the comparison stands.
    pub at: usize,
}

/// What is known of an expression.
#[derive(Clone, Debug, Default)]
pub struct Analysis {
    /// What it reads.
    pub accesses: Vec<Access>,
    /// Functions that it calls and that there are not, each with its byte in the source.
    pub unknown_functions: Vec<(String, usize)>,
    /// What it compares with constants.
    pub comparisons: Vec<Compared>,
    /// Its value, where that is always the same.
    pub constant: Option<Value>,
    /// What it gives in words, where that can be no boolean.
    pub never_boolean: Option<String>,
    /// What the whole is, if it is nothing but a path.
    pub result: Option<Access>,
}

/// The names of all functions.
pub fn function_names() -> &'static [&'static str] {
    Builtin::NAMES
}

/// More steps than this are not looked at.
const MOST: usize = 50_000;

/// Analyses an expression.
pub fn analyse(source: &str, limits: Limits) -> Result<Analysis, ExprError> {
    let failed =
        |problem: parser::Problem| ExprError::new(Phase::Compile, source, problem.at, problem.message);
    if source.len() > limits.source_bytes {
        return Err(ExprError::new(Phase::Compile, "", 0, "the expression is too long".into()));
    }
    let (mut ast, root) = parser::parse(source, &limits).map_err(failed)?;
    check::check(&mut ast, root, limits.regex_bytes).map_err(failed)?;
    let never_boolean = never_boolean(&ast, root);
    let mut walk =
        Walk { ast: &ast, found: Analysis::default(), lets: Vec::new(), items: Vec::new(), steps: 0 };
    let whole = walk.value(root, true);
    let mut found = walk.found;
    found.result = whole.map(|steps| Access { steps });
    found.never_boolean = never_boolean;
    fold::fold(&mut ast).map_err(failed)?;
    found.constant = match ast.node(root) {
        Node::Bool(value) => Some(Value::Bool(*value)),
        Node::Const(value) => Some(value.clone()),
        Node::Nil => Some(Value::Nil),
        _ => None,
    };
    if found.constant.is_none() && found.accesses.is_empty() && only_constants(&ast, root) {
        found.constant =
            crate::Program::compile(source, limits).ok().and_then(|p| p.run(&Value::Nil, limits).ok());
    }
    Ok(found)
}

fn never_boolean(ast: &Ast, root: Id) -> Option<String> {
    match ast.ty(root) {
        Ty::Unknown | Ty::Any | Ty::Bool => None,
        other => Some(other.to_string()),
    }
}

fn only_constants(ast: &Ast, root: Id) -> bool {
    match ast.node(root) {
        Node::Unary(_, inner) => only_constants(ast, *inner),
        Node::Binary(_, left, right) => only_constants(ast, *left) && only_constants(ast, *right),
        Node::Bool(_) | Node::Int(_) | Node::Float(_) | Node::Str(_) | Node::Const(_) | Node::Nil => true,
        _ => false,
    }
}

type Path = Vec<(Step, usize)>;

struct Walk<'a> {
    ast: &'a Ast,
    found: Analysis,
    lets: Vec<(Str, Option<Path>)>,
    items: Vec<Option<Path>>,
    steps: usize,
}

impl Walk<'_> {
    /// Looks at a node; gives its path. `decides`: the whole is false where this is.
    fn value(&mut self, id: Id, decides: bool) -> Option<Path> {
        self.steps += 1;
        if self.steps > MOST {
            return None;
        }
        let at = self.ast.place(id) as usize;
        match self.ast.node(id).clone() {
            Node::Ident(name) => {
                if let Some((_, path)) = self.lets.iter().rev().find(|(known, _)| *known == name) {
                    return path.clone();
                }
                self.read(vec![(Step::Key(name.to_str_lossy().into_owned()), at)])
            }
            Node::Chain(inner) | Node::Predicate(inner) => self.value(inner, decides),
            Node::Member { base, property, method, .. } => {
                let base = self.quiet(base);
                let step = match self.ast.node(property).clone() {
                    Node::Str(name) => Step::Key(name.to_str_lossy().into_owned()),
                    Node::Int(_) => Step::Item,
                    _ => {
                        self.value(property, false);
                        Step::Item
                    }
                };
                let mut path = base?;
                path.push((step, self.ast.place(property) as usize));
                let path = self.read(path);
                if method { None } else { path }
            }
            Node::Slice { base, from, to } => {
                let path = self.value(base, false);
                for bound in from.into_iter().chain(to) {
                    self.value(bound, false);
                }
                path
            }
            Node::Pointer(Pointer::Item) => self.items.last().cloned().flatten(),
            Node::Unary(UnaryOp::Not, inner) => {
                if let Node::Binary(BinaryOp::In, left, right) = *self.ast.node(inner) {
                    self.compared(inner, BinaryOp::In, left, right, decides, true);
                } else {
                    self.value(inner, false);
                }
                None
            }
            Node::Unary(_, inner) => {
                self.value(inner, false);
                None
            }
            Node::Binary(BinaryOp::And, left, right) => {
                self.value(left, decides);
                self.value(right, decides);
                None
            }
            Node::Binary(BinaryOp::Coalesce, left, right) => {
                let path = self.value(left, false);
                self.value(right, false);
                path
            }
            Node::Binary(op, left, right) => {
                self.compared(id, op, left, right, decides, false);
                None
            }
            Node::Let { name, value, body } => {
                let path = self.value(value, false);
                self.lets.push((name, path));
                let path = self.value(body, decides);
                self.lets.pop();
                path
            }
            Node::Builtin { name, args, .. } => self.builtin(name, &args),
            Node::Call { callee, args } => {
                if let Node::Ident(name) = self.ast.node(callee) {
                    let name = name.to_str_lossy().into_owned();
                    self.found.unknown_functions.push((name, self.ast.place(callee) as usize));
                } else {
                    self.value(callee, false);
                }
                for arg in args {
                    self.value(arg, false);
                }
                None
            }
            Node::Sequence(ids) => {
                let mut last = None;
                let count = ids.len();
                for (index, id) in ids.into_iter().enumerate() {
                    last = self.value(id, decides && index + 1 == count);
                }
                last
            }
            Node::If { cond, yes, no } => {
                for id in [cond, yes, no] {
                    self.value(id, false);
                }
                None
            }
            Node::Array(ids) => {
                for id in ids {
                    self.value(id, false);
                }
                None
            }
            Node::Map(pairs) => {
                for (key, value) in pairs {
                    self.value(key, false);
                    self.value(value, false);
                }
                None
            }
            _ => None,
        }
    }

    /// The path of what only leads on to a member: the whole chain is noted as one access.
    fn quiet(&mut self, id: Id) -> Option<Path> {
        let before = self.found.accesses.len();
        let path = self.value(id, false);
        if let (Some(path), Some(last)) = (&path, self.found.accesses.last())
            && self.found.accesses.len() == before + 1
            && last.steps == *path
        {
            self.found.accesses.pop();
        }
        path
    }

    fn read(&mut self, steps: Path) -> Option<Path> {
        self.found.accesses.push(Access { steps: steps.clone() });
        Some(steps)
    }

    fn builtin(&mut self, name: Builtin, args: &[Id]) -> Option<Path> {
        let first = args.first().and_then(|id| self.value(*id, false));
        let item = |path: &Option<Path>, at: usize| {
            path.clone().map(|mut path| {
                path.push((Step::Item, at));
                path
            })
        };
        if name == Builtin::Get {
            let key = args.get(1).copied()?;
            let mut path = first?;
            let step = match self.ast.node(key).clone() {
                Node::Str(name) => Step::Key(name.to_str_lossy().into_owned()),
                _ => {
                    self.value(key, false);
                    Step::Item
                }
            };
            path.push((step, self.ast.place(key) as usize));
            return self.read(path);
        }
        let at = args.first().map_or(0, |id| self.ast.place(*id) as usize);
        if name.predicate_params().is_some() {
            self.items.push(item(&first, at));
            for id in args.iter().skip(1) {
                self.value(*id, false);
            }
            self.items.pop();
        } else {
            for id in args.iter().skip(1) {
                self.value(*id, false);
            }
        }
        match name {
            Builtin::Find | Builtin::FindLast | Builtin::First | Builtin::Last => item(&first, at),
            Builtin::Filter
            | Builtin::SortBy
            | Builtin::Sort
            | Builtin::Reverse
            | Builtin::Uniq
            | Builtin::Take => first,
            _ => None,
        }
    }

    fn compared(&mut self, id: Id, op: BinaryOp, left: Id, right: Id, decides: bool, negated: bool) {
        let left_path = self.value(left, false);
        let right_path = self.value(right, false);
        let how = match op {
            BinaryOp::Equal => Comparison::Equal,
            BinaryOp::NotEqual => Comparison::NotEqual,
            BinaryOp::In if negated => Comparison::NotIn,
            BinaryOp::In => Comparison::In,
            BinaryOp::Less => Comparison::Less,
            BinaryOp::LessOrEqual => Comparison::LessOrEqual,
            BinaryOp::More => Comparison::More,
            BinaryOp::MoreOrEqual => Comparison::MoreOrEqual,
            BinaryOp::Contains | BinaryOp::StartsWith | BinaryOp::EndsWith | BinaryOp::Matches => {
                Comparison::Text
            }
            _ => return,
        };
        let (steps, how, constants) = match (left_path, right_path) {
            (Some(path), None) => (path, how, self.constants(right)),
            (None, Some(path)) => {
                let turned = match how {
                    Comparison::Less => Comparison::More,
                    Comparison::LessOrEqual => Comparison::MoreOrEqual,
                    Comparison::More => Comparison::Less,
                    Comparison::MoreOrEqual => Comparison::LessOrEqual,
                    Comparison::In | Comparison::NotIn | Comparison::Text => return,
                    other => other,
                };
                (path, turned, self.constants(left))
            }
            _ => return,
        };
        if let Some(constants) = constants {
            let access = Access { steps };
            let at = self.ast.place(id) as usize;
            self.found.comparisons.push(Compared { access, how, constants, decides, at });
        }
    }

    fn constants(&self, id: Id) -> Option<Vec<(Value, usize)>> {
        let at = self.ast.place(id) as usize;
        let one = |value| Some(vec![(value, at)]);
        match self.ast.node(id) {
            Node::Bool(value) => one(Value::Bool(*value)),
            Node::Int(value) => one(Value::int64(*value)),
            Node::Float(value) => one(Value::Float(*value)),
            Node::Str(value) => one(Value::str(value.to_str_lossy())),
            Node::Nil => one(Value::Nil),
            Node::Unary(UnaryOp::Minus, inner) => match self.ast.node(*inner) {
                Node::Int(value) => one(Value::int64(value.checked_neg()?)),
                _ => None,
            },
            Node::Array(ids) => {
                let mut all = Vec::with_capacity(ids.len());
                for id in ids {
                    match self.ast.node(*id) {
                        Node::Array(_) => return None,
                        _ => all.extend(self.constants(*id)?),
                    }
                }
                Some(all)
            }
            _ => None,
        }
    }
}

/// The line and column (from 1) of a byte of a source.
pub fn line_and_column(source: &str, at: usize) -> (u32, u32) {
    let before = source.get(..at).unwrap_or(source);
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before.get(start..).map_or(0, |line| line.chars().count());
    (before.matches('\n').count() as u32 + 1, column as u32 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(source: &str) -> Analysis {
        analyse(source, Limits::DEFAULT).unwrap()
    }

    fn paths(source: &str) -> Vec<String> {
        of(source).accesses.iter().map(Access::to_string).collect()
    }

    #[test]
    fn paths_are_followed() {
        assert_eq!(paths("rollout.status.phase == 'x' and a.b > 3"), ["rollout.status.phase", "a.b"]);
        assert_eq!(
            paths("find(rollout.status.conditions ?? [], .type == 'P')?.reason == 'x'"),
            [
                "rollout.status.conditions",
                "rollout.status.conditions[].type",
                "rollout.status.conditions[].reason"
            ]
        );
        assert_eq!(paths("get(a.b ?? {}, 'c') == 1"), ["a.b", "a.b.c"]);
        assert_eq!(paths("let x = a.b; x.c"), ["a.b", "a.b.c"]);
        assert_eq!(paths("a['b'][0].c"), ["a.b[].c"]);
    }

    #[test]
    fn comparisons_with_constants() {
        let found = of("a.b in ['x', 'y'] and (c == 1 or 2 > d)");
        let all: Vec<_> = found
            .comparisons
            .iter()
            .map(|c| (c.access.to_string(), c.how, c.constants.len(), c.decides))
            .collect();
        assert_eq!(
            all,
            [
                ("a.b".to_string(), Comparison::In, 2, true),
                ("c".to_string(), Comparison::Equal, 1, false),
                ("d".to_string(), Comparison::Less, 1, false)
            ]
        );
    }

    #[test]
    fn constants_and_types() {
        assert_eq!(of("1 > 2").constant, Some(Value::Bool(false)));
        assert_eq!(of("false").constant, Some(Value::Bool(false)));
        assert_eq!(of("a == 1").constant, None);
        assert!(of("'x' + 'y'").never_boolean.is_some());
        assert!(of("a.b").never_boolean.is_none() && of("a.b").result.is_some());
    }
}
