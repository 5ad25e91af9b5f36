//! Printing like Go's `fmt` package.
//!
//! A short format or a small value can ask for a text of any size (widths, values that hold each other many times), so
//! there is a bounded form of each function; it stops near the bound and says whether everything was printed.

mod format;
mod numbers;
mod printer;
mod times;

use std::{cmp::Ordering, io::Write};

use crate::{AnyMap, IntKind, Value};

use printer::Printer;

/// Appends what `%v` prints.
pub fn print(out: &mut Vec<u8>, value: &Value) {
    print_bounded(out, value, usize::MAX);
}

/// Appends what `%v` prints, until `out` holds more than `limit` bytes; `false` if that stopped it.
pub fn print_bounded(out: &mut Vec<u8>, value: &Value, limit: usize) -> bool {
    match value {
        Value::Str(text) if out.len().saturating_add(text.len()) <= limit => {
            out.extend_from_slice(text.as_bytes());
            true
        }
        // What needs no flags goes straight to the text: no number is longer than twenty bytes.
        Value::Int(n, kind)
            if !matches!(kind, IntKind::Month | IntKind::Weekday)
                && out.len().saturating_add(20) <= limit =>
        {
            let written = if kind.is_unsigned() { write!(out, "{}", *n as u64) } else { write!(out, "{n}") };
            written.is_ok()
        }
        Value::Bool(b) if out.len().saturating_add(5) <= limit => {
            out.extend_from_slice(if *b { b"true" } else { b"false" });
            true
        }
        _ => {
            let mut printer = Printer::new(out, limit);
            printer.arg(value, 'v');
            printer.complete()
        }
    }
}

/// What `%v` prints, as text; bytes that are not UTF-8 become U+FFFD.
pub fn to_text(value: &Value) -> String {
    let mut out = Vec::new();
    print(&mut out, value);
    String::from_utf8(out).unwrap_or_else(|e| crate::text::lossy(e.as_bytes()).into_owned())
}

/// Appends what `fmt.Sprint` gives: blanks only between operands that are both no strings.
pub fn sprint(out: &mut Vec<u8>, args: &[Value]) {
    sprint_bounded(out, args, usize::MAX);
}

/// The bounded form of [`sprint`].
pub fn sprint_bounded(out: &mut Vec<u8>, args: &[Value], limit: usize) -> bool {
    let mut after_string = true;
    for arg in args {
        let string = matches!(arg, Value::Str(_));
        if !string && !after_string {
            out.push(b' ');
        }
        after_string = string;
        if !print_bounded(out, arg, limit) {
            return false;
        }
    }
    true
}

/// Appends what `fmt.Sprintln` gives: blanks between all operands, and a line feed.
pub fn sprintln(out: &mut Vec<u8>, args: &[Value]) {
    sprintln_bounded(out, args, usize::MAX);
}

/// The bounded form of [`sprintln`].
pub fn sprintln_bounded(out: &mut Vec<u8>, args: &[Value], limit: usize) -> bool {
    for (i, arg) in args.iter().enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        if !print_bounded(out, arg, limit) {
            return false;
        }
    }
    out.push(b'\n');
    true
}

/// Appends what `fmt.Sprintf` gives, error markers included.
pub fn sprintf(out: &mut Vec<u8>, format: &[u8], args: &[Value]) {
    sprintf_bounded(out, format, args, usize::MAX);
}

/// The bounded form of [`sprintf`].
pub fn sprintf_bounded(out: &mut Vec<u8>, format: &[u8], args: &[Value], limit: usize) -> bool {
    let mut printer = Printer::new(out, limit);
    format::run(&mut printer, format, args);
    printer.complete()
}

/// The entries of a map in the order in which Go prints it and templates range over it.
pub fn sorted_entries(map: &AnyMap) -> Vec<&(Value, Value)> {
    let mut entries: Vec<_> = map.entries().iter().collect();
    entries.sort_by(|a, b| compare_keys(&a.0, &b.0));
    entries
}

fn compare_keys(a: &Value, b: &Value) -> Ordering {
    // Go compares keys of different types by where the types lie in memory; here the kind decides.
    fn rank(value: &Value) -> u8 {
        match value {
            Value::Nil => 0,
            Value::Int(_, kind) => 1 + *kind as u8,
            Value::Float(_) => 20,
            Value::Bool(_) => 21,
            Value::Str(_) => 22,
            _ => 23,
        }
    }
    match (a, b) {
        (Value::Int(a, kind), Value::Int(b, other)) if kind == other => {
            if kind.is_unsigned() {
                (*a as u64).cmp(&(*b as u64))
            } else {
                a.cmp(b)
            }
        }
        (Value::Float(a), Value::Float(b)) => {
            a.partial_cmp(b).unwrap_or_else(|| (!a.is_nan()).cmp(&!b.is_nan()))
        }
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Str(a), Value::Str(b)) => a.cmp(b),
        (Value::Duration(a), Value::Duration(b)) => a.cmp(b),
        (Value::Time(a), Value::Time(b)) => a.at.cmp(&b.at),
        _ => rank(a).cmp(&rank(b)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formatted(format: &str, args: &[Value]) -> String {
        let mut out = Vec::new();
        sprintf(&mut out, format.as_bytes(), args);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn verbs_and_markers() {
        let cases: &[(&str, &[Value], &str)] = &[
            ("%d %s", &[Value::int(5), Value::str("x")], "5 x"),
            ("%d", &[Value::str("x")], "%!d(string=x)"),
            ("%d", &[], "%!d(MISSING)"),
            ("a", &[Value::int(1), Value::Nil], "a%!(EXTRA int=1, <nil>)"),
            ("%", &[], "%!(NOVERB)"),
            (
                "%-5d|%05d|%+d|% d",
                &[Value::int(5), Value::int(-5), Value::int(5), Value::int(5)],
                "5    |-0005|+5| 5",
            ),
            ("%[2]d %[1]d", &[Value::int(1), Value::int(2)], "2 1"),
            ("%[3]d", &[Value::int(1)], "%!d(BADINDEX)"),
            ("%*d|%.*f", &[Value::int(4), Value::int(1), Value::int(2), Value::Float(1.0)], "   1|1.00"),
            ("%*d", &[Value::str("x"), Value::int(1)], "%!(BADWIDTH)1"),
            ("%x % X %#x", &[Value::str("hi"), Value::str("hi"), Value::int(255)], "6869 68 69 0xff"),
            (
                "%q %+q %#q %c %U",
                &[Value::str("é"), Value::str("é"), Value::str("é"), Value::int(233), Value::int(233)],
                "\"é\" \"\\u00e9\" `é` é U+00E9",
            ),
            ("%v %#v %T", &[Value::Nil, Value::str("s"), Value::Float(1.0)], "<nil> \"s\" float64"),
            (
                "%08.3f|%6.2f|%e|%g",
                &[Value::Float(-1.5), Value::Float(1.0), Value::Float(1e6), Value::Float(1e6)],
                "-001.500|  1.00|1.000000e+06|1e+06",
            ),
            (
                "%s %v %d",
                &[Value::bytes(b"ab"), Value::bytes(b"ab"), Value::bytes(b"ab")],
                "ab [97 98] [97 98]",
            ),
            ("%5t|%t", &[Value::Bool(true), Value::int(1)], " true|%!t(int=1)"),
        ];
        for (format, args, want) in cases {
            assert_eq!(formatted(format, args), *want, "{format}");
        }
    }

    #[test]
    fn a_bound_stops_the_text() {
        let mut out = Vec::new();
        assert!(!sprintf_bounded(
            &mut out,
            b"%1000000d%1000000d%1000000d",
            &vec![Value::int(1); 3],
            1_500_000
        ));
        assert!(out.len() <= 1_500_000);
        let mut value = Value::list(vec![Value::int(1)]).unwrap();
        for _ in 0..100 {
            value = Value::list(vec![value.clone(), value]).unwrap();
        }
        out.clear();
        assert!(!print_bounded(&mut out, &value, 1000));
    }
}
