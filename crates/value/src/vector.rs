//! Case files of the two languages: one JSON object a line, with a source, an environment and the outcome that the Go
//! originals gave. Tests, the conformance run and `herald eval` read environments and compare results through here.
//!
//! Values that JSON can't write stand as `{"$bytes": base64}`, `{"$strmap": {..}}` (a `map[string]string`),
//! `{"$bytesmap": {..}}` (a `map[string][]byte`) and `{"$strlist": [..]}` (a `[]string`).

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::{CallError, Elem, List, Map, Numbers, Str, Value, json as codec, time};

/// One case.
#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    /// Its name.
    pub id: String,
    /// Its topic.
    pub group: String,
    /// The template or the expression.
    pub src: String,
    /// The variables, inline.
    #[serde(default)]
    pub env: Option<Json>,
    /// The variables, as a path below the folder of the case files.
    #[serde(default)]
    pub env_ref: Option<String>,
    /// `json`: every number is a float64. Absent: as Kubernetes decodes.
    #[serde(default)]
    pub nums: Option<String>,
    /// Which helper functions the environment has: `rollouts` or `argocd`.
    #[serde(default)]
    pub helpers: Option<String>,
    /// Whether the original succeeds.
    pub ok: bool,
    /// The result: a template's text, or an expression's value (see [`encode`]).
    #[serde(default)]
    pub out: Option<Json>,
    /// The result where a template's text is not UTF-8, in base64.
    #[serde(default)]
    pub out_b64: Option<String>,
    /// The Go type of an expression's result.
    #[serde(default)]
    pub gotype: Option<String>,
    /// The `%v` text of an expression's result.
    #[serde(default, rename = "str")]
    pub text: Option<String>,
    /// The message of a failure.
    #[serde(default)]
    pub err: Option<String>,
    /// The moment of a failure: parse, compile, exec or run.
    #[serde(default)]
    pub phase: Option<String>,
}

impl Case {
    /// Reads one line of a case file.
    pub fn parse(line: &str) -> Result<Case, CallError> {
        serde_json::from_str(line)
            .map_err(|e| CallError::new(format!("a line of the case file is no case: {e}")))
    }

    /// The bytes that a template must print.
    pub fn output(&self) -> Option<Vec<u8>> {
        match &self.out_b64 {
            Some(text) => STANDARD.decode(text).ok(),
            None => Some(self.out.as_ref()?.as_str()?.as_bytes().to_vec()),
        }
    }

    /// The environment: the inline one, or else `referred`, the content of the file that `env_ref` names.
    pub fn environment(&self, referred: Option<&[u8]>, now: jiff::Timestamp) -> Result<Value, CallError> {
        let inline = self.env.as_ref().map(|env| env.to_string().into_bytes());
        let text = inline.as_deref().or(referred).unwrap_or(b"{}");
        let numbers = if self.nums.as_deref() == Some("json") { Numbers::Float } else { Numbers::Kubernetes };
        environment(text, numbers, self.helpers.as_deref(), now)
    }
}

/// Reads an environment and adds helper functions to it.
pub fn environment(
    text: &[u8],
    numbers: Numbers,
    helpers: Option<&str>,
    now: jiff::Timestamp,
) -> Result<Value, CallError> {
    let decoded = codec::decode(text, numbers)
        .map_err(|e| CallError::new(format!("the environment is no JSON: {e}")))?;
    let env = special(&decoded)?;
    let Value::Map(map) = &env else {
        return Err(CallError::new("the environment must be a JSON object"));
    };
    let mut map = Map::clone(map);
    if matches!(helpers, Some("rollouts" | "argocd")) {
        map = map.with("time".into(), time_helpers(helpers == Some("argocd"), now)?)?;
    }
    if helpers == Some("argocd") {
        map = map.with("strings".into(), string_helpers()?)?;
    }
    Ok(Value::Map(Arc::new(map)))
}

fn wrong(form: &str) -> CallError {
    CallError::new(format!("the environment has a malformed {form}"))
}

fn bytes(value: &Value) -> Result<Value, CallError> {
    let text = value.as_str().ok_or_else(|| wrong("$bytes"))?;
    Ok(Value::bytes(&STANDARD.decode(text).map_err(|_| wrong("$bytes"))?))
}

fn mapped(
    value: &Value,
    elem: Elem,
    of: impl Fn(&Value) -> Result<Value, CallError>,
) -> Result<Value, CallError> {
    let map = value.as_map().ok_or_else(|| wrong("$strmap or $bytesmap"))?;
    let entries: Result<Vec<(Str, Value)>, CallError> =
        map.entries().iter().map(|(k, v)| Ok((k.clone(), of(v)?))).collect();
    Ok(Value::Map(Arc::new(Map::new(elem, entries?)?)))
}

/// Turns the forms that JSON can't write into values.
fn special(value: &Value) -> Result<Value, CallError> {
    match value {
        Value::List(list) => {
            let items: Result<Vec<Value>, CallError> = list.items().iter().map(special).collect();
            Ok(Value::list(items?)?)
        }
        Value::Map(map) => {
            if let [(key, inner)] = map.entries() {
                match key.as_bytes() {
                    b"$bytes" => return bytes(inner),
                    b"$strmap" => return mapped(inner, Elem::Str, |v| Ok(v.clone())),
                    b"$bytesmap" => return mapped(inner, Elem::Bytes, bytes),
                    b"$strlist" => {
                        let items = inner.as_list().ok_or_else(|| wrong("$strlist"))?;
                        return Ok(Value::List(Arc::new(List::new(Elem::Str, items.to_vec())?)));
                    }
                    _ => {}
                }
            }
            mapped(value, Elem::Any, special)
        }
        other => Ok(other.clone()),
    }
}

fn text_argument(args: &[Value], index: usize) -> Result<&str, CallError> {
    match args.get(index) {
        Some(Value::Str(text)) => {
            text.to_str().ok_or_else(|| CallError::new(format!("arg {index}: text is not UTF-8")))
        }
        Some(Value::Nil) | None => {
            Err(CallError::new(format!("arg {index}: value is nil; should be of type string")))
        }
        Some(other) => {
            Err(CallError::new(format!("arg {index}: value has type {}; should be string", other.go_type())))
        }
    }
}

fn time_helpers(constants: bool, now: jiff::Timestamp) -> Result<Value, CallError> {
    let mut entries: Vec<(&str, Value)> = vec![
        (
            "Parse",
            Value::func("time.Parse", Some(1), |args| {
                time::parse_rfc3339(text_argument(args, 0)?).map(|time| Value::Time(Arc::new(time)))
            }),
        ),
        ("Now", Value::func("time.Now", Some(0), move |_| Ok(Value::Time(Arc::new(time::Time::utc(now)))))),
    ];
    if constants {
        for (name, nanos) in [
            ("Nanosecond", 1),
            ("Microsecond", 1_000),
            ("Millisecond", 1_000_000),
            ("Second", 1_000_000_000),
            ("Minute", 60_000_000_000),
            ("Hour", 3_600_000_000_000),
        ] {
            entries.push((name, Value::Duration(nanos)));
        }
        for (name, layout) in [
            ("ANSIC", "Mon Jan _2 15:04:05 2006"),
            ("UnixDate", "Mon Jan _2 15:04:05 MST 2006"),
            ("RubyDate", "Mon Jan 02 15:04:05 -0700 2006"),
            ("RFC822", "02 Jan 06 15:04 MST"),
            ("RFC822Z", "02 Jan 06 15:04 -0700"),
            ("RFC850", "Monday, 02-Jan-06 15:04:05 MST"),
            ("RFC1123", "Mon, 02 Jan 2006 15:04:05 MST"),
            ("RFC1123Z", "Mon, 02 Jan 2006 15:04:05 -0700"),
            ("RFC3339", time::RFC3339),
            ("RFC3339Nano", time::RFC3339_NANO),
            ("Kitchen", "3:04PM"),
            ("Stamp", "Jan _2 15:04:05"),
            ("StampMilli", "Jan _2 15:04:05.000"),
            ("StampMicro", "Jan _2 15:04:05.000000"),
            ("StampNano", "Jan _2 15:04:05.000000000"),
        ] {
            entries.push((name, Value::str(layout)));
        }
    }
    Ok(Value::map(entries)?)
}

fn string_helpers() -> Result<Value, CallError> {
    Ok(Value::map([
        (
            "ReplaceAll",
            Value::func("strings.ReplaceAll", Some(3), |args| {
                let (text, from, to) =
                    (text_argument(args, 0)?, text_argument(args, 1)?, text_argument(args, 2)?);
                Ok(Value::str(text.replace(from, to)))
            }),
        ),
        (
            "ToUpper",
            Value::func("strings.ToUpper", Some(1), |args| {
                Ok(Value::str(text_argument(args, 0)?.to_uppercase()))
            }),
        ),
        (
            "ToLower",
            Value::func("strings.ToLower", Some(1), |args| {
                Ok(Value::str(text_argument(args, 0)?.to_lowercase()))
            }),
        ),
    ])?)
}

/// An expression's result as the case files write it: floats as JSON floats, and `$time`, `$duration`, `$float`,
/// `$bytes`, `$map`, `$func`, `$location` for what JSON can't write.
pub fn encode(value: &Value) -> Json {
    match value {
        Value::Nil => Json::Null,
        Value::Bool(b) => json!(b),
        Value::Int(n, kind) if kind.is_unsigned() => json!(*n as u64),
        Value::Int(n, _) => json!(n),
        Value::Float(x) if x.is_nan() => json!({"$float": "NaN"}),
        Value::Float(x) if x.is_infinite() => json!({"$float": if *x > 0.0 { "+Inf" } else { "-Inf" }}),
        Value::Float(x) => json!(x),
        Value::Str(text) => json!(text.to_str_lossy()),
        Value::Bytes(bytes) => json!({"$bytes": STANDARD.encode(bytes)}),
        Value::List(list) => Json::Array(list.items().iter().map(encode).collect()),
        Value::Map(map) => Json::Object(
            map.entries().iter().map(|(k, v)| (k.to_str_lossy().into_owned(), encode(v))).collect(),
        ),
        Value::AnyMap(map) => {
            // Sorted by the text of the keys, as the oracle writes them.
            let mut entries: Vec<(String, &Value, &Value)> =
                map.entries().iter().map(|(k, v)| (crate::gofmt::to_text(k), k, v)).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            if entries.iter().all(|(_, key, _)| matches!(key, Value::Str(_))) {
                Json::Object(entries.into_iter().map(|(text, _, v)| (text, encode(v))).collect())
            } else {
                json!({"$map": entries.into_iter().map(|(_, k, v)| json!([encode(k), encode(v)])).collect::<Vec<_>>()})
            }
        }
        Value::Time(time) => json!({"$time": time::format(time, time::RFC3339_NANO)}),
        Value::Duration(nanos) => json!({"$duration": nanos}),
        Value::Func(_) => json!({"$func": true}),
        Value::Object(object) if object.go_type() == "*time.Location" => json!({"$location": object.print()}),
        Value::Object(object) => json!({"$other": object.go_type().trim_start_matches('*')}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_forms_and_helpers() {
        let text = br#"{"s": {"$strmap": {"a": "b"}}, "b": {"$bytes": "aGk="}, "l": {"$strlist": ["x"]}, "n": 1, "f": 1.0}"#;
        let env =
            environment(text, Numbers::Kubernetes, Some("rollouts"), jiff::Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(env.path(&["s"]).unwrap().go_type(), "map[string]string");
        assert_eq!(env.path(&["b"]), Some(&Value::bytes(b"hi")));
        assert_eq!(env.path(&["l"]).unwrap().go_type(), "[]string");
        assert_eq!(encode(env.path(&["n"]).unwrap()).to_string(), "1");
        assert_eq!(encode(env.path(&["f"]).unwrap()).to_string(), "1.0");
        let Some(Value::Func(parse)) = env.path(&["time", "Parse"]) else {
            panic!("time.Parse is no function")
        };
        let parsed = (parse.body)(&[Value::str("2026-03-01T10:00:00Z")]).unwrap();
        assert_eq!(encode(&parsed), json!({"$time": "2026-03-01T10:00:00Z"}));
        assert!((parse.body)(&[Value::int(1)]).is_err());
    }
}
