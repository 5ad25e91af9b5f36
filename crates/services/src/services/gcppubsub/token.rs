//! Access tokens of Google Cloud: of a service account's key, of a user's login, or of the machine.

use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use ring::signature::RsaKeyPair;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    failure::{Reason, SendError},
    http::HttpClient,
    jwt,
};

const SCOPE: &str = "https://www.googleapis.com/auth/pubsub";
const TOKEN_URL: &str = "https://oauth2.googleapis.com/token";

/// Reads an environment variable; tests bring their own.
pub(super) type Env = fn(&str) -> Option<String>;

#[derive(Default, Deserialize)]
#[serde(default)]
struct KeyFile {
    #[serde(rename = "type")]
    kind: String,
    project_id: String,
    client_email: String,
    private_key: String,
    private_key_id: String,
    token_uri: String,
    client_id: String,
    client_secret: String,
    refresh_token: String,
}

/// Whose tokens are asked for.
enum Kind {
    Service { email: String, key: Box<RsaKeyPair>, key_id: String },
    User { client_id: String, client_secret: String, refresh_token: String },
}

/// What a key file says.
pub(super) struct Account {
    project: String,
    token_url: String,
    kind: Kind,
}

impl Account {
    /// Reads a key file's text. Errors name where it comes from and never show it.
    pub(super) fn read(place: &str, text: &str) -> Result<Account, String> {
        let file: KeyFile = serde_json::from_str(text)
            .map_err(|e| format!("{place} is no JSON key (line {}, column {})", e.line(), e.column()))?;
        let kind = match file.kind.as_str() {
            "service_account" => Kind::Service {
                email: file.client_email,
                key: Box::new(jwt::private_key(&format!("private_key of {place}"), &file.private_key)?),
                key_id: file.private_key_id,
            },
            "authorized_user" => Kind::User {
                client_id: file.client_id,
                client_secret: file.client_secret,
                refresh_token: file.refresh_token,
            },
            other => {
                return Err(format!(
                    "{place} has the type {other:?}; service_account and authorized_user are supported"
                ));
            }
        };
        let token_url = if file.token_uri.is_empty() { TOKEN_URL.to_string() } else { file.token_uri };
        Ok(Account { project: file.project_id, token_url, kind })
    }

    async fn token(&self, http: &HttpClient, now: Timestamp) -> Result<(String, i64), SendError> {
        let assertion;
        let fields: Vec<(&str, &str)> = match &self.kind {
            Kind::Service { email, key, key_id } => {
                let (issued, aud) = (now.as_second(), &self.token_url);
                let claims =
                    json!({"iss": email, "scope": SCOPE, "aud": aud, "iat": issued, "exp": issued + 3600});
                assertion = jwt::sign(key, key_id, &claims).map_err(SendError::misconfigured)?;
                let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
                vec![("grant_type", grant), ("assertion", &assertion)]
            }
            Kind::User { client_id, client_secret, refresh_token } => {
                http.secret(client_secret);
                http.secret(refresh_token);
                vec![
                    ("grant_type", "refresh_token"),
                    ("client_id", client_id),
                    ("client_secret", client_secret),
                    ("refresh_token", refresh_token),
                ]
            }
        };
        let reply = http.post(&self.token_url)?.form(fields)?.send().await?;
        let answer: Value = reply.json().unwrap_or_default();
        if !reply.is_success() {
            let why = answer["error_description"].as_str().or(answer["error"].as_str()).unwrap_or_default();
            return Err(reply.failure(format!("Google gave no access token: {} {why}", reply.status_line())));
        }
        access_token(&answer)
    }
}

fn access_token(answer: &Value) -> Result<(String, i64), SendError> {
    let Some(token) = answer["access_token"].as_str() else {
        return Err(SendError::new(Reason::BadAnswer, "Google's answer to the login has no access token"));
    };
    Ok((token.to_string(), answer["expires_in"].as_i64().unwrap_or(0)))
}

struct Kept {
    token: String,
    until: Timestamp,
}

/// The access of one instance; its token is kept until a minute before it ends.
pub(super) struct Access {
    env: Env,
    account: Option<Account>,
    key_file: String,
    guarded: bool,
    kept: Mutex<Option<Kept>>,
}

impl Access {
    /// With the account of the options, a key file, or whatever surrounds the process.
    pub(super) fn new(env: Env, account: Option<Account>, key_file: String, guarded: bool) -> Access {
        Access { env, account, key_file, guarded, kept: Mutex::default() }
    }

    /// The token for calls.
    pub(super) async fn token(&self, http: &HttpClient, now: Timestamp) -> Result<String, SendError> {
        if let Some(kept) = &*self.kept.lock().unwrap_or_else(PoisonError::into_inner)
            && kept.until > now
        {
            return Ok(kept.token.clone());
        }
        let (token, seconds) = match (&self.account, self.file().await?) {
            (Some(account), _) => account.token(http, now).await?,
            (None, Some(account)) => account.token(http, now).await?,
            (None, None) => {
                let text = self.metadata(http, "instance/service-accounts/default/token").await?;
                access_token(&serde_json::from_str(&text).unwrap_or_default())?
            }
        };
        http.secret(&token);
        let lasts = SignedDuration::from_secs(seconds.saturating_sub(60).max(0));
        let until = now.saturating_add(lasts).unwrap_or(now);
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Kept { token: token.clone(), until });
        Ok(token)
    }

    /// Drops the kept token, as the other side did not take it.
    pub(super) fn forget(&self) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The project that the environment belongs to.
    pub(super) async fn project(&self, http: &HttpClient) -> Result<String, SendError> {
        if let Some(account) = self.account.as_ref().filter(|account| !account.project.is_empty()) {
            return Ok(account.project.clone());
        }
        let file = self.file().await?;
        if let Some(project) = (self.env)("GOOGLE_CLOUD_PROJECT") {
            return Ok(project);
        }
        match file {
            Some(account) if !account.project.is_empty() => Ok(account.project),
            _ => self.metadata(http, "project/project-id").await,
        }
    }

    /// The account of a key file: the option's, `GOOGLE_APPLICATION_CREDENTIALS`, or that of gcloud's login.
    async fn file(&self) -> Result<Option<Account>, SendError> {
        if self.account.is_some() {
            return Ok(None);
        }
        // What surrounds the process belongs to the operator.
        if self.guarded {
            return Err(SendError::misconfigured("key is required in a tenant's configuration"));
        }
        let named = Some(self.key_file.clone()).filter(|file| !file.is_empty());
        let named = named.or_else(|| (self.env)("GOOGLE_APPLICATION_CREDENTIALS"));
        let usual = || {
            let folder =
                (self.env)("CLOUDSDK_CONFIG").or_else(|| Some((self.env)("HOME")? + "/.config/gcloud"))?;
            Some(folder + "/application_default_credentials.json")
        };
        let is_named = named.is_some();
        let Some(path) = named.or_else(usual) else { return Ok(None) };
        match tokio::fs::read_to_string(&path).await {
            Ok(text) => Account::read(&path, &text).map(Some).map_err(SendError::misconfigured),
            Err(e) if is_named => Err(SendError::misconfigured(format!("can't read {path}: {e}"))),
            Err(_) => Ok(None),
        }
    }

    async fn metadata(&self, http: &HttpClient, what: &str) -> Result<String, SendError> {
        let none = "no Google Cloud credentials: set keyFile, key or GOOGLE_APPLICATION_CREDENTIALS, or give the \
                    machine a service account";
        let host = (self.env)("GCE_METADATA_HOST").unwrap_or_else(|| "metadata.google.internal".into());
        let url = format!("http://{host}/computeMetadata/v1/{what}");
        let reply =
            http.get(&url)?.header("Metadata-Flavor", "Google")?.send().await.map_err(|mut error| {
                error.message = format!("{none} (the machine's metadata: {})", error.message);
                error
            })?;
        match reply.is_success() {
            true => Ok(reply.text().trim().to_string()),
            false => Err(reply.failure(format!("{none} (the machine's metadata: {})", reply.status_line()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use herald_testkit::http::{Answer, Recorder};

    use super::*;
    use crate::{
        Environment,
        http::{HttpFactory, HttpOptions},
    };

    const KEY: &str = include_str!("../../../../../conformance/services/github-test-key.pem");

    fn key_file() -> String {
        json!({"type": "service_account", "project_id": "p1", "client_email": "h@p1.iam.gserviceaccount.com",
            "private_key": KEY, "private_key_id": "k1"})
        .to_string()
    }

    fn client(recorder: &Recorder) -> HttpClient {
        let factory = HttpFactory::default().with_intercept(recorder.address());
        let redactor = Environment::default().redactor;
        factory.client("gcppubsub", &"p".into(), HttpOptions::default(), false, redactor).unwrap()
    }

    #[tokio::test]
    async fn a_service_accounts_key_is_exchanged_once() {
        let recorder = Recorder::start().await;
        recorder.script([Answer::ok(r#"{"access_token":"ya29.t","expires_in":3600}"#)]);
        let http = client(&recorder);
        let access =
            Access::new(|_| None, Some(Account::read("key", &key_file()).unwrap()), String::new(), true);
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        for _ in 0..2 {
            assert_eq!(access.token(&http, now).await.unwrap(), "ya29.t");
        }
        assert_eq!(access.project(&http).await.unwrap(), "p1");
        let requests = recorder.requests();
        let [request] = &requests[..] else { panic!("{requests:?}") };
        assert_eq!(request.url(), TOKEN_URL);
        let assertion = url::form_urlencoded::parse(&request.body)
            .find_map(|(name, value)| (name == "assertion").then(|| value.into_owned()))
            .unwrap();
        let part = |n: usize| -> Value {
            let text = assertion.split('.').nth(n).unwrap();
            serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap())
                .unwrap()
        };
        assert_eq!(part(0), json!({"alg": "RS256", "typ": "JWT", "kid": "k1"}));
        let issued = now.as_second();
        let claims = json!({"iss": "h@p1.iam.gserviceaccount.com", "scope": SCOPE, "aud": TOKEN_URL,
            "iat": issued, "exp": issued + 3600});
        assert_eq!(part(1), claims);
    }

    #[tokio::test]
    async fn without_a_key_the_machine_is_asked_but_never_for_a_tenant() {
        let recorder = Recorder::start().await;
        recorder.script([Answer::ok(r#"{"access_token":"m","expires_in":10}"#), Answer::ok("p2\n")]);
        let http = client(&recorder);
        let now = Timestamp::UNIX_EPOCH;
        let operator = Access::new(|_| None, None, String::new(), false);
        assert_eq!(operator.token(&http, now).await.unwrap(), "m");
        assert_eq!(operator.project(&http).await.unwrap(), "p2");
        for file in ["", "/etc/passwd"] {
            let tenant = Access::new(|_| None, None, file.into(), true);
            let error = tenant.token(&http, now).await.unwrap_err();
            assert_eq!(error.reason, Reason::Misconfigured);
            assert!(error.to_string().contains("key is required"), "{error}");
        }
        let requests = recorder.requests();
        assert_eq!(requests.len(), 2);
        assert!(requests.iter().all(|request| request.header("metadata-flavor") == Some("Google")));
    }
}
