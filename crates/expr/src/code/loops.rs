//! Functions with a predicate: loops.

use herald_value::Value;

use super::{Compiler, Op, Result};
use crate::{
    ast::{Id, Node},
    builtin::Builtin,
};

impl Compiler<'_> {
    /// A loop over all elements, in order.
    fn each(&mut self, id: Id, body: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let begin = self.here();
        let end = self.emit(id, Op::JumpIfEnd(0));
        body(self)?;
        self.emit(id, Op::Again(begin + 1));
        self.patch(end);
        Ok(())
    }

    /// Runs `body` where the value on the stack is true; takes that value off.
    fn when(&mut self, id: Id, body: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let no = self.emit(id, Op::PopJumpIfFalse(0));
        body(self)?;
        self.patch(no);
        Ok(())
    }

    pub(super) fn looping(&mut self, id: Id) -> Result<()> {
        let ast = self.ast;
        let Node::Builtin { name, args, extra } = ast.node(id) else { return Ok(()) };
        let (Some(&list), predicate, last) = (args.first(), args.get(1).copied(), args.get(2).copied())
        else {
            return Ok(());
        };
        let test = |this: &mut Self| match predicate {
            Some(predicate) => this.node(predicate),
            None => {
                this.emit(id, Op::Item);
                Ok(())
            }
        };
        self.node(list)?;
        self.emit(id, Op::Begin);
        match name {
            Builtin::All | Builtin::NoneOf | Builtin::Any => {
                let mut stop = 0;
                self.each(id, |this| {
                    test(this)?;
                    if *name == Builtin::NoneOf {
                        this.emit(id, Op::Not);
                    }
                    let jump = if *name == Builtin::Any { Op::TrueOrPop(0) } else { Op::FalseOrPop(0) };
                    stop = this.emit(id, jump);
                    Ok(())
                })?;
                self.constant(id, Value::Bool(*name != Builtin::Any));
                self.patch(stop);
                self.emit(id, Op::End);
            }
            Builtin::One => {
                self.each(id, |this| {
                    test(this)?;
                    this.when(id, |this| {
                        this.emit(id, Op::CountUp);
                        Ok(())
                    })
                })?;
                self.emit(id, Op::OneCounted);
                self.emit(id, Op::End);
            }
            Builtin::Filter => {
                self.each(id, |this| {
                    test(this)?;
                    this.when(id, |this| {
                        this.emit(id, Op::CountUp);
                        this.element(id, extra.map)
                    })
                })?;
                self.emit(id, Op::Collect);
            }
            Builtin::Map => {
                self.each(id, test)?;
                self.emit(id, Op::CollectAll);
            }
            Builtin::Count => {
                let mut stop = None;
                self.each(id, |this| {
                    test(this)?;
                    this.when(id, |this| {
                        this.emit(id, Op::CountUp);
                        stop = extra.threshold.map(|limit| this.emit(id, Op::CountReaches(0, limit)));
                        Ok(())
                    })
                })?;
                if let Some(stop) = stop {
                    self.patch(stop);
                }
                self.emit(id, Op::Count);
                self.emit(id, Op::End);
            }
            Builtin::Sum => {
                self.constant(id, Value::int(0));
                self.emit(id, Op::SetAcc);
                self.each(id, |this| {
                    test(this)?;
                    this.emit(id, Op::AddToAcc);
                    Ok(())
                })?;
                self.emit(id, Op::Acc);
                self.emit(id, Op::End);
            }
            Builtin::Find | Builtin::FindIndex | Builtin::FindLast | Builtin::FindLastIndex => {
                let backward = matches!(name, Builtin::FindLast | Builtin::FindLastIndex);
                if backward {
                    self.emit(id, Op::ToLast);
                }
                let begin = self.here();
                let end = self.emit(id, if backward { Op::JumpIfBefore(0) } else { Op::JumpIfEnd(0) });
                test(self)?;
                let no = self.emit(id, Op::PopJumpIfFalse(0));
                match name {
                    Builtin::Find | Builtin::FindLast => self.element(id, extra.map)?,
                    _ => drop(self.emit(id, Op::Index)),
                }
                let found = self.emit(id, Op::Jump(0));
                self.patch(no);
                self.emit(id, if backward { Op::Previous(begin) } else { Op::Again(begin + 1) });
                self.patch(end);
                if extra.throws {
                    self.emit(id, Op::Throw(0));
                } else {
                    self.constant(id, Value::Nil);
                }
                self.patch(found);
                self.emit(id, Op::End);
            }
            Builtin::GroupBy => {
                self.each(id, |this| {
                    test(this)?;
                    this.emit(id, Op::GroupBy);
                    Ok(())
                })?;
                self.emit(id, Op::Groups);
            }
            Builtin::SortBy => {
                match last {
                    Some(order) => self.node(order)?,
                    None => self.constant(id, Value::str("asc")),
                }
                self.emit(id, Op::SortOrder);
                self.each(id, |this| {
                    test(this)?;
                    this.emit(id, Op::SortBy);
                    Ok(())
                })?;
                self.emit(id, Op::Sorted);
            }
            _ => {
                match last {
                    Some(initial) => {
                        self.node(initial)?;
                        self.emit(id, Op::SetAcc);
                    }
                    None => {
                        let empty = self.emit(id, Op::JumpIfEnd(0));
                        self.emit(id, Op::Item);
                        self.emit(id, Op::SetAcc);
                        let next = self.here() + 2;
                        self.emit(id, Op::Next(next));
                        self.patch(empty);
                        self.emit(id, Op::Throw(1));
                    }
                }
                self.each(id, |this| {
                    test(this)?;
                    this.emit(id, Op::SetAcc);
                    Ok(())
                })?;
                self.emit(id, Op::Acc);
                self.emit(id, Op::End);
            }
        }
        Ok(())
    }

    fn element(&mut self, id: Id, map: Option<Id>) -> Result<()> {
        match map {
            Some(map) => self.node(map),
            None => {
                self.emit(id, Op::Item);
                Ok(())
            }
        }
    }
}
