//! The page and its API.
//!
//! Everything is drawn here, on the server: a browser without JavaScript reads all of it. With JavaScript what happens
//! appears as it happens (server-sent events), and previews follow the typing. What is shown comes from a
//! [`Backend`]; who may see and change it is decided in [`Access`].
//!
//! ```no_run
//! # async fn run(backend: std::sync::Arc<dyn herald_web::ui::Backend>) -> std::io::Result<()> {
//! use herald_web::ui::{Access, Ui};
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:3100").await?;
//! let access = Access::of(listener.local_addr()?, Vec::new(), None);
//! herald_web::ui::serve(listener, Ui::new(backend, access), std::future::pending()).await
//! # }
//! ```

mod api;
mod assets;
pub mod backend;
pub mod draw;
mod feed;
mod forms;
mod guard;
mod mails;
mod pages;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::DefaultBodyLimit,
    http::StatusCode,
    middleware,
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use serde_json::json;
use tokio::{net::TcpListener, sync::Semaphore};

pub use self::{
    backend::Backend,
    guard::{Access, Authenticator, StaticToken},
};

/// Larger requests are refused: a template and a Rollout are smaller.
const LARGEST_BODY: usize = 1024 * 1024;
/// Previews that are drawn at a time.
const PREVIEWS: usize = 2;

/// The page: what it shows, who may use it.
pub struct Ui {
    backend: Arc<dyn Backend>,
    access: Access,
    sessions: guard::Sessions,
    feed: feed::Feed,
    mails: mails::Mails,
    previews: Semaphore,
}

impl Ui {
    /// A page.
    pub fn new(backend: Arc<dyn Backend>, access: Access) -> Arc<Ui> {
        Arc::new(Ui {
            backend,
            access,
            sessions: guard::Sessions::default(),
            feed: feed::Feed::new(),
            mails: mails::Mails::default(),
            previews: Semaphore::new(PREVIEWS),
        })
    }
}

/// Serves the page until `shutdown` is ready.
pub async fn serve(
    listener: TcpListener,
    ui: Arc<Ui>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let watcher = tokio::spawn(feed::watch(Arc::downgrade(&ui)));
    let served = axum::serve(listener, router(ui)).with_graceful_shutdown(shutdown).await;
    watcher.abort();
    served
}

/// All routes.
fn router(ui: Arc<Ui>) -> Router {
    Router::new()
        .route("/", get(pages::now::page))
        .route("/rollouts", get(pages::rollouts::list))
        .route("/rollouts/{namespace}/{name}", get(pages::rollouts::page))
        .route("/configuration", get(pages::configuration::page))
        .route("/preview", get(pages::preview::page).post(pages::preview::drawn))
        .route("/preview/views", post(pages::preview::views))
        .route("/preview/mail/{id}", get(mails::show))
        .route("/deliveries/{id}", get(pages::delivery::page))
        .route("/change", post(forms::change))
        .route("/login", get(pages::login::page).post(forms::login))
        .route("/logout", post(forms::logout))
        .route("/assets/{name}", get(assets::asset))
        .nest("/api/v1", api::router())
        .fallback(pages::missing)
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(middleware::from_fn_with_state(ui.clone(), guard::guard))
        .with_state(ui)
}

/// A refusal as the API says it.
fn problem(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({"error": text}))).into_response()
}
