//! Random expressions: mostly well typed, so that most of them run, with a wrong operand here and there.
//!
//! A shape is a text with holes. `%i` is a hole for an operand of kind `i`; `%{ib}` is the body of a predicate of kind
//! `b` over elements of kind `i`, `%[ib]` the same where `#index` is known, `%(ib)` where `#acc` of kind `b` is, too.

use std::{collections::HashMap, sync::LazyLock};

use super::random::Random;

/// Kinds of operands: number, int, float, text, bool, lists of ints, floats, texts, users and anything, map, time,
/// duration, anything.
const KINDS: &str = "nifsbIFSULmtda";

/// What is known where an operand stands.
#[derive(Default)]
struct Scope {
    lets: Vec<(String, char)>,
    /// Of the predicates around: kind of the element, whether `#index` is known, the kind of `#acc`.
    predicates: Vec<(char, bool, Option<char>)>,
    count: usize,
}

/// A random expression.
pub(crate) fn generate(random: &mut Random) -> String {
    let kinds: Vec<char> = KINDS.chars().collect();
    let kind = kinds[random.below(kinds.len())];
    let depth = 1 + random.below(3);
    let mut scope = Scope::default();
    let mut out = String::new();
    while random.one_in(5) {
        let kind = kinds[random.below(kinds.len())];
        let name = format!("v{}", scope.count);
        scope.count += 1;
        out.push_str(&format!("let {name} = {}; ", operand(random, kind, depth, &mut scope)));
        scope.lets.push((name, kind));
    }
    // Looking from the end leaves values on the original's stack, which only shows where something stands before.
    let shape = if random.one_in(40) { Some(random.pick(of("last", 'a'))) } else { None };
    out.push_str(&match shape {
        Some(shape) => fill(random, shape, depth, &mut scope),
        None => operand(random, kind, depth, &mut scope),
    });
    out
}

/// The lines of `expressions.txt` of one form and kind: what a kind is where nothing nests any more (`leaf`; some kinds
/// are small choices that never nest), how it is made of others (`nest`), and whole expressions (`last`).
fn of(form: &'static str, kind: char) -> &'static [&'static str] {
    static LINES: LazyLock<HashMap<(&str, char), Vec<&str>>> = LazyLock::new(|| {
        let mut lines: HashMap<(&str, char), Vec<&str>> = HashMap::new();
        for line in include_str!("expressions.txt").lines().filter(|line| !line.starts_with('#')) {
            let mut parts = line.splitn(3, ' ');
            if let (Some(form), Some(kind), Some(text)) = (parts.next(), parts.next(), parts.next()) {
                lines.entry((form, kind.chars().next().unwrap_or('a'))).or_default().push(text);
            }
        }
        lines
    });
    LINES.get(&(form, kind)).map_or(&[], Vec::as_slice)
}

fn operand(random: &mut Random, kind: char, depth: usize, scope: &mut Scope) -> String {
    let small = !KINDS.contains(kind);
    let kind = if !small && random.one_in(60) {
        let kinds: Vec<char> = KINDS.chars().collect();
        kinds[random.below(kinds.len())]
    } else {
        kind
    };
    if !small
        && random.one_in(2)
        && let Some(name) = known(random, kind, scope)
    {
        return name;
    }
    if depth == 0 || small || random.one_in(5) {
        let kind = if kind == 'n' { if random.one_in(2) { 'i' } else { 'f' } } else { kind };
        return random.pick(of("leaf", kind)).to_owned();
    }
    let shape = random.pick(of("nest", kind));
    fill(random, shape, depth - 1, scope)
}

/// A variable or an element of this kind.
fn known(random: &mut Random, kind: char, scope: &Scope) -> Option<String> {
    let fits = |has: char| {
        has == kind
            || kind == 'a'
            || kind == 'n' && matches!(has, 'i' | 'f')
            || kind == 'L' && "IFSU".contains(has)
    };
    let mut names: Vec<String> =
        scope.lets.iter().filter(|(_, has)| fits(*has)).map(|(name, _)| name.clone()).collect();
    if let Some((item, index, acc)) = scope.predicates.last() {
        if fits(*item) {
            names.extend(["#".to_owned(), "#".to_owned()]);
        }
        if *index && kind == 'i' {
            names.push("#index".into());
        }
        if acc.is_some_and(fits) {
            names.extend(["#acc".to_owned(), "#acc".to_owned()]);
        }
        if *item == 'u' {
            let of_user: &[&str] = match kind {
                'i' => &[".age", "#.age"],
                's' => &[".name", "#.name"],
                'S' => &[".tags"],
                'b' => &[".admin", "#?.admin"],
                _ => &[],
            };
            names.extend(of_user.iter().map(|name| (*name).to_owned()));
        }
    }
    (!names.is_empty()).then(|| names.swap_remove(random.below(names.len())))
}

fn fill(random: &mut Random, shape: &str, depth: usize, scope: &mut Scope) -> String {
    let mut out = String::new();
    let mut rest = shape.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match rest.next() {
            Some(open @ ('{' | '[' | '(')) => {
                let (item, body) = (rest.next().unwrap_or('a'), rest.next().unwrap_or('a'));
                rest.next();
                let acc = (open == '(').then_some(body);
                scope.predicates.push((item, open != '{', acc));
                out.push_str(&operand(random, body, depth, scope));
                scope.predicates.pop();
            }
            Some('%') => out.push('%'),
            Some(kind) => out.push_str(&operand(random, kind, depth, scope)),
            None => {}
        }
    }
    out
}
