//! Lists and maps. Each knows how deep it nests, so that no walk over a value can overflow the stack.

use std::sync::{
    LazyLock,
    atomic::{AtomicU32, Ordering},
};

use crate::{IntKind, Str, Value, text::same};

/// How deep containers may nest. Kubernetes allows less in its objects.
pub const MAX_DEPTH: u16 = 500;

/// A list or map would nest deeper than [`MAX_DEPTH`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("values nest deeper than {MAX_DEPTH} levels")]
pub struct TooDeep;

/// The static Go type of the elements of a list or of the values of a map. The elements themselves always
/// carry their own kind; this only says what Go would have declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elem {
    /// `interface {}`
    Any,
    /// `string`
    Str,
    /// `int`
    Int,
    /// `int64`
    Int64,
    /// `float64`
    Float,
    /// `bool`
    Bool,
    /// `[]uint8`
    Bytes,
    /// `map[string]interface {}`
    Map,
    /// `[]interface {}`
    List,
    /// `[]string`
    StrList,
    /// `[2]interface {}`, as expr's `toPairs` makes them.
    Pair,
}

impl Elem {
    /// The name that Go's `%T` prints for this type.
    pub fn go_name(self) -> &'static str {
        match self {
            Elem::Any => "interface {}",
            Elem::Str => "string",
            Elem::Int => "int",
            Elem::Int64 => "int64",
            Elem::Float => "float64",
            Elem::Bool => "bool",
            Elem::Bytes => "[]uint8",
            Elem::Map => "map[string]interface {}",
            Elem::List => "[]interface {}",
            Elem::StrList => "[]string",
            Elem::Pair => "[2]interface {}",
        }
    }

    /// What Go yields for a missing key of a map with such values.
    pub fn zero(self) -> &'static Value {
        static EMPTY: LazyLock<Value> = LazyLock::new(|| Value::str(""));
        match self {
            Elem::Any | Elem::Bytes | Elem::Map | Elem::List | Elem::StrList | Elem::Pair => &Value::Nil,
            Elem::Str => &EMPTY,
            Elem::Int => &Value::Int(0, IntKind::Int),
            Elem::Int64 => &Value::Int(0, IntKind::Int64),
            Elem::Float => &Value::Float(0.0),
            Elem::Bool => &Value::Bool(false),
        }
    }
}

fn depth_above<'a>(children: impl Iterator<Item = &'a Value>) -> Result<u16, TooDeep> {
    let below = children.map(Value::depth).max().unwrap_or(0);
    if below >= MAX_DEPTH { Err(TooDeep) } else { Ok(below + 1) }
}

/// A Go slice.
#[derive(Clone, Debug, PartialEq)]
pub struct List {
    elem: Elem,
    depth: u16,
    items: Vec<Value>,
}

impl List {
    /// A slice with the given static element type.
    pub fn new(elem: Elem, items: Vec<Value>) -> Result<List, TooDeep> {
        let depth = depth_above(items.iter())?;
        Ok(List { elem, depth, items })
    }

    /// A slice of scalars.
    pub(crate) fn flat(elem: Elem, items: Vec<Value>) -> List {
        List { elem, depth: 1, items }
    }

    /// The static element type.
    pub fn elem(&self) -> Elem {
        self.elem
    }

    /// The elements.
    pub fn items(&self) -> &[Value] {
        &self.items
    }

    pub(crate) fn depth(&self) -> u16 {
        self.depth
    }
}

/// A Go map with string keys. Entries are sorted by the bytes of their key, which is the order in which Go
/// prints and templates range.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    elem: Elem,
    depth: u16,
    entries: Vec<(Str, Value)>,
}

impl Map {
    /// A map of the given entries, in any order; of equal keys the last one stays.
    pub fn new(elem: Elem, mut entries: Vec<(Str, Value)>) -> Result<Map, TooDeep> {
        let depth = depth_above(entries.iter().map(|(_, v)| v))?;
        if !entries.is_sorted_by(|a, b| a.0 < b.0) {
            // Stable, so that the last of equal keys is the one that stays.
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            let mut kept: Vec<(Str, Value)> = Vec::with_capacity(entries.len());
            for entry in entries {
                match kept.last_mut() {
                    Some(last) if last.0 == entry.0 => *last = entry,
                    _ => kept.push(entry),
                }
            }
            entries = kept;
        }
        Ok(Map { elem, depth, entries })
    }

    /// The static type of the values.
    pub fn elem(&self) -> Elem {
        self.elem
    }

    /// All entries in order of their keys.
    pub fn entries(&self) -> &[(Str, Value)] {
        &self.entries
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.get_bytes(key.as_bytes())
    }

    /// The value of a key that need not be UTF-8.
    pub fn get_bytes(&self, key: &[u8]) -> Option<&Value> {
        let at = place_of(&self.entries, key)?;
        self.entries.get(at).map(|(_, v)| v)
    }

    /// This map with one entry set.
    pub fn with(&self, key: Str, value: Value) -> Result<Map, TooDeep> {
        let mut entries = self.entries.clone();
        match entries.binary_search_by(|(k, _)| k.cmp(&key)) {
            Ok(at) => entries[at].1 = value,
            Err(at) => entries.insert(at, (key, value)),
        }
        Map::new(self.elem, entries)
    }

    /// This map without one entry.
    pub fn without(&self, key: &[u8]) -> Map {
        let mut map = self.clone();
        if let Ok(at) = map.entries.binary_search_by(|(k, _)| k.as_bytes().cmp(key)) {
            map.entries.remove(at);
        }
        map
    }

    pub(crate) fn depth(&self) -> u16 {
        self.depth
    }
}

/// In up to so many entries a key is looked for one after another: most differ in length already.
const FEW: usize = 16;

/// The place of a key.
#[inline]
fn place_of(entries: &[(Str, Value)], key: &[u8]) -> Option<usize> {
    if entries.len() <= FEW {
        return entries.iter().position(|(known, _)| same(known.as_bytes(), key));
    }
    entries.binary_search_by(|(known, _)| known.as_bytes().cmp(key)).ok()
}

/// Where a name was found last: objects of a kind mostly have the same fields, so it is mostly there again.
#[derive(Debug, Default)]
pub struct Hint(AtomicU32);

impl Hint {
    /// The value of a key.
    #[inline]
    pub fn lookup<'v>(&self, map: &'v Map, key: &Str) -> Option<&'v Value> {
        let entries = map.entries();
        match entries.get(self.0.load(Ordering::Relaxed) as usize) {
            Some((known, value)) if known == key => Some(value),
            _ => self.search(entries, key),
        }
    }

    fn search<'v>(&self, entries: &'v [(Str, Value)], key: &Str) -> Option<&'v Value> {
        let at = place_of(entries, key.as_bytes())?;
        self.0.store(at as u32, Ordering::Relaxed);
        entries.get(at).map(|(_, value)| value)
    }
}

/// A Go map with keys of any kind, in the order its maker gives (Go prints such maps sorted by kind and
/// value; `gofmt` does that when it prints).
#[derive(Clone, Debug, PartialEq)]
pub struct AnyMap {
    elem: Elem,
    depth: u16,
    entries: Vec<(Value, Value)>,
}

impl AnyMap {
    /// A map of the given entries. The caller makes sure that no key comes twice.
    pub fn new(elem: Elem, entries: Vec<(Value, Value)>) -> Result<AnyMap, TooDeep> {
        let depth = depth_above(entries.iter().flat_map(|(k, v)| [k, v]))?;
        Ok(AnyMap { elem, depth, entries })
    }

    /// The static type of the values.
    pub fn elem(&self) -> Elem {
        self.elem
    }

    /// All entries.
    pub fn entries(&self) -> &[(Value, Value)] {
        &self.entries
    }

    pub(crate) fn depth(&self) -> u16 {
        self.depth
    }
}
