//! The types that built-in functions take and give.

use std::rc::Rc;

use herald_value::IntKind;

use crate::{
    ast::Id,
    builtin::Builtin,
    types::{INT, Shape, Slice, Ty},
};

/// An argument and its type.
pub(crate) struct Given {
    pub(crate) id: Id,
    pub(crate) ty: Ty,
}

/// The signatures of a function that has fixed ones.
pub(crate) fn overloads(builtin: Builtin) -> Option<Vec<(Vec<Ty>, Ty)>> {
    use Builtin::*;
    let s = || Ty::Str;
    let any = Ty::any_list;
    let strings = || Ty::Array(Slice::Str, Rc::new(Ty::Str));
    Some(match builtin {
        Type | ToText | ToJson => vec![(vec![Ty::Any], s())],
        Trim => vec![(vec![s()], s()), (vec![s(), s()], s())],
        TrimPrefix | TrimSuffix => vec![(vec![s(), s()], s()), (vec![s()], s())],
        Upper | Lower | ToBase64 | FromBase64 => vec![(vec![s()], s())],
        Split | SplitAfter => vec![(vec![s(), s()], strings()), (vec![s(), s(), INT], strings())],
        Replace => vec![(vec![s(), s(), s(), INT], s()), (vec![s(), s(), s()], s())],
        Repeat => vec![(vec![s(), INT], s())],
        Join => vec![
            (vec![strings(), s()], s()),
            (vec![any(), s()], s()),
            (vec![any()], s()),
            (vec![strings()], s()),
        ],
        IndexOf | LastIndexOf => vec![(vec![s(), s()], INT)],
        HasPrefix | HasSuffix => vec![(vec![s(), s()], Ty::Bool)],
        FromJson => vec![(vec![s()], Ty::Any)],
        Duration => vec![(vec![s()], Ty::Duration)],
        Timezone => vec![(vec![s()], Ty::Location)],
        Sort => vec![
            (vec![any(), s()], any()),
            (vec![strings(), s()], any()),
            (vec![any()], any()),
            (vec![strings()], any()),
        ],
        BitAnd | BitOr | BitXor | BitNand | BitShl | BitShr | BitUshr => vec![(vec![INT, INT], INT)],
        BitNot => vec![(vec![INT], INT)],
        _ => return None,
    })
}

/// The type that any other function gives for these arguments, or why it takes them not.
pub(crate) fn builtin_type(builtin: Builtin, args: &[Given]) -> Result<Ty, String> {
    use Builtin::*;
    let name = builtin.name();
    let shape = |i: usize| match args.get(i).map(|a| &a.ty) {
        Some(ty) if ty.is_unknown() => Shape::Interface,
        Some(ty) => ty.shape(),
        None => Shape::Invalid,
    };
    let text = |i: usize| args.get(i).map_or_else(String::new, |a| a.ty.to_string());
    let expect = |count: usize| {
        if args.len() == count {
            return Ok(());
        }
        Err(format!("invalid number of arguments for {name} (expected {count}, got {})", args.len()))
    };
    let first =
        || args.first().map_or(Ty::Unknown, |a| if a.ty.is_unknown() { Ty::Any } else { a.ty.declared() });
    let numeric = |shape| matches!(shape, Shape::Int(_) | Shape::Float);
    let wrong = || Err(format!("invalid argument for {name} (type {})", text(0)));
    let list = |shape| matches!(shape, Shape::Interface | Shape::Slice);
    match builtin {
        Len => {
            expect(1)?;
            match shape(0) {
                Shape::Map | Shape::Slice | Shape::Str | Shape::Interface => Ok(INT),
                _ => wrong(),
            }
        }
        Abs | Ceil | Floor | Round => {
            expect(1)?;
            match shape(0) {
                shape if numeric(shape) || shape == Shape::Interface => {
                    Ok(if builtin == Abs { first() } else { Ty::Float })
                }
                _ => wrong(),
            }
        }
        Int | Float => {
            expect(1)?;
            match shape(0) {
                shape if numeric(shape) || matches!(shape, Shape::Interface | Shape::Str) => {
                    Ok(if builtin == Int { INT } else { Ty::Float })
                }
                _ => wrong(),
            }
        }
        Max | Min | Mean | Median => {
            if args.is_empty() {
                return Err(format!("not enough arguments to call {name}"));
            }
            for i in 0..args.len() {
                match shape(i) {
                    Shape::Interface | Shape::Slice => return Ok(Ty::Any),
                    shape if numeric(shape) => {}
                    _ => return Err(format!("invalid argument for {name} (type {})", text(i))),
                }
            }
            Ok(first())
        }
        Now => match args {
            [] => Ok(Ty::Time),
            [one] if one.ty == Ty::Location => Ok(Ty::Time),
            _ => Err(format!("invalid number of arguments for now (expected 0, got {})", args.len())),
        },
        Date => {
            if args.is_empty() {
                return Err("invalid number of arguments for date (expected at least 1, got 0)".into());
            }
            let rest = args.len() - usize::from(args.first().is_some_and(|a| a.ty == Ty::Location));
            if rest > 3 {
                return Err(format!("invalid number of arguments for date (expected at most 3, got {rest})"));
            }
            Ok(Ty::Time)
        }
        First | Last => {
            expect(1)?;
            match shape(0) {
                Shape::Interface => Ok(Ty::Any),
                Shape::Slice => Ok(first().declared_elem()),
                _ => Err(format!("cannot get {name} element from {}", text(0))),
            }
        }
        Take => {
            expect(2)?;
            if !list(shape(0)) {
                return Err(format!("cannot take from {}", text(0)));
            }
            match shape(1) {
                Shape::Interface => Ok(first()),
                Shape::Int(kind) if kind != IntKind::Uint8 => Ok(first()),
                _ => Err(format!("cannot take {} elements", text(1))),
            }
        }
        Keys | Values | ToPairs => {
            expect(1)?;
            match shape(0) {
                Shape::Interface | Shape::Map => Ok(Ty::any_list()),
                _ => Err(format!("cannot get {name} of {}", text(0))),
            }
        }
        FromPairs => {
            expect(1)?;
            if list(shape(0)) {
                return Ok(Ty::Map { any_key: true, lists: false });
            }
            Err(format!("cannot transform {} from pairs", text(0)))
        }
        Reverse | Uniq | Flatten => {
            expect(1)?;
            if list(shape(0)) { Ok(Ty::any_list()) } else { Err(format!("cannot {name} {}", text(0))) }
        }
        Concat => {
            if args.is_empty() {
                return Err("invalid number of arguments for concat (expected at least 1, got 0)".into());
            }
            match (0..args.len()).find(|i| !list(shape(*i))) {
                Some(i) => Err(format!("cannot concat {}", text(i))),
                None => Ok(Ty::any_list()),
            }
        }
        _ => Ok(Ty::Unknown),
    }
}
