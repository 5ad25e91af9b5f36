//! What people read when they make a typical mistake: `conformance/errors/{template,expr}/<name>.src` fails on
//! `env.json`, and the person sees `<name>.want`. With `HERALD_BLESS=1` the texts are written anew: read them as
//! someone who is tired before you commit them.

use std::{fs, path::Path};

use herald_expr::Program;
use herald_template::Template;
use herald_value::{Value, limits::Limits};

use crate::root;

fn template(source: &str, env: &Value) -> Option<String> {
    let rendered = Template::parse("my-template", source, Limits::DEFAULT)
        .and_then(|template| template.render(env, Limits::DEFAULT, &mut Vec::new()));
    rendered.err().map(|error| error.render_caret())
}

fn expression(source: &str, env: &Value) -> Option<String> {
    let result =
        Program::compile(source, Limits::DEFAULT).and_then(|program| program.run(env, Limits::DEFAULT));
    result.err().map(|error| error.render_caret())
}

fn check(kind: &str, read: fn(&str, &Value) -> Option<String>) {
    let folder = root().join("conformance/errors");
    let env = Value::from_json(&fs::read(folder.join("env.json")).expect("env.json")).expect("JSON");
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(folder.join(kind)).expect("the folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "src") {
            continue;
        }
        count += 1;
        let source = fs::read_to_string(&path).expect("a source");
        let seen = read(&source, &env).unwrap_or_else(|| "no error".to_owned());
        let seen = format!("{}\n", seen.trim_end());
        compare(&path.with_extension("want"), &seen, &mut wrong);
    }
    assert!(count >= 10, "{count} mistakes of kind {kind}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn compare(path: &Path, seen: &str, wrong: &mut Vec<String>) {
    if std::env::var_os("HERALD_BLESS").is_some() {
        return fs::write(path, seen).expect("the text is written");
    }
    let wanted = fs::read_to_string(path).unwrap_or_default();
    if wanted != seen {
        wrong.push(format!("{}\nwanted:\n{wanted}seen:\n{seen}", path.display()));
    }
}

#[test]
fn templates() {
    check("template", template);
}

#[test]
fn expressions() {
    check("expr", expression);
}
