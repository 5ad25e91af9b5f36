//! `email`: one mail to one or more addresses, by SMTP.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use herald_core::{
    notification::Section,
    yaml::{self, Node, YamlError},
};
use lettre::{
    Address, Message,
    message::{
        Mailbox, MultiPart, SinglePart,
        header::{self, HeaderName, HeaderValue},
    },
    transport::smtp::{
        Error as SmtpError,
        authentication::{Credentials, Mechanism},
        client::{AsyncSmtpConnection, Certificate, TlsParameters},
        commands::{Data, Mail, Rcpt},
        extension::{ClientId, Extension, MailBodyParameter, MailParameter},
    },
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    failure::{Reason, SendError},
    http::{HttpFactory, Kept},
    schema,
    section::{Field, Merge, texts},
    service::{Context, Delivery, Receipt, Service, ServiceType},
};

/// The service type.
pub const TYPE: ServiceType = ServiceType {
    name: "email",
    configurable: true,
    parse_section: Some(parse_section),
    needs_section: false,
    options: schema::of::<Options>,
    section_schema: Some(|| schema::fields(FIELDS)),
    build,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const TOTAL_TIMEOUT: Duration = Duration::from_secs(60);
const IMPLICIT_TLS: u16 = 465;

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Options {
    /// Mail server.
    host: String,
    /// Port of the mail server: 25, 465 or 587.
    port: u16,
    /// User; without a password it does not count.
    username: String,
    /// Password.
    password: String,
    /// Sender: `a@example.com` or `Name <a@example.com>`.
    from: String,
    /// Whether the body is sent as HTML.
    html: bool,
    /// Accept any certificate.
    insecure_skip_verify: bool,
    /// Certificates (PEM) that are trusted besides those of the system.
    #[serde(rename = "caBundle")]
    ca_bundle: String,
}

fn build(node: &Node, context: &Context) -> Result<Box<dyn Service>, YamlError> {
    let options: Options = yaml::decode(node)?;
    context.secret(&options.password);
    let fault = |message: String| YamlError::new(message, node.at);
    if options.host.is_empty() {
        return Err(fault("host is missing".into()));
    }
    if options.port == 0 {
        return Err(fault("port is missing".into()));
    }
    let from: Mailbox = options.from.trim().parse().map_err(|_| {
        fault(format!(
            "from is not an address such as a@example.com or Name <a@example.com>: {:?}",
            options.from
        ))
    })?;
    let ca = match options.ca_bundle.trim() {
        "" => None,
        pem => Some(
            Certificate::from_pem(pem.as_bytes())
                .map_err(|_| fault("caBundle holds no certificate in PEM form".into()))?,
        ),
    };
    let environment = &context.environment;
    Ok(Box::new(Email { options, from, ca, http: environment.http.clone(), guarded: environment.guarded }))
}

/// `html` goes beyond the reference: with it the mail has both forms.
const FIELDS: &[Field] = &[Field::text("subject"), Field::text("body"), Field::text("html")];

fn parse_section(node: &Node) -> Result<Arc<dyn Section>, YamlError> {
    texts(node, FIELDS, Merge::NonEmpty)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Rendered {
    subject: String,
    body: String,
    html: String,
}

struct Email {
    options: Options,
    from: Mailbox,
    ca: Option<Certificate>,
    http: Arc<HttpFactory>,
    guarded: bool,
}

#[async_trait]
impl Service for Email {
    fn check_recipient(&self, recipient: &str) -> Result<(), SendError> {
        addresses(recipient).map(drop)
    }

    async fn send(&self, delivery: &Delivery<'_>) -> Result<Receipt, SendError> {
        let recipients = addresses(delivery.recipient)?;
        let message = self.message(delivery, &recipients)?;
        let kept = || {
            let Options { host, port, .. } = &self.options;
            let url = format!("{host}:{port}");
            Kept { method: "SMTP".into(), url, headers: Vec::new(), body: message.clone() }
        };
        if self.http.keep(kept) {
            return Ok(Receipt::default());
        }
        let exchange = self.exchange(&recipients, &message);
        match tokio::time::timeout(TOTAL_TIMEOUT, exchange).await {
            Ok(result) => result,
            Err(_) => Err(SendError::new(Reason::TimedOut, "the mail server didn't finish in time")),
        }
    }
}

impl Email {
    fn message(&self, delivery: &Delivery<'_>, recipients: &[Mailbox]) -> Result<Vec<u8>, SendError> {
        let section: Rendered = delivery.section("email")?.unwrap_or_default();
        // A header is one line, whatever a template renders.
        let subject = section.subject.trim_end_matches(['\r', '\n']).replace(|c: char| c.is_control(), " ");
        let mut builder = Message::builder()
            .date(delivery.now.into())
            .from(self.from.clone())
            .subject(subject)
            .message_id(Some(self.message_id(delivery.notice_id)));
        for recipient in recipients {
            builder = builder.to(recipient.clone());
        }
        let body = if section.body.is_empty() { delivery.message().to_string() } else { section.body };
        let part = |html: bool, text: String| {
            SinglePart::builder()
                .header(if html { header::ContentType::TEXT_HTML } else { header::ContentType::TEXT_PLAIN })
                .header(header::ContentTransferEncoding::QuotedPrintable)
                .body(text)
        };
        let message = if section.html.is_empty() {
            builder.header(header::MIME_VERSION_1_0).singlepart(part(self.options.html, body))
        } else {
            let both =
                MultiPart::alternative().singlepart(part(false, body)).singlepart(part(true, section.html));
            builder.multipart(both)
        };
        let mut message =
            message.map_err(|e| SendError::misconfigured(format!("the mail can't be written: {e}")))?;
        let headers = message.headers_mut();
        for (name, mailboxes) in [("From", std::slice::from_ref(&self.from)), ("To", recipients)] {
            if let (Some(plain), Ok(name)) = (plain_list(mailboxes), HeaderName::new_from_ascii(name.into()))
            {
                headers.insert_raw(HeaderValue::dangerous_new_pre_encoded(name, plain.clone(), plain));
            }
        }
        Ok(message.formatted())
    }

    /// The same for every attempt, so that mail programs show a repeated mail once.
    fn message_id(&self, notice_id: &str) -> String {
        let id: String = notice_id
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '-' })
            .collect();
        format!("<{id}@{}>", self.from.email.domain())
    }

    fn tls(&self) -> Result<TlsParameters, SendError> {
        let mut builder = TlsParameters::builder(self.options.host.clone())
            .dangerous_accept_invalid_certs(self.options.insecure_skip_verify);
        if let Some(ca) = &self.ca {
            builder = builder.add_root_certificate(ca.clone());
        }
        builder.build_rustls().map_err(|e| SendError::misconfigured(format!("TLS can't be set up: {e}")))
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, SendError> {
        let (host, port) = (self.options.host.as_str(), self.options.port);
        let addresses: Vec<SocketAddr> = self.http.resolve(host, port, self.guarded).await?;
        let hello = ClientId::Domain("localhost".into());
        let implicit = if port == IMPLICIT_TLS { Some(self.tls()?) } else { None };
        let connecting = AsyncSmtpConnection::connect_tokio1(
            addresses.as_slice(),
            Some(CONNECT_TIMEOUT),
            &hello,
            implicit,
            None,
        );
        let mut connection = match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(result) => result.map_err(|e| failure("can't connect", &e))?,
            Err(_) => return Err(SendError::new(Reason::TimedOut, "the mail server didn't greet in time")),
        };
        if !connection.is_encrypted() && connection.can_starttls() {
            connection.starttls(self.tls()?, &hello).await.map_err(|e| failure("STARTTLS failed", &e))?;
        }
        Ok(connection)
    }

    async fn authenticate(&self, connection: &mut AsyncSmtpConnection) -> Result<(), SendError> {
        let Options { username, password, host, .. } = &self.options;
        if username.is_empty() || password.is_empty() {
            return Ok(());
        }
        let offers = |mechanism| connection.server_info().supports_auth_mechanism(mechanism);
        let mechanism = match (offers(Mechanism::Plain), offers(Mechanism::Login)) {
            (true, _) => Mechanism::Plain,
            (false, true) => Mechanism::Login,
            // The reference skips this silently too: the server may accept mail from here as it is.
            (false, false) => return Ok(()),
        };
        let local = matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1");
        if mechanism == Mechanism::Plain && !connection.is_encrypted() && !local {
            return Err(SendError::misconfigured(
                "unencrypted connection: the server offers no TLS, so the password is not sent",
            ));
        }
        let credentials = Credentials::new(username.clone(), password.clone());
        connection
            .auth(&[mechanism], &credentials)
            .await
            .map_err(|e| failure("authentication failed", &e))?;
        Ok(())
    }

    async fn exchange(&self, recipients: &[Mailbox], message: &[u8]) -> Result<Receipt, SendError> {
        let mut connection = self.connect().await?;
        let result = self.dialogue(&mut connection, recipients, message).await;
        // The mail is accepted or refused by now; how the connection ends changes nothing.
        let _ = connection.quit().await;
        result
    }

    async fn dialogue(
        &self,
        connection: &mut AsyncSmtpConnection,
        recipients: &[Mailbox],
        message: &[u8],
    ) -> Result<Receipt, SendError> {
        self.authenticate(connection).await?;
        let mut parameters = Vec::new();
        if connection.server_info().supports_feature(Extension::EightBitMime) {
            parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        if connection.server_info().supports_feature(Extension::SmtpUtfEight) {
            parameters.push(MailParameter::SmtpUtfEight);
        }
        let sender = Mail::new(Some(self.from.email.clone()), parameters);
        connection.command(sender).await.map_err(|e| failure("the sender was refused", &e))?;
        let mut seen: Vec<&Address> = Vec::new();
        for Mailbox { email, .. } in recipients {
            if seen.contains(&email) {
                continue;
            }
            seen.push(email);
            let recipient = Rcpt::new(email.clone(), Vec::new());
            connection
                .command(recipient)
                .await
                .map_err(|e| failure(&format!("the recipient {email} was refused"), &e))?;
        }
        connection.command(Data).await.map_err(|e| failure("the mail was refused", &e))?;
        let answer = connection.message(message).await.map_err(|e| failure("the mail was refused", &e))?;
        Ok(Receipt::new(answer.message().collect::<Vec<_>>().join(" ")))
    }
}

/// The addresses as the reference writes them, without quotes around names that need none; `None` if one does, or
/// if the line would become too long.
fn plain_list(mailboxes: &[Mailbox]) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || " !#$%&'*+-/=?^_`{|}~".contains(c);
    let texts = mailboxes.iter().map(|mailbox| match &mailbox.name {
        None => Some(mailbox.email.to_string()),
        Some(name) if name.chars().all(plain) => Some(format!("{} <{}>", name.trim(), mailbox.email)),
        Some(_) => None,
    });
    let line = texts.collect::<Option<Vec<_>>>()?.join(", ");
    (line.len() < 900 && line.is_ascii()).then_some(line)
}

fn failure(what: &str, error: &SmtpError) -> SendError {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    let reason = if error.is_permanent() {
        Reason::Rejected
    } else if error.is_transient() {
        Reason::ServerError
    } else if error.is_timeout() {
        Reason::TimedOut
    } else if error.is_tls() || text.contains("certificate") {
        Reason::Untrusted
    } else {
        Reason::Unreachable
    };
    SendError::new(reason, format!("{what}: {text}"))
}

/// The addresses of a recipient: separated by commas, but not by those in quotes.
fn addresses(recipient: &str) -> Result<Vec<Mailbox>, SendError> {
    let mut parts = vec![String::new()];
    let (mut quoted, mut escaped) = (false, false);
    for c in recipient.chars() {
        match c {
            ',' if !quoted => {
                parts.push(String::new());
                continue;
            }
            '"' if !escaped => quoted = !quoted,
            _ => {}
        }
        escaped = c == '\\' && !escaped;
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    parts
        .iter()
        .map(|part| {
            let part = part.trim();
            let bad = || SendError::misconfigured(format!("invalid address {part:?}"));
            match part.chars().any(char::is_control) {
                true => Err(bad()),
                false => part.parse().map_err(|_| bad()),
            }
        })
        .collect()
}
