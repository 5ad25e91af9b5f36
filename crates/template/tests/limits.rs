//! No template of any size, nesting or content panics, overflows the stack, hangs or grows without bound; and errors
//! say where they are.

use std::time::{Duration, Instant};

use herald_template::{Phase, Template, TemplateError};
use herald_value::{Value, limits::Limits};

fn run(source: &str, limits: Limits) -> Result<String, TemplateError> {
    let vars = Value::from_json(
        br#"{"n": 4000000000, "status": {"phase": "Healthy", "currentStepIndex": 2}, "null": null, "l": [1, 2]}"#,
    )
    .expect("the variables are JSON");
    let mut out = Vec::new();
    Template::parse("t", source, limits)?.render(&vars, limits, &mut out)?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

fn within<T>(seconds: u64, what: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = what();
    // Unoptimized builds on a busy machine are slower than the second that counts.
    assert!(start.elapsed() < Duration::from_secs(seconds), "took {:?}", start.elapsed());
    result
}

#[test]
fn deep_sources_are_errors() {
    let n = 100_000;
    for source in [
        format!("{{{{{}1{}}}}}", "(".repeat(n), ")".repeat(n)),
        format!("{{{{{}", "(".repeat(n)),
        "{{if true}}".repeat(n) + &"{{end}}".repeat(n),
        "{{range .l}}".repeat(n),
        "{{with .}}".repeat(n),
        "{{if 1}}{{else if 1}}{{else}}{{with 1}}".repeat(n),
        r#"{{block "a" .}}"#.repeat(n),
        format!("{{{{{}}}}}", "(print (not ".repeat(n)),
    ] {
        let error = within(10, || run(&source, Limits::DEFAULT)).unwrap_err();
        assert!(error.message.contains("deeper than"), "{error}");
    }
}

#[test]
fn long_flat_sources_are_fine() {
    let chain = "{{if false}}x".to_owned() + &"{{else if false}}y".repeat(20_000) + "{{else}}z{{end}}";
    assert_eq!(within(10, || run(&chain, Limits::DEFAULT)).unwrap(), "z");
    let fields = format!("{{{{{}}}}}", ".a".repeat(100_000));
    assert_eq!(within(10, || run(&fields, Limits::DEFAULT)).unwrap(), "<no value>");
}

#[test]
fn nesting_up_to_the_limit_fits_the_stack() {
    let limits = Limits { depth: 200, ..Limits::DEFAULT };
    for source in [
        format!("{{{{{}1{}}}}}", "(".repeat(199), ")".repeat(199)),
        "{{if true}}".repeat(198) + "1" + &"{{end}}".repeat(198),
        "{{range 1}}".repeat(198) + "{{break}}" + &"{{end}}".repeat(198),
        format!("{{{{{}1{}}}}}", "(print ".repeat(199), ")".repeat(199)),
    ] {
        run(&source, limits).unwrap();
    }
    let recursive = r#"{{define "r"}}{{if true}}{{with (print 1)}}{{range $i, $e := (list 1)}}{{template "r" (print $e)}}{{end}}{{end}}{{end}}{{end}}{{template "r" .}}"#;
    assert!(run(recursive, limits).unwrap_err().over_limit);
}

#[test]
fn endless_work_ends_with_a_clear_error() {
    let limits = Limits { steps: 1_000_000, bytes: 16 << 20, ..Limits::DEFAULT };
    for source in [
        "{{range .n}}{{end}}",
        "{{range .n}}x{{end}}",
        r#"{{define "a"}}{{template "a"}}{{end}}{{template "a"}}"#,
        r#"{{$x := "xxxxxxxxxxxxxxxx"}}{{range 60}}{{$x = print $x $x}}{{end}}"#,
        r#"{{$x := list 1}}{{range 100}}{{$x = list $x $x}}{{end}}{{$x}}"#,
        r#"{{$x := list 1}}{{range 100}}{{$x = list $x $x}}{{end}}{{printf "%q" $x | len}}"#,
        r#"{{$d := dict}}{{$_ := set $d "self" $d}}{{$d}}"#,
        r#"{{range 1000}}{{printf "%1000000d%1000000d" 1 2}}{{end}}"#,
        r#"{{range 1000}}{{$x := printf "%.1000000f%1000000s" 1.5 "a"}}{{end}}"#,
    ] {
        let error = within(30, || run(source, limits)).unwrap_err();
        assert!(error.over_limit, "{source}: {error}");
    }
}

#[test]
fn a_source_that_is_too_long_is_refused() {
    let source = format!("{{{{`{}`}}}}", "x".repeat(50 * 1024 * 1024));
    assert!(within(5, || run(&source, Limits::DEFAULT)).unwrap_err().over_limit);
}

#[test]
fn changes_stay_inside_one_rendering() {
    let vars = Value::from_json(br#"{"m": {"a": 1}}"#).unwrap();
    let source = r#"{{$_ := set .m "b" 2}}{{.m}}{{len .m}}{{.m.b}}{{range $k, $v := .m}}{{$k}}{{end}}{{$x := .m}}{{$_ := unset $x "a"}}{{.m}}{{. | toJson}}"#;
    let template = Template::parse("t", source, Limits::DEFAULT).unwrap();
    for _ in 0..2 {
        let mut out = Vec::new();
        template.render(&vars, Limits::DEFAULT, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), r#"map[a:1 b:2]22abmap[b:2]{"m":{"b":2}}"#);
    }
    assert_eq!(vars, Value::from_json(br#"{"m": {"a": 1}}"#).unwrap());
}

#[test]
fn nothing_reads_the_process_or_asks_the_network() {
    for name in ["env", "expandenv"] {
        let error = run(&format!("{{{{ {name} \"HOME\" }}}}"), Limits::DEFAULT).unwrap_err();
        assert_eq!(error.phase, Phase::Parse, "{error}");
        assert!(error.to_string().contains("not defined"), "{error}");
    }
    let error = run(r#"{{ getHostByName "localhost" }}"#, Limits::DEFAULT).unwrap_err();
    assert!(error.to_string().contains("never asks the network"), "{error}");
}

#[test]
fn errors_say_where_and_what_helps() {
    let error = run("a\n  é {{ .null.x }}", Limits::DEFAULT).unwrap_err();
    assert_eq!((error.phase, error.line, error.column), (Phase::Exec, 2, 8));
    assert_eq!(error.source_line, "  é {{ .null.x }}");
    assert!(error.render_caret().contains("2 |   é {{ .null.x }}\n  |        ^"), "{}", error.render_caret());

    let error = run("{{ .status.currentStepIdx | trunc 3 }}", Limits::DEFAULT).unwrap_err();
    assert_eq!(
        error.hint.as_deref(),
        Some("there is no field `currentStepIdx`; did you mean `currentStepIndex`?")
    );

    let error = run("{{ .status.phase | uper }}", Limits::DEFAULT).unwrap_err();
    assert_eq!((error.phase, error.line, error.column), (Phase::Parse, 1, 20));
    assert!(error.message.contains("did you mean `upper`?"), "{error}");
}
