//! Kubernetes label selectors.

use herald_value::Value;

/// A parsed label selector. The empty one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Exists,
    Missing,
    In(Vec<String>),
    /// A missing label passes, as in Kubernetes.
    NotIn(Vec<String>),
    Greater(i64),
    Less(i64),
}

impl Selector {
    /// Reads `a=b,c!=d,e in (x,y),f notin (z),g,!h,i>1`.
    pub fn parse(text: &str) -> Result<Selector, String> {
        let mut requirements = Vec::new();
        for part in split(text)? {
            if part.is_empty() {
                return Err("there is nothing between two commas".into());
            }
            requirements.push(requirement(part)?);
        }
        Ok(Selector(requirements))
    }

    /// Whether a map of labels is selected.
    pub fn matches(&self, labels: Option<&Value>) -> bool {
        self.0.iter().all(|requirement| {
            let value = labels.and_then(|l| l.get(&requirement.key)).and_then(Value::as_str);
            match (&requirement.test, value) {
                (Test::Exists, value) => value.is_some(),
                (Test::Missing, value) => value.is_none(),
                (Test::In(values), value) => value.is_some_and(|v| values.iter().any(|w| w == v)),
                (Test::NotIn(values), value) => value.is_none_or(|v| values.iter().all(|w| w != v)),
                (Test::Greater(bound), value) => number(value).is_some_and(|n| n > *bound),
                (Test::Less(bound), value) => number(value).is_some_and(|n| n < *bound),
            }
        })
    }
}

fn number(value: Option<&str>) -> Option<i64> {
    value?.parse().ok()
}

/// The parts between commas that are not in brackets.
fn split(text: &str) -> Result<Vec<&str>, String> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let (mut parts, mut from, mut open) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            '(' if !open => open = true,
            ')' if open => open = false,
            '(' | ')' => return Err(format!("there is a `{c}` too many")),
            ',' if !open => {
                parts.push(text[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    if open {
        return Err("a `)` is missing".into());
    }
    parts.push(text[from..].trim());
    Ok(parts)
}

fn requirement(part: &str) -> Result<Requirement, String> {
    if let Some(key) = part.strip_prefix('!') {
        return Ok(Requirement { key: checked_key(key)?, test: Test::Missing });
    }
    if let Some(inside) = part.strip_suffix(')') {
        let (head, values) = inside.split_once('(').ok_or_else(|| format!("`{part}` has no `(`"))?;
        let mut words = head.split_whitespace();
        let (key, operator) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let values = values.split(',').map(checked_value).collect::<Result<Vec<_>, _>>()?;
        let test = match (operator, words.next()) {
            ("in", None) => Test::In(values),
            ("notin", None) => Test::NotIn(values),
            _ => return Err(format!("`{part}`: between key and brackets stands `in` or `notin`")),
        };
        return Ok(Requirement { key: checked_key(key)?, test });
    }
    for (operator, make) in [
        ("!=", (|v| Ok(Test::NotIn(vec![checked_value(v)?]))) as fn(&str) -> Result<Test, String>),
        ("==", |v| Ok(Test::In(vec![checked_value(v)?]))),
        ("=", |v| Ok(Test::In(vec![checked_value(v)?]))),
        (">", |v| Ok(Test::Greater(bound(v)?))),
        ("<", |v| Ok(Test::Less(bound(v)?))),
    ] {
        if let Some((key, value)) = part.split_once(operator) {
            return Ok(Requirement { key: checked_key(key)?, test: make(value)? });
        }
    }
    Ok(Requirement { key: checked_key(part)?, test: Test::Exists })
}

fn bound(text: &str) -> Result<i64, String> {
    text.trim().parse().map_err(|_| format!("`{}` is no whole number", text.trim()))
}

fn is_label_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

fn checked_key(key: &str) -> Result<String, String> {
    let key = key.trim();
    if key.is_empty() || !key.chars().all(|c| is_label_char(c) || c == '/') {
        return Err(format!("`{key}` is no label key"));
    }
    Ok(key.to_owned())
}

fn checked_value(value: &str) -> Result<String, String> {
    let value = value.trim();
    if !value.chars().all(is_label_char) {
        return Err(format!("`{value}` is no label value"));
    }
    Ok(value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selects_as_kubernetes_does() {
        let labels = Value::from_json(br#"{"team": "payments", "tier": "web", "n": "5"}"#).unwrap();
        for (text, wanted) in [
            ("", true),
            ("team=payments", true),
            ("team==payments,tier!=canary", true),
            ("team = infra", false),
            ("missing!=x", true),
            ("missing=x", false),
            ("team in (infra, payments)", true),
            ("team notin (infra,payments)", false),
            ("missing notin (a)", true),
            ("tier", true),
            ("!tier", false),
            ("!missing,n>4,n<6", true),
            ("n>5", false),
        ] {
            assert_eq!(Selector::parse(text).unwrap().matches(Some(&labels)), wanted, "{text}");
        }
        assert!(Selector::parse("").unwrap().matches(None));
        for text in ["a=b,", "a in (b", "a in b)", "a=b c", "=x", "a>x", "a on (b)", ",", "a(b)c"] {
            assert!(Selector::parse(text).is_err(), "{text}");
        }
    }
}
