//! Who may use the page in a cluster: whoever may patch what is watched.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use herald_sources::kubernetes::{
    Client,
    review::{self, Action},
    watch::Resource,
};
use herald_web::ui::Authenticator;
use sha2::{Digest as _, Sha256};
use tokio::{sync::Semaphore, time::Instant};

/// So long an answer counts.
const KEPT: Duration = Duration::from_secs(30);

/// So many answers are kept.
const MOST: usize = 1000;

/// So many tokens are reviewed at a time: strangers must not load the API server through us.
const AT_A_TIME: usize = 4;

/// So long a visitor waits for the others.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the API server about tokens.
pub(super) struct Visitors {
    client: Client,
    watched: Resource,
    /// Where they are watched; everywhere if it is `None`.
    namespace: Option<String>,
    /// By the token's hash.
    kept: Mutex<HashMap<[u8; 32], (bool, Instant)>>,
    asking: Semaphore,
}

impl Visitors {
    pub(super) fn new(client: Client, watched: Resource, namespace: Option<String>) -> Visitors {
        Visitors { client, watched, namespace, kept: Mutex::default(), asking: Semaphore::new(AT_A_TIME) }
    }

    async fn ask(&self, token: &str) -> Result<bool, String> {
        let waited = tokio::time::timeout(PATIENCE, self.asking.acquire()).await;
        let _place = waited.map_err(|_| "too many tokens are being reviewed; try again in a moment")?;
        let Some(user) = review::token(&self.client, token).await? else { return Ok(false) };
        let namespace = self.namespace.as_deref();
        let Resource { group, plural, .. } = &self.watched;
        let action = Action { verb: "patch", group, resource: plural, namespace };
        let may = review::may(&self.client, &user, &action).await?;
        if !may {
            tracing::info!(
                user = user.name(),
                "refused on the page: it is for those who may patch {}",
                self.watched
            );
        }
        Ok(may)
    }
}

#[async_trait]
impl Authenticator for Visitors {
    async fn knows(&self, token: &str) -> Result<bool, String> {
        let key: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let now = Instant::now();
        let known = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.retain(|_, (_, until)| *until > now);
            kept.get(&key).map(|(good, _)| *good)
        };
        if let Some(good) = known {
            return Ok(good);
        }
        let good = self.ask(token).await?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < MOST {
            kept.insert(key, (good, now + KEPT));
        }
        Ok(good)
    }
}
