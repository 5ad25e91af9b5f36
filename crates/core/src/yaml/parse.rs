//! Events of the YAML parser to nodes, within limits.

use std::collections::HashMap;

use granit_parser::{Event, Options, Parser, ScalarStyle, Span, Tag};

use super::{Kind, Node, Position, YamlError, scalar};

/// The longest text that is looked at. A ConfigMap holds 1 MiB at most.
pub const MAX_TEXT_BYTES: usize = 32 * 1024 * 1024;
/// How deep lists and maps may nest.
pub const MAX_DEPTH: usize = 200;
/// How many keys that come twice are told.
const MAX_DUPLICATES: usize = 20;
/// How many nodes, and how many kilobytes, aliases may add in all.
pub const MAX_EXPANSION: usize = 100_000;

/// The first document.
pub(super) fn first(text: &str, twice: &mut Vec<YamlError>) -> Result<Node, YamlError> {
    let mut found = None;
    run(text, twice, |node| {
        found = Some(node);
        false
    })?;
    Ok(found.unwrap_or(Node { kind: Kind::Null, at: Position { line: 1, column: 1 } }))
}

/// All documents that are not empty.
pub(super) fn all(text: &str, twice: &mut Vec<YamlError>) -> Result<Vec<Node>, YamlError> {
    let mut found = Vec::new();
    each(text, twice, &mut found)?;
    Ok(found)
}

/// All documents that are not empty, up to the first that can't be read.
pub(super) fn each(text: &str, twice: &mut Vec<YamlError>, found: &mut Vec<Node>) -> Result<(), YamlError> {
    run(text, twice, |node| {
        if !node.is_null() {
            found.push(node);
        }
        true
    })
}

fn run(
    text: &str,
    twice: &mut Vec<YamlError>,
    mut document: impl FnMut(Node) -> bool,
) -> Result<(), YamlError> {
    if text.len() > MAX_TEXT_BYTES {
        let message = format!("the text has {} bytes, more than {MAX_TEXT_BYTES}", text.len());
        return Err(YamlError::new(message, Position { line: 1, column: 1 }));
    }
    let mut options = Options::default();
    options.set_emit_comments(false);
    let mut builder = Builder { frames: Vec::new(), anchors: HashMap::new(), spent: 0, twice };
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|e| {
            YamlError::new(format!("this is not valid YAML: {}", e.info()), position(*e.marker()))
        })?;
        if let Some(root) = builder.event(event, &span)? {
            builder.anchors.clear();
            if !document(root) {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn position(marker: granit_parser::Marker) -> Position {
    Position {
        line: u32::try_from(marker.line().max(1)).unwrap_or(u32::MAX),
        column: u32::try_from(marker.col()).unwrap_or(u32::MAX).saturating_add(1),
    }
}

/// A list or map that is still open.
struct Frame {
    at: Position,
    anchor: usize,
    kind: FrameKind,
    /// Nesting below, for the depth limit where the anchor is used.
    height: usize,
    nodes: usize,
    bytes: usize,
}

enum FrameKind {
    List(Vec<Node>),
    Map(MapFrame),
}

#[derive(Default)]
struct MapFrame {
    entries: Vec<(String, Position, Node)>,
    index: HashMap<String, usize>,
    key: Option<(String, Position, bool)>,
    merges: Vec<Node>,
}

/// A finished node and what it costs to copy it.
struct Built {
    node: Node,
    height: usize,
    nodes: usize,
    bytes: usize,
}

struct Builder<'w> {
    frames: Vec<Frame>,
    anchors: HashMap<usize, (Node, usize, usize, usize)>,
    spent: usize,
    twice: &'w mut Vec<YamlError>,
}

impl Builder<'_> {
    /// Takes one event; gives the root of a finished document.
    fn event(&mut self, event: Event<'_>, span: &Span) -> Result<Option<Node>, YamlError> {
        let at = position(span.start);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                // A key `<<` is a merge key only where it is plain.
                let merge = text == "<<" && style == ScalarStyle::Plain;
                let at = text_start(&text, style, at);
                let kind = typed(&text, style, tag.as_deref()).map_err(|m| YamlError::new(m, at))?;
                let built = Built { node: Node { kind, at }, height: 0, nodes: 1, bytes: text.len() };
                self.remember(anchor, &built);
                if self.wants_key() {
                    return self.key(text.into_owned(), at, merge).map(|()| None);
                }
                self.add(built)
            }
            Event::Alias(id) => {
                let Some((node, height, nodes, bytes)) = self.anchors.get(&id) else {
                    return Err(YamlError::new("this alias refers to a value that contains it", at));
                };
                self.spent = self.spent.saturating_add(*nodes).saturating_add(bytes / 1024);
                if self.spent > MAX_EXPANSION {
                    return Err(YamlError::new("aliases expand this document beyond all measure", at));
                }
                if self.frames.len() + height > MAX_DEPTH {
                    return Err(too_deep(at));
                }
                let built = Built { node: node.clone(), height: *height, nodes: *nodes, bytes: *bytes };
                if self.wants_key() {
                    return match built.node.text() {
                        Some(text) => self.key(text.to_owned(), at, false).map(|()| None),
                        None => Err(YamlError::new("a key must be text", at)),
                    };
                }
                self.add(built)
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open(FrameKind::List(Vec::new()), anchor, at).map(|()| None)
            }
            Event::MappingStart(_, anchor, _) => {
                self.open(FrameKind::Map(MapFrame::default()), anchor, at).map(|()| None)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::UnresolvedAlias(name) => {
                Err(YamlError::new(format!("there is no anchor `{name}` before this alias"), at))
            }
            _ => Ok(None),
        }
    }

    fn wants_key(&self) -> bool {
        matches!(self.frames.last(), Some(Frame { kind: FrameKind::Map(map), .. }) if map.key.is_none())
    }

    fn open(&mut self, kind: FrameKind, anchor: usize, at: Position) -> Result<(), YamlError> {
        if self.wants_key() {
            return Err(YamlError::new("a key must be text, not a list or map", at));
        }
        if self.frames.len() >= MAX_DEPTH {
            return Err(too_deep(at));
        }
        self.frames.push(Frame { at, anchor, kind, height: 1, nodes: 1, bytes: 0 });
        Ok(())
    }

    fn close(&mut self) -> Result<Option<Node>, YamlError> {
        let Some(frame) = self.frames.pop() else { return Ok(None) };
        let kind = match frame.kind {
            FrameKind::List(items) => Kind::List(items),
            FrameKind::Map(map) => Kind::Map(merged(map)),
        };
        let built = Built {
            node: Node { kind, at: frame.at },
            height: frame.height,
            nodes: frame.nodes,
            bytes: frame.bytes,
        };
        self.remember(frame.anchor, &built);
        self.add(built)
    }

    fn remember(&mut self, anchor: usize, built: &Built) {
        if anchor != 0 {
            self.anchors.insert(anchor, (built.node.clone(), built.height, built.nodes, built.bytes));
        }
    }

    fn key(&mut self, key: String, at: Position, merge: bool) -> Result<(), YamlError> {
        if let Some(Frame { kind: FrameKind::Map(map), bytes, .. }) = self.frames.last_mut() {
            *bytes += key.len();
            map.key = Some((key, at, merge));
        }
        Ok(())
    }

    fn add(&mut self, built: Built) -> Result<Option<Node>, YamlError> {
        let Some(frame) = self.frames.last_mut() else { return Ok(Some(built.node)) };
        frame.height = frame.height.max(built.height + 1);
        frame.nodes = frame.nodes.saturating_add(built.nodes);
        frame.bytes = frame.bytes.saturating_add(built.bytes);
        match &mut frame.kind {
            FrameKind::List(items) => items.push(built.node),
            FrameKind::Map(map) => {
                let Some((key, at, merge)) = map.key.take() else { return Ok(None) };
                if merge {
                    merge_sources(built.node, at, &mut map.merges)?;
                } else if let Some(entry) = map.index.get(&key).and_then(|i| map.entries.get_mut(*i)) {
                    let line = entry.1.line;
                    // Thousands of them help nobody, and each is shown with its line.
                    if self.twice.len() < MAX_DUPLICATES {
                        self.twice.push(YamlError::new(already(&key, at.line.saturating_sub(line)), at));
                    }
                    *entry = (key, at, built.node);
                } else {
                    map.index.insert(key.clone(), map.entries.len());
                    map.entries.push((key, at, built.node));
                }
            }
        }
        Ok(None)
    }
}

/// Told by distance, as the lines of a value are not those of its file.
fn already(key: &str, above: u32) -> String {
    match above {
        0 => format!("the key `{key}` is already set in this map, on the same line"),
        1 => format!("the key `{key}` is already set in this map, one line above"),
        lines => format!("the key `{key}` is already set in this map, {lines} lines above"),
    }
}

/// Where the text of a scalar begins, so that places inside it can be computed. The parser's mark of a block
/// scalar is its first character that is no blank.
fn text_start(text: &str, style: ScalarStyle, at: Position) -> Position {
    match style {
        ScalarStyle::Plain => at,
        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => {
            Position { line: at.line, column: at.column.saturating_add(1) }
        }
        ScalarStyle::Literal | ScalarStyle::Folded => {
            let body = text.trim_start_matches('\n');
            let blank_lines = u32::try_from(text.len() - body.len()).unwrap_or(0);
            let blanks = u32::try_from(body.len() - body.trim_start_matches(' ').len()).unwrap_or(0);
            Position {
                line: at.line.saturating_sub(blank_lines).max(1),
                column: at.column.saturating_sub(blanks).max(1),
            }
        }
    }
}

fn too_deep(at: Position) -> YamlError {
    YamlError::new(format!("lists and maps nest deeper than {MAX_DEPTH} levels"), at)
}

/// The maps that a merge key names.
fn merge_sources(value: Node, at: Position, into: &mut Vec<Node>) -> Result<(), YamlError> {
    match value.kind {
        Kind::Map(_) => into.push(value),
        Kind::List(items) if items.iter().all(|item| matches!(item.kind, Kind::Map(_))) => into.extend(items),
        _ => return Err(YamlError::new("`<<` wants a map, or a list of maps", at)),
    }
    Ok(())
}

/// A map's own entries, then those of its merge keys that it does not have: of several sources the first wins.
fn merged(map: MapFrame) -> Vec<(String, Position, Node)> {
    let MapFrame { mut entries, mut index, merges, .. } = map;
    for source in merges {
        if let Kind::Map(more) = source.kind {
            for (key, at, node) in more {
                if !index.contains_key(&key) {
                    index.insert(key.clone(), entries.len());
                    entries.push((key, at, node));
                }
            }
        }
    }
    entries
}

fn typed(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Kind, String> {
    let as_text = || Kind::Text(text.to_owned());
    let Some(tag) = tag else {
        return Ok(if style == ScalarStyle::Plain { scalar::resolve(text) } else { as_text() });
    };
    // The non-specific tag `!` and tags of one's own leave the text as it is.
    let Some(suffix) = tag.suffix_in_namespace("tag:yaml.org,2002:") else { return Ok(as_text()) };
    let resolved = scalar::resolve(text);
    match (&*suffix, resolved) {
        ("str", _) => Ok(as_text()),
        ("null", Kind::Null) => Ok(Kind::Null),
        ("bool", Kind::Bool(value, text)) => Ok(Kind::Bool(value, text)),
        ("int", Kind::Int(value, text)) => Ok(Kind::Int(value, text)),
        ("float", Kind::Float(value, text)) => Ok(Kind::Float(value, text)),
        ("float", Kind::Int(value, text)) => Ok(Kind::Float(value as f64, text)),
        ("binary", _) => {
            use base64::Engine as _;
            let compact: String = text.split_whitespace().collect();
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(compact)
                .map_err(|e| format!("this is tagged `!!binary`, but it is not base64: {e}"))?;
            Ok(Kind::Text(String::from_utf8_lossy(&bytes).into_owned()))
        }
        ("null" | "bool" | "int" | "float", _) => {
            Err(format!("`{text}` is not what its tag `!!{suffix}` says"))
        }
        _ => Ok(as_text()),
    }
}
