//! An SMTP server that records dialogues and mails, and offers and refuses what a test says.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use base64::Engine;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

/// What the server offers and refuses.
#[derive(Clone, Debug, Default)]
pub struct Behaviour {
    /// Lines of the answer to EHLO, such as `8BITMIME` and `AUTH PLAIN LOGIN`.
    pub offers: Vec<String>,
    /// Speaks TLS from the start.
    pub implicit_tls: bool,
    /// Offers STARTTLS, and nothing of `offers` that begins with `AUTH` before it.
    pub starttls: bool,
    /// User name and password that are accepted; `None`: all are.
    pub login: Option<(String, String)>,
    /// Answers in place of the usual ones, by command: `RCPT`, `DATA`, `MAIL`, `.`, or `RCPT TO:<a@b>` as a whole.
    pub answers: BTreeMap<String, String>,
    /// Never greets.
    pub hang: bool,
}

/// A mail that was accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mail {
    /// Headers, unfolded, in order.
    pub headers: Vec<(String, String)>,
    /// The body as it was sent, dot stuffing and the last line end removed.
    pub body: String,
    /// Whether the connection was encrypted.
    pub encrypted: bool,
}

impl Mail {
    /// A header by name, without regard to case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

#[derive(Default)]
struct State {
    commands: Vec<String>,
    mails: Vec<Mail>,
}

/// The recording server. It ends when it is dropped.
pub struct SmtpSink {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl SmtpSink {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn start(behaviour: Behaviour) -> SmtpSink {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(Mutex::new(State::default()));
        let behaviour = Arc::new(behaviour);
        let task = tokio::spawn({
            let state = state.clone();
            async move {
                let mut connections = tokio::task::JoinSet::new();
                loop {
                    let Ok((stream, _)) = listener.accept().await else { continue };
                    let (state, behaviour) = (state.clone(), behaviour.clone());
                    // A client that goes away in the middle is an ordinary event here.
                    connections.spawn(async move {
                        if behaviour.hang {
                            std::future::pending::<()>().await;
                        }
                        let acceptor = crate::tls::acceptor();
                        if behaviour.implicit_tls {
                            let stream = acceptor.accept(stream).await?;
                            Dialogue::new(stream, &state, &behaviour, true).run(true).await.map(drop)
                        } else {
                            start_plain(stream, &state, &behaviour, &acceptor).await
                        }
                    });
                }
            }
        });
        SmtpSink { address, state, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All commands that came, in order; what follows AUTH as answers to challenges stands as it came.
    pub fn commands(&self) -> Vec<String> {
        lock(&self.state).commands.clone()
    }

    /// The mails that were accepted.
    pub fn mails(&self) -> Vec<Mail> {
        lock(&self.state).mails.clone()
    }
}

impl Drop for SmtpSink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn start_plain(
    stream: tokio::net::TcpStream,
    state: &Mutex<State>,
    behaviour: &Behaviour,
    acceptor: &TlsAcceptor,
) -> std::io::Result<()> {
    if let Some(stream) = Dialogue::new(stream, state, behaviour, false).run(true).await? {
        let stream = acceptor.accept(stream).await?;
        Dialogue::new(stream, state, behaviour, true).run(false).await?;
    }
    Ok(())
}

struct Dialogue<'a, S> {
    stream: BufReader<S>,
    state: &'a Mutex<State>,
    behaviour: &'a Behaviour,
    encrypted: bool,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Dialogue<'a, S> {
    fn new(stream: S, state: &'a Mutex<State>, behaviour: &'a Behaviour, encrypted: bool) -> Self {
        Dialogue { stream: BufReader::new(stream), state, behaviour, encrypted }
    }

    async fn say(&mut self, text: &str) -> std::io::Result<()> {
        self.stream.write_all(format!("{text}\r\n").as_bytes()).await?;
        self.stream.flush().await
    }

    async fn hear(&mut self) -> std::io::Result<Option<String>> {
        let mut line = Vec::new();
        let read = self.stream.read_until(b'\n', &mut line).await?;
        let line = String::from_utf8_lossy(&line);
        Ok((read > 0).then(|| line.trim_end_matches(['\r', '\n']).to_string()))
    }

    /// Runs until the client leaves; gives the stream back when it wants to begin with TLS.
    async fn run(mut self, greet: bool) -> std::io::Result<Option<S>> {
        if greet {
            self.say("220 sink ESMTP").await?;
        }
        while let Some(line) = self.hear().await? {
            lock(self.state).commands.push(line.clone());
            let verb = line.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
            if let Some(answer) =
                self.behaviour.answers.get(&line).or_else(|| self.behaviour.answers.get(&verb))
            {
                self.say(answer).await?;
                continue;
            }
            match verb.as_str() {
                "EHLO" => self.greet_back().await?,
                "STARTTLS" if self.behaviour.starttls && !self.encrypted => {
                    self.say("220 go ahead").await?;
                    return Ok(Some(self.stream.into_inner()));
                }
                "AUTH" => self.authenticate(&line).await?,
                "HELO" | "MAIL" | "RCPT" | "RSET" | "NOOP" => self.say("250 ok").await?,
                "DATA" => self.take_mail().await?,
                "QUIT" => {
                    self.say("221 bye").await?;
                    return Ok(None);
                }
                _ => self.say("502 unknown").await?,
            }
        }
        Ok(None)
    }

    async fn greet_back(&mut self) -> std::io::Result<()> {
        let before_tls = self.behaviour.starttls && !self.encrypted;
        let mut lines = vec!["sink".to_string()];
        lines
            .extend(self.behaviour.offers.iter().filter(|o| !(before_tls && o.starts_with("AUTH"))).cloned());
        if before_tls {
            lines.push("STARTTLS".into());
        }
        let last = lines.len() - 1;
        for (n, line) in lines.iter().enumerate() {
            self.say(&format!("250{}{line}", if n == last { ' ' } else { '-' })).await?;
        }
        Ok(())
    }

    async fn authenticate(&mut self, line: &str) -> std::io::Result<()> {
        let decode = |text: &str| {
            let bytes = base64::engine::general_purpose::STANDARD.decode(text.trim()).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let mut words = line.split_whitespace().skip(1);
        let given = match (words.next().unwrap_or_default(), words.next()) {
            ("PLAIN", Some(initial)) => {
                let text = decode(initial);
                let mut parts = text.split('\0').skip(1).map(str::to_string);
                (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
            }
            ("LOGIN", _) => {
                let mut answers = Vec::new();
                for challenge in ["VXNlcm5hbWU6", "UGFzc3dvcmQ6"] {
                    self.say(&format!("334 {challenge}")).await?;
                    let answer = self.hear().await?.unwrap_or_default();
                    lock(self.state).commands.push(answer.clone());
                    answers.push(decode(&answer));
                }
                let password = answers.pop().unwrap_or_default();
                (answers.pop().unwrap_or_default(), password)
            }
            _ => return self.say("504 unknown mechanism").await,
        };
        match &self.behaviour.login {
            Some(login) if *login != given => self.say("535 5.7.8 authentication failed").await,
            _ => self.say("235 welcome").await,
        }
    }

    async fn take_mail(&mut self) -> std::io::Result<()> {
        self.say("354 go on").await?;
        let mut lines = Vec::new();
        loop {
            match self.hear().await? {
                None => return Ok(()),
                Some(line) if line == "." => break,
                Some(line) => lines.push(line.strip_prefix('.').map_or(line.clone(), str::to_string)),
            }
        }
        if let Some(answer) = self.behaviour.answers.get(".") {
            return self.say(answer).await;
        }
        let mut mail = Mail { encrypted: self.encrypted, ..Mail::default() };
        let mut rest = lines.iter();
        for line in rest.by_ref() {
            match line.split_once(':') {
                _ if line.is_empty() => break,
                _ if line.starts_with([' ', '\t']) => {
                    if let Some((_, value)) = mail.headers.last_mut() {
                        value.push_str(line);
                    }
                }
                Some((name, value)) => mail.headers.push((name.into(), value.trim_start().into())),
                None => mail.headers.push((line.clone(), String::new())),
            }
        }
        mail.body = rest.map(String::as_str).collect::<Vec<_>>().join("\r\n");
        lock(self.state).mails.push(mail);
        self.say("250 queued").await
    }
}
