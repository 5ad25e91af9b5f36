//! What helps someone whose expression failed: the values around the place, and mistakes that many make.

use herald_value::{Value, gofmt};

use crate::{
    code::{Name, Path},
    hint::nearest,
};

/// What is known of a chain of names that led to nil.
pub(crate) fn missing(vars: &Value, names: &[Name]) -> Option<String> {
    let mut parent = vars;
    let (last, before) = names.split_last()?;
    for name in before {
        parent = parent.as_map()?.get_bytes(name.text.as_bytes())?;
    }
    let map = parent.as_map()?;
    if map.get_bytes(last.text.as_bytes()).is_some() {
        return Some(format!("`{}` is null", last.text.to_str_lossy()));
    }
    let owner = before.last().map_or_else(
        || "there is no variable".to_string(),
        |above| format!("`{}` has no field", above.text.to_str_lossy()),
    );
    let name = last.text.to_str_lossy();
    let near = nearest(&name, map.entries().iter().filter_map(|(k, _)| k.to_str()));
    Some(match near {
        Some(near) => format!("{owner} `{name}`; did you mean `{near}`?"),
        None => format!("{owner} `{name}`"),
    })
}

/// What the names beside the place of a failure stand for.
pub(crate) fn around(source: &str, at: u32, paths: &[Path], vars: &Value) -> Option<String> {
    let at = (at as usize).min(source.len());
    let before = source.get(..at)?.trim_end().len();
    let behind = source.get(at..)?;
    let after = source.len() - behind.trim_start_matches(|c: char| !c.is_alphanumeric() && c != '_').len();
    let end = |path: &Path| path.names.last().map_or(0, |name| name.place as usize + name.text.len());
    let left = paths.iter().find(|path| end(path) == before);
    let right = paths.iter().find(|path| path.start as usize == after);
    if let (Some(left), true, true) =
        (left, behind.starts_with('-'), right.is_some() && before == at && after == at + 1)
    {
        let last = left.names.last()?;
        let tail: String = behind.chars().take_while(|c| c.is_alphanumeric() || "-_".contains(*c)).collect();
        let owner = source.get(left.start as usize..last.place as usize)?.trim_end_matches(['.', '?']);
        return Some(format!(
            "this subtracts; a key with a dash is written {owner}[\"{}{tail}\"]",
            last.text.to_str_lossy()
        ));
    }
    let known: Vec<String> =
        [left, right].into_iter().flatten().filter_map(|path| describe(path, vars)).collect();
    (!known.is_empty()).then(|| known.join("; "))
}

fn describe(path: &Path, vars: &Value) -> Option<String> {
    let mut value = vars;
    for (i, name) in path.names.iter().enumerate() {
        match value.as_map().and_then(|map| map.get_bytes(name.text.as_bytes())) {
            Some(found) if !found.is_nil() => value = found,
            _ => return missing(vars, path.names.get(..=i)?),
        }
    }
    let name = path.names.last()?.text.to_str_lossy();
    let kind = match value {
        Value::List(list) => return Some(format!("`{name}` is a list of {}", list.items().len())),
        Value::Map(_) | Value::AnyMap(_) => return Some(format!("`{name}` is a map")),
        Value::Str(_) => "the text ",
        _ => "",
    };
    let mut shown = Vec::new();
    gofmt::print_bounded(&mut shown, value, 60);
    let shown: String = String::from_utf8_lossy(&shown).chars().take(60).collect();
    Some(format!("`{name}` is {kind}{shown}"))
}

/// Mistakes that many make, by what stands in the source.
pub(crate) fn compiling(source: &str, at: u32, message: &str) -> Option<String> {
    let rest = source.get(at as usize..).unwrap_or("");
    let trimmed = source.trim_start();
    let dotted = rest.strip_prefix('.').is_some_and(|name| name.starts_with(|c: char| c.is_alphabetic()));
    if trimmed.starts_with("{{") || (dotted && message.starts_with("unexpected")) {
        return Some("an expression is written without {{ }}, and its names without a leading dot".into());
    }
    if trimmed.starts_with("if ") {
        return Some("a condition is written without `if`".into());
    }
    if rest.starts_with('=') && !rest.starts_with("==") {
        return Some("`==` compares two values".into());
    }
    if rest.starts_with('&') {
        return Some("write `and` or `&&`".into());
    }
    if message.starts_with("unexpected end") {
        return Some(match unclosed(source) {
            Some((bracket, column)) => format!("the `{bracket}` in column {column} is not closed"),
            None => "something is missing at the end".into(),
        });
    }
    if message.contains("mismatched types") {
        return Some("int(…), float(…) and string(…) convert a value".into());
    }
    if message == "literal not terminated" {
        return Some("its closing quote is missing".into());
    }
    None
}

/// The last bracket that is open at the end, texts left aside.
fn unclosed(source: &str) -> Option<(char, usize)> {
    let mut open = Vec::new();
    let mut quote = None;
    let mut column = 0;
    for c in source.chars() {
        column = if c == '\n' { 0 } else { column + 1 };
        match (quote, c) {
            (Some(q), c) if q == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') => quote = Some(c),
            (None, '(' | '[' | '{') => open.push((c, column)),
            (None, ')' | ']' | '}') => drop(open.pop()),
            _ => {}
        }
    }
    open.pop()
}
