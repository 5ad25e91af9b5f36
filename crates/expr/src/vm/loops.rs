//! Loops: predicates over the elements of a list.

use std::{collections::HashMap, sync::Arc};

use herald_value::{AnyMap, CallError, Elem, Value};

use super::{Machine, Slot};
use crate::{
    ast::BinaryOp,
    code::Op,
    functions,
    ops::{self, Result, fail},
};

/// A loop that is open.
pub(super) struct Scope<'a> {
    items: Slot<'a>,
    pub(super) len: i64,
    pub(super) index: i64,
    count: i64,
    acc: Slot<'a>,
    kept: Option<Box<Kept>>,
}

/// What grouping and sorting keep; the other loops need none of it.
#[derive(Default)]
struct Kept {
    groups: Vec<(Value, Vec<Value>)>,
    known: HashMap<Vec<u8>, usize>,
    sortable: Vec<(Value, Value)>,
    descending: bool,
}

impl<'a> Scope<'a> {
    fn new(items: Slot<'a>) -> Result<Scope<'a>> {
        let len = match items.get() {
            Value::List(list) => list.items().len(),
            Value::Map(map) => map.len(),
            Value::AnyMap(map) => map.entries().len(),
            Value::Str(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            other => return fail(format!("needs a list, found {}", ops::type_name(other))),
        };
        Ok(Scope { items, len: len as i64, index: 0, count: 0, acc: Slot::Own(Value::Nil), kept: None })
    }

    fn kept(&mut self) -> &mut Kept {
        self.kept.get_or_insert_default()
    }

    /// The element, if it is one of a list that nobody has to copy.
    #[inline]
    pub(super) fn borrowed(&self) -> Option<&'a Value> {
        match self.items {
            Slot::Ref(Value::List(list)) => list.items().get(usize::try_from(self.index).ok()?),
            _ => None,
        }
    }

    pub(super) fn item(&self) -> Result<Slot<'a>> {
        let at = usize::try_from(self.index).unwrap_or(usize::MAX);
        let found = match &self.items {
            Slot::Ref(Value::List(list)) => list.items().get(at).map(Slot::Ref),
            Slot::Own(Value::List(list)) => list.items().get(at).cloned().map(Slot::Own),
            slot => match slot.get() {
                Value::Str(text) => text.as_bytes().get(at).map(|b| Slot::Own(ops::byte(*b))),
                Value::Bytes(bytes) => bytes.get(at).map(|b| Slot::Own(ops::byte(*b))),
                other => return fail(format!("a {} has no elements to look at", other.go_type())),
            },
        };
        match found {
            Some(item) => Ok(item),
            None => fail("index out of range".into()),
        }
    }
}

impl<'a> Machine<'a> {
    #[inline]
    pub(super) fn scope(&mut self) -> Result<&mut Scope<'a>> {
        self.scope.as_mut().ok_or_else(|| CallError::new("no loop is open"))
    }

    /// Ends the innermost loop.
    fn close(&mut self) -> Option<Scope<'a>> {
        let around = self.rest.as_mut().and_then(|rest| rest.scopes.pop());
        std::mem::replace(&mut self.scope, around)
    }

    fn collect(&mut self, count: usize) -> Result<()> {
        self.close();
        self.array(count)
    }

    pub(super) fn step_loop(&mut self, op: Op, ip: usize) -> Result<usize> {
        match op {
            Op::Begin => {
                let items = self.stack.pop();
                if let Some(around) = self.scope.replace(Scope::new(items)?) {
                    self.rest().scopes.push(around);
                }
            }
            Op::End => drop(self.close()),
            Op::Next(to) => {
                self.meter.step(1)?;
                self.scope()?.index += 1;
                return Ok(to as usize);
            }
            Op::ToLast => {
                let scope = self.scope()?;
                scope.index = scope.len - 1;
            }
            Op::JumpIfBefore(to) if self.scope()?.index < 0 => {
                return Ok(to as usize);
            }
            Op::Previous(to) => {
                self.meter.step(1)?;
                self.scope()?.index -= 1;
                return Ok(to as usize);
            }
            Op::Item => {
                let item = self.scope()?.item()?;
                self.stack.push_slot(item);
            }
            Op::Index => {
                let index = self.scope()?.index;
                self.stack.push(Value::int(index));
            }
            Op::Acc => {
                let acc = self.scope()?.acc.clone();
                self.stack.push_slot(acc);
            }
            Op::SetAcc => {
                let value = self.stack.pop();
                self.scope()?.acc = value;
            }
            Op::AddToAcc => {
                let item = self.stack.pop();
                let acc = self.scope()?.acc.clone();
                let sum = ops::binary(BinaryOp::Add, item.get(), acc.get(), &mut self.meter)?;
                self.scope()?.acc = Slot::Own(sum);
            }
            Op::CountUp => self.scope()?.count += 1,
            Op::Count => {
                let count = self.scope()?.count;
                self.stack.push(Value::int(count));
            }
            Op::CountReaches(to, limit) if self.scope()?.count >= limit => {
                return Ok(to as usize);
            }
            Op::OneCounted => {
                let one = self.scope()?.count == 1;
                self.stack.push(Value::Bool(one));
            }
            Op::Collect => {
                let count = self.scope()?.count;
                self.collect(count as usize)?;
            }
            Op::CollectAll => {
                let count = self.scope()?.len;
                self.collect(count as usize)?;
            }
            Op::GroupBy => self.group()?,
            Op::Groups => {
                if let Some(scope) = self.close() {
                    let groups = scope.kept.unwrap_or_default().groups;
                    let mut entries = Vec::with_capacity(groups.len());
                    for (key, items) in groups {
                        entries.push((key, Value::list(items)?));
                    }
                    self.stack.push(Value::AnyMap(Arc::new(AnyMap::new(Elem::List, entries)?)));
                }
            }
            Op::SortOrder => {
                let order = self.stack.pop();
                let descending = functions::descending(order.get())?;
                self.scope()?.kept().descending = descending;
            }
            Op::SortBy => {
                let key = self.stack.pop().into_value();
                self.meter.grow(48)?;
                let scope = self.scope()?;
                let item = scope.item()?.into_value();
                scope.kept().sortable.push((key, item));
            }
            Op::Sorted => {
                if let Some(scope) = self.close() {
                    let kept = scope.kept.unwrap_or_default();
                    let items = functions::sort_by(kept.sortable, kept.descending, &mut self.meter)?;
                    self.grow(items.len())?;
                    self.stack.push(Value::list(items)?);
                }
            }
            _ => {}
        }
        Ok(ip + 1)
    }

    fn group(&mut self) -> Result<()> {
        let key = self.stack.pop().into_value();
        ops::hashable(&key)?;
        self.meter.grow(48)?;
        // A group of its own is a list and an entry in two tables.
        self.meter.step(12)?;
        let scope = self.scope()?;
        let item = scope.item()?.into_value();
        let kept = scope.kept();
        let code = functions::key_code(&key, kept.groups.len());
        let at = *kept.known.entry(code).or_insert(kept.groups.len());
        match kept.groups.get_mut(at) {
            Some((_, items)) => items.push(item),
            None => kept.groups.push((key, vec![item])),
        }
        Ok(())
    }
}
