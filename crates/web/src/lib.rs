//! HTTP for operators: is it alive, is it ready, how is it doing.
//!
//! ```
//! use herald_web::{Operator, serve};
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! struct Fine;
//! impl Operator for Fine {
//!     fn ready(&self) -> Result<(), String> {
//!         Ok(())
//!     }
//!     fn metrics(&self) -> String {
//!         "# EOF\n".into()
//!     }
//! }
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! tokio::spawn(serve(listener, std::sync::Arc::new(Fine), std::future::pending()));
//! # Ok::<(), std::io::Error>(())
//! # }).unwrap();
//! ```

pub mod metrics;
pub mod ui;

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;

/// What an operator asks.
pub trait Operator: Send + Sync + 'static {
    /// Whether everything that is needed is there, or what isn't.
    fn ready(&self) -> Result<(), String>;
    /// The metrics in the text format of OpenMetrics.
    fn metrics(&self) -> String;
}

/// Answers `/healthz`, `/readyz` and `/metrics` until `shutdown` is ready.
pub async fn serve(
    listener: TcpListener,
    operator: Arc<dyn Operator>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let app = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(operator);
    axum::serve(listener, app).with_graceful_shutdown(shutdown).await
}

async fn ready(State(operator): State<Arc<dyn Operator>>) -> Response {
    match operator.ready() {
        Ok(()) => "ok".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn metrics(State(operator): State<Arc<dyn Operator>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], operator.metrics()).into_response()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::metrics::Metrics;

    struct Waiting(Metrics);

    impl Operator for Waiting {
        fn ready(&self) -> Result<(), String> {
            Err("the first look is not done".into())
        }

        fn metrics(&self) -> String {
            self.0.text()
        }
    }

    async fn ask(address: std::net::SocketAddr, path: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn answers_operators() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = Metrics::new("1.2.3", None);
        metrics.backlog(3, 1.5);
        tokio::spawn(serve(listener, Arc::new(Waiting(metrics)), std::future::pending()));
        assert!(ask(address, "/healthz").await.ends_with("ok"));
        let ready = ask(address, "/readyz").await;
        assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("the first look"), "{ready}");
        let text = ask(address, "/metrics").await;
        for line in [
            "herald_outbox_pending 3",
            "herald_outbox_oldest_seconds 1.5",
            "herald_build_info{version=\"1.2.3\"} 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(ask(address, "/other").await.starts_with("HTTP/1.1 404"));
    }
}
