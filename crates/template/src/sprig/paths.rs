//! Paths with slashes. Files of the system are never touched.

use herald_value::Value;

use super::help::{Result, text};
use crate::function::{Call, Function, Param::*};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("base", &[Str], |c| changed(c, base)),
    Function::new("dir", &[Str], |c| changed(c, dir)),
    Function::new("clean", &[Str], |c| changed(c, clean)),
    Function::new("ext", &[Str], |c| changed(c, ext)),
    Function::new("isAbs", &[Str], is_abs),
    Function::new("osBase", &[Str], |c| changed(c, base)),
    Function::new("osDir", &[Str], |c| changed(c, dir)),
    Function::new("osClean", &[Str], |c| changed(c, clean)),
    Function::new("osExt", &[Str], |c| changed(c, ext)),
    Function::new("osIsAbs", &[Str], is_abs),
];

fn changed(call: &mut Call<'_>, change: fn(&[u8]) -> Vec<u8>) -> Result<Value> {
    let out = change(call.bytes(0));
    text(call, out)
}

fn is_abs(call: &mut Call<'_>) -> Result<Value> {
    Ok(Value::Bool(call.bytes(0).starts_with(b"/")))
}

fn base(path: &[u8]) -> Vec<u8> {
    if path.is_empty() {
        return b".".to_vec();
    }
    let end = path.iter().rposition(|b| *b != b'/').map_or(0, |at| at + 1);
    match path[..end].rsplit(|b| *b == b'/').next() {
        None | Some([]) => b"/".to_vec(),
        Some(last) => last.to_vec(),
    }
}

fn dir(path: &[u8]) -> Vec<u8> {
    clean(&path[..path.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1)])
}

fn ext(path: &[u8]) -> Vec<u8> {
    let name = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
    name.iter().rposition(|b| *b == b'.').map(|at| name[at..].to_vec()).unwrap_or_default()
}

/// The shortest equivalent path.
fn clean(path: &[u8]) -> Vec<u8> {
    let rooted = path.starts_with(b"/");
    let mut kept: Vec<&[u8]> = Vec::new();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => match kept.last() {
                Some(last) if *last != b".." => drop(kept.pop()),
                _ if rooted => {}
                _ => kept.push(part),
            },
            _ => kept.push(part),
        }
    }
    let joined = kept.join(&b'/');
    match (rooted, joined.is_empty()) {
        (true, _) => [b"/", joined.as_slice()].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => joined,
    }
}
