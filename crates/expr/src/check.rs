//! The static check: what cannot work whatever the variables are, as the original refuses it.

use herald_value::{IntKind, Str};

use crate::{
    ast::{Ast, BinaryOp, Id, Node, Pointer, UnaryOp},
    builtin::Builtin,
    check_call::{Given, builtin_type, overloads},
    parser::Problem,
    pattern,
    types::{INT, Shape, Ty, method},
};

type Result<T> = std::result::Result<T, Problem>;

/// `a < f(b < c < d)` shares nodes, so a short text could ask for endless visits.
const MAX_VISITS: usize = 200_000;

struct Scope {
    collection: Ty,
    index: bool,
    acc: bool,
}

pub(crate) struct Checker<'a> {
    ast: &'a mut Ast,
    predicates: Vec<Scope>,
    lets: Vec<(Str, Ty)>,
    visits: usize,
    regex_bytes: usize,
}

/// Checks an expression and notes the type of each node.
pub(crate) fn check(ast: &mut Ast, root: Id, regex_bytes: usize) -> Result<()> {
    let mut checker = Checker { ast, predicates: Vec::new(), lets: Vec::new(), visits: 0, regex_bytes };
    checker.visit(root).map(drop)
}

impl Checker<'_> {
    fn fail<T>(&self, id: Id, message: String) -> Result<T> {
        Err(Problem::new(self.ast.place(id), message))
    }

    fn visit(&mut self, id: Id) -> Result<Ty> {
        self.visits += 1;
        if self.visits > MAX_VISITS {
            return Err(Problem::over_limit(self.ast.place(id), "the expression is too complex"));
        }
        // Long chains of operators grow to the left.
        let mut spine = Vec::new();
        let mut at = id;
        while let Node::Binary(_, left, _) = self.ast.node(at) {
            spine.push(at);
            at = *left;
        }
        let mut ty = if spine.is_empty() { self.inner(id)? } else { self.visit(at)? };
        self.ast.set_ty(at, ty.clone());
        while let Some(at) = spine.pop() {
            if let Node::Binary(op, _, right) = *self.ast.node(at) {
                let right_ty = self.visit(right)?;
                ty = self.binary(at, op, &ty, &right_ty, right)?;
                self.ast.set_ty(at, ty.clone());
            }
        }
        Ok(ty)
    }

    fn inner(&mut self, id: Id) -> Result<Ty> {
        Ok(match self.ast.node(id).clone() {
            Node::Nil => Ty::Nil,
            Node::Bool(_) => Ty::Bool,
            Node::Int(_) => INT,
            Node::Float(_) => Ty::Float,
            Node::Str(_) => Ty::Str,
            Node::Bytes(_) => Ty::Bytes,
            Node::Ident(name) => self.ident(&name),
            Node::Unary(op, inner) => {
                let ty = self.visit(inner)?;
                match op {
                    UnaryOp::Not if ty == Ty::Bool || ty.is_unknown() => Ty::Bool,
                    UnaryOp::Minus | UnaryOp::Plus if ty.is_number() => ty,
                    UnaryOp::Minus | UnaryOp::Plus if ty.is_unknown() => Ty::Unknown,
                    _ => {
                        let symbol = match op {
                            UnaryOp::Not => "not",
                            UnaryOp::Minus => "-",
                            UnaryOp::Plus => "+",
                        };
                        return self.fail(id, format!("invalid operation: {symbol} (mismatched type {ty})"));
                    }
                }
            }
            Node::Chain(inner) => self.visit(inner)?,
            Node::Member { base, property, method, .. } => self.member(id, base, property, method)?,
            Node::Slice { base, from, to } => {
                let ty = self.visit(base)?;
                if ty.is_unknown() {
                    return Ok(Ty::Unknown);
                }
                if !matches!(ty.shape(), Shape::Str | Shape::Slice) {
                    return self.fail(id, format!("cannot slice {ty}"));
                }
                for bound in from.into_iter().chain(to) {
                    let bound_ty = self.visit(bound)?;
                    if !bound_ty.is_integer() && !bound_ty.is_unknown() {
                        return self.fail(bound, format!("non-integer slice index {bound_ty}"));
                    }
                }
                ty
            }
            Node::Call { callee, args } => self.call(id, callee, &args)?,
            Node::Builtin { name, args, .. } => self.builtin(id, name, &args)?,
            Node::Predicate(inner) => self.visit(inner)?,
            Node::Pointer(pointer) => self.pointer(id, &pointer)?,
            Node::Let { name, value, body } => {
                if Builtin::lookup(name.as_bytes()).is_some() {
                    return self.fail(id, format!("cannot redeclare builtin {}", name.to_str_lossy()));
                }
                if self.lets.iter().any(|(known, _)| *known == name) {
                    return self.fail(id, format!("cannot redeclare variable {}", name.to_str_lossy()));
                }
                let ty = self.visit(value)?;
                self.lets.push((name, ty));
                let out = self.visit(body)?;
                self.lets.pop();
                out
            }
            Node::Sequence(ids) => {
                let mut last = Ty::Unknown;
                for id in ids {
                    last = self.visit(id)?;
                }
                last
            }
            Node::If { cond, yes, no } => {
                let ty = self.visit(cond)?;
                if ty != Ty::Bool && !ty.is_unknown() {
                    return self.fail(cond, format!("non-bool expression (type {ty}) used as condition"));
                }
                let (a, b) = (self.visit(yes)?, self.visit(no)?);
                match (&a, &b) {
                    (Ty::Nil, _) => b,
                    (_, Ty::Nil) => a,
                    _ if a.assignable_to(&b) => {
                        let (x, y) = (a.elem(), b.elem());
                        if a.is_array() && b.is_array() && !(x.assignable_to(&y) && y.assignable_to(&x)) {
                            Ty::any_list()
                        } else {
                            a
                        }
                    }
                    _ => Ty::Unknown,
                }
            }
            Node::Array(ids) => {
                let mut previous = Ty::Unknown;
                let mut same = true;
                for (i, id) in ids.into_iter().enumerate() {
                    let ty = self.visit(id)?;
                    same &= i == 0 || ty.shape() == previous.shape();
                    previous = ty;
                }
                if same { Ty::list_of(previous) } else { Ty::any_list() }
            }
            Node::Map(pairs) => {
                for (key, value) in pairs {
                    self.visit(key)?;
                    self.visit(value)?;
                }
                Ty::Map { any_key: false, lists: false }
            }
            Node::Binary(..) | Node::Const(_) | Node::Set(_) => Ty::Unknown,
        })
    }

    fn ident(&self, name: &Str) -> Ty {
        if let Some((_, ty)) = self.lets.iter().rev().find(|(known, _)| known == name) {
            return ty.clone();
        }
        // The name of a built-in function that is not called is that function's type, and nil when it runs.
        Builtin::lookup(name.as_bytes()).map_or(Ty::Unknown, Ty::Func)
    }

    fn binary(&mut self, id: Id, op: BinaryOp, l: &Ty, r: &Ty, right: Id) -> Result<Ty> {
        use BinaryOp::*;
        let both = |check: fn(&Ty) -> bool| check(l) && check(r);
        let number = |ty: &Ty| ty.is_number();
        let is = |want: Ty| move |ty: &Ty| *ty == want;
        let timely = |ty: &Ty| matches!(ty, Ty::Time | Ty::Duration);
        let promoted = || if *l == Ty::Float || *r == Ty::Float { Ty::Float } else { INT };
        let found = match op {
            Equal | NotEqual => l.comparable_to(r).then_some(Ty::Bool),
            Or | And => (both(|t| *t == Ty::Bool) || l.maybe(r, is(Ty::Bool))).then_some(Ty::Bool),
            Less | More | LessOrEqual | MoreOrEqual => (both(Ty::is_number)
                || l == r && (timely(l) || *l == Ty::Str)
                || l.maybe(r, |t| number(t) || timely(t) || *t == Ty::Str))
            .then_some(Ty::Bool),
            Subtract => match (l, r) {
                _ if both(Ty::is_number) => Some(promoted()),
                (Ty::Time, Ty::Time) | (Ty::Duration, Ty::Duration) => Some(Ty::Duration),
                (Ty::Time, Ty::Duration) => Some(Ty::Time),
                _ => l.maybe(r, |t| number(t) || timely(t)).then_some(Ty::Unknown),
            },
            Multiply => match (l, r) {
                _ if both(Ty::is_number) => Some(promoted()),
                (Ty::Duration, Ty::Duration) => Some(Ty::Duration),
                (Ty::Duration, n) | (n, Ty::Duration) if n.is_number() => Some(Ty::Duration),
                _ => l.maybe(r, |t| number(t) || *t == Ty::Duration).then_some(Ty::Unknown),
            },
            Divide | Power => (both(Ty::is_number) || l.maybe(r, number)).then_some(Ty::Float),
            Modulo => (both(Ty::is_integer) || l.maybe(r, Ty::is_integer)).then_some(INT),
            Add => match (l, r) {
                _ if both(Ty::is_number) => Some(promoted()),
                (Ty::Str, Ty::Str) => Some(Ty::Str),
                (Ty::Time, Ty::Duration) | (Ty::Duration, Ty::Time) => Some(Ty::Time),
                (Ty::Duration, Ty::Duration) => Some(Ty::Duration),
                _ => l.maybe(r, |t| number(t) || timely(t) || *t == Ty::Str).then_some(Ty::Unknown),
            },
            In => return self.in_operator(id, l, r),
            Matches => {
                if let Node::Str(text) = self.ast.node(right)
                    && let Err(error) = pattern::compile(&text.to_str_lossy(), self.regex_bytes)
                {
                    return self.fail(right, error.message);
                }
                (*r == Ty::Str && matches!(l, Ty::Str | Ty::Bytes) || l.maybe(r, is(Ty::Str)))
                    .then_some(Ty::Bool)
            }
            Contains | StartsWith | EndsWith => {
                (both(|t| *t == Ty::Str) || l.maybe(r, is(Ty::Str))).then_some(Ty::Bool)
            }
            Range => (both(Ty::is_integer) || l.maybe(r, Ty::is_integer)).then(|| Ty::list_of(INT)),
            Coalesce => Some(match (l, r) {
                (Ty::Nil, _) => r.clone(),
                (_, Ty::Nil) => l.clone(),
                _ if r.assignable_to(l) => l.clone(),
                _ => Ty::Unknown,
            }),
        };
        match found {
            Some(ty) => Ok(ty),
            None => {
                self.fail(id, format!("invalid operation: {} (mismatched types {l} and {r})", op.symbol()))
            }
        }
    }

    fn in_operator(&self, id: Id, l: &Ty, r: &Ty) -> Result<Ty> {
        let fits = match r.shape() {
            Shape::Struct if *l == Ty::Str || l.is_unknown() => true,
            Shape::Map => {
                let key = if matches!(r, Ty::Map { any_key: true, .. }) { Ty::Any } else { Ty::Str };
                if !l.is_unknown() && !l.assignable_to(&key) {
                    return self.fail(id, format!("cannot use {l} as type {key} in map key"));
                }
                true
            }
            Shape::Slice => {
                if !l.comparable_to(&r.elem()) {
                    return self.fail(id, format!("cannot use {l} as type {} in array", r.elem()));
                }
                true
            }
            Shape::Str => l.is_unknown(),
            _ => r.is_unknown(),
        };
        if fits {
            return Ok(Ty::Bool);
        }
        self.fail(id, format!("invalid operation: in (mismatched types {l} and {r})"))
    }

    fn member(&mut self, id: Id, base: Id, property: Id, is_method: bool) -> Result<Ty> {
        if matches!(self.ast.node(base), Node::Ident(name) if *name == "$env") {
            return Ok(Ty::Unknown);
        }
        let ty = self.visit(base)?;
        let key = self.visit(property)?;
        if ty.is_unknown() {
            return Ok(Ty::Unknown);
        }
        let name = match self.ast.node(property) {
            Node::Str(name) => Some(name.to_str_lossy().into_owned()),
            _ => None,
        };
        if let Some(found) = name.as_deref().and_then(|name| method(&ty, name)) {
            return Ok(found);
        }
        match &ty {
            Ty::Map { any_key, .. } => {
                let wanted = if *any_key { Ty::Any } else { Ty::Str };
                if !key.assignable_to(&wanted) && !key.is_unknown() {
                    return self.fail(property, format!("cannot use {key} to get an element from {ty}"));
                }
                return Ok(ty.elem());
            }
            Ty::Array(..) | Ty::Bytes => {
                if !key.is_integer() && !key.is_unknown() {
                    return self.fail(
                        property,
                        format!("array elements can only be selected using an integer (got {key})"),
                    );
                }
                return Ok(ty.elem());
            }
            _ => {}
        }
        match name {
            Some(name) => {
                let what = if is_method { "method" } else { "field" };
                self.fail(id, format!("type {ty} has no {what} {name}"))
            }
            None => self.fail(id, format!("type {ty}[{key}] is undefined")),
        }
    }

    fn call(&mut self, id: Id, callee: Id, args: &[Id]) -> Result<Ty> {
        if matches!(self.ast.node(callee), Node::Ident(name) if *name == "$env") {
            return self.fail(id, "$env is not callable".into());
        }
        match self.visit(callee)? {
            Ty::Unknown | Ty::Any => Ok(Ty::Unknown),
            Ty::Func(builtin) => self.function(id, builtin, args),
            Ty::Method("three values", ..) => self.fail(id, "the method returns more than two values".into()),
            Ty::Method(_, params, out) => {
                let given = self.visit_all(args)?;
                self.fit(id, "the method", params, &given).map(|()| Ty::clone(&out))
            }
            Ty::Nil => self.fail(id, "cannot call nil as function".into()),
            other => self.fail(id, format!("{other} is not callable")),
        }
    }

    fn visit_all(&mut self, args: &[Id]) -> Result<Vec<Given>> {
        args.iter().map(|id| Ok(Given { id: *id, ty: self.visit(*id)? })).collect()
    }

    fn fit(&self, id: Id, name: &str, params: &[Ty], given: &[Given]) -> Result<()> {
        if given.len() != params.len() {
            let few = if given.len() < params.len() { "not enough" } else { "too many" };
            return self.fail(id, format!("{few} arguments to call {name}"));
        }
        for (arg, want) in given.iter().zip(params) {
            let fits = match &arg.ty {
                Ty::Nil => matches!(want.shape(), Shape::Ptr | Shape::Interface),
                ty => ty.is_unknown() || ty.assignable_to(want) || ty.is_integer() && want.is_integer(),
            };
            if !fits {
                return self
                    .fail(arg.id, format!("cannot use {} as argument (type {want}) to call {name}", arg.ty));
            }
        }
        Ok(())
    }

    fn function(&mut self, id: Id, builtin: Builtin, args: &[Id]) -> Result<Ty> {
        let given = self.visit_all(args)?;
        if let Some(overloads) = overloads(builtin) {
            let mut last = Ok(());
            for (params, out) in overloads {
                last = self.fit(id, builtin.name(), &params, &given);
                if last.is_ok() {
                    return Ok(out);
                }
            }
            last?;
        }
        builtin_type(builtin, &given).map_err(|message| Problem::new(self.ast.place(id), message))
    }

    fn builtin(&mut self, id: Id, name: Builtin, args: &[Id]) -> Result<Ty> {
        if name == Builtin::Get {
            return self.get(id, args);
        }
        if name.predicate_params().is_none() {
            return self.function(id, name, args);
        }
        let Some(&first) = args.first() else {
            return self.fail(id, format!("not enough arguments to call {}", name.name()));
        };
        let collection = self.visit(first)?;
        if !collection.is_array() && !collection.is_unknown() {
            return self.fail(first, format!("builtin {} takes only array (got {collection})", name.name()));
        }
        let Some(&predicate) = args.get(1) else {
            return Ok(match name {
                Builtin::Count => INT,
                _ if collection.is_unknown() => Ty::Unknown,
                _ => collection.elem(),
            });
        };
        self.predicates.push(Scope {
            collection: collection.clone(),
            index: matches!(name, Builtin::Map | Builtin::Reduce),
            acc: name == Builtin::Reduce,
        });
        let out = self.visit(predicate)?;
        self.predicates.pop();
        let last = match args.get(2) {
            Some(id) => Some((*id, self.visit(*id)?)),
            None => None,
        };
        if out == Ty::Nil {
            return self.fail(predicate, "the predicate must give a value, not nil".into());
        }
        let wants_bool = !matches!(
            name,
            Builtin::Map | Builtin::Sum | Builtin::GroupBy | Builtin::SortBy | Builtin::Reduce
        );
        if wants_bool && out != Ty::Bool && !out.is_unknown() {
            return self.fail(predicate, format!("predicate should return boolean (got {out})"));
        }
        Ok(match name {
            Builtin::Filter if collection.is_unknown() => Ty::any_list(),
            Builtin::Filter => Ty::list_of(collection.elem()),
            Builtin::Map => Ty::list_of(out),
            Builtin::Count | Builtin::FindIndex | Builtin::FindLastIndex => INT,
            Builtin::Sum if out.is_unknown() => Ty::Any,
            Builtin::Sum => out.declared(),
            Builtin::Find | Builtin::FindLast if collection.is_unknown() => Ty::Unknown,
            Builtin::Find | Builtin::FindLast => collection.elem(),
            Builtin::GroupBy => Ty::Map { any_key: true, lists: true },
            Builtin::SortBy => {
                if let Some((id, ty)) = last
                    && ty != Ty::Str
                    && !ty.is_unknown()
                {
                    return self.fail(id, format!("sortBy order argument must be a string (got {ty})"));
                }
                collection
            }
            Builtin::Reduce => out,
            _ => Ty::Bool,
        })
    }

    fn get(&mut self, id: Id, args: &[Id]) -> Result<Ty> {
        let &[base, property] = args else {
            return self.fail(id, format!("invalid number of arguments (expected 2, got {})", args.len()));
        };
        let ty = self.visit(base)?;
        let key = self.visit(property)?;
        match &ty {
            ty if ty.is_unknown() => Ok(Ty::Unknown),
            Ty::Array(..) | Ty::Bytes if key.is_integer() || key.is_unknown() => Ok(ty.elem()),
            Ty::Array(..) | Ty::Bytes => self.fail(property, format!("non-integer slice index {key}")),
            Ty::Map { any_key, .. } => {
                let wanted = if *any_key { Ty::Any } else { Ty::Str };
                if key.assignable_to(&wanted) || key.is_unknown() {
                    return Ok(ty.elem());
                }
                self.fail(property, format!("cannot use {key} to get an element from {ty}"))
            }
            _ => self.fail(base, format!("type {ty} does not support indexing")),
        }
    }

    fn pointer(&self, id: Id, pointer: &Pointer) -> Result<Ty> {
        let Some(scope) = self.predicates.last() else {
            return self.fail(id, "cannot use # outside a predicate".into());
        };
        let unknown = |name: &str| self.fail(id, format!("unknown pointer #{name}"));
        match pointer {
            Pointer::Item if scope.collection.is_unknown() => Ok(Ty::Unknown),
            Pointer::Item => Ok(scope.collection.elem()),
            Pointer::Index if scope.index => Ok(Ty::Int(IntKind::Int)),
            Pointer::Acc if scope.acc => Ok(Ty::Unknown),
            Pointer::Index => unknown("index"),
            Pointer::Acc => unknown("acc"),
            Pointer::Other(name) => unknown(name),
        }
    }
}
