//! How lists are printed.

use std::io::Write as _;

use clap::ValueEnum;
use herald_core::yaml::{Kind, Node};

use crate::{failure::Outcome, table};

/// A format of lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table
    #[default]
    Wide,
    /// One name a line
    Name,
    /// YAML, keys sorted
    Yaml,
    /// JSON, indented by two
    Json,
}

/// Writes data to standard output. A reader that went away is no failure.
pub(crate) fn print(text: &str) -> Outcome {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Prints named items: as `table` says (lines of cells between tabs), or as data.
pub(crate) fn list(format: Format, items: &[(String, Node)], table: &str) -> Outcome {
    match format {
        Format::Wide => print(&table::align(table)),
        Format::Name => print(&items.iter().map(|(name, _)| format!("{name}\n")).collect::<String>()),
        Format::Json => {
            let mut out = String::new();
            object(items.iter().map(|(name, node)| (name.as_str(), node)), 0, &mut out);
            out.push('\n');
            print(&out)
        }
        Format::Yaml => {
            let map = items.iter().map(|(name, node)| (name.clone(), node.to_json())).collect();
            print(&herald_services::services::console::yaml(&serde_json::Value::Object(map)))
        }
    }
}

/// JSON in the order of the source, as Go's encoder writes it with HTML escaped.
fn json(node: &Node, indent: usize, out: &mut String) {
    match &node.kind {
        Kind::Map(entries) if entries.is_empty() => out.push_str("{}"),
        Kind::Map(entries) => object(entries.iter().map(|(key, _, node)| (key.as_str(), node)), indent, out),
        Kind::List(items) if items.is_empty() => out.push_str("[]"),
        Kind::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                separate(index, indent + 2, out);
                json(item, indent + 2, out);
            }
            separate(0, indent, out);
            out.push(']');
        }
        _ => out.push_str(&escaped(&node.to_json())),
    }
}

fn object<'a>(entries: impl Iterator<Item = (&'a str, &'a Node)>, indent: usize, out: &mut String) {
    let start = out.len();
    out.push('{');
    let mut any = false;
    for (index, (key, node)) in entries.enumerate() {
        any = true;
        separate(index, indent + 2, out);
        out.push_str(&escaped(&serde_json::Value::from(key)));
        out.push_str(": ");
        json(node, indent + 2, out);
    }
    if any {
        separate(0, indent, out);
    } else {
        out.truncate(start + 1);
    }
    out.push('}');
}

fn separate(index: usize, indent: usize, out: &mut String) {
    out.push_str(if index > 0 { ",\n" } else { "\n" });
    out.extend(std::iter::repeat_n(' ', indent));
}

fn escaped(scalar: &serde_json::Value) -> String {
    let mut out = String::new();
    for c in scalar.to_string().chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}
