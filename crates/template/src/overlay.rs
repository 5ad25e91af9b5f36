//! Maps that a rendering has changed in place.
//!
//! Values are immutable and shared by many renderings, while sprig's `set`, `unset` and `merge` change a map that every
//! alias then sees. So a rendering keeps the changed content beside the original, found by the original's address.

use std::{collections::HashMap, sync::Arc};

use herald_value::{AnyMap, CallError, List, MAX_DEPTH, Map, Value, limits::Meter};

/// The changes of one rendering.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    /// By the address of the original, which stays alive here so that no other map can get its address.
    changed: HashMap<usize, (Arc<Map>, Arc<Map>)>,
}

fn address(map: &Arc<Map>) -> usize {
    Arc::as_ptr(map).addr()
}

impl Overlay {
    /// Whether nothing was changed.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.changed.is_empty()
    }

    /// The content that a map has now.
    pub(crate) fn current(&self, map: &Arc<Map>) -> Arc<Map> {
        match self.changed.get(&address(map)) {
            Some((_, content)) => content.clone(),
            None => map.clone(),
        }
    }

    /// Gives a map new content.
    pub(crate) fn replace(&mut self, map: &Arc<Map>, content: Map) {
        let content = Arc::new(content);
        self.changed
            .entry(address(map))
            .and_modify(|(_, now)| *now = content.clone())
            .or_insert((map.clone(), content));
    }

    /// The value with the changes at every level.
    pub(crate) fn resolve(&self, value: &Value, meter: &mut Meter) -> Result<Value, CallError> {
        if self.changed.is_empty() {
            return Ok(value.clone());
        }
        Ok(self.rebuilt(value, 0, meter)?.unwrap_or_else(|| value.clone()))
    }

    /// `None` if nothing in the value has changed.
    fn rebuilt(&self, value: &Value, level: u16, meter: &mut Meter) -> Result<Option<Value>, CallError> {
        // A map can be put into itself, so the original depth is no bound here.
        if level > MAX_DEPTH {
            return Err(herald_value::TooDeep.into());
        }
        match value {
            Value::List(list) => {
                meter.step(list.items().len() as u64 + 1)?;
                let mut items: Option<Vec<Value>> = None;
                for (i, item) in list.items().iter().enumerate() {
                    if let Some(new) = self.rebuilt(item, level + 1, meter)?
                        && let Some(slot) = items.get_or_insert_with(|| list.items().to_vec()).get_mut(i)
                    {
                        *slot = new;
                    }
                }
                items.map(|items| Ok(Value::List(Arc::new(List::new(list.elem(), items)?)))).transpose()
            }
            Value::Map(original) => {
                let changed = self.changed.get(&address(original));
                let map = changed.map_or(original, |(_, content)| content);
                meter.step(map.len() as u64 + 1)?;
                let mut entries = None;
                for (i, (_, item)) in map.entries().iter().enumerate() {
                    if let Some(new) = self.rebuilt(item, level + 1, meter)?
                        && let Some(slot) = entries.get_or_insert_with(|| map.entries().to_vec()).get_mut(i)
                    {
                        slot.1 = new;
                    }
                }
                match (entries, changed) {
                    (Some(entries), _) => Ok(Some(Value::Map(Arc::new(Map::new(map.elem(), entries)?)))),
                    (None, Some(_)) => Ok(Some(Value::Map(map.clone()))),
                    (None, None) => Ok(None),
                }
            }
            Value::AnyMap(map) => {
                meter.step(map.entries().len() as u64 + 1)?;
                let mut entries = None;
                for (i, (_, item)) in map.entries().iter().enumerate() {
                    if let Some(new) = self.rebuilt(item, level + 1, meter)?
                        && let Some(slot) = entries.get_or_insert_with(|| map.entries().to_vec()).get_mut(i)
                    {
                        slot.1 = new;
                    }
                }
                entries
                    .map(|entries| Ok(Value::AnyMap(Arc::new(AnyMap::new(map.elem(), entries)?))))
                    .transpose()
            }
            _ => Ok(None),
        }
    }
}
