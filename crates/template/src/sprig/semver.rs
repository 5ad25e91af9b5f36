//! Versions and constraints with the rules of Masterminds' semver.

use std::{cmp::Ordering, sync::LazyLock};

use herald_value::{CallError, IntKind, Object, Value};
use regex::Regex;

use super::help::{Result, fail};
use crate::function::{Function, Param::*};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("semver", &[Str], |c| {
        let version = Version::parse(&c.text(0))?;
        Ok(Value::Object(std::sync::Arc::new(version)))
    }),
    Function::new("semverCompare", &[Str, Str], |c| {
        c.meter.step(50 + 2 * (c.bytes(0).len() + c.bytes(1).len()) as u64)?;
        if c.bytes(0).len() > MOST_BYTES {
            return fail("improper constraint: it is too long");
        }
        let constraints = Constraints::parse(&c.text(0))?;
        Ok(Value::Bool(constraints.allow(&Version::parse(&c.text(1))?)))
    }),
];

/// Longer constraints are no constraints that anyone means.
const MOST_BYTES: usize = 64 * 1024;

const VERSION: &str = r"v?([0-9]+)(\.[0-9]+)?(\.[0-9]+)?(-([0-9A-Za-z\-]+(\.[0-9A-Za-z\-]+)*))?(\+([0-9A-Za-z\-]+(\.[0-9A-Za-z\-]+)*))?";
const WILDCARD: &str = r"v?([0-9|xX*]+)(\.[0-9|xX*]+)?(\.[0-9|xX*]+)?(-([0-9A-Za-z\-]+(\.[0-9A-Za-z\-]+)*))?(\+([0-9A-Za-z\-]+(\.[0-9A-Za-z\-]+)*))?";
const OPERATORS: &str = r"=||!=|>|<|>=|=>|<=|=<|~|~>|\^";
const SPACE: &str = r"[\t\n\f\r ]";

struct Patterns {
    version: Regex,
    one: Regex,
    range: Regex,
    find: Regex,
    valid: Regex,
}

static PATTERNS: LazyLock<std::result::Result<Patterns, regex::Error>> = LazyLock::new(|| {
    Ok(Patterns {
        version: Regex::new(&format!("^{VERSION}$"))?,
        one: Regex::new(&format!("^{SPACE}*({OPERATORS}){SPACE}*({WILDCARD}){SPACE}*$"))?,
        range: Regex::new(&format!("{SPACE}*({WILDCARD}){SPACE}+-{SPACE}+({WILDCARD}){SPACE}*"))?,
        find: Regex::new(&format!("({OPERATORS}){SPACE}*({WILDCARD})"))?,
        valid: Regex::new(&format!(
            "^({SPACE}*({OPERATORS}){SPACE}*({WILDCARD}){SPACE}*)((?:{SPACE}+|,{SPACE}*)({OPERATORS}){SPACE}*({WILDCARD}){SPACE}*)*$"
        ))?,
    })
});

fn patterns() -> Result<&'static Patterns> {
    PATTERNS.as_ref().map_err(|e| CallError::new(format!("semver: {e}")))
}

/// Go's name of a version's type.
pub(super) const GO_TYPE: &str = "*semver.Version";

/// A version without anything in it.
pub(super) fn zero() -> Value {
    Value::Object(std::sync::Arc::new(Version::default()))
}

/// A version; parts that are missing are 0.
#[derive(Clone, Debug, Default)]
struct Version {
    major: u64,
    minor: u64,
    patch: u64,
    pre: String,
    metadata: String,
    original: String,
}

impl Version {
    fn parse(text: &str) -> Result<Version> {
        let found = patterns()?.version.captures(text);
        let Some(m) = found else { return fail("invalid semantic version") };
        let part = |at: usize| m.get(at).map_or("", |p| p.as_str());
        let number = |at: usize| match part(at).trim_start_matches('.') {
            "" => Ok(0),
            digits => digits.parse::<u64>().map_err(|_| {
                CallError::new(format!(
                    "error parsing version segment: strconv.ParseUint: parsing {digits:?}: value out of range"
                ))
            }),
        };
        let version = Version {
            major: number(1)?,
            minor: number(2)?,
            patch: number(3)?,
            pre: part(5).into(),
            metadata: part(8).into(),
            original: text.into(),
        };
        version.validated()
    }

    fn validated(self) -> Result<Version> {
        if !self.pre.is_empty() {
            for part in self.pre.split('.') {
                if part.is_empty() || !part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
                    return fail("invalid prerelease string");
                }
                if part.len() > 1 && part.starts_with('0') && part.bytes().all(|b| b.is_ascii_digit()) {
                    return fail("version segment starts with 0");
                }
            }
        }
        let allowed =
            |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !self.metadata.is_empty() && !self.metadata.split('.').all(allowed) {
            return fail("invalid metadata string");
        }
        Ok(self)
    }

    fn text(&self) -> String {
        let mut out = format!("{}.{}.{}", self.major, self.minor, self.patch);
        if !self.pre.is_empty() {
            out.push('-');
            out.push_str(&self.pre);
        }
        if !self.metadata.is_empty() {
            out.push('+');
            out.push_str(&self.metadata);
        }
        out
    }

    /// Build metadata does not count.
    fn compare(&self, other: &Version) -> Ordering {
        let numbers = |v: &Version| (v.major, v.minor, v.patch);
        numbers(self).cmp(&numbers(other)).then_with(|| match (self.pre.is_empty(), other.pre.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => compare_prerelease(&self.pre, &other.pre),
        })
    }

    fn next(&self, major: u64, minor: u64, patch: u64, pre: &str, metadata: &str) -> Version {
        let (pre, metadata) = (pre.to_string(), metadata.to_string());
        let mut next = Version { major, minor, patch, pre, metadata, original: String::new() };
        let prefix = if self.original.starts_with('v') { "v" } else { "" };
        next.original = format!("{prefix}{}", next.text());
        next
    }
}

fn compare_prerelease(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a.split('.'), b.split('.'));
    loop {
        let (a, b) = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(a), Some(b)) => (a, b),
        };
        // Numbers come before words; a number that fits no u64 is a word.
        let order = match (a.parse::<u64>(), b.parse::<u64>()) {
            (Ok(a), Ok(b)) => a.cmp(&b),
            (Ok(_), Err(_)) => Ordering::Less,
            (Err(_), Ok(_)) => Ordering::Greater,
            (Err(_), Err(_)) => a.cmp(b),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

impl Object for Version {
    fn go_type(&self) -> &'static str {
        GO_TYPE
    }

    fn print(&self) -> String {
        self.text()
    }

    fn fields(&self) -> Option<Vec<Value>> {
        let uint = |n: u64| Value::Int(n as i64, IntKind::Uint64);
        let text = |text: &String| Value::str(text.as_str());
        Some(vec![
            uint(self.major),
            uint(self.minor),
            uint(self.patch),
            text(&self.pre),
            text(&self.metadata),
            text(&self.original),
        ])
    }

    fn member(&self, name: &str) -> Option<Value> {
        let uint = |n: u64| Value::Int(n as i64, IntKind::Uint64);
        let object = |v: Version| Value::Object(std::sync::Arc::new(v));
        Some(match name {
            "Major" => uint(self.major),
            "Minor" => uint(self.minor),
            "Patch" => uint(self.patch),
            "Prerelease" => Value::str(self.pre.as_str()),
            "Metadata" => Value::str(self.metadata.as_str()),
            "Original" => Value::str(self.original.as_str()),
            "String" => Value::str(self.text()),
            "IncMajor" => object(self.next(self.major.wrapping_add(1), 0, 0, "", "")),
            "IncMinor" => object(self.next(self.major, self.minor.wrapping_add(1), 0, "", "")),
            "IncPatch" if self.pre.is_empty() => {
                object(self.next(self.major, self.minor, self.patch.wrapping_add(1), "", ""))
            }
            "IncPatch" => object(self.next(self.major, self.minor, self.patch, "", "")),
            "MarshalText" => Value::bytes(self.text().as_bytes()),
            "MarshalJSON" => Value::bytes(format!("\"{}\"", self.text()).as_bytes()),
            _ => return None,
        })
    }

    fn call(&self, name: &str, args: &[Value]) -> Option<Result<Value>> {
        let other = || match args {
            [Value::Object(object)] => object.as_any().downcast_ref::<Version>().ok_or_else(|| {
                CallError::new(format!(
                    "wrong type for value; expected *semver.Version; got {}",
                    object.go_type()
                ))
            }),
            [other] => {
                fail(format!("wrong type for value; expected *semver.Version; got {}", other.go_type()))
            }
            _ => fail(format!("wrong number of args for {name}: want 1 got {}", args.len())),
        };
        let string = || match args {
            [Value::Str(text)] => Ok(text.to_str_lossy().into_owned()),
            [other] => fail(format!("wrong type for value; expected string; got {}", other.go_type())),
            _ => fail(format!("wrong number of args for {name}: want 1 got {}", args.len())),
        };
        let object = |v: Result<Version>| Ok(Value::Object(std::sync::Arc::new(v?)));
        let test = |wanted: fn(Ordering) -> bool| Some(other().map(|o| Value::Bool(wanted(self.compare(o)))));
        match name {
            "Compare" => Some(other().map(|o| Value::int(self.compare(o) as i64))),
            "Equal" => test(Ordering::is_eq),
            "LessThan" => test(Ordering::is_lt),
            "LessThanEqual" => test(Ordering::is_le),
            "GreaterThan" => test(Ordering::is_gt),
            "GreaterThanEqual" => test(Ordering::is_ge),
            "SetPrerelease" => Some(string().and_then(|pre| {
                object(self.next(self.major, self.minor, self.patch, &pre, &self.metadata).validated())
            })),
            "SetMetadata" => Some(string().and_then(|metadata| {
                object(self.next(self.major, self.minor, self.patch, &self.pre, &metadata).validated())
            })),
            _ if args.is_empty() => self.member(name).map(Ok),
            _ => self
                .member(name)
                .map(|_| fail(format!("wrong number of args for {name}: want 0 got {}", args.len()))),
        }
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

/// Alternatives, each a list of conditions that all have to hold.
struct Constraints(Vec<Vec<Constraint>>);

struct Constraint {
    operator: String,
    version: Version,
    /// Whether the minor part, the patch part or any part is missing or a wildcard.
    minor_open: bool,
    patch_open: bool,
    open: bool,
}

impl Constraints {
    fn parse(text: &str) -> Result<Constraints> {
        let patterns = patterns()?;
        let mut text = text.to_string();
        // `1.2 - 2` stands for `>= 1.2, <= 2`.
        let ranges: Vec<(String, String)> = patterns
            .range
            .captures_iter(&text)
            .map(|m| {
                let part = |at: usize| m.get(at).map_or("", |p| p.as_str());
                (part(0).to_string(), format!(">= {}, <= {} ", part(1), part(11)))
            })
            .collect();
        for (old, new) in ranges {
            text = text.replacen(&old, &new, 1);
        }
        let mut all = Vec::new();
        for part in text.split("||") {
            if !patterns.valid.is_match(part) {
                return fail(format!("improper constraint: {part}"));
            }
            let found: Vec<&str> = patterns.find.find_iter(part).map(|m| m.as_str()).collect();
            let found = if found.is_empty() { vec![part] } else { found };
            all.push(found.into_iter().map(Constraint::parse).collect::<Result<_>>()?);
        }
        Ok(Constraints(all))
    }

    fn allow(&self, version: &Version) -> bool {
        self.0.iter().any(|group| {
            let with_pre = group.iter().any(|c| !c.version.pre.is_empty());
            (version.pre.is_empty() || with_pre) && group.iter().all(|c| c.allows(version))
        })
    }
}

impl Constraint {
    fn parse(text: &str) -> Result<Constraint> {
        let found = patterns()?.one.captures(text);
        let Some(m) = found else { return fail(format!("improper constraint: {text}")) };
        let part = |at: usize| m.get(at).map_or("", |p| p.as_str());
        let open = |s: &str| matches!(s.trim_start_matches('.'), "" | "x" | "X" | "*");
        let (major, minor, patch, pre) = (part(3), part(4), part(5), part(6));
        let (mut minor_open, mut patch_open) = (false, false);
        let version = if open(major) {
            format!("0.0.0{pre}")
        } else if open(minor) {
            minor_open = true;
            format!("{major}.0.0{pre}")
        } else if open(patch) {
            patch_open = true;
            format!("{major}{minor}.0{pre}")
        } else {
            part(2).to_string()
        };
        Ok(Constraint {
            operator: part(1).into(),
            version: Version::parse(&version).map_err(|_| CallError::new("constraint parser error"))?,
            minor_open,
            patch_open,
            open: open(major) || minor_open || patch_open,
        })
    }

    fn allows(&self, v: &Version) -> bool {
        let c = &self.version;
        let order = v.compare(c);
        match self.operator.as_str() {
            "" | "=" if !self.open => order.is_eq(),
            "" | "=" | "~" | "~>" => self.within_tilde(v),
            "!=" => self.differs(v),
            ">" if !self.open => order.is_gt(),
            ">" => {
                // Nothing in 11.x is greater than 11.
                v.major > c.major
                    || (v.major == c.major
                        && !self.minor_open
                        && if self.patch_open { v.minor > c.minor } else { order.is_gt() })
            }
            "<" => order.is_lt(),
            ">=" | "=>" => order.is_ge(),
            "<=" | "=<" if !self.open => order.is_le(),
            "<=" | "=<" => {
                v.major < c.major || (v.major == c.major && (self.minor_open || v.minor <= c.minor))
            }
            "^" => self.within_caret(v),
            _ => false,
        }
    }

    fn differs(&self, v: &Version) -> bool {
        let c = &self.version;
        if self.open {
            if c.major != v.major {
                return true;
            }
            if c.minor != v.minor && !self.minor_open {
                return true;
            }
            if self.minor_open {
                return false;
            }
            if c.patch != v.patch && !self.patch_open {
                return true;
            }
            if self.patch_open {
                return (!v.pre.is_empty() || !c.pre.is_empty())
                    && compare_prerelease(&v.pre, &c.pre).is_ne();
            }
        }
        v.compare(c).is_ne()
    }

    fn within_tilde(&self, v: &Version) -> bool {
        let c = &self.version;
        if v.compare(c).is_lt() {
            return false;
        }
        // `~0.0.0` and `*` take everything.
        if (c.major, c.minor, c.patch) == (0, 0, 0) && !self.minor_open && !self.patch_open {
            return true;
        }
        v.major == c.major && (v.minor == c.minor || self.minor_open)
    }

    fn within_caret(&self, v: &Version) -> bool {
        let c = &self.version;
        if v.compare(c).is_lt() {
            return false;
        }
        if c.major > 0 || self.minor_open {
            return v.major == c.major;
        }
        if v.major > 0 {
            return false;
        }
        if c.minor > 0 || self.patch_open {
            return v.minor == c.minor;
        }
        v.minor == 0 && v.patch == c.patch
    }
}
