//! Which outbox is meant: a state file, or a NATS server with `--outbox`.

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use herald_outbox::{Access, JetStreamOutbox, NatsAddress, Outbox, Role, SqliteOutbox};

use crate::failure::Failure;

/// The outbox that many processes share.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct OutboxUrl {
    /// An outbox in NATS JetStream instead of a state file, such as nats://host:4222?creds=FILE
    #[arg(long, value_name = "URL", env = "HERALD_OUTBOX", hide_env_values = true)]
    outbox: Option<String>,
}

impl OutboxUrl {
    /// Whether it is one that other processes share.
    pub(crate) fn is_shared(&self) -> bool {
        self.outbox.as_deref().is_some_and(|url| !url.is_empty())
    }

    /// Opens it, or the state file.
    pub(crate) async fn open(
        &self,
        access: Access,
        file: impl FnOnce() -> Result<PathBuf, Failure>,
    ) -> Result<Arc<dyn Outbox>, Failure> {
        let role = match access {
            Access::Owner => Role::Worker,
            Access::Guest | Access::ReadOnly => Role::Guest,
        };
        match self.outbox.as_deref().filter(|url| !url.is_empty()) {
            Some(_) => self.open_shared(role).await,
            None => Ok(Arc::new(SqliteOutbox::open(file()?, access)?)),
        }
    }

    /// Opens the shared one.
    pub(crate) async fn open_shared(&self, role: Role) -> Result<Arc<dyn Outbox>, Failure> {
        let url = self.outbox.as_deref().filter(|url| !url.is_empty());
        let url = url.ok_or_else(|| Failure::usage("name the outbox with --outbox nats://host:4222"))?;
        let address: NatsAddress = url.parse()?;
        Ok(Arc::new(JetStreamOutbox::open(&address, role).await?))
    }
}
