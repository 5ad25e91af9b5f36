//! What `nats` says on the wire, against a server that answers as a test says.

mod common;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use common::{File, MESSAGE, folder, send};
use futures::{SinkExt as _, StreamExt as _, stream};
use herald_core::{notification::Notification, yaml};
use herald_services::{Delivery, Environment, Instance, ObjectRef, Reason, Registry};
use herald_testkit::tls;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpListener,
};
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};
use tokio_util::io::{CopyToBytes, SinkWriter, StreamReader};

/// What the server says to a message, before its PONG; `close` and `hang` are acts of its own.
type Say = &'static str;

#[derive(Clone, Default)]
struct Script {
    info: Value,
    says: Arc<Mutex<BTreeMap<String, Say>>>,
    tls: bool,
    websocket: bool,
}

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

#[derive(Default)]
struct Seen {
    connections: usize,
    connect: Value,
    wire: String,
}

struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

impl Server {
    async fn start(script: Script) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.lock().expect("no panic").connections += 1;
                tokio::spawn(Server::greet(stream, script.clone(), shared.clone()));
            }
        });
        Server { address, seen }
    }

    async fn greet(mut stream: tokio::net::TcpStream, script: Script, seen: Arc<Mutex<Seen>>) -> Option<()> {
        let mut info =
            json!({"headers": true, "max_payload": 1000, "nonce": "N0nce", "tls_required": script.tls});
        for (key, value) in script.info.as_object().into_iter().flatten() {
            info[key] = value.clone();
        }
        let info = format!("INFO {info}\r\n");
        if script.websocket {
            let stream: Box<dyn Wire> = match script.tls {
                true => Box::new(tls::acceptor().accept(stream).await.ok()?),
                false => Box::new(stream),
            };
            let mut stream = in_frames(tokio_tungstenite::accept_async(stream).await.ok()?);
            // Frames are cut anywhere.
            let (head, tail) = info.split_at(7);
            for part in [head, tail] {
                stream.write_all(part.as_bytes()).await.ok()?;
                stream.flush().await.ok()?;
            }
            return Server::talk(stream, script, seen).await;
        }
        stream.write_all(info.as_bytes()).await.ok()?;
        match script.tls {
            true => Server::talk(tls::acceptor().accept(stream).await.ok()?, script, seen).await,
            false => Server::talk(stream, script, seen).await,
        }
    }

    async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
        stream: S,
        script: Script,
        seen: Arc<Mutex<Seen>>,
    ) -> Option<()> {
        let mut stream = BufReader::new(stream);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            let answer = match words[0] {
                "CONNECT" => {
                    seen.lock().expect("no panic").connect = serde_json::from_str(&line[8..]).ok()?;
                    String::new()
                }
                "PING" => "PONG\r\n".into(),
                "PUB" | "HPUB" => {
                    let size: usize = words.last()?.parse().ok()?;
                    let mut payload = vec![0; size + 2];
                    stream.read_exact(&mut payload).await.ok()?;
                    seen.lock().expect("no panic").wire +=
                        &(line.clone() + &String::from_utf8_lossy(&payload));
                    let say = script.says.lock().expect("no panic").get(words[1]).copied();
                    match say {
                        Some("close") => {
                            script.says.lock().expect("no panic").remove(words[1]);
                            return None;
                        }
                        Some("hang") => std::future::pending().await,
                        Some(say) => say.replace("<reply>", words[2]),
                        None => String::new(),
                    }
                }
                _ => String::new(),
            };
            stream.write_all(answer.as_bytes()).await.ok()?;
            stream.flush().await.ok()?;
        }
    }

    fn url(&self, scheme: &str) -> String {
        format!("{scheme}://localhost:{}", self.address.port())
    }
}

/// What binary frames hold, as a stream. A ping comes before each of ours.
fn in_frames(socket: WebSocketStream<Box<dyn Wire>>) -> impl Wire {
    let (sink, frames) = socket.split();
    let bytes = frames.map(|frame| frame.map(Message::into_data).map_err(std::io::Error::other));
    let sink = sink.sink_map_err(std::io::Error::other).with_flat_map(|bytes: Bytes| {
        stream::iter([Message::Ping(Bytes::new()), Message::Binary(bytes)].map(Ok))
    });
    tokio::io::join(Box::pin(StreamReader::new(bytes)), Box::pin(SinkWriter::new(CopyToBytes::new(sink))))
}

fn says(pairs: &[(&str, Say)]) -> Arc<Mutex<BTreeMap<String, Say>>> {
    Arc::new(Mutex::new(pairs.iter().map(|(subject, say)| ((*subject).to_string(), *say)).collect()))
}

#[tokio::test]
async fn every_case_is_what_goes_over_the_wire() {
    let registry = Registry::standard();
    let file = File::read(&folder().join("nats.yaml"));
    assert!(!file.cases.is_empty());
    for case in &file.cases {
        let mut case = file.complete(case);
        let server = Server::start(Script::default()).await;
        case["options"]["url"] = json!(server.url("nats"));
        let template = case["template"].as_str().unwrap_or(MESSAGE);
        let result = send(&registry, &Environment::default(), &case, template).await;
        let seen = server.seen.lock().expect("no panic");
        match case["result"].as_str().expect("a result") {
            "ok" => result.unwrap_or_else(|e| panic!("{}: {e}", case["id"])),
            text => {
                let error = result.expect_err("an error").to_string();
                assert!(error.contains(text), "{}: {error}", case["id"]);
                assert_eq!(seen.connections, 0, "{}", case["id"]);
            }
        }
        assert_eq!(seen.wire, case["wire"].as_str().unwrap_or_default(), "{}", case["id"]);
        for (key, value) in case["connect"].as_object().into_iter().flatten() {
            assert_eq!(&seen.connect[key], value, "{}: {key}", case["id"]);
        }
    }
}

fn instance(options: Value) -> Instance {
    let options = yaml::parse(&options.to_string()).expect("options");
    Registry::standard().build("nats", "bus", &options, &Environment::default()).expect("an instance")
}

async fn publish(
    instance: &Instance,
    subject: &str,
    message: &str,
) -> Result<String, herald_services::SendError> {
    let notification = Notification { message: message.into(), ..Notification::default() };
    let delivery = Delivery {
        notification: &notification,
        recipient: subject,
        notice_id: "n-1",
        trigger: "",
        object: ObjectRef::default(),
        now: jiff::Timestamp::UNIX_EPOCH,
    };
    instance.send(&delivery).await.map(|receipt| receipt.detail)
}

#[tokio::test]
async fn what_the_server_says_after_the_message_counts() {
    let script = Script {
        says: says(&[
            ("denied", "-ERR 'Permissions Violation for Publish to \"denied\"'\r\n"),
            ("slow", "-ERR 'Slow Consumer'\r\n"),
            ("pinged", "PING\r\nINFO {}\r\n"),
            ("html", "<html>\r\n"),
            ("hang", "hang"),
        ]),
        ..Script::default()
    };
    let server = Server::start(script).await;
    let bus = instance(json!({"url": server.url("nats"), "requestTimeout": "300ms"}));
    let table = [
        ("fine", None),
        ("denied", Some(Reason::Rejected)),
        ("slow", Some(Reason::ServerError)),
        ("pinged", None),
        ("html", Some(Reason::BadAnswer)),
        ("hang", Some(Reason::TimedOut)),
        ("two words", Some(Reason::Misconfigured)),
        ("", Some(Reason::Misconfigured)),
    ];
    for (subject, reason) in table {
        let result = publish(&bus, subject, "x").await;
        assert_eq!(result.as_ref().err().map(|error| error.reason), reason, "{subject}: {result:?}");
        if let Err(error) = result {
            assert!(error.to_string().starts_with("nats `bus`: "), "{error}");
        }
    }
    let error = publish(&bus, "fine", &"x".repeat(1001)).await.expect_err("too long");
    assert_eq!(error.reason, Reason::Rejected);
}

#[tokio::test]
async fn the_connection_is_kept_and_made_anew_once() {
    let script = Script { says: says(&[("closed", "close")]), ..Script::default() };
    let server = Server::start(script).await;
    let bus = instance(json!({"url": server.url("nats")}));
    for _ in 0..10 {
        publish(&bus, "fine", "x").await.expect("delivered");
    }
    assert_eq!(server.seen.lock().expect("no panic").connections, 1);
    publish(&bus, "closed", "x").await.expect("delivered over the second connection");
    assert_eq!(server.seen.lock().expect("no panic").connections, 2);
}

#[tokio::test]
async fn the_next_server_takes_over() {
    let server = Server::start(Script::default()).await;
    let bus = instance(json!({"url": format!("nats://127.0.0.1:1, {}", server.url("nats"))}));
    publish(&bus, "fine", "x").await.expect("delivered");
    let error = publish(&instance(json!({"url": "nats://u:s3cret-pw@127.0.0.1:1"})), "a", "x").await;
    let error = error.expect_err("nobody listens");
    assert_eq!(error.reason, Reason::Unreachable);
    assert!(error.message.starts_with("failed to connect to NATS server: "), "{error}");
    assert!(!error.to_string().contains("s3cret"), "{error}");
}

#[tokio::test]
async fn certificates_are_checked_unless_told_otherwise() {
    let table = [
        (json!({}), Some(Reason::Untrusted)),
        (json!({"insecureSkipVerify": true}), None),
        (json!({"caBundle": tls::CA_PEM}), None),
    ];
    for (more, reason) in table {
        let server = Server::start(Script { tls: true, ..Script::default() }).await;
        let mut options = more.clone();
        options["url"] = json!(server.url("tls"));
        let result = publish(&instance(options), "fine", "x").await;
        assert_eq!(result.as_ref().err().map(|error| error.reason), reason, "{more}: {result:?}");
    }
    let plain = Server::start(Script::default()).await;
    let error = publish(&instance(json!({"url": plain.url("tls")})), "fine", "x").await.expect_err("no TLS");
    assert_eq!(error.reason, Reason::Misconfigured, "{error}");
}

#[tokio::test]
async fn a_websocket_carries_the_same_bytes() {
    let ca = json!({"caBundle": tls::CA_PEM});
    let table = [
        ("ws", false, json!({}), None),
        ("wss", true, ca.clone(), None),
        // As in Go: options of TLS ask for it.
        ("ws", true, ca, None),
        ("wss", true, json!({}), Some(Reason::Untrusted)),
    ];
    for (scheme, tls, more, reason) in table {
        let server = Server::start(Script { tls, websocket: true, ..Script::default() }).await;
        let mut options = more.clone();
        options["url"] = json!(server.url(scheme));
        let bus = instance(options);
        let message = "x".repeat(900);
        for _ in 0..2 {
            let result = publish(&bus, "fine", &message).await;
            assert_eq!(
                result.as_ref().err().map(|error| error.reason),
                reason,
                "{scheme} {more}: {result:?}"
            );
        }
        let expected =
            if reason.is_some() { String::new() } else { format!("PUB fine 900\r\n{message}\r\n").repeat(2) };
        assert_eq!(server.seen.lock().expect("no panic").wire, expected, "{scheme} {more}");
    }
    let plain = Server::start(Script::default()).await;
    let error =
        publish(&instance(json!({"url": plain.url("ws")})), "fine", "x").await.expect_err("no WebSocket");
    assert_eq!(error.reason, Reason::BadAnswer, "{error}");
}

#[tokio::test]
async fn a_stream_says_that_it_has_the_message() {
    let script = Script {
        says: says(&[
            ("kept", "MSG <reply> 1 27\r\n{\"stream\":\"NOTES\",\"seq\": 7}\r\n"),
            ("nobody", "HMSG <reply> 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n"),
            (
                "full",
                "MSG <reply> 1 65\r\n{\"error\":{\"code\":503,\"description\":\"insufficient resources now\"}}\r\n",
            ),
        ]),
        ..Script::default()
    };
    let server = Server::start(script).await;
    let bus = instance(json!({"url": server.url("nats"), "jetstream": true}));
    assert_eq!(publish(&bus, "kept", "x").await.expect("stored"), "NOTES 7");
    assert!(server.seen.lock().expect("no panic").wire.contains("Nats-Msg-Id: n-1\r\n"));
    assert_eq!(publish(&bus, "nobody", "x").await.expect_err("no stream").reason, Reason::Misconfigured);
    assert_eq!(publish(&bus, "full", "x").await.expect_err("full").reason, Reason::ServerError);
}

#[tokio::test]
async fn a_seed_signs_the_servers_nonce() {
    let server = Server::start(Script::default()).await;
    let seed = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
    publish(&instance(json!({"url": server.url("nats"), "nkey": seed})), "fine", "x")
        .await
        .expect("delivered");
    let connect = server.seen.lock().expect("no panic").connect.clone();
    assert_eq!(connect["nkey"], "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4");
    assert_eq!(connect["sig"].as_str().map(str::len), Some(86));
    let creds = format!(
        "-----BEGIN NATS USER JWT-----\nabc.def.ghi\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    );
    publish(&instance(json!({"url": server.url("nats"), "credentials": creds})), "fine", "x")
        .await
        .expect("sent");
    assert_eq!(server.seen.lock().expect("no panic").connect["jwt"], "abc.def.ghi");
}
