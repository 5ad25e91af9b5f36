//! Corners of sprig, with the results that sprig 3.3.0 gives; and what is random, by its properties.

#![allow(clippy::unwrap_used)]

use herald_template::Template;
use herald_value::{Value, limits::Limits};

fn render(source: &str) -> Result<String, String> {
    let vars = Value::from_json(b"{}").unwrap();
    let mut out = Vec::new();
    Template::parse("t", source, Limits::DEFAULT)
        .and_then(|template| template.render(&vars, Limits::DEFAULT, &mut out))
        .map_err(|e| e.to_string())?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

#[test]
fn corners_are_as_in_the_original() {
    let mut failures = Vec::new();
    for line in include_str!("data/sprig.jsonl").lines() {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        let want = case["out"].as_str();
        let got = render(case["src"].as_str().unwrap());
        if got.as_deref().ok() != want {
            failures.push(format!("{}\n  want {want:?}\n  got  {got:?}", case["src"]));
        }
    }
    assert!(failures.is_empty(), "{} cases differ:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn what_is_encrypted_can_be_decrypted() {
    let source = r#"{{ $c := encryptAES "key" "a text longer than one block" }}{{ decryptAES "key" $c }}"#;
    assert_eq!(render(source).unwrap(), "a text longer than one block");
}

#[test]
fn certificates_are_signed_with_given_keys() {
    for kind in ["ecdsa", "ed25519"] {
        let source = format!(
            r#"{{{{ $k := genPrivateKey "{kind}" }}}}{{{{ $ca := genCAWithKey "ca" 1 $k }}}}{{{{ $c := genSignedCertWithKey "host" (list "10.0.0.1") (list "a.example") 1 $ca $k }}}}{{{{ $x := buildCustomCert ($c.Cert | b64enc) ($c.Key | b64enc) }}}}{{{{ eq $c.Key $k }}}} {{{{ hasPrefix "-----BEGIN CERTIFICATE-----\n" $x.Cert }}}}"#
        );
        assert_eq!(render(&source).unwrap(), "true true", "{kind}");
    }
}

#[test]
fn growth_ends_at_the_limits() {
    for source in [
        r#"{{ repeat 1000000000 "abcdefgh" }}"#,
        "{{ until 9000000000 }}",
        "{{ seq 1 9000000000 }}",
        r#"{{ indent 1000000000 "a\nb\nc" }}"#,
        "{{ randAlpha 9000000000 }}",
        r#"{{ regexMatch "((a{1000}){1000}){1000}" "a" }}"#,
    ] {
        let error = render(source).unwrap_err();
        assert!(error.contains("more than") || error.contains("limit"), "{source}: {error}");
    }
}
