//! Where AWS credentials come from: the options, else what surrounds the process, in the order of AWS' own
//! libraries. Environment, web identity (IRSA), shared files, container (ECS, EKS Pod Identity), instance (IMDSv2).

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::{
    failure::{Reason, SendError},
    http::{HttpClient, Reply},
};

/// Reads an environment variable; tests bring their own.
pub(super) type Env = fn(&str) -> Option<String>;

/// A key with its secret, maybe of a session that ends.
#[derive(Clone, Default)]
pub(super) struct Credentials {
    pub(super) key: String,
    pub(super) secret: String,
    pub(super) session_token: String,
    pub(super) until: Option<Timestamp>,
}

impl Credentials {
    /// Whether they last for some minutes yet.
    pub(super) fn are_fresh(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| until.duration_since(now) > SignedDuration::from_mins(5))
    }
}

/// Looks for credentials around the process.
pub(super) async fn find(env: Env, http: &HttpClient, region: &str) -> Result<Credentials, SendError> {
    let found = if let (Some(key), Some(secret)) = (env("AWS_ACCESS_KEY_ID"), env("AWS_SECRET_ACCESS_KEY")) {
        let session_token = env("AWS_SESSION_TOKEN").unwrap_or_default();
        Credentials { key, secret, session_token, until: None }
    } else if let (Some(file), Some(role)) = (env("AWS_WEB_IDENTITY_TOKEN_FILE"), env("AWS_ROLE_ARN")) {
        web_identity(env, http, region, &file, &role).await?
    } else if let Some(found) = profile(env).await {
        found
    } else if let Some(found) = container(env, http).await? {
        found
    } else {
        instance(env, http).await?
    };
    http.secret(&found.secret);
    http.secret(&found.session_token);
    Ok(found)
}

async fn read(file: &str) -> Result<String, SendError> {
    tokio::fs::read_to_string(file)
        .await
        .map_err(|e| SendError::misconfigured(format!("can't read {file}: {e}")))
}

/// The text between a tag and its end, in answers as flat as those of STS.
fn between<'t>(text: &'t str, tag: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("<{tag}>"))?;
    rest.split_once(&format!("</{tag}>")).map(|(inner, _)| inner.trim())
}

async fn web_identity(
    env: Env,
    http: &HttpClient,
    region: &str,
    file: &str,
    role: &str,
) -> Result<Credentials, SendError> {
    let token = read(file).await?;
    http.secret(token.trim());
    let session = env("AWS_ROLE_SESSION_NAME").unwrap_or_else(|| "herald".into());
    let url = env("AWS_ENDPOINT_URL_STS")
        .unwrap_or_else(|| format!("https://sts.{region}.{}/", super::domain(region)));
    let fields = [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", role),
        ("RoleSessionName", session.as_str()),
        ("WebIdentityToken", token.trim()),
    ];
    let reply = http.post(&url)?.form(fields)?.send().await?;
    let text = String::from_utf8_lossy(&reply.body);
    if !reply.is_success() {
        let why = between(&text, "Message").unwrap_or_default();
        return Err(reply.failure(format!("AWS did not give credentials for the role {role}: {why}")));
    }
    let part = |tag: &str| between(&text, tag).map(str::to_string).ok_or_else(|| no_credentials("STS"));
    Ok(Credentials {
        key: part("AccessKeyId")?,
        secret: part("SecretAccessKey")?,
        session_token: part("SessionToken")?,
        until: part("Expiration")?.parse().ok(),
    })
}

fn no_credentials(who: &str) -> SendError {
    SendError::new(Reason::BadAnswer, format!("the answer of {who} has no credentials"))
}

/// The value of a key in a profile of a shared file.
pub(super) async fn profile_value(env: Env, config: bool, key: &str) -> Option<String> {
    let name = env("AWS_PROFILE").unwrap_or_else(|| "default".into());
    let (variable, file) = match config {
        true => ("AWS_CONFIG_FILE", "config"),
        false => ("AWS_SHARED_CREDENTIALS_FILE", "credentials"),
    };
    let path = env(variable).or_else(|| Some(format!("{}/.aws/{file}", env("HOME")?)))?;
    in_profile(&tokio::fs::read_to_string(path).await.ok()?, &name, key)
}

fn in_profile(text: &str, profile: &str, key: &str) -> Option<String> {
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            let section = section.trim();
            inside = section.strip_prefix("profile ").unwrap_or(section).trim() == profile;
        } else if inside
            && let Some((name, value)) = line.split_once('=')
            && name.trim() == key
        {
            return Some(value.trim().to_string());
        }
    }
    None
}

async fn profile(env: Env) -> Option<Credentials> {
    for config in [false, true] {
        if let (Some(key), Some(secret)) = (
            profile_value(env, config, "aws_access_key_id").await,
            profile_value(env, config, "aws_secret_access_key").await,
        ) {
            let session_token = profile_value(env, config, "aws_session_token").await.unwrap_or_default();
            return Some(Credentials { key, secret, session_token, until: None });
        }
    }
    None
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    access_key_id: String,
    secret_access_key: String,
    #[serde(default)]
    token: String,
    #[serde(default)]
    expiration: String,
}

fn answered(who: &str, reply: &Reply) -> Result<Credentials, SendError> {
    if !reply.is_success() {
        return Err(reply.failure(format!("{who} gave no AWS credentials: {}", reply.status_line())));
    }
    let answer: Answer = reply.json().map_err(|_| no_credentials(who))?;
    Ok(Credentials {
        key: answer.access_key_id,
        secret: answer.secret_access_key,
        session_token: answer.token,
        until: answer.expiration.parse().ok(),
    })
}

async fn container(env: Env, http: &HttpClient) -> Result<Option<Credentials>, SendError> {
    let url = match (env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"), env("AWS_CONTAINER_CREDENTIALS_FULL_URI"))
    {
        (Some(path), _) => format!("http://169.254.170.2{path}"),
        (None, Some(url)) => url,
        (None, None) => return Ok(None),
    };
    let token = match env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
        Some(file) => Some(read(&file).await?),
        None => env("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
    };
    let mut request = http.get(&url)?;
    if let Some(token) = token {
        http.secret(token.trim());
        request = request.header("Authorization", token.trim())?;
    }
    answered("the container's agent", &request.send().await?).map(Some)
}

async fn instance(env: Env, http: &HttpClient) -> Result<Credentials, SendError> {
    let none =
        "no AWS credentials: set key and secret, or give the process a role (IRSA, Pod Identity, instance)";
    if env("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Err(SendError::misconfigured(none));
    }
    let base = env("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or_else(|| "http://169.254.169.254".into());
    let base = base.trim_end_matches('/');
    let token = http
        .request("PUT", &format!("{base}/latest/api/token"))?
        .header("X-aws-ec2-metadata-token-ttl-seconds", "21600")?
        .send()
        .await
        .map_err(|mut error| {
            error.message = format!("{none} (the instance's metadata: {})", error.message);
            error
        })?;
    if !token.is_success() {
        return Err(SendError::misconfigured(none));
    }
    let token = token.text();
    http.secret(&token);
    let roles = format!("{base}/latest/meta-data/iam/security-credentials/");
    let get = async |url: &str| http.get(url)?.header("X-aws-ec2-metadata-token", &token)?.send().await;
    let role = get(&roles).await?;
    let name = role.text();
    match name.lines().next().map(str::trim) {
        Some(name) if role.is_success() && !name.is_empty() => {
            answered("the instance's metadata", &get(&format!("{roles}{name}")).await?)
        }
        _ => Err(SendError::misconfigured(format!("{none}; this instance has no role"))),
    }
}

#[cfg(test)]
mod tests {
    use herald_testkit::http::{Answer, Recorder};

    use super::*;
    use crate::{
        Environment,
        http::{HttpFactory, HttpOptions},
    };

    async fn found(env: Env, answers: Vec<Answer>) -> (Result<Credentials, SendError>, Vec<String>) {
        let recorder = Recorder::start().await;
        recorder.script(answers);
        let factory = HttpFactory::default().with_intercept(recorder.address());
        let redactor = Environment::default().redactor;
        let http = factory.client("awssqs", &"q".into(), HttpOptions::default(), false, redactor).unwrap();
        let result = find(env, &http, "eu-west-1").await;
        (result, recorder.requests().iter().map(|r| format!("{} {}", r.method, r.url())).collect())
    }

    const JSON: &str =
        r#"{"AccessKeyId":"AK","SecretAccessKey":"SK","Token":"TT","Expiration":"2030-01-01T00:00:00Z"}"#;

    #[tokio::test]
    async fn every_source_is_asked_in_its_own_way() {
        let sts = "<R><Credentials><AccessKeyId>AK</AccessKeyId><SecretAccessKey>SK</SecretAccessKey>\
            <SessionToken>TT</SessionToken><Expiration>2030-01-01T00:00:00Z</Expiration></Credentials></R>";
        let table: [(Env, Vec<Answer>, &[&str]); 4] = [
            (
                |name| match name {
                    "AWS_ACCESS_KEY_ID" => Some("AK".into()),
                    "AWS_SECRET_ACCESS_KEY" => Some("SK".into()),
                    "AWS_SESSION_TOKEN" => Some("TT".into()),
                    _ => None,
                },
                vec![],
                &[],
            ),
            (
                |name| match name {
                    "AWS_WEB_IDENTITY_TOKEN_FILE" => {
                        Some(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml").into())
                    }
                    "AWS_ROLE_ARN" => Some("arn:aws:iam::1:role/herald".into()),
                    _ => None,
                },
                vec![Answer::ok(sts)],
                &["POST https://sts.eu-west-1.amazonaws.com/"],
            ),
            (
                |name| (name == "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").then(|| "/v2/creds".into()),
                vec![Answer::ok(JSON)],
                &["GET http://169.254.170.2/v2/creds"],
            ),
            (
                |_| None,
                vec![Answer::ok("session"), Answer::ok("herald-role\n"), Answer::ok(JSON)],
                &[
                    "PUT http://169.254.169.254/latest/api/token",
                    "GET http://169.254.169.254/latest/meta-data/iam/security-credentials/",
                    "GET http://169.254.169.254/latest/meta-data/iam/security-credentials/herald-role",
                ],
            ),
        ];
        for (env, answers, expected) in table {
            let (result, requests) = found(env, answers).await;
            let credentials = result.unwrap_or_else(|e| panic!("{expected:?}: {e}"));
            assert_eq!(requests, expected);
            let Credentials { key, secret, session_token, .. } = &credentials;
            assert_eq!((key.as_str(), secret.as_str(), session_token.as_str()), ("AK", "SK", "TT"));
        }
    }

    #[tokio::test]
    async fn without_any_source_the_error_says_what_to_do() {
        let (result, _) = found(|_| None, vec![Answer::status(404)]).await;
        let error = result.err().unwrap();
        assert_eq!(error.reason, Reason::Misconfigured);
        assert!(error.message.contains("set key and secret"), "{error}");
    }

    #[test]
    fn shared_files_have_profiles() {
        let text = "[default]\naws_access_key_id = A\n[profile work]\n# c\naws_access_key_id=B\nregion = eu-west-1\n";
        assert_eq!(in_profile(text, "default", "aws_access_key_id").as_deref(), Some("A"));
        assert_eq!(in_profile(text, "work", "aws_access_key_id").as_deref(), Some("B"));
        assert_eq!(in_profile(text, "default", "region"), None);
    }
}
