//! Rewriting before the program runs: constants, and the shortcuts of the original that users can see (they skip
//! elements, avoid budgets, and decide which types `in` takes).

use std::sync::Arc;

use herald_value::Value;

use crate::{
    ast::{Ast, BinaryOp, Id, Node, Pointer, Set, UnaryOp},
    builtin::Builtin,
    parser::Problem,
    power::power,
    types::{INT, Ty},
};

/// Rewrites all nodes, children before parents.
pub(crate) fn fold(ast: &mut Ast) -> Result<(), Problem> {
    let ids = 0..ast.nodes.len() as Id;
    for id in ids.clone() {
        in_array(ast, id);
    }
    for id in ids.clone() {
        constant(ast, id)?;
    }
    for pass in [
        in_range,
        filter_map,
        filter_len,
        filter_end,
        crate::combine::predicates,
        sum_range,
        sum_array,
        sum_map,
        count,
    ] {
        for id in ids.clone() {
            pass(ast, id);
        }
    }
    Ok(())
}

fn in_array(ast: &mut Ast, id: Id) {
    let Node::Binary(BinaryOp::In, left, right) = *ast.node(id) else { return };
    let Node::Array(items) = ast.node(right) else { return };
    if items.is_empty() {
        return;
    }
    let ints: Option<Vec<i64>> =
        items.iter().map(|item| if let Node::Int(n) = ast.node(*item) { Some(*n) } else { None }).collect();
    let strs: Option<Vec<_>> = items
        .iter()
        .map(|item| if let Node::Str(s) = ast.node(*item) { Some(s.clone()) } else { None })
        .collect();
    let set = match (ints, strs) {
        (Some(ints), _) if *ast.ty(left) == INT => Set::Ints(ints),
        (_, Some(strs)) => Set::Strs(strs),
        _ => return,
    };
    let at = ast.place(right);
    let set = ast.add(Node::Set(Arc::new(set)), at);
    ast.replace(id, Node::Binary(BinaryOp::In, left, set));
}

fn literal(node: &Node) -> Option<f64> {
    match node {
        Node::Int(n) => Some(*n as f64),
        Node::Float(x) => Some(*x),
        _ => None,
    }
}

pub(crate) fn put(ast: &mut Ast, id: Id, node: Node) {
    let ty = match &node {
        Node::Int(_) => INT,
        Node::Float(_) => Ty::Float,
        Node::Str(_) => Ty::Str,
        Node::Bool(_) => Ty::Bool,
        Node::Const(_) => Ty::any_list(),
        _ => ast.ty(id).declared(),
    };
    ast.replace(id, node);
    ast.set_ty(id, ty);
}

fn constant(ast: &mut Ast, id: Id) -> Result<(), Problem> {
    match ast.node(id).clone() {
        Node::Unary(op, inner) => {
            let folded = match (op, ast.node(inner)) {
                (UnaryOp::Minus, Node::Int(n)) => Node::Int(n.wrapping_neg()),
                (UnaryOp::Minus, Node::Float(x)) => Node::Float(-x),
                (UnaryOp::Plus, node @ (Node::Int(_) | Node::Float(_))) => node.clone(),
                (UnaryOp::Not, Node::Bool(b)) => Node::Bool(!b),
                _ => return Ok(()),
            };
            put(ast, id, folded);
        }
        Node::Binary(op, left, right) => {
            use BinaryOp::*;
            let (a, b) = (ast.node(left), ast.node(right));
            let folded = match (op, a, b) {
                (And, Node::Bool(true), other) | (Or, Node::Bool(false), other) => other.clone(),
                (And, other, Node::Bool(true)) | (Or, other, Node::Bool(false)) => other.clone(),
                (And, Node::Bool(false), _) | (And, _, Node::Bool(false)) => Node::Bool(false),
                (Or, Node::Bool(true), _) | (Or, _, Node::Bool(true)) => Node::Bool(true),
                (Equal, Node::Int(x), Node::Int(y)) => Node::Bool(x == y),
                (Equal, Node::Str(x), Node::Str(y)) => Node::Bool(x == y),
                (Equal, Node::Bool(x), Node::Bool(y)) => Node::Bool(x == y),
                (Add, Node::Int(x), Node::Int(y)) => Node::Int(x.wrapping_add(*y)),
                (Subtract, Node::Int(x), Node::Int(y)) => Node::Int(x.wrapping_sub(*y)),
                (Multiply, Node::Int(x), Node::Int(y)) => Node::Int(x.wrapping_mul(*y)),
                (Modulo, Node::Int(_), Node::Int(0)) => {
                    return Err(Problem::new(ast.place(id), "integer divide by zero"));
                }
                (Modulo, Node::Int(x), Node::Int(y)) => Node::Int(x.wrapping_rem(*y)),
                (Add, Node::Str(x), Node::Str(y)) => Node::Str([x.as_bytes(), y.as_bytes()].concat().into()),
                _ => match (literal(a), literal(b)) {
                    (Some(x), Some(y)) => Node::Float(match op {
                        Add => x + y,
                        Subtract => x - y,
                        Multiply => x * y,
                        Divide => x / y,
                        Power => power(x, y),
                        _ => return Ok(()),
                    }),
                    _ => return Ok(()),
                },
            };
            let logical = matches!(op, And | Or);
            put(ast, id, folded);
            if logical {
                // The original declares what is left a bool, whatever it is.
                ast.set_ty(id, Ty::Bool);
            }
        }
        Node::Builtin { name: Builtin::Filter, args, .. } => return filter_filter(ast, id, &args),
        Node::Array(items) if !items.is_empty() => {
            let values: Option<Vec<Value>> = items
                .iter()
                .map(|item| {
                    Some(match ast.node(*item) {
                        Node::Int(n) => Value::int(*n),
                        Node::Float(x) => Value::Float(*x),
                        Node::Str(s) => Value::Str(s.clone()),
                        Node::Bool(b) => Value::Bool(*b),
                        _ => return None,
                    })
                })
                .collect();
            if let Some(list) = values.and_then(|values| Value::list(values).ok()) {
                put(ast, id, Node::Const(list));
            }
        }
        _ => {}
    }
    Ok(())
}

/// A filter of a filter goes through the elements once.
fn filter_filter(ast: &mut Ast, id: Id, args: &[Id]) -> Result<(), Problem> {
    let &[list, outer] = args else { return Ok(()) };
    let Some((inner_args, _)) = filter(ast, list) else { return Ok(()) };
    let &[list, inner] = &inner_args[..] else { return Ok(()) };
    let (&Node::Predicate(first), &Node::Predicate(second)) = (ast.node(inner), ast.node(outer)) else {
        return Ok(());
    };
    let at = ast.place(id);
    let both = ast.add(Node::Binary(BinaryOp::And, first, second), at);
    constant(ast, both)?;
    let predicate = ast.add(Node::Predicate(both), at);
    let args = vec![list, predicate];
    put(ast, id, Node::Builtin { name: Builtin::Filter, args, extra: Default::default() });
    Ok(())
}

/// The bounds of a range of literals.
fn bounds(ast: &Ast, id: Id) -> Option<(Id, Id, i64, i64)> {
    let Node::Binary(BinaryOp::Range, from, to) = *ast.node(id) else { return None };
    match (ast.node(from), ast.node(to)) {
        (Node::Int(a), Node::Int(b)) => Some((from, to, *a, *b)),
        _ => None,
    }
}

fn in_range(ast: &mut Ast, id: Id) {
    let Node::Binary(BinaryOp::In, left, right) = *ast.node(id) else { return };
    if *ast.ty(left) != INT {
        return;
    }
    let Some((from, to, ..)) = bounds(ast, right) else { return };
    let at = ast.place(id);
    let low = ast.add(Node::Binary(BinaryOp::MoreOrEqual, left, from), at);
    let high = ast.add(Node::Binary(BinaryOp::LessOrEqual, left, to), at);
    ast.replace(id, Node::Binary(BinaryOp::And, low, high));
}

pub(crate) fn builtin(ast: &Ast, id: Id) -> Option<(Builtin, &[Id])> {
    match ast.node(id) {
        Node::Builtin { name, args, .. } => Some((*name, args)),
        _ => None,
    }
}

/// The filter that a node is: its arguments and what it maps to.
fn filter(ast: &Ast, id: Id) -> Option<(Vec<Id>, Option<Id>)> {
    match ast.node(id) {
        Node::Builtin { name: Builtin::Filter, args, extra } if args.len() == 2 => {
            Some((args.clone(), extra.map))
        }
        _ => None,
    }
}

fn uses_index(ast: &Ast, id: Id) -> bool {
    let mut open = vec![id];
    let mut seen = 0;
    while let Some(id) = open.pop() {
        seen += 1;
        if matches!(ast.node(id), Node::Pointer(Pointer::Index)) || seen > 10_000 {
            return true;
        }
        crate::ast::each_child(ast.node(id), |child| open.push(child));
    }
    false
}

fn filter_map(ast: &mut Ast, id: Id) {
    let Some((Builtin::Map, &[list, predicate])) = builtin(ast, id) else { return };
    let Some((args, None)) = filter(ast, list) else { return };
    if uses_index(ast, predicate) {
        return;
    }
    let Node::Predicate(inner) = *ast.node(predicate) else { return };
    let extra = crate::ast::Extra { map: Some(inner), ..Default::default() };
    put(ast, id, Node::Builtin { name: Builtin::Filter, args, extra });
}

fn filter_len(ast: &mut Ast, id: Id) {
    let Some((Builtin::Len, &[list])) = builtin(ast, id) else { return };
    let Some((args, _)) = filter(ast, list) else { return };
    put(ast, id, Node::Builtin { name: Builtin::Count, args, extra: Default::default() });
}

/// The first or last element of a filter needs no whole list.
fn filter_end(ast: &mut Ast, id: Id) {
    let (list, first, throws) = match ast.node(id) {
        Node::Member { base, property, optional: false, .. } => match ast.node(*property) {
            Node::Int(0) => (*base, true, true),
            Node::Int(-1) => (*base, false, true),
            _ => return,
        },
        Node::Builtin { name: Builtin::First, args, .. } if args.len() == 1 => (args[0], true, false),
        Node::Builtin { name: Builtin::Last, args, .. } if args.len() == 1 => (args[0], false, false),
        _ => return,
    };
    let Some((args, map)) = filter(ast, list) else { return };
    let name = if first { Builtin::Find } else { Builtin::FindLast };
    put(ast, id, Node::Builtin { name, args, extra: crate::ast::Extra { map, throws, threshold: None } });
}

fn sum_range(ast: &mut Ast, id: Id) {
    let Some((name @ (Builtin::Sum | Builtin::Reduce), args)) = builtin(ast, id) else { return };
    let (Some(&list), predicate, initial) = (args.first(), args.get(1).copied(), args.get(2).copied()) else {
        return;
    };
    let Some((_, _, from, to)) = bounds(ast, list) else { return };
    if to < from {
        return;
    }
    let count = to.wrapping_sub(from).wrapping_add(1);
    let sum = count.wrapping_mul(from.wrapping_add(to)).wrapping_div(2);
    let inner = predicate.map(|predicate| match ast.node(predicate) {
        Node::Predicate(inner) => ast.node(*inner),
        other => other,
    });
    let result = match (name, inner) {
        (Builtin::Sum, None | Some(Node::Pointer(Pointer::Item))) => sum,
        (Builtin::Sum, Some(Node::Binary(op, a, b))) => {
            let (k, pointer_first) = match (ast.node(*a), ast.node(*b)) {
                (Node::Pointer(Pointer::Item), Node::Int(k)) => (*k, true),
                (Node::Int(k), Node::Pointer(Pointer::Item)) => (*k, false),
                _ => return,
            };
            match op {
                BinaryOp::Multiply => k.wrapping_mul(sum),
                BinaryOp::Add => sum.wrapping_add(count.wrapping_mul(k)),
                BinaryOp::Subtract if pointer_first => sum.wrapping_sub(count.wrapping_mul(k)),
                BinaryOp::Subtract => count.wrapping_mul(k).wrapping_sub(sum),
                _ => return,
            }
        }
        (Builtin::Reduce, Some(Node::Binary(BinaryOp::Add, a, b))) => {
            match (ast.node(*a), ast.node(*b)) {
                (Node::Pointer(Pointer::Item), Node::Pointer(Pointer::Acc))
                | (Node::Pointer(Pointer::Acc), Node::Pointer(Pointer::Item)) => {}
                _ => return,
            }
            match initial.map(|initial| ast.node(initial)) {
                None => sum,
                Some(Node::Int(start)) => start.wrapping_add(sum),
                Some(_) => return,
            }
        }
        _ => return,
    };
    put(ast, id, Node::Int(result));
}

fn sum_array(ast: &mut Ast, id: Id) {
    let Some((Builtin::Sum, &[list])) = builtin(ast, id) else { return };
    let Node::Array(items) = ast.node(list) else { return };
    // A sum nests to the right, which passes go down one call at a time.
    if !(2..=50).contains(&items.len()) {
        return;
    }
    let mut items = items.clone();
    let at = ast.place(id);
    let Some(mut sum) = items.pop() else { return };
    while items.len() > 1 {
        let Some(item) = items.pop() else { return };
        sum = ast.add(Node::Binary(BinaryOp::Add, item, sum), at);
    }
    let Some(item) = items.pop() else { return };
    put(ast, id, Node::Binary(BinaryOp::Add, item, sum));
}

fn sum_map(ast: &mut Ast, id: Id) {
    let Some((Builtin::Sum, &[list])) = builtin(ast, id) else { return };
    let Some((Builtin::Map, args @ &[_, _])) = builtin(ast, list) else { return };
    let args = args.to_vec();
    put(ast, id, Node::Builtin { name: Builtin::Sum, args, extra: Default::default() });
}

/// Counting stops where the comparison is decided.
fn count(ast: &mut Ast, id: Id) {
    let Node::Binary(op, left, right) = *ast.node(id) else { return };
    let Some((Builtin::Count, args)) = builtin(ast, left) else { return };
    let args = args.to_vec();
    let Node::Int(n) = *ast.node(right) else { return };
    if args.len() != 2 || n < 0 {
        return;
    }
    let threshold = match op {
        BinaryOp::More | BinaryOp::LessOrEqual => n.saturating_add(1),
        BinaryOp::MoreOrEqual | BinaryOp::Less => n,
        _ => return,
    };
    if threshold > 1 {
        if let Some(Node::Builtin { extra, .. }) = ast.nodes.get_mut(left as usize) {
            extra.threshold = Some(threshold);
        }
    } else if threshold == 1 && matches!(op, BinaryOp::More | BinaryOp::MoreOrEqual) {
        put(ast, id, Node::Builtin { name: Builtin::Any, args, extra: Default::default() });
        ast.set_ty(id, Ty::Bool);
    }
}
