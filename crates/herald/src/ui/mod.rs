//! The page of `herald run --ui`: what `herald_web::ui` shows, from the pipeline's point of view.

mod configured;
mod page;
mod preview;
mod rollouts;
mod shelf;

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use clap::Args;
use herald_outbox::Outbox;
use herald_web::ui::{Access, Authenticator, StaticToken, Ui};

use self::page::Page;
pub(crate) use self::page::{delivery, detail};
pub(crate) use self::shelf::Shelf;
use crate::failure::Failure;

/// Flags of the page.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Page")]
pub(crate) struct UiArgs {
    /// Serve the page
    #[arg(long, env = "HERALD_UI")]
    pub(crate) ui: bool,
    #[command(flatten)]
    pub(crate) place: UiPlace,
}

/// Where the page is, and who may use it.
#[derive(Args, Clone, Debug)]
pub(crate) struct UiPlace {
    /// Where the page is served; anything but loopback needs --ui-token-file, or a cluster that reviews tokens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3100", env = "HERALD_UI_ADDRESS")]
    ui_address: SocketAddr,
    /// A host name, with its port if it has one, by which the page is reached; may come several times
    #[arg(long, value_name = "HOST", env = "HERALD_UI_HOSTS", value_delimiter = ',')]
    ui_host: Vec<String>,
    /// File with the token that is needed to resend and drop, and to read where the page isn't on loopback
    #[arg(long, value_name = "FILE", env = "HERALD_UI_TOKEN_FILE")]
    ui_token_file: Option<PathBuf>,
}

impl UiArgs {
    /// Serves the page until the program ends, if it is wanted. `tokens` knows tokens besides that of the file.
    pub(crate) async fn serve(
        &self,
        outbox: Arc<dyn Outbox>,
        tokens: Option<Arc<dyn Authenticator>>,
    ) -> Result<Option<Arc<Shelf>>, Failure> {
        if !self.ui {
            return Ok(None);
        }
        let shelf = Arc::new(Shelf::default());
        self.place.serve(outbox, shelf.clone(), tokens).await?;
        Ok(Some(shelf))
    }
}

impl UiPlace {
    /// Whether only programs of this machine reach the page.
    pub(crate) fn is_on_loopback(&self) -> bool {
        self.ui_address.ip().is_loopback()
    }

    /// The token of the file.
    fn token(&self) -> Result<Option<Arc<dyn Authenticator>>, Failure> {
        let Some(file) = &self.ui_token_file else { return Ok(None) };
        let text = std::fs::read_to_string(file)
            .map_err(|e| Failure::bad(format!("can't read the token file {}: {e}", file.display())))?;
        let token = StaticToken::new(&text).ok_or_else(|| {
            Failure::bad(format!("the token in {} is too short; 16 characters are the least", file.display()))
        })?;
        Ok(Some(Arc::new(token)))
    }

    /// Serves the page until the program ends.
    pub(crate) async fn serve(
        &self,
        outbox: Arc<dyn Outbox>,
        shelf: Arc<Shelf>,
        tokens: Option<Arc<dyn Authenticator>>,
    ) -> Result<(), Failure> {
        let tokens = self.token()?.or(tokens);
        if tokens.is_none() && !self.ui_address.ip().is_loopback() {
            return Err(Failure::usage(format!(
                "the page on {} could be read by anybody; give --ui-token-file, or an address of loopback",
                self.ui_address
            )));
        }
        let listener = tokio::net::TcpListener::bind(self.ui_address).await.map_err(|e| {
            Failure::bad(format!(
                "can't serve the page on {}: {e}; choose another address with --ui-address",
                self.ui_address
            ))
        })?;
        let address = listener.local_addr()?;
        let access = Access::of(address, self.ui_host.clone(), tokens);
        let ui = Ui::new(Arc::new(Page::new(outbox, shelf)), access);
        tracing::info!("the page is at http://{address}/");
        tokio::spawn(herald_web::ui::serve(listener, ui, std::future::pending()));
        Ok(())
    }
}
