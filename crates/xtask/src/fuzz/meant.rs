//! The differences that `conformance/DIFFERENCES.md` lists under "Languages", as the random expressions meet them.

use herald_value::vector::Case;
use serde_json::Value as Json;

use crate::cases::Outcome;

/// Whether an expression's outcome differs from the original's in a way that is listed.
pub(crate) fn to_differ(case: &Case, outcome: &Outcome) -> bool {
    let has = |parts: &[&str]| parts.iter().any(|part| case.src.contains(part));
    let zones = has(&["Location()", "timezone("]);
    match outcome {
        // Time zones have no fields here, and are never dereferenced.
        _ if zones && has(&["Location()"]) => true,
        Outcome::Value(..) if zones && !case.ok => {
            case.err.as_deref().is_some_and(|err| err.contains("is time.Location"))
        }
        // The helper functions take text.
        Outcome::Failure(_, message, _) => {
            message.contains("text is not UTF-8")
                || message.contains("outside the years -9999 to 9999")
                || has(&["toPairs("]) && message.contains("cannot be a key")
        }
        Outcome::Value(value, go_type, text) => {
            let wanted = case.out.clone().unwrap_or_default();
            // A pair is a list here.
            if case.gotype.as_deref() == Some("[2]interface {}") && go_type == "[]interface {}" {
                return *value == wanted;
            }
            // The order of keys of different types in a printed map.
            if has(&["groupBy(", "fromPairs("])
                && case.text.as_ref().is_some_and(|wanted| sorted(wanted) == sorted(text))
                && sorted(&value.to_string()) == sorted(&wanted.to_string())
            {
                return true;
            }
            // A missing group within other values.
            if has(&["groupBy(", "split("]) {
                let plain = |value: &Json| value.to_string().replace("null", "[]");
                // Go compares the pointers of their zones.
                if has(&["groupBy("]) && has(&["timezone("]) {
                    return true;
                }
                if plain(value) == plain(&wanted) {
                    return true;
                }
            }
            has(&["^", "**"]) && near(value, &wanted) || one_mark(value) == one_mark(&wanted)
        }
        // A nil slice is an empty list.
        Outcome::Text(text) => {
            let plain = |text: &str| text.replace("(nil)", "{}").replace("null", "[]");
            has(&["unset", "initial", "rest", "concat", "Initial", "Rest", "regexFindAll"])
                && case
                    .text
                    .as_deref()
                    .is_some_and(|wanted| plain(wanted) == plain(&String::from_utf8_lossy(text)))
        }
    }
}

fn sorted(text: &str) -> Vec<char> {
    let mut chars: Vec<char> = text.chars().collect();
    chars.sort_unstable();
    chars
}

/// The same but for the last digits of floats.
fn near(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| near(a, b)),
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| near(a, b)))
        }
        (Json::Number(x), Json::Number(y)) => match (x.as_f64(), y.as_f64()) {
            (Some(x), Some(y)) => (x - y).abs() <= x.abs() * 1e-14,
            _ => false,
        },
        _ => a == b,
    }
}

/// JSON shows bytes that are no text as one mark or as several.
fn one_mark(value: &Json) -> String {
    let mut text = value.to_string();
    while text.contains("\u{fffd}\u{fffd}") {
        text = text.replace("\u{fffd}\u{fffd}", "\u{fffd}");
    }
    text
}
