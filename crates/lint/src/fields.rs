//! What fields a Rollout and an AnalysisRun can have: `data/fields.txt`, read once.

use std::sync::LazyLock;

use herald_core::names::nearest;

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// An object with these fields.
    Object,
    Text,
    Number,
    Bool,
    /// A number or a text.
    Scalar,
    /// One of some words.
    Words(Vec<&'static str>),
    /// Nothing is known.
    Any,
}

impl Kind {
    /// What it is, in words.
    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Kind::Object => "a map",
            Kind::Text | Kind::Words(_) => "text",
            Kind::Number => "a number",
            Kind::Bool => "a boolean",
            Kind::Scalar => "a number or text",
            Kind::Any => "anything",
        }
    }
}

/// A field and what is below it.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// How many lists are around it.
    lists: usize,
    /// Whether it is a map with keys of the user's own.
    keyed: bool,
    children: Vec<Field>,
}

static ALL: LazyLock<Vec<Field>> = LazyLock::new(|| {
    let lines: Vec<&str> = include_str!("../data/fields.txt")
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .collect();
    let mut rest = lines.as_slice();
    children(&mut rest, 0)
});

fn children(lines: &mut &[&'static str], depth: usize) -> Vec<Field> {
    let mut found = Vec::new();
    while let Some((line, rest)) = lines.split_first() {
        let indent = line.len() - line.trim_start().len();
        if indent < depth {
            break;
        }
        *lines = rest;
        let (name, kind) = line.trim_start().split_once(' ').unwrap_or((line.trim_start(), ""));
        let bare = name.trim_end_matches(['[', ']', '{', '}']);
        let kind = match kind {
            "" => Kind::Object,
            "text" => Kind::Text,
            "int" | "number" => Kind::Number,
            "bool" => Kind::Bool,
            "scalar" => Kind::Scalar,
            words if words.starts_with("= ") => Kind::Words(words.split(' ').skip(1).collect()),
            _ => Kind::Any,
        };
        let children = children(lines, depth + 1);
        found.push(Field {
            name: bare,
            kind,
            lists: name.matches("[]").count(),
            keyed: name.ends_with("{}"),
            children,
        });
    }
    found
}

/// One step of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    Key(&'a str),
    Item,
}

/// What a path leads to.
#[derive(Clone, Debug)]
pub(crate) enum Found {
    /// A value of that kind; whether it is a list, and whether a map with the user's own keys is on the way.
    Value { kind: Kind, list: bool, own: bool },
    /// The step at that place names no field of the object.
    Unknown { step: usize, near: Option<&'static str>, known: Vec<&'static str> },
    /// The step at that place asks for a field of what has none.
    NoFields { step: usize, what: &'static str },
    /// Nothing is known.
    Dark,
}

/// Follows a path through an object of a kind.
pub(crate) fn follow(kind: &str, path: &[Step<'_>]) -> Found {
    let Some(mut field) = ALL.iter().find(|field| field.name == kind) else { return Found::Dark };
    let (mut lists, mut own, mut inside) = (0, false, false);
    for (index, step) in path.iter().enumerate() {
        if lists > 0 {
            match step {
                Step::Item => lists -= 1,
                Step::Key(_) => return Found::NoFields { step: index, what: "a list" },
            }
            continue;
        }
        if field.keyed && !inside {
            (inside, own) = (true, true);
            continue;
        }
        match (&field.kind, step) {
            (Kind::Any, _) => return Found::Dark,
            // `range` over a map.
            (Kind::Object, Step::Item) => return Found::Dark,
            (Kind::Object, Step::Key(name)) => {
                match field.children.iter().find(|child| child.name == *name) {
                    Some(child) => {
                        field = child;
                        (lists, inside) = (child.lists, false);
                    }
                    None => {
                        let known: Vec<&'static str> =
                            field.children.iter().map(|child| child.name).collect();
                        let near = (known.iter().copied())
                            .find(|known| known.eq_ignore_ascii_case(name))
                            .or_else(|| nearest(name, known.iter().copied()));
                        return Found::Unknown { step: index, near, known };
                    }
                }
            }
            (other, _) => return Found::NoFields { step: index, what: other.describe() },
        }
    }
    let kind = if field.keyed && !inside { Kind::Object } else { field.kind.clone() };
    Found::Value { kind, list: lists > 0, own }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Vec<Step<'_>> {
        text.split('.').map(|s| if s == "[]" { Step::Item } else { Step::Key(s) }).collect()
    }

    #[test]
    fn paths_of_a_rollout() {
        let value = |text: &str| match follow("Rollout", &path(text)) {
            Found::Value { kind, .. } => kind.describe(),
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(value("spec.replicas"), "a number");
        assert_eq!(value("status.phase"), "text");
        assert_eq!(value("metadata.annotations.team"), "text");
        assert_eq!(value("spec.template.spec.containers.[].image"), "text");
        assert_eq!(value("status.canary.weights.canary.weight"), "a number");
        assert!(matches!(
            follow("Rollout", &path("status.phse")),
            Found::Unknown { step: 1, near: Some("phase"), .. }
        ));
        assert!(matches!(follow("Rollout", &path("status.phase.x")), Found::NoFields { step: 2, .. }));
        assert!(matches!(
            follow("Rollout", &path("status.conditions.type")),
            Found::NoFields { step: 2, .. }
        ));
        assert!(matches!(follow("Other", &path("x")), Found::Dark));
    }
}
