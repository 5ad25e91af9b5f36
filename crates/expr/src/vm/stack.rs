//! The stack: most values on it are lent by the object or the program, and are put there and taken away as one pointer.

use herald_value::{Hint, Str, Value, limits::Meter};

use crate::ops::{self, Result};

/// A value that is borrowed from the object or the program, or was made here.
#[derive(Clone)]
pub(super) enum Slot<'a> {
    Ref(&'a Value),
    Own(Value),
}

impl<'a> Slot<'a> {
    pub(super) fn get(&self) -> &Value {
        match self {
            Slot::Ref(value) => value,
            Slot::Own(value) => value,
        }
    }

    pub(super) fn into_value(self) -> Value {
        match self {
            Slot::Ref(value) => value.clone(),
            Slot::Own(value) => value,
        }
    }

    /// A field that is borrowed where this is.
    pub(super) fn field(self, key: &Str, hint: &Hint, meter: &mut Meter) -> Result<Slot<'a>> {
        match &self {
            Slot::Ref(Value::Map(map)) => {
                return Ok(Slot::Ref(hint.lookup(map, key).unwrap_or_else(|| map.elem().zero())));
            }
            Slot::Own(Value::Map(map)) => {
                if let Some(found) = hint.lookup(map, key) {
                    return Ok(Slot::Own(found.clone()));
                }
            }
            _ => {}
        }
        self.fetch(&Value::Str(key.clone()), meter)
    }

    /// A member that is borrowed where this is.
    pub(super) fn fetch(self, key: &Value, meter: &mut Meter) -> Result<Slot<'a>> {
        match self {
            Slot::Ref(value) => match ops::borrowed(value, key) {
                Some(found) => Ok(Slot::Ref(found)),
                None => ops::fetch(value, key, meter).map(Slot::Own),
            },
            Slot::Own(value) => ops::fetch(&value, key, meter).map(Slot::Own),
        }
    }
}

/// A place on the stack. What it owned before a value was lent to it stays until the next one that it owns, or the end:
/// nothing has to be looked at in between.
#[derive(Default)]
struct Cell<'a> {
    lent: Option<&'a Value>,
    own: Value,
}

impl<'a> Cell<'a> {
    #[inline(always)]
    fn get(&self) -> &Value {
        self.lent.unwrap_or(&self.own)
    }

    #[inline(always)]
    fn set(&mut self, value: Value) {
        self.lent = None;
        self.own = value;
    }

    #[inline]
    fn take(&mut self) -> Slot<'a> {
        match self.lent {
            Some(value) => Slot::Ref(value),
            None => Slot::Own(std::mem::take(&mut self.own)),
        }
    }
}

/// Few conditions need more places than these, and so no memory of their own.
const FEW: usize = 2;

#[derive(Default)]
pub(super) struct Stack<'a> {
    cells: [Cell<'a>; FEW],
    depth: usize,
    /// What lies on top of `cells`.
    more: Vec<Cell<'a>>,
}

impl<'a> Stack<'a> {
    #[inline(always)]
    fn cell(&self, at: usize) -> &Value {
        match self.cells.get(at) {
            Some(cell) => cell.get(),
            None => self.far(at),
        }
    }

    #[cold]
    fn far(&self, at: usize) -> &Value {
        self.more.get(at.wrapping_sub(FEW)).map_or(&Value::Nil, Cell::get)
    }

    /// What lies on top; nil if there is nothing.
    #[inline(always)]
    pub(super) fn top(&self) -> &Value {
        self.cell(self.depth.wrapping_sub(1))
    }

    /// What lies below the top.
    #[inline(always)]
    pub(super) fn below(&self) -> &Value {
        self.cell(self.depth.wrapping_sub(2))
    }

    /// What lies on top, if it is lent.
    #[inline(always)]
    pub(super) fn lent(&self) -> Option<&'a Value> {
        self.cells.get(self.depth.wrapping_sub(1))?.lent
    }

    /// What lies below the top, if it is lent.
    #[inline(always)]
    pub(super) fn lent_below(&self) -> Option<&'a Value> {
        self.cells.get(self.depth.wrapping_sub(2))?.lent
    }

    #[inline(always)]
    pub(super) fn lend(&mut self, value: &'a Value) {
        match self.cells.get_mut(self.depth) {
            Some(cell) => cell.lent = Some(value),
            None => self.more.push(Cell { lent: Some(value), own: Value::Nil }),
        }
        self.depth += 1;
    }

    /// Puts an answer there.
    #[inline(always)]
    pub(super) fn answer(&mut self, answer: bool) {
        self.lend(if answer { &Value::Bool(true) } else { &Value::Bool(false) });
    }

    #[inline(always)]
    pub(super) fn push(&mut self, value: Value) {
        match self.cells.get_mut(self.depth) {
            Some(cell) => cell.set(value),
            None => self.more.push(Cell { lent: None, own: value }),
        }
        self.depth += 1;
    }

    #[inline]
    pub(super) fn push_slot(&mut self, slot: Slot<'a>) {
        match slot {
            Slot::Ref(value) => self.lend(value),
            Slot::Own(value) => self.push(value),
        }
    }

    /// Takes the top off.
    #[inline(always)]
    pub(super) fn discard(&mut self) {
        if self.depth > FEW {
            self.more.pop();
        }
        self.depth = self.depth.saturating_sub(1);
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Slot<'a> {
        let Some(at) = self.depth.checked_sub(1) else { return Slot::Ref(&Value::Nil) };
        self.depth = at;
        match self.cells.get_mut(at) {
            Some(cell) => cell.take(),
            None => self.more.pop().map_or(Slot::Ref(&Value::Nil), |mut cell| cell.take()),
        }
    }

    /// The upper values, in the order in which they were put there.
    pub(super) fn take(&mut self, count: usize) -> Vec<Value> {
        let mut values = Vec::with_capacity(count.min(self.depth));
        values.extend((0..count.min(self.depth)).map(|_| self.pop().into_value()));
        values.reverse();
        values
    }
}

#[cfg(test)]
mod tests {
    use super::{FEW, Slot, Stack};
    use herald_value::Value;

    #[test]
    fn what_was_put_last_comes_first_below_and_above_the_places_of_its_own() {
        let lent: Vec<Value> = (0..10).map(Value::int).collect();
        for count in 0..3 * FEW {
            let mut stack = Stack::default();
            for (n, value) in lent.iter().take(count).enumerate() {
                // Each place held something before; it must not be what is found there.
                stack.push(Value::str("before"));
                stack.discard();
                stack.lend(&Value::Nil);
                stack.discard();
                if n % 2 == 0 {
                    stack.lend(value)
                } else {
                    stack.push(value.clone())
                }
                assert_eq!(stack.top(), value);
                assert_eq!(stack.below(), n.checked_sub(1).map_or(&Value::Nil, |below| &lent[below]));
            }
            assert_eq!(stack.take(count.min(2)), lent[count - count.min(2)..count]);
            for n in (0..count - count.min(2)).rev() {
                let slot = stack.pop();
                assert_eq!(matches!(slot, Slot::Ref(_)), n % 2 == 0);
                assert_eq!(slot.into_value(), lent[n]);
            }
            assert_eq!(stack.top(), &Value::Nil);
            assert_eq!(stack.pop().into_value(), Value::Nil);
        }
    }
}
