//! The page of `herald run --ui`, in a real browser.

// Helpers of tests may fail loudly, too.
#![allow(clippy::unwrap_used)]

mod driver;

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use driver::Browser;
use herald_testkit::{
    http::{Answer, Recorder},
    manifests::{self, TOKEN as SECRET, rollout},
};
use serde_json::{Value, json};

const TOKEN: &str = "0123456789abcdef-token";

/// A running Herald with a webhook that refuses what is for `broken`.
struct Scene {
    home: tempfile::TempDir,
    sink: Recorder,
    herald: Child,
    url: String,
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = self.herald.kill();
        let _ = self.herald.wait();
    }
}

/// A template with a form for each tab of the preview, which prints a secret.
fn configuration(url: &str) -> String {
    let forms = r#"  template.done: |
    message: "{{.rollout.metadata.name}} is done, with {{.secrets.token}}"
    email: {subject: Done, body: "<b>{{.rollout.metadata.name}}</b>"}
"#;
    manifests::configuration(url).replacen("  template.done: |\n", forms, 1)
}

impl Scene {
    async fn start() -> Scene {
        let home = tempfile::tempdir().unwrap();
        let sink = Recorder::start().await;
        sink.otherwise(Answer::status(400));
        let dir = home.path().join("manifests");
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("config.yaml"), configuration(&sink.url("/hook"))).unwrap();
        std::fs::write(dir.join("broken.yaml"), rollout("broken", 1)).unwrap();
        let token = home.path().join("token");
        std::fs::write(&token, TOKEN).unwrap();
        let mut herald = Command::new(env!("CARGO_BIN_EXE_herald"))
            .arg("run")
            .arg(&dir)
            .arg("--state")
            .arg(home.path().join("state.db"))
            .args(["--notify-existing", "--ui", "--ui-address", "127.0.0.1:0", "--ui-token-file"])
            .arg(&token)
            .env("NO_COLOR", "1")
            .env_remove("RUST_LOG")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(herald.stderr.take().unwrap()).lines();
        let url = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                line.split_once("the page is at ").map(|(_, url)| url.trim_end_matches('/').to_owned())
            })
            .expect("the page's address");
        std::thread::spawn(move || lines.for_each(drop));
        Scene { home, sink, herald, url }
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.home.path().join("manifests").join(name), text).unwrap();
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }
}

/// A file of a package of npm that the test command has put there.
fn package(path: &str) -> Option<String> {
    let cache = std::env::var("HERALD_TEST_NPM").map(PathBuf::from);
    let root =
        cache.unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools/npm").into());
    let text = std::fs::read_to_string(root.join("node_modules").join(path)).ok();
    if text.is_none() {
        eprintln!("SKIPPED: a comparison with {path} of npm, which isn't there; ./test fetches it");
    }
    text
}

const ROW: &str = "const row = name => document.querySelector(`#deliveries tr[data-name=\"${name}\"]`);";

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_uses_the_page() {
    let Some(browser) = Browser::start().await else { return };
    let scene = Scene::start().await;
    browser.open(&scene.at("/")).await;
    browser
        .until("the line is open", "return document.querySelector('[data-live]').textContent === 'Live'")
        .await;
    browser
        .until(
            "the refusal is a dead letter",
            &format!("{ROW} return row('broken')?.dataset.outcome === 'dead-letter'"),
        )
        .await;

    // A live delivery appears without a reload.
    browser.run("window.sameDocument = true").await;
    scene.sink.otherwise(Answer::status(200));
    scene.write("web.yaml", &rollout("web", 1));
    browser
        .until("the delivery appears", &format!("{ROW} return row('web')?.dataset.outcome === 'delivered'"))
        .await;
    assert_eq!(browser.run("return window.sameDocument === true").await, json!(true));

    // Without the token nothing can be sent again.
    browser.run(&format!("{ROW} row('broken').querySelector('[data-open]').click()")).await;
    browser.until("the delivery's page", "return location.pathname.startsWith('/deliveries/')").await;
    assert_eq!(browser.run("return document.querySelector('[data-change]')").await, Value::Null);
    let refused = "const done = arguments[arguments.length - 1]; \
        fetch('/api/v1/resend', {method: 'POST', headers: {'Content-Type': 'application/json'}, \
        body: JSON.stringify({ids: [location.pathname.split('/').pop()]})}).then(answer => done(answer.status));";
    assert_eq!(browser.run_async(refused).await, json!(401));
    let page = browser.run("return location.pathname").await;

    // With it, it goes out.
    browser.open(&scene.at("/login")).await;
    browser.run(&format!("document.querySelector('#token').value = '{TOKEN}'; document.querySelector('.lone form').requestSubmit()")).await;
    browser
        .until("the login", "return location.pathname === '/' && !!document.querySelector('meta[name=csrf]')")
        .await;
    browser.open(&scene.at(page.as_str().unwrap())).await;
    browser
        .until("the page listens", "return document.querySelector('[data-live]').textContent === 'Live'")
        .await;
    browser.run("document.querySelector('[data-change=resend] button').click()").await;
    browser
        .until(
            "it is delivered",
            "return document.querySelector('#delivery .bar .state').textContent.trim() === 'delivered'",
        )
        .await;
    assert!(scene.sink.requests().iter().filter(|request| request.text() == "broken h1").count() >= 2);

    // Filters.
    browser.open(&scene.at("/?rollout=shop/web")).await;
    let names = "return [...document.querySelectorAll('#deliveries tr')].map(row => row.dataset.name)";
    assert_eq!(browser.run(names).await, json!(["web"]));
    browser.open(&scene.at("/?outcome=dead-letter")).await;
    assert_eq!(browser.run(names).await, json!([]));

    // Keys.
    browser.keys(&["g", "r"]).await;
    browser.until("g r leads to Rollouts", "return location.pathname === '/rollouts'").await;
    browser.keys(&["j", "\u{e007}"]).await;
    browser.until("j and Enter open the first", "return location.pathname === '/rollouts/shop/broken'").await;
    browser.keys(&["g", "n"]).await;
    browser.until("g n leads to Now", "return location.pathname === '/'").await;
    browser.keys(&["/"]).await;
    browser.until("/ leads to the filters", "return document.activeElement.name === 'rollout'").await;

    // Nothing else was asked for, nothing was wrong, no secret is anywhere.
    let elsewhere: Vec<String> = browser
        .requests()
        .await
        .into_iter()
        // The browser's own first page is none of ours.
        .filter(|url| !["data:", "about:", "chrome:"].iter().any(|own| url.starts_with(own)))
        .filter(|url| !url.starts_with(&scene.url))
        .collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    let console = browser.console().await;
    // The refusal above is one that was asked for; advice of the browser, marked [DOM], is no error.
    let fine = |line: &str| line.contains("/api/v1/resend") || line.contains("[DOM]");
    let wrong: Vec<&String> = console.iter().filter(|line| !fine(line)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn previews_follow_the_typing() {
    let Some(browser) = Browser::start().await else { return };
    let scene = Scene::start().await;
    browser.open(&scene.at("/")).await;
    browser
        .until("something was looked at", "return document.querySelectorAll('#deliveries tr').length > 0")
        .await;
    browser.open(&scene.at("/preview?template=done&object=live:shop/broken")).await;
    let shows = |text: &str| {
        format!(
            "return document.querySelector('.drawing.slack')?.innerText.includes({}) === true",
            json!(text)
        )
    };
    browser.until("the template is drawn", &shows("broken is done")).await;
    assert!(!browser.run("return document.documentElement.outerHTML").await.to_string().contains(SECRET));
    let typed = "const source = document.querySelector('#source'); source.value = source.value.replace('is done', 'was *rolled* out'); \
        source.dispatchEvent(new Event('input', {bubbles: true}))";
    browser.run(typed).await;
    browser.until("the drawing follows", &shows("broken was rolled out")).await;
    let bold = browser.run("return document.querySelector('.drawing.slack .text b')?.textContent").await;
    assert_eq!(bold, json!("rolled"));
    browser
        .run("const source = document.querySelector('#source'); source.value = 'message: \"{{ .rollout.nothing\"'; source.dispatchEvent(new Event('input', {bubbles: true}))")
        .await;
    browser
        .until("the fault is told", "return /HD\\d+/.test(document.querySelector('#views').innerText)")
        .await;
    for path in ["/", "/configuration", "/rollouts/shop/broken", "/api/v1/configuration"] {
        browser.open(&scene.at(path)).await;
        assert!(
            !browser.run("return document.documentElement.outerHTML").await.to_string().contains(SECRET),
            "{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_can_use_it() {
    let Some(axe) = package("axe-core/axe.min.js") else { return };
    let Some(browser) = Browser::start().await else { return };
    let scene = Scene::start().await;
    for path in
        ["/", "/rollouts", "/rollouts/shop/broken", "/configuration", "/preview?template=done", "/login"]
    {
        for (width, dark) in [(1280, false), (1280, true), (390, false), (390, true)] {
            browser.look(width, 844, dark).await;
            browser.open(&scene.at(path)).await;
            let wide = browser.run("return document.documentElement.scrollWidth > innerWidth").await;
            assert_eq!(wide, json!(false), "{path} is wider than {width}");
            let script = format!(
                "{axe};const done = arguments[arguments.length - 1];axe.run(document).then(found => done(found.violations\
                 .filter(one => ['serious', 'critical'].includes(one.impact)).map(one => [one.id, one.nodes.map(node => node.html)])))"
            );
            assert_eq!(browser.run_async(&script).await, json!([]), "{path} at {width}, dark: {dark}");
        }
    }
}

/// Texts in the order of a card: what both drawings must have in common.
const TEXTS: &str = "const texts = root => [...root.querySelectorAll('.ac-textBlock, .ac-text, .ac-fact-title, .ac-fact-value, \
    .ac-facts th, .ac-facts td, .ac-pushButton, .ac-actions .button')].filter(one => one.getClientRects().length && !(one.matches('.ac-textBlock') && one.closest('.ac-factset')))\
    .map(one => one.textContent.trim()).filter(text => text);";

#[tokio::test(flavor = "multi_thread")]
async fn adaptive_cards_have_the_texts_and_the_structure_of_the_official_drawing() {
    let Some(official) = package("adaptivecards/dist/adaptivecards.min.js") else { return };
    let Some(browser) = Browser::start().await else { return };
    let card = json!({"type": "AdaptiveCard", "version": "1.4", "body": [
        {"type": "TextBlock", "text": "Rollout completed", "size": "Large", "weight": "Bolder", "wrap": true},
        {"type": "TextBlock", "text": "hidden", "isVisible": false},
        {"type": "ColumnSet", "columns": [
            {"type": "Column", "width": "auto", "items": [{"type": "TextBlock", "text": "left"}]},
            {"type": "Column", "width": "stretch", "items": [{"type": "TextBlock", "text": "right <b>"}]}]},
        {"type": "Container", "style": "emphasis", "items": [{"type": "TextBlock", "text": "inside", "isSubtle": true}]},
        {"type": "FactSet", "facts": [{"title": "Namespace", "value": "shop"}, {"title": "Revision", "value": "7"}]}],
        "actions": [{"type": "Action.OpenUrl", "title": "Open", "url": "https://example.com"}]});
    let ours = herald_web::ui::draw::adaptive_card(&card).into_string();
    browser.open("about:blank").await;
    let script = format!(
        "{official}\n;{TEXTS}const drawn = new AdaptiveCards.AdaptiveCard(); drawn.parse({card});\
         const theirs = drawn.render(); document.body.append(theirs);\
         const ours = document.createElement('div'); ours.innerHTML = {}; document.body.append(ours);\
         const count = (root, names) => root.querySelectorAll(names).length;\
         return [texts(theirs), texts(ours), \
           [count(theirs, '.ac-columnSet'), count(theirs, '.ac-factset'), count(theirs, '.ac-pushButton')],\
           [count(ours, '.ac-columns'), count(ours, '.ac-facts'), count(ours, '.ac-actions .button')]]",
        json!(ours)
    );
    let script = format!("const exports = undefined, module = undefined, define = undefined; {script}");
    let found = browser.run(&script).await;
    assert_eq!(found[0], found[1], "texts");
    assert_eq!(found[2], found[3], "structure");
    assert_eq!(found[1].as_array().unwrap().len(), 9, "{found}");
}
