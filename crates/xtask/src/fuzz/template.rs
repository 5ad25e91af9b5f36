//! Random templates.

use super::random::Random;

const NUMBERS: &[&str] = &[
    "0", "1", "2", "-3", "42", "1.5", "0x1F", "1e3", ".i", ".z", ".n", ".big", ".f", ".fz", ".f1", ".fneg",
    ".ts", "'a'",
];
const TEXTS: &[&str] = &[
    "\"\"",
    "\"a\"",
    "`b c`",
    "\"héllo\"",
    "\"a,b,c\"",
    ".s",
    ".es",
    ".u",
    ".sp",
    ".ml",
    ".numstr",
    ".fltstr",
    ".boolstr",
    ".json",
    ".date",
    ".dur",
    ".semver",
    ".url",
    ".html",
    ".m.b",
    "\"%d\"",
    "\"x-1\"",
];
const LISTS: &[&str] = &[
    ".l",
    ".el",
    ".ls",
    ".lm",
    ".dup",
    ".ln",
    ".lf",
    "(list 1 2 3)",
    "(list \"a\" \"b\")",
    "(until 3)",
    ".users",
    "(splitList \",\" \"a,b\")",
    ".m.l",
];
const MAPS: &[&str] = &[".m", ".em", ".ms", "(dict \"a\" 1 \"b\" \"x\")", "dict", "(index .users 0)", ".m.c"];
const ANYTHING: &[&str] =
    &[".nil", ".nope", ".nope.x", ".m.nope", "nil", ".t", ".nf", "true", "false", "$", "."];

/// Function, its parameters: n number, t text, l list, m map, a anything; exactly these, so that no map ever holds
/// itself, which ends Go's printing with a stack overflow: s constant text, d new map, M map.
const FUNCTIONS: &[(&str, &str)] = &[
    ("print", "aa"),
    ("println", "a"),
    ("printf \"%v\"", "a"),
    ("printf \"%d|%s\"", "nt"),
    ("printf \"%q\"", "a"),
    ("printf \"%5.2f\"", "n"),
    ("printf \"%x\"", "a"),
    ("printf \"%T\"", "a"),
    ("printf \"%-8v|\"", "a"),
    ("printf \"%+v\"", "a"),
    ("printf \"%#v\"", "t"),
    ("len", "a"),
    ("index", "ln"),
    ("index", "mt"),
    ("not", "a"),
    ("and", "aa"),
    ("or", "aa"),
    ("eq", "aa"),
    ("ne", "aa"),
    ("lt", "nn"),
    ("le", "tt"),
    ("gt", "aa"),
    ("ge", "nn"),
    ("html", "t"),
    ("js", "t"),
    ("urlquery", "t"),
    ("upper", "t"),
    ("lower", "t"),
    ("title", "t"),
    ("untitle", "t"),
    ("trim", "t"),
    ("trimAll", "tt"),
    ("trimSuffix", "tt"),
    ("trimPrefix", "tt"),
    ("nospace", "t"),
    ("initials", "t"),
    ("trunc", "nt"),
    ("substr", "nnt"),
    ("abbrev", "nt"),
    ("repeat 3", "t"),
    ("replace", "ttt"),
    ("contains", "tt"),
    ("hasPrefix", "tt"),
    ("hasSuffix", "tt"),
    ("quote", "a"),
    ("squote", "a"),
    ("cat", "aa"),
    ("indent 2", "t"),
    ("nindent 2", "t"),
    ("snakecase", "t"),
    ("camelcase", "t"),
    ("kebabcase", "t"),
    ("swapcase", "t"),
    ("plural \"o\" \"m\"", "n"),
    ("toString", "a"),
    ("toStrings", "l"),
    ("join \",\"", "a"),
    ("splitList", "tt"),
    ("split", "tt"),
    ("sortAlpha", "l"),
    ("add", "nn"),
    ("sub", "nn"),
    ("mul", "nn"),
    ("div", "nn"),
    ("mod", "nn"),
    ("add1", "n"),
    ("max", "nn"),
    ("min", "nn"),
    ("addf", "nn"),
    ("subf", "nn"),
    ("mulf", "nn"),
    ("divf", "nn"),
    ("ceil", "n"),
    ("floor", "n"),
    ("round", "nn"),
    ("int", "a"),
    ("int64", "a"),
    ("float64", "a"),
    ("toDecimal", "a"),
    ("atoi", "t"),
    ("default", "aa"),
    ("empty", "a"),
    ("coalesce", "aaa"),
    ("ternary", "aaa"),
    ("all", "aa"),
    ("any", "aa"),
    ("first", "l"),
    ("last", "l"),
    ("rest", "l"),
    ("initial", "l"),
    ("reverse", "l"),
    ("uniq", "l"),
    ("compact", "l"),
    ("append", "la"),
    ("prepend", "la"),
    ("concat", "ll"),
    ("has", "al"),
    ("without", "la"),
    ("slice", "ln"),
    ("slice", "lnn"),
    ("chunk", "nl"),
    ("list", "aa"),
    ("tuple", "a"),
    ("dict", "ta"),
    ("get", "mt"),
    ("hasKey", "mt"),
    ("pluck", "tm"),
    ("pick", "mt"),
    ("omit", "mt"),
    ("merge", "dM"),
    ("mergeOverwrite", "dM"),
    ("deepCopy", "a"),
    ("set", "mts"),
    ("unset", "mt"),
    ("dig \"c\" \"d\" 0", "m"),
    ("toJson", "a"),
    ("toPrettyJson", "a"),
    ("toRawJson", "a"),
    ("fromJson", "t"),
    ("b64enc", "t"),
    ("b64dec", "t"),
    ("b32enc", "t"),
    ("sha1sum", "t"),
    ("sha256sum", "t"),
    ("adler32sum", "t"),
    ("kindOf", "a"),
    ("typeOf", "a"),
    ("kindIs \"string\"", "a"),
    ("typeIs \"int\"", "a"),
    ("deepEqual", "aa"),
    ("regexMatch \"[a-c]+\"", "t"),
    ("regexFind \"[0-9]+\"", "t"),
    ("regexReplaceAll \"(a)(b)?\"", "tt"),
    ("regexSplit \"[, ]\"", "tn"),
    ("regexFindAll \"l\"", "tn"),
    ("base", "t"),
    ("dir", "t"),
    ("ext", "t"),
    ("clean", "t"),
    ("isAbs", "t"),
    ("semver", "t"),
    ("semverCompare \">=1.0\"", "t"),
    ("urlParse", "t"),
    ("duration", "a"),
    ("durationRound", "a"),
    ("wrap 5", "t"),
    ("wrapWith 5 \"-\"", "t"),
    ("seq", "nn"),
    ("until", "n"),
    ("untilStep 0 6", "n"),
    ("toDate \"2006-01-02\"", "t"),
    ("unixEpoch", "a"),
    ("sha512sum", "t"),
    ("bool", "a"),
    ("biggest", "nn"),
    ("mustFirst", "a"),
    ("mustHas", "al"),
    ("mustToJson", "a"),
    ("htmlDate", "a"),
    ("tpl", "t"),
    ("squote", "aa"),
];

const SHAPES: &[&str] = &["{{", "{{- "];

/// A random template.
pub(crate) fn generate(random: &mut Random) -> String {
    let mut out = String::new();
    let pieces = 1 + random.below(3);
    body(random, 2, pieces, &mut out);
    out
}

fn body(random: &mut Random, depth: usize, pieces: usize, out: &mut String) {
    for _ in 0..pieces {
        let open = random.pick(SHAPES);
        let close = if random.one_in(5) { " -}}" } else { "}}" };
        if depth == 0 || !random.one_in(3) {
            out.push_str(&format!("{open}{}{close}", pipeline(random, 3)));
        } else {
            let words = random.pick(&["if", "with", "range", "range $i, $e :=", "range $e :=", "with $e :="]);
            let over = if words.starts_with("range") && !random.one_in(4) {
                pick_list(random)
            } else {
                pipeline(random, 2)
            };
            out.push_str(&format!("{open}{words} {over}{close}"));
            body(random, depth - 1, 1, out);
            if words.contains("$e") {
                out.push_str("{{$e}};");
            }
            if random.one_in(3) {
                let branches: &[&str] = match words {
                    "if" => &["{{else}}no", "{{else if .t}}yes", "{{else if .nope}}yes{{else}}no"],
                    "with" => &["{{else}}no", "{{else with .s}}{{.}}", "{{else}}{{.}}"],
                    _ => &["{{else}}none", "{{break}}", "{{continue}}"],
                };
                out.push_str(random.pick(branches));
            }
            out.push_str("{{end}}");
        }
        if random.one_in(4) {
            out.push_str(random.pick(&[" ", "\n", "x", " text "]));
        }
    }
}

fn pick_list(random: &mut Random) -> String {
    if random.one_in(4) { random.pick(MAPS).to_owned() } else { random.pick(LISTS).to_owned() }
}

fn pipeline(random: &mut Random, depth: usize) -> String {
    let mut out = call(random, depth);
    while random.one_in(3) {
        out.push_str(" | ");
        out.push_str(&partial(random));
    }
    out
}

/// A call whose last argument comes from the pipe.
fn partial(random: &mut Random) -> String {
    let (name, parameters) = loop {
        let (name, parameters) = FUNCTIONS[random.below(FUNCTIONS.len())];
        if !parameters.ends_with(['s', 'd', 'M']) {
            break (name, parameters);
        }
    };
    let mut out = name.to_owned();
    for kind in parameters.chars().take(parameters.len() - 1) {
        out.push(' ');
        out.push_str(&argument(random, kind, 0));
    }
    out
}

fn call(random: &mut Random, depth: usize) -> String {
    if depth == 0 || random.one_in(5) {
        return argument(random, 'a', 0);
    }
    let (name, parameters) = FUNCTIONS[random.below(FUNCTIONS.len())];
    let mut out = name.to_owned();
    for kind in parameters.chars() {
        out.push(' ');
        out.push_str(&argument(random, kind, depth - 1));
    }
    out
}

fn argument(random: &mut Random, kind: char, depth: usize) -> String {
    match kind {
        's' => return random.pick(&["\"v\"", "7", "true", "1.5"]).to_owned(),
        'd' => return random.pick(&["dict", "(dict \"a\" 1 \"b\" \"x\")", "(dict \"z\" 0)"]).to_owned(),
        'M' => return random.pick(MAPS).to_owned(),
        _ => {}
    }
    if depth > 0 && random.one_in(3) {
        return format!("({})", call(random, depth));
    }
    // Mostly what the function wants, sometimes something else.
    let kind = if random.one_in(8) { 'a' } else { kind };
    let from = match kind {
        'n' => NUMBERS,
        't' => TEXTS,
        'l' => LISTS,
        'm' => MAPS,
        _ => [NUMBERS, TEXTS, LISTS, MAPS, ANYTHING][random.below(5)],
    };
    random.pick(from).to_owned()
}
