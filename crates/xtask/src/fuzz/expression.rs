//! Random expressions.

use super::random::Random;

const NUMBERS: &[&str] = &[
    "0",
    "1",
    "2",
    "7",
    "-3",
    "42",
    "1.5",
    "0.1",
    "1e3",
    "0x1F",
    "9223372036854775807",
    "i",
    "z",
    "n",
    "big",
    "f",
    "fz",
    "f1",
    "ts",
    "fneg",
    "maxi",
];
const TEXTS: &[&str] = &[
    "\"\"",
    "\"a\"",
    "'hello'",
    "\"héllo\"",
    "\"a,b,c\"",
    "s",
    "es",
    "u",
    "sp",
    "ml",
    "numstr",
    "fltstr",
    "json",
    "date",
    "dur",
    "semver",
    "m.b",
    "\"2026-03-01\"",
    "\"1h30m\"",
];
const BOOLS: &[&str] = &["true", "false", "t", "nf", "not t", "t and nf", "t || nf"];
const LISTS: &[&str] = &[
    "l",
    "el",
    "ls",
    "lm",
    "dup",
    "ln",
    "lf",
    "[1,2,3]",
    "[]",
    "[\"a\",\"b\"]",
    "1..4",
    "users",
    "[1, 'a', nil]",
    "[[1],[2,3]]",
    "m.l",
];
const MAPS: &[&str] = &["m", "em", "ms", "{a: 1, b: 'x'}", "{}", "users[0]", "m.c", "m?.c?.d"];
const ANYTHING: &[&str] =
    &["nil", "nope", "nope?.x", "m.nope", "m['a']", "users[1]?.name", "l[0]", "l[-1]", "ls[1]"];
const BINARY: &[&str] = &[
    "+",
    "-",
    "*",
    "/",
    "%",
    "**",
    "^",
    "==",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "and",
    "or",
    "&&",
    "||",
    "in",
    "not in",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "..",
    "??",
];
const PREDICATES: &[&str] = &[
    "all",
    "any",
    "none",
    "one",
    "filter",
    "find",
    "findIndex",
    "findLast",
    "findLastIndex",
    "count",
    "map",
    "groupBy",
    "sortBy",
    "sum",
    "countBy",
];
const ON_LIST: &[&str] = &[
    "len", "first", "last", "reverse", "uniq", "sum", "mean", "median", "min", "max", "sort", "flatten",
    "toJSON", "string", "type", "join", "keys", "values", "toPairs",
];
const ON_TEXT: &[&str] = &[
    "upper",
    "lower",
    "trim",
    "len",
    "int",
    "float",
    "string",
    "type",
    "toJSON",
    "fromJSON",
    "toBase64",
    "fromBase64",
    "duration",
    "date",
];
const ON_NUMBER: &[&str] =
    &["abs", "ceil", "floor", "round", "int", "float", "string", "type", "bitnot", "toJSON"];
const TWO_TEXTS: &[&str] = &[
    "hasPrefix",
    "hasSuffix",
    "indexOf",
    "lastIndexOf",
    "split",
    "splitAfter",
    "trimPrefix",
    "trimSuffix",
    "trim",
];
const TWO_NUMBERS: &[&str] =
    &["min", "max", "bitand", "bitor", "bitxor", "bitnand", "bitshl", "bitshr", "bitushr"];

/// A random expression.
pub(crate) fn generate(random: &mut Random) -> String {
    any(random, 4)
}

fn any(random: &mut Random, depth: usize) -> String {
    if depth == 0 || random.one_in(6) {
        return leaf(random);
    }
    let depth = depth - 1;
    match random.below(16) {
        0..4 => {
            let (left, right) = (any(random, depth), any(random, depth));
            let operator = random.pick(BINARY);
            if random.one_in(2) {
                format!("({left}) {operator} ({right})")
            } else {
                format!("{left} {operator} {right}")
            }
        }
        4 => format!("{} ? {} : {}", bool(random, depth), any(random, depth), any(random, depth)),
        5 => number(random, depth),
        6 => text(random, depth),
        7 => list(random, depth),
        8 => bool(random, depth),
        9 => format!("{}[{}]", list(random, depth), number(random, depth)),
        10 => format!("{}[{}:{}]", list(random, depth), number(random, 0), number(random, 0)),
        11 => format!(
            "let x = {}; {}",
            any(random, depth),
            random.pick(&["x", "x ?? 1", "[x, x]", "string(x)", "x == x"])
        ),
        12 => format!(
            "{} | {}",
            list(random, depth),
            random.pick(&["len()", "first()", "map(# ?? 0)", "toJSON()", "reverse()"])
        ),
        13 => format!("{}({}, {{ {} }})", random.pick(PREDICATES), list(random, depth), predicate(random)),
        14 => format!("{{a: {}, b: {}}}", any(random, depth), any(random, depth)),
        _ => format!("{}({})", random.pick(ON_LIST), any(random, depth)),
    }
}

fn leaf(random: &mut Random) -> String {
    let from = [NUMBERS, TEXTS, BOOLS, LISTS, MAPS, ANYTHING][random.below(6)];
    random.pick(from).to_owned()
}

fn predicate(random: &mut Random) -> String {
    random
        .pick(&[
            "# > 1",
            "# == 2",
            "# != nil",
            "true",
            "#.name == 'Ann'",
            ".age > 30",
            "len(string(#)) > 1",
            "# in [1, 'a']",
            "#index",
            "#",
            "# ?? 0",
            "string(#)",
            ".x",
            "#?.x",
            "-#",
            "# % 2 == 0",
            "type(#)",
        ])
        .to_owned()
}

fn number(random: &mut Random, depth: usize) -> String {
    if depth == 0 {
        return random.pick(NUMBERS).to_owned();
    }
    let depth = depth - 1;
    match random.below(7) {
        0 => random.pick(NUMBERS).to_owned(),
        1 | 2 => {
            let operator = random.pick(&["+", "-", "*", "/", "%", "**"]);
            format!("({} {operator} {})", number(random, depth), number(random, depth))
        }
        3 => format!("{}({})", random.pick(ON_NUMBER), number(random, depth)),
        4 => format!("{}({}, {})", random.pick(TWO_NUMBERS), number(random, depth), number(random, depth)),
        5 => format!("len({})", list(random, depth)),
        _ => format!("-{}", number(random, depth)),
    }
}

fn text(random: &mut Random, depth: usize) -> String {
    if depth == 0 {
        return random.pick(TEXTS).to_owned();
    }
    let depth = depth - 1;
    match random.below(8) {
        0 => random.pick(TEXTS).to_owned(),
        1 => format!("({} + {})", text(random, depth), text(random, depth)),
        2 | 3 => format!("{}({})", random.pick(ON_TEXT), text(random, depth)),
        4 => format!("{}({}, {})", random.pick(TWO_TEXTS), text(random, depth), text(random, depth)),
        5 => format!("string({})", any(random, depth)),
        6 => format!("{}[{}:{}]", text(random, depth), random.below(4), random.below(6)),
        _ => format!("replace({}, {}, {})", text(random, depth), text(random, 0), text(random, 0)),
    }
}

fn bool(random: &mut Random, depth: usize) -> String {
    if depth == 0 {
        return random.pick(BOOLS).to_owned();
    }
    let depth = depth - 1;
    match random.below(6) {
        0 => random.pick(BOOLS).to_owned(),
        1 => format!("({} {} {})", any(random, depth), random.pick(&["==", "!="]), any(random, depth)),
        2 => format!(
            "({} {} {})",
            number(random, depth),
            random.pick(&["<", "<=", ">", ">="]),
            number(random, depth)
        ),
        3 => format!(
            "({} {} {})",
            text(random, depth),
            random.pick(&["contains", "startsWith", "endsWith", "<", "=="]),
            text(random, depth)
        ),
        4 => format!(
            "({} {} {})",
            bool(random, depth),
            random.pick(&["and", "or", "==", "??"]),
            bool(random, depth)
        ),
        _ => format!("{} {} {}", any(random, depth), random.pick(&["in", "not in"]), list(random, depth)),
    }
}

fn list(random: &mut Random, depth: usize) -> String {
    if depth == 0 {
        return random.pick(LISTS).to_owned();
    }
    let depth = depth - 1;
    match random.below(8) {
        0 => random.pick(LISTS).to_owned(),
        1 => format!("[{}, {}]", any(random, depth), any(random, depth)),
        2 => format!("filter({}, {{ {} }})", list(random, depth), predicate(random)),
        3 => format!("map({}, {{ {} }})", list(random, depth), predicate(random)),
        4 => format!("{}({})", random.pick(&["reverse", "uniq", "sort", "flatten"]), list(random, depth)),
        5 => format!("concat({}, {})", list(random, depth), list(random, depth)),
        6 => format!("{}({})", random.pick(&["keys", "values", "toPairs"]), random.pick(MAPS)),
        _ => format!("take({}, {})", list(random, depth), number(random, 0)),
    }
}
