//! `$name` in a service's options becomes the Secret's value of that name.

use std::collections::BTreeMap;

use crate::yaml::{Kind, Node, Position};

/// A name that the Secret does not have.
pub(super) struct Missing {
    pub(super) name: String,
    pub(super) at: Position,
}

/// Replaces in every text, keys included. Works on parsed nodes, so no value can break the YAML.
pub(super) fn fill_in(node: Node, secret: &BTreeMap<String, Vec<u8>>, missing: &mut Vec<Missing>) -> Node {
    let at = node.at;
    let kind = match node.kind {
        Kind::Text(text) => Kind::Text(replaced(text, at, secret, missing)),
        Kind::List(items) => Kind::List(items.into_iter().map(|n| fill_in(n, secret, missing)).collect()),
        Kind::Map(entries) => Kind::Map(
            entries
                .into_iter()
                .map(|(key, at, node)| {
                    (replaced(key, at, secret, missing), at, fill_in(node, secret, missing))
                })
                .collect(),
        ),
        other => other,
    };
    Node { kind, at }
}

/// Replaces each match of `[$][\w-]+`; `\w` is ASCII in Go.
fn replaced(
    text: String,
    at: Position,
    secret: &BTreeMap<String, Vec<u8>>,
    missing: &mut Vec<Missing>,
) -> String {
    if !text.contains('$') {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(dollar) = rest.find('$') {
        let (before, from) = rest.split_at(dollar);
        out.push_str(before);
        let name_end = from
            .char_indices()
            .skip(1)
            .find(|(_, c)| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-')))
            .map_or(from.len(), |(at, _)| at);
        let (reference, after) = from.split_at(name_end);
        let name = reference.strip_prefix('$').unwrap_or_default();
        match secret.get(name) {
            Some(value) if !name.is_empty() => out.push_str(&String::from_utf8_lossy(value)),
            _ => {
                out.push_str(reference);
                if !name.is_empty() {
                    missing.push(Missing { name: name.to_owned(), at });
                }
            }
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    #[test]
    fn replaces_as_the_reference_does() {
        let secret: BTreeMap<String, Vec<u8>> =
            [("token", "t"), ("c-post", "C"), ("pem", "-----BEGIN\n: x\n-----END\n"), ("n", "5")]
                .map(|(k, v)| (k.to_owned(), v.as_bytes().to_vec()))
                .into();
        // services.md 1.2
        for (text, wanted) in [
            ("$token", "t"),
            ("Bearer $token!", "Bearer t!"),
            ("pre-$c-post", "pre-C"),
            ("$zz", "$zz"),
            ("${token}", "${token}"),
            ("$ $", "$ $"),
            ("$$token", "$t"),
            ("é$n", "é5"),
        ] {
            let mut missing = Vec::new();
            assert_eq!(replaced(text.into(), Position::default(), &secret, &mut missing), wanted, "{text}");
        }
        let mut missing = Vec::new();
        let node = yaml::parse("a: $pem\n$token: [$n, $zz]\nport: 25\n").unwrap();
        let node = fill_in(node, &secret, &mut missing);
        assert_eq!(
            node.to_json(),
            serde_json::json!({"a": "-----BEGIN\n: x\n-----END\n", "t": ["5", "$zz"], "port": 25})
        );
        assert_eq!(missing.len(), 1);
        assert_eq!((missing[0].name.as_str(), missing[0].at.line), ("zz", 2));
    }
}
