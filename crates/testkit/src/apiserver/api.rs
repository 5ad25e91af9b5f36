//! A plain client for tests: JSON in, JSON out, every status an ordinary answer.

use std::time::Duration;

use reqwest::{Certificate, Client, Method, header};
use serde_json::{Value, json};

/// A client of an API server with one identity.
#[derive(Clone, Debug)]
pub struct Api {
    http: Client,
    base: String,
    token: String,
}

/// An answer: the status and the JSON body (`null` if it is none).
pub type Answer = (u16, Value);

impl Api {
    /// A client for the server at `base` (`https://…`, by the CA of [`crate::tls`]).
    ///
    /// # Panics
    /// If the TLS library refuses the certificate of this crate.
    pub fn new(base: &str, token: &str) -> Api {
        let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        let ca = Certificate::from_pem(crate::tls::CA_PEM.as_bytes()).expect("a certificate");
        let http = Client::builder()
            .tls_certs_only([ca])
            .no_proxy()
            .timeout(Duration::from_secs(60))
            .build()
            .expect("a client");
        Api { http, base: base.into(), token: token.into() }
    }

    /// The path of a namespace's rollouts.
    pub fn rollouts(namespace: &str) -> String {
        Api::argo(namespace, "rollouts")
    }

    /// The path of a namespace's objects of `argoproj.io/v1alpha1`.
    pub fn argo(namespace: &str, resource: &str) -> String {
        format!("/apis/argoproj.io/v1alpha1/namespaces/{namespace}/{resource}")
    }

    /// The path of a namespace's objects of `v1`.
    pub fn core(namespace: &str, resource: &str) -> String {
        format!("/api/v1/namespaces/{namespace}/{resource}")
    }

    /// One request. A failed connection is the status 0.
    async fn request(&self, method: Method, path: &str, body: Option<(&str, String)>) -> Answer {
        let mut request = self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token);
        if let Some((kind, body)) = body {
            request = request.header(header::CONTENT_TYPE, kind).body(body);
        }
        match request.send().await {
            Err(error) => (0, json!({"message": format!("{error:?}")})),
            Ok(answer) => {
                let status = answer.status().as_u16();
                match answer.bytes().await {
                    Err(error) => (0, json!({"message": format!("{error:?}")})),
                    Ok(body) => (status, serde_json::from_slice(&body).unwrap_or(Value::Null)),
                }
            }
        }
    }

    /// Reads an object or a list.
    pub async fn get(&self, path: &str) -> Answer {
        self.request(Method::GET, path, None).await
    }

    /// Creates an object in a collection.
    pub async fn create(&self, path: &str, object: &Value) -> Answer {
        self.request(Method::POST, path, Some(("application/json", object.to_string()))).await
    }

    /// Replaces an object.
    pub async fn replace(&self, path: &str, object: &Value) -> Answer {
        self.request(Method::PUT, path, Some(("application/json", object.to_string()))).await
    }

    /// Changes an object by a JSON merge patch.
    pub async fn merge(&self, path: &str, patch: &Value) -> Answer {
        self.request(Method::PATCH, path, Some(("application/merge-patch+json", patch.to_string()))).await
    }

    /// Applies a manifest on the server's side, as `kubectl apply --server-side` does.
    pub async fn apply(&self, path: &str, manifest: &str) -> Answer {
        self.request(Method::PATCH, path, Some(("application/apply-patch+yaml", manifest.into()))).await
    }

    /// Deletes an object.
    pub async fn delete(&self, path: &str) -> Answer {
        self.request(Method::DELETE, path, None).await
    }

    /// An answer that must be a success.
    ///
    /// # Panics
    /// If it is not.
    pub fn done(answer: Answer) -> Value {
        assert!((200..300).contains(&answer.0), "status {}: {}", answer.0, answer.1);
        answer.1
    }

    /// Creates an object with its status, which takes two requests as a controller's would.
    ///
    /// # Panics
    /// If the server refuses it.
    pub async fn put_rollout(&self, namespace: &str, rollout: &Value) -> Value {
        let path = Api::rollouts(namespace);
        let made = Api::done(self.create(&path, rollout).await);
        let Some(status) = rollout.get("status") else { return made };
        let name = made["metadata"]["name"].as_str().unwrap_or_default();
        Api::done(self.merge(&format!("{path}/{name}/status"), &json!({"status": status})).await)
    }

    /// Gives a rollout's status other fields, as its controller would.
    ///
    /// # Panics
    /// If the server refuses it.
    pub async fn set_status(&self, namespace: &str, name: &str, status: Value) -> Value {
        let path = format!("{}/{name}/status?fieldManager=rollouts-controller", Api::rollouts(namespace));
        Api::done(self.merge(&path, &json!({"status": status})).await)
    }
}
