//! The page's guards, over real HTTP, with a backend that knows nothing.

// Helpers of tests may fail loudly, too.
#![allow(clippy::unwrap_used)]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use herald_web::ui::{
    Access, Authenticator, Backend, StaticToken, Ui,
    backend::{
        Ask, Choices, Configuration, Delivery, Detail, Fault, Health, Preview, Query, Queue, Rollout,
        RolloutDetail,
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

const TOKEN: &str = "0123456789abcdef-token";

#[derive(Default)]
struct Counting(AtomicUsize);

#[async_trait]
impl Backend for Counting {
    async fn deliveries(&self, _: &Query) -> Result<Vec<Delivery>, Fault> {
        Ok(vec![Delivery {
            id: "n1".into(),
            outcome: "dead-letter".into(),
            name: "<b>".into(),
            ..Delivery::default()
        }])
    }
    async fn delivery(&self, id: &str) -> Result<Option<Detail>, Fault> {
        Ok((id == "n1").then(Detail::default))
    }
    async fn queue(&self) -> Result<Queue, Fault> {
        Ok(Queue::default())
    }
    async fn services(&self) -> Result<Vec<Health>, Fault> {
        Ok(Vec::new())
    }
    async fn rollouts(&self) -> Result<Vec<Rollout>, Fault> {
        Ok(Vec::new())
    }
    async fn rollout(&self, _: &str, _: &str) -> Result<Option<RolloutDetail>, Fault> {
        Ok(None)
    }
    async fn configuration(&self) -> Result<Configuration, Fault> {
        Ok(Configuration::default())
    }
    async fn choices(&self) -> Result<Choices, Fault> {
        Ok(Choices::default())
    }
    async fn preview(&self, _: Ask) -> Result<Preview, Fault> {
        Ok(Preview::default())
    }
    async fn resend(&self, ids: &[String]) -> Result<usize, Fault> {
        Ok(self.0.fetch_add(ids.len(), Ordering::SeqCst) + ids.len())
    }
    async fn drop_notices(&self, ids: &[String]) -> Result<usize, Fault> {
        self.resend(ids).await
    }
}

struct Page {
    address: SocketAddr,
    backend: Arc<Counting>,
}

impl Page {
    async fn start(open: bool, token: bool) -> Page {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tokens = token.then(|| Arc::new(StaticToken::new(TOKEN).unwrap()) as Arc<dyn Authenticator>);
        let access = Access { open, ..Access::of(address, vec!["herald.example.com".into()], tokens) };
        let backend = Arc::new(Counting::default());
        tokio::spawn(herald_web::ui::serve(
            listener,
            Ui::new(backend.clone(), access),
            std::future::pending(),
        ));
        Page { address, backend }
    }

    /// Status, and the whole answer.
    async fn ask(&self, line: &str, headers: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let length = body.len();
        let request = format!(
            "{line} HTTP/1.1\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        // What is too large is refused before it is read to its end.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
        (status, answer)
    }

    fn host(&self) -> String {
        format!("Host: {}\r\n", self.address)
    }

    async fn resend(&self, headers: &str) -> u16 {
        let headers = format!("{}Content-Type: application/json\r\n{headers}", self.host());
        self.ask("POST /api/v1/resend", &headers, "{\"ids\":[\"n1\"]}").await.0
    }

    fn changes(&self) -> usize {
        self.backend.0.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn unknown_hosts_are_refused() {
    let page = Page::start(true, true).await;
    let port = page.address.port();
    for host in [
        "",
        "evil.example",
        "localhost",
        "127.0.0.1",
        "127.0.0.1.evil.example",
        "127.0.0.1:1",
        "0.0.0.0:3100",
        "herald.example.com.evil",
        "herald.example.com:99",
        "[::1]",
        "localhost:",
        "user@localhost",
        "%6cocalhost",
        "localhost\t",
        "LOCALHOST.",
        "2130706433",
        "127.1",
        "\u{301}localhost",
    ] {
        for path in ["/", "/api/v1/deliveries", "/api/v1/events", "/assets/page.js", "/login"] {
            let (status, answer) = page.ask(&format!("GET {path}"), &format!("Host: {host}\r\n"), "").await;
            assert!(matches!(status, 400 | 421), "{host:?} {path}: {answer}");
        }
    }
    let twice = format!("Host: 127.0.0.1:{port}\r\nHost: evil.example\r\n");
    assert!(matches!(page.ask("GET /", &twice, "").await.0, 400 | 421));
    let absolute = page.ask("GET http://evil.example/", &page.host(), "").await.0;
    assert!(matches!(absolute, 400 | 421));
    assert!(matches!(page.ask("GET /", "", "").await.0, 400 | 421));
    for host in [format!("127.0.0.1:{port}"), format!("LocalHost:{port}"), "herald.example.com".into()] {
        assert_eq!(page.ask("GET /", &format!("Host: {host}\r\n"), "").await.0, 200, "{host}");
    }
}

#[tokio::test]
async fn changes_need_the_token() {
    let page = Page::start(true, true).await;
    assert_eq!(page.resend("").await, 401);
    for token in [
        "",
        "Bearer",
        "Bearer ",
        "Bearer x",
        "bearer 0123456789abcdef-toke",
        "Bearer 0123456789abcdef-tokenx",
        "Basic 0123456789abcdef-token",
        "0123456789abcdef-token",
        "Bearer 0123456789ABCDEF-TOKEN",
        "Bearer null",
    ] {
        assert_eq!(page.resend(&format!("Authorization: {token}\r\n")).await, 401, "{token}");
    }
    let long = format!("Authorization: Bearer {}\r\n", "x".repeat(17 * 1024));
    assert_eq!(page.resend(&long).await, 401);
    assert_eq!(page.changes(), 0);
    assert_eq!(page.resend(&format!("Authorization: Bearer {TOKEN}\r\n")).await, 200);
    assert_eq!(page.changes(), 1);
    let read_only = Page::start(true, false).await;
    assert_eq!(read_only.resend("").await, 403);
    assert_eq!(read_only.resend(&format!("Authorization: Bearer {TOKEN}\r\n")).await, 401);
}

#[tokio::test]
async fn other_sites_change_nothing() {
    let page = Page::start(true, true).await;
    let token = format!("Authorization: Bearer {TOKEN}\r\n");
    for origin in
        ["null", "http://evil.example", "http://127.0.0.1", "https://127.0.0.1:1", "", "http://localhost:1"]
    {
        assert_eq!(page.resend(&format!("{token}Origin: {origin}\r\n")).await, 403, "{origin}");
    }
    assert_eq!(page.resend(&format!("{token}Sec-Fetch-Site: cross-site\r\n")).await, 403);
    assert_eq!(page.changes(), 0);
    assert_eq!(page.resend(&format!("{token}Origin: http://{}\r\n", page.address)).await, 200);
}

#[tokio::test]
async fn a_session_needs_its_csrf_token() {
    let page = Page::start(true, true).await;
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let own = format!("{}Origin: http://{}\r\n", page.host(), page.address);
    let (status, _) = page.ask("POST /login", &format!("{own}{form}"), "token=wrong-token-wrong-token").await;
    assert_eq!(status, 401);
    let (status, answer) = page.ask("POST /login", &format!("{own}{form}"), &format!("token={TOKEN}")).await;
    assert_eq!(status, 303, "{answer}");
    let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let cookie = format!("Cookie: {}\r\n", cookie.split(';').next().unwrap());
    let (_, start) = page.ask("GET /", &format!("{}{cookie}", page.host()), "").await;
    let csrf = start.split("name=\"csrf\" content=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let site = format!("{cookie}Origin: http://{}\r\n", page.address);
    assert_eq!(page.resend(&site).await, 403);
    assert_eq!(page.resend(&format!("{site}X-CSRF-Token: {}\r\n", csrf.get(1..).unwrap())).await, 403);
    assert_eq!(page.resend(&format!("{cookie}X-CSRF-Token: {csrf}\r\n")).await, 403, "without an origin");
    assert_eq!(page.changes(), 0);
    assert_eq!(page.resend(&format!("{site}X-CSRF-Token: {csrf}\r\n")).await, 200);
    let body = format!("id=n1&what=drop&csrf={csrf}&back=//evil.example");
    let (status, answer) = page.ask("POST /change", &format!("{own}{cookie}{form}"), &body).await;
    assert!(status == 303 && answer.contains("location: /\r\n"), "{answer}");
    assert_eq!(page.changes(), 2);
    let body = format!("id=n1+n2+n3&what=resend&csrf={csrf}&back=/");
    assert_eq!(page.ask("POST /change", &format!("{own}{cookie}{form}"), &body).await.0, 303);
    assert_eq!(page.changes(), 5);
    let body = format!("id=&what=resend&csrf={csrf}&back=/");
    assert_eq!(page.ask("POST /change", &format!("{own}{cookie}{form}"), &body).await.0, 400);
}

/// Whatever stands in Host, Origin, Authorization, Cookie or the CSRF token: nothing is changed, nothing fails.
#[tokio::test]
async fn whatever_is_sent_is_refused() {
    use std::hash::{BuildHasher as _, RandomState};
    let (open, closed) = (Page::start(true, true).await, Page::start(false, true).await);
    let random = RandomState::new();
    let parts = [
        "127.0.0.1",
        "localhost",
        ".evil.example",
        "herald.example.com",
        ":",
        "@",
        "/",
        "null",
        "http://",
        "[::1]",
        "%00",
        "\u{e9}",
        "\t",
        "Bearer ",
        "Basic ",
        "0123456789abcdef",
        "-token",
        "=",
        ";",
        ",",
        "'",
        "\"",
        "..",
        "65536",
        "",
    ];
    let mut seed = 0_u64;
    let mut word = || {
        let mut text = String::new();
        seed += 1;
        for step in 0..1 + random.hash_one(seed) % 4 {
            text += parts[usize::try_from(random.hash_one((seed, step)) % parts.len() as u64).unwrap()];
        }
        text
    };
    for _ in 0..400 {
        let (host, origin, token, cookie, csrf) = (word(), word(), word(), word(), word());
        if token.contains(TOKEN) {
            continue;
        }
        for (page, host) in
            [(&open, format!("Host: {host}\r\n")), (&open, open.host()), (&closed, closed.host())]
        {
            let headers = format!(
                "{host}Origin: {origin}\r\nAuthorization: {token}\r\nCookie: herald={cookie}\r\nX-CSRF-Token: {csrf}\r\n\
                 Content-Type: application/json\r\n"
            );
            let (status, answer) = page.ask("POST /api/v1/resend", &headers, "{\"ids\":[\"n1\"]}").await;
            assert!((400..500).contains(&status), "{headers}{answer}");
        }
        let headers = format!("{}Authorization: {token}\r\nCookie: herald={cookie}\r\n", closed.host());
        let (status, answer) = closed.ask("GET /api/v1/deliveries", &headers, "").await;
        assert!((400..500).contains(&status), "{headers}{answer}");
    }
    assert_eq!((open.changes(), closed.changes()), (0, 0));
}

#[cfg(target_os = "linux")]
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

/// A hundred pages that stay open cost less than 20 MB, those of this test included.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_hundred_open_pages_are_cheap() {
    let page = Page::start(true, false).await;
    page.ask("GET /", &page.host(), "").await;
    let before = memory();
    let mut open = Vec::new();
    for _ in 0..100 {
        assert_eq!(page.ask("GET /", &page.host(), "").await.0, 200);
        let mut stream = TcpStream::connect(page.address).await.unwrap();
        let request = format!("GET /api/v1/events HTTP/1.1\r\n{}\r\n", page.host());
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut start = [0; 12];
        stream.read_exact(&mut start).await.unwrap();
        assert_eq!(&start, b"HTTP/1.1 200");
        open.push(stream);
    }
    let grown = memory().saturating_sub(before);
    eprintln!("100 open pages: {grown} MB");
    assert!(grown < 20, "{grown} MB");
}

#[tokio::test]
async fn closed_pages_tell_nothing_without_the_token() {
    let page = Page::start(false, true).await;
    for path in ["/", "/rollouts", "/configuration", "/preview", "/deliveries/n1"] {
        let (status, answer) = page.ask(&format!("GET {path}"), &page.host(), "").await;
        assert!(status == 303 && answer.contains("location: /login"), "{path}: {answer}");
    }
    for path in ["deliveries", "deliveries/n1", "queue", "services", "rollouts", "configuration", "events"] {
        let (status, answer) = page.ask(&format!("GET /api/v1/{path}"), &page.host(), "").await;
        assert!(status == 401 && answer.contains("www-authenticate: Bearer"), "{path}: {answer}");
    }
    let token = format!("{}Authorization: Bearer {TOKEN}\r\n", page.host());
    assert_eq!(page.ask("GET /api/v1/deliveries", &token, "").await.0, 200);
}

#[tokio::test]
async fn answers_are_strict_with_browsers() {
    let page = Page::start(true, true).await;
    for path in ["/", "/rollouts", "/nothing", "/api/v1/queue", "/assets/page.css"] {
        let (_, answer) = page.ask(&format!("GET {path}"), &page.host(), "").await;
        let head = answer.split("\r\n\r\n").next().unwrap();
        for line in [
            "content-security-policy: default-src 'none';",
            "x-content-type-options: nosniff",
            "x-frame-options: DENY",
        ] {
            assert!(head.contains(line), "{path}: {line} is not in\n{head}");
        }
        assert!(!head.contains("unsafe"), "{head}");
    }
    let (_, start) = page.ask("GET /", &page.host(), "").await;
    assert!(start.contains("&lt;b&gt;") && !start.contains(" style="), "{start}");
    let large = "x".repeat(2 * 1024 * 1024);
    let form = format!("{}Content-Type: application/json\r\n", page.host());
    assert_eq!(page.ask("POST /api/v1/preview", &form, &format!("{{\"source\":\"{large}\"}}")).await.0, 413);
}
