//! Runs the cases of `conformance/services`: what each service sends, request by request.

mod common;

use std::collections::BTreeMap;

use common::{Check, File, MESSAGE, NOTICE, entries, environment, render, send, texts};
use herald_core::notification::ServiceTypes;
use herald_services::{Environment, Registry, SendError};
use herald_testkit::{
    http::{Answer, Recorded, Recorder},
    smtp::{Behaviour, SmtpSink},
};
use serde_json::{Map, Value, json};

/// Compares parsed JSON; a few texts of the expectation stand for what changes from run to run.
fn same(expected: &Value, actual: &Value, path: &str) -> Check {
    let check =
        |good: bool| if good { Ok(()) } else { Err(format!("{path}: expected {expected}, got {actual}")) };
    match (expected, actual) {
        (Value::String(text), _) if ["<now", "<…", "<from "].iter().any(|start| text.starts_with(start)) => {
            check(!actual.is_null() && actual != "")
        }
        (Value::String(text), Value::String(actual)) if text == "<uuid v4>" => {
            check(actual.len() == 36 && actual.as_bytes().get(14) == Some(&b'4'))
        }
        (Value::String(text), _) if text == "<notice id>" => check(actual == NOTICE),
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().try_for_each(|(n, (a, b))| same(a, b, &format!("{path}[{n}]")))
        }
        (Value::Object(a), Value::Object(b)) if a.keys().eq(b.keys()) => {
            a.iter().zip(b.values()).try_for_each(|((key, a), b)| same(a, b, &format!("{path}.{key}")))
        }
        _ => check(expected == actual),
    }
}

fn check_form(expected: &Value, recorded: &Recorded, exact: bool) -> Check {
    let form: BTreeMap<String, String> = url::form_urlencoded::parse(&recorded.body).into_owned().collect();
    let expected: BTreeMap<_, _> =
        expected.as_object().ok_or("the expected form is no map")?.iter().collect();
    if exact && !expected.keys().copied().eq(form.keys()) {
        return Err(format!("form: expected the fields {:?}, got {form:?}", expected.keys()));
    }
    for (key, value) in expected {
        let actual = form.get(key).ok_or_else(|| format!("form: {key} is missing in {form:?}"))?;
        let actual = match value {
            Value::String(_) => json!(actual),
            _ => serde_json::from_str(actual).map_err(|e| format!("form.{key}: {e}: {actual}"))?,
        };
        same(value, &actual, &format!("form.{key}"))?;
    }
    Ok(())
}

/// Compares one request with what a case, or an entry of its `requests`, says of it.
fn check_request(expected: &Value, recorded: &Recorded) -> Check {
    let text = |key: &str| expected[key].as_str();
    if let Some(method) = text("method").filter(|method| *method != recorded.method) {
        return Err(format!("method: expected {method}, got {}", recorded.method));
    }
    if let Some(url) = text("url") {
        let parse = |text: &str| url::Url::parse(text).map_err(|e| format!("{text}: {e}"));
        if parse(url)? != parse(&recorded.url())? {
            return Err(format!("url: expected {url}, got {}", recorded.url()));
        }
    }
    for (name, value) in entries(expected, "headers") {
        let actual = recorded.header(name).ok_or_else(|| format!("header {name} is missing"))?;
        let good = match value.as_str() {
            Some("<bearer JWT>") => actual.starts_with("Bearer ey") && actual.split('.').count() == 3,
            value => value == Some(actual),
        };
        if !good {
            return Err(format!("header {name}: expected {value}, got {actual}"));
        }
    }
    for name in texts(expected, "headers_lack") {
        if let Some(value) = recorded.header(&name) {
            return Err(format!("header {name} must not be there, got {value}"));
        }
    }
    let body = || -> Result<Value, String> {
        serde_json::from_slice(&recorded.body).map_err(|e| format!("{e} in {}", recorded.text()))
    };
    if let Some(json) = expected.get("json") {
        same(json, &body()?, "json")?;
    }
    if let Some(card) = expected.get("card") {
        let card = json!({"contentType": "application/vnd.microsoft.card.adaptive", "content": card});
        same(&json!({"type": "message", "attachments": [card]}), &body()?, "json")?;
    }
    if let Some(form) = expected.get("form") {
        check_form(form, recorded, true)?;
    }
    if let Some(form) = expected.get("form_has") {
        check_form(form, recorded, false)?;
    }
    match text("body") {
        Some(text) if text != recorded.text() => {
            Err(format!("body: expected {text}, got {}", recorded.text()))
        }
        _ => Ok(()),
    }
}

fn check_result(case: &Value, result: &Result<(), SendError>) -> Check {
    let expected = case["result"].as_str().unwrap_or("ok");
    if let (Err(error), Some(lacked)) = (result, case["result_lacks"].as_str())
        && error.to_string().contains(lacked)
    {
        return Err(format!("result: {lacked:?} must not be in {error}"));
    }
    match result {
        Ok(()) if expected == "ok" => Ok(()),
        Ok(()) => Err(format!("result: expected an error with {expected:?}, got success")),
        Err(error) if expected == "ok" => Err(format!("result: {error}")),
        Err(error) if !error.to_string().contains(expected) => {
            Err(format!("result: no {expected:?} in {error}"))
        }
        Err(error) => match case["reason"].as_str() {
            Some(reason) if reason != error.reason.label() => {
                Err(format!("reason: {}, not {reason}", error.reason))
            }
            _ => Ok(()),
        },
    }
}

fn scripted(answer: &Value) -> Answer {
    let status = answer["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or(200);
    let body = answer["body"].as_str().unwrap_or("{}");
    let mut scripted = Answer::status(status).body(body);
    for (name, value) in entries(answer, "headers") {
        scripted = scripted.header(name, value.as_str().unwrap_or_default());
    }
    scripted
}

async fn run_http(registry: &Registry, case: &Value) -> Check {
    let recorder = Recorder::start().await;
    recorder.script(case["answers"].as_array().into_iter().flatten().map(scripted));
    let template = case["template"].as_str().unwrap_or(MESSAGE);
    let result = send(registry, &environment(recorder.address()), case, template).await;
    check_result(case, &result)?;
    let recorded = recorder.requests();

    let mut expected: Vec<Value> = Vec::new();
    match (&case["requests"], &case["request"]) {
        (Value::Array(requests), _) => {
            expected.extend(case["prepend"].as_array().cloned().unwrap_or_default());
            for request in requests {
                let mut request = request.clone();
                for (name, value) in entries(case, "headers") {
                    request["headers"][name] = value.clone();
                }
                expected.push(request);
            }
        }
        (_, Value::Object(request)) => expected.push(Value::Object(request.clone())),
        _ => {}
    }
    let count = case["requests"].as_u64().and_then(|count| usize::try_from(count).ok());
    if let Some(count) = count.or(Some(expected.len()).filter(|count| *count > 0))
        && count != recorded.len()
    {
        let urls: Vec<String> = recorded.iter().map(Recorded::url).collect();
        return Err(format!("expected {count} requests, got {urls:?}"));
    }
    for (n, (expected, recorded)) in expected.iter().zip(&recorded).enumerate() {
        check_request(expected, recorded).map_err(|e| format!("request {n}: {e}"))?;
    }
    let about_last = ["json", "form", "form_has", "body", "card", "headers_lack"];
    let last: Map<String, Value> =
        about_last.iter().filter_map(|key| Some(((*key).to_string(), case.get(key)?.clone()))).collect();
    match recorded.last() {
        _ if last.is_empty() => Ok(()),
        Some(recorded) => check_request(&Value::Object(last), recorded),
        None => Err("nothing was sent".into()),
    }
}

async fn run_urls(registry: &Registry, case: &Value) -> Check {
    for (url, expected) in entries(case, "urls") {
        let recorder = Recorder::start().await;
        recorder.otherwise(Answer::status(202).body(""));
        let mut one = case.clone();
        one["options"] = json!({"recipientUrls": {"ch": url}});
        one["result"] = expected.clone();
        let result = send(registry, &environment(recorder.address()), &one, MESSAGE).await;
        check_result(&one, &result).map_err(|e| format!("{url}: {e}"))?;
    }
    Ok(())
}

/// Several deliveries in a row, by one process.
async fn run_deliveries(registry: &Registry, case: &Value) -> Check {
    let recorder = Recorder::start().await;
    let environment = environment(recorder.address());
    for (n, delivery) in case["deliveries"].as_array().into_iter().flatten().enumerate() {
        recorder.clear();
        let calls = delivery["calls"].as_array().cloned().unwrap_or_default();
        let usual = r#"{"ok":true,"channel":"C123","ts":"1.1"}"#;
        recorder.script(calls.iter().map(|call| Answer::ok(call["answer"].as_str().unwrap_or(usual))));
        let policy = format!("deliveryPolicy: {}", delivery["policy"].as_str().unwrap_or_default());
        let template = case["template"].as_str().ok_or("no template")?;
        let template = template.replace("deliveryPolicy: PostAndUpdate", &policy);
        send(registry, &environment, case, &template).await.map_err(|e| format!("delivery {n}: {e}"))?;
        let recorded = recorder.requests();
        if recorded.len() != calls.len() {
            return Err(format!("delivery {n}: expected {} calls, got {}", calls.len(), recorded.len()));
        }
        for (call, recorded) in calls.iter().zip(&recorded) {
            let mut call = call.clone();
            let method = call["url"].as_str().unwrap_or_default().to_string();
            call["url"] = json!(format!("https://slack.com/api/{method}"));
            let mut lacks = texts(&call, "form_lacks");
            if method == "chat.update" {
                lacks.extend(texts(case, "form_lacks_on_update"));
            }
            for name in lacks {
                if let Some(form) = call["form_has"].as_object_mut() {
                    form.remove(&name);
                }
                if url::form_urlencoded::parse(&recorded.body).any(|(key, _)| key == name) {
                    return Err(format!("delivery {n}: the form must not have {name}"));
                }
            }
            check_request(&call, recorded).map_err(|e| format!("delivery {n}: {e}"))?;
        }
    }
    Ok(())
}

async fn run_mail(registry: &Registry, case: &Value) -> Check {
    let sink = SmtpSink::start(Behaviour { offers: texts(case, "offers"), ..Behaviour::default() }).await;
    let mut case = case.clone();
    case["options"]["port"] = json!(sink.address().port());
    let template = case["template"].as_str().unwrap_or(MESSAGE);
    let result = send(registry, &Environment::default(), &case, template).await;
    check_result(&case, &result)?;
    let (commands, expected) = (sink.commands(), texts(&case, "smtp"));
    if !expected.is_empty() && expected != commands {
        return Err(format!("smtp: expected {expected:?}, got {commands:?}"));
    }
    for lacked in texts(&case, "smtp_lacks") {
        if let Some(command) = commands.iter().find(|command| command.starts_with(&lacked)) {
            return Err(format!("smtp: {command} must not be there"));
        }
    }
    if result.is_err() {
        return Ok(());
    }
    let mails = sink.mails();
    let mail = mails.first().ok_or("no mail arrived")?;
    for (name, value) in entries(&case, "headers") {
        let actual = mail.header(name).ok_or_else(|| format!("header {name} is missing"))?;
        if !same_header(name, value.as_str().unwrap_or_default(), actual) {
            return Err(format!("header {name}: expected {value}, got {actual}"));
        }
    }
    match case["raw_body"].as_str().or(case["body"].as_str()) {
        Some(body) if body != mail.body.trim_end() => {
            Err(format!("body: expected {body}, got {}", mail.body))
        }
        _ => Ok(()),
    }
}

/// Encoded words have several right spellings; what they say must be the same.
fn same_header(name: &str, expected: &str, actual: &str) -> bool {
    match name {
        "Subject" => decode_words(expected) == decode_words(actual),
        "Content-Type" => expected.eq_ignore_ascii_case(actual),
        _ => expected == actual,
    }
}

fn decode_words(text: &str) -> String {
    use base64::Engine;
    let mut out: Vec<String> = Vec::new();
    let mut after_encoded = false;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let inner = word.strip_prefix("=?").and_then(|word| word.strip_suffix("?="));
        let parts: Vec<&str> = inner.map(|inner| inner.splitn(3, '?').collect()).unwrap_or_default();
        let decoded = match parts[..] {
            [_, "q" | "Q", text] => {
                let form = format!("x={}", text.replace('_', " ").replace('=', "%"));
                url::form_urlencoded::parse(form.as_bytes()).next().map(|(_, value)| value.into_owned())
            }
            [_, "b" | "B", text] => {
                let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default();
                Some(String::from_utf8_lossy(&bytes).into_owned())
            }
            _ => None,
        };
        match (out.last_mut(), &decoded) {
            (Some(last), Some(decoded)) if after_encoded => last.push_str(decoded),
            _ => out.push(decoded.clone().unwrap_or_else(|| word.to_string())),
        }
        after_encoded = decoded.is_some();
    }
    out.join(" ")
}

fn run_console(registry: &Registry, case: &Value) -> Check {
    let mut templates = texts(case, "templates");
    if templates.is_empty() {
        templates.push(case["template"].as_str().unwrap_or(MESSAGE).into());
    }
    let templates: Vec<&str> = templates.iter().map(String::as_str).collect();
    let notification = render(registry, &templates, "console", "stdout")?;
    let printed = herald_services::services::console::print(&notification);
    if let Some(start) = case["stdout_starts"].as_str() {
        return if printed.starts_with(start) {
            Ok(())
        } else {
            Err(format!("{start:?} doesn't begin {printed:?}"))
        };
    }
    let expected = case["stdout"].as_str().unwrap_or_default();
    if printed == expected { Ok(()) } else { Err(format!("expected {expected:?}, got {printed:?}")) }
}

fn run_merging(registry: &Registry, case: &Value) -> Check {
    let templates = texts(case, "templates");
    let templates: Vec<&str> = templates.iter().map(String::as_str).collect();
    let merged = serde_json::to_value(render(registry, &templates, "x", "")?).map_err(|e| e.to_string())?;
    entries(case, "merged")
        .filter(|(key, _)| *key == "message" || registry.has_section(key))
        .try_for_each(|(key, expected)| same(expected, &merged[key], key))
}

async fn run(registry: &Registry, file: &File, case: &Value) -> Check {
    let case = file.complete(case);
    match file.name.as_str() {
        "console" => run_console(registry, &case),
        "merging" => run_merging(registry, &case),
        "email" => run_mail(registry, &case).await,
        _ if case.get("urls").is_some() => run_urls(registry, &case).await,
        _ if case.get("deliveries").is_some() => run_deliveries(registry, &case).await,
        _ => run_http(registry, &case).await,
    }
}

/// `ONLY=sl-` runs the cases whose id contains that.
#[tokio::test]
async fn every_service_sends_what_its_cases_say() {
    let registry = Registry::standard();
    run_files(&registry, File::all()).await;
}

#[tokio::test]
async fn every_service_sends_what_our_own_cases_say() {
    let registry = Registry::standard();
    run_files(&registry, File::more()).await;
}

async fn run_files(registry: &Registry, files: Vec<File>) {
    let only = std::env::var("ONLY").unwrap_or_default();
    let (mut passed, mut failed, mut pending, mut elsewhere) = (0, Vec::new(), BTreeMap::new(), 0);
    for file in files {
        let named = |case: &Value| case["type"].as_str().is_some_and(|kind| registry.find(kind).is_some());
        let known = registry.find(&file.name).is_some() || file.cases.iter().any(named);
        if file.name != "merging" && !known {
            pending.insert(file.name, file.cases.len());
            continue;
        }
        for case in &file.cases {
            let id = case["id"].as_str().expect("an id");
            if !id.contains(&only) {
                continue;
            }
            // Dialogues that are not HTTP are compared by a test of that service.
            if case.get("wire").is_some() {
                elsewhere += 1;
                continue;
            }
            match run(registry, &file, case).await {
                Ok(()) => passed += 1,
                Err(error) => failed.push(format!("{id}: {error}")),
            }
        }
    }
    if !pending.is_empty() {
        eprintln!(
            "PENDING: {} cases of services without a file: {pending:?}",
            pending.values().sum::<usize>()
        );
    }
    eprintln!("{passed} cases passed, {} failed, {elsewhere} run elsewhere", failed.len());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
