//! `all(list, p) and all(list, q)` goes through the list once, as in the original: each element is tested with `p` and
//! then with `q`, which decides which element's failure is seen.

use crate::{
    ast::{Ast, BinaryOp, Id, Node, each_child},
    builtin::Builtin,
    fold::{builtin, put},
};

/// How many nodes are compared before two lists are taken as different ones.
const MAX_COMPARED: usize = 1000;

/// Joins two predicates over the same list.
pub(crate) fn predicates(ast: &mut Ast, id: Id) {
    let mut at = id;
    while let Some(inner) = joined(ast, at) {
        at = inner;
    }
}

/// Joins at one node; gives the operator between the two predicates, where more may be to join.
fn joined(ast: &mut Ast, id: Id) -> Option<Id> {
    let Node::Binary(op, left, right) = *ast.node(id) else { return None };
    let (name, &[list, first]) = builtin(ast, left)? else { return None };
    let (other, &[same_list, second]) = builtin(ast, right)? else { return None };
    let within = match (name, op) {
        (Builtin::All, BinaryOp::And) => BinaryOp::And,
        (Builtin::Any, BinaryOp::Or) | (Builtin::NoneOf, BinaryOp::And) => BinaryOp::Or,
        _ => return None,
    };
    let same_type = ast.ty(list).declared() == ast.ty(same_list).declared();
    if other != name || !same_type || !same(ast, list, same_list) {
        return None;
    }
    let (&Node::Predicate(first), &Node::Predicate(second)) = (ast.node(first), ast.node(second)) else {
        return None;
    };
    let at = ast.place(id);
    let both = ast.add(Node::Binary(within, first, second), at);
    let predicate = ast.add(Node::Predicate(both), at);
    put(ast, id, Node::Builtin { name, args: vec![list, predicate], extra: Default::default() });
    Some(both)
}

/// Whether two nodes read the same.
fn same(ast: &Ast, a: Id, b: Id) -> bool {
    let mut open = vec![(a, b)];
    let mut compared = 0;
    while let Some((a, b)) = open.pop() {
        compared += 1;
        let (x, y) = (ast.node(a), ast.node(b));
        if compared > MAX_COMPARED || !alike(x, y) {
            return false;
        }
        let (mut of_x, mut of_y) = (Vec::new(), Vec::new());
        each_child(x, |id| of_x.push(id));
        each_child(y, |id| of_y.push(id));
        if of_x.len() != of_y.len() {
            return false;
        }
        open.extend(of_x.into_iter().zip(of_y));
    }
    true
}

/// Whether two nodes are the same but for their children.
fn alike(a: &Node, b: &Node) -> bool {
    match (a, b) {
        (Node::Nil, Node::Nil)
        | (Node::Chain(_), Node::Chain(_))
        | (Node::Predicate(_), Node::Predicate(_))
        | (Node::Call { .. }, Node::Call { .. })
        | (Node::Sequence(_), Node::Sequence(_))
        | (Node::If { .. }, Node::If { .. })
        | (Node::Array(_), Node::Array(_))
        | (Node::Map(_), Node::Map(_)) => true,
        (Node::Bool(x), Node::Bool(y)) => x == y,
        (Node::Int(x), Node::Int(y)) => x == y,
        (Node::Float(x), Node::Float(y)) => x == y,
        (Node::Str(x) | Node::Ident(x), Node::Str(y) | Node::Ident(y)) => {
            x == y && std::mem::discriminant(a) == std::mem::discriminant(b)
        }
        (Node::Bytes(x), Node::Bytes(y)) => x == y,
        (Node::Unary(x, _), Node::Unary(y, _)) => x == y,
        (Node::Binary(x, ..), Node::Binary(y, ..)) => x == y,
        (Node::Member { optional: x, .. }, Node::Member { optional: y, .. }) => x == y,
        (Node::Slice { from: f, to: t, .. }, Node::Slice { from: g, to: u, .. }) => {
            f.is_some() == g.is_some() && t.is_some() == u.is_some()
        }
        (Node::Builtin { name: x, .. }, Node::Builtin { name: y, .. }) => x == y,
        (Node::Pointer(x), Node::Pointer(y)) => x == y,
        (Node::Let { name: x, .. }, Node::Let { name: y, .. }) => x == y,
        (Node::Const(x), Node::Const(y)) => x == y,
        (Node::Set(x), Node::Set(y)) => x == y,
        _ => false,
    }
}
