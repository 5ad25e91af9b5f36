//! What happens, to all open pages: looked up and drawn once, sent to everybody.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Weak},
    time::Duration,
};

use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{Stream, stream};
use serde_json::json;
use tokio::sync::broadcast;

use super::{
    Ui,
    backend::{Delivery, Query},
    pages::now,
};

/// How often the store is looked at while a page is open.
const PERIOD: Duration = Duration::from_millis(300);
/// How often else.
const IDLE: Duration = Duration::from_millis(1000);
/// A page that is further behind starts anew.
const CAPACITY: usize = 256;
/// How many of the newest deliveries are compared.
const WINDOW: u32 = 100;

/// One happening: its kind and its data, as they go over the line.
#[derive(Clone, Debug)]
pub(super) struct Happening {
    kind: &'static str,
    data: Arc<str>,
}

/// The one channel of all pages.
pub(super) struct Feed(broadcast::Sender<Happening>);

impl Feed {
    pub(super) fn new() -> Feed {
        Feed(broadcast::Sender::new(CAPACITY))
    }

    /// What one page hears.
    pub(super) fn listen(&self) -> Sse<impl Stream<Item = Result<Event, Infallible>> + use<>> {
        let events = stream::unfold(self.0.subscribe(), |mut heard| async move {
            let event = match heard.recv().await {
                Ok(happening) => Event::default().event(happening.kind).data(&happening.data),
                Err(broadcast::error::RecvError::Lagged(_)) => Event::default().event("reload").data("{}"),
                Err(broadcast::error::RecvError::Closed) => return None,
            };
            Some((Ok(event), heard))
        });
        Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(20)))
    }

    fn tell(&self, kind: &'static str, data: &serde_json::Value) {
        // Nobody listens: nothing is lost, as a page begins with what is there.
        let _ = self.0.send(Happening { kind, data: data.to_string().into() });
    }
}

/// Looks at the store again and again until the page is gone.
pub(super) async fn watch(ui: Weak<Ui>) {
    let mut known: Option<HashMap<String, Delivery>> = None;
    let (mut queue, mut services, mut rollouts) = (None, None, None);
    loop {
        let Some(ui) = ui.upgrade() else { return };
        if ui.feed.0.receiver_count() == 0 {
            // A page that opens now shows what is there now.
            known = None;
            drop(ui);
            tokio::time::sleep(IDLE / 10).await;
            continue;
        }
        let newest = Query { limit: Some(WINDOW), ..Query::default() };
        if let Ok(found) = ui.backend.deliveries(&newest).await {
            match known.take() {
                // What happened since the page was drawn is not known here.
                None => ui.feed.tell("reload", &json!({})),
                // Oldest first, so that the newest ends on top.
                Some(before) => {
                    for delivery in found.iter().rev().filter(|one| before.get(&one.id) != Some(one)) {
                        let new = !before.contains_key(&delivery.id);
                        let row = now::row(delivery).into_string();
                        ui.feed.tell("delivery", &json!({"new": new, "delivery": delivery, "row": row}));
                    }
                }
            }
            known = Some(found.into_iter().map(|delivery| (delivery.id.clone(), delivery)).collect());
        }
        if let Ok(found) = ui.backend.queue().await
            && queue.as_ref() != Some(&found)
        {
            ui.feed.tell("queue", &json!({"html": now::queue(&found).into_string()}));
            queue = Some(found);
        }
        if let Ok(found) = ui.backend.services().await
            && services.as_ref() != Some(&found)
        {
            ui.feed.tell("services", &json!({"html": now::services(&found).into_string()}));
            services = Some(found);
        }
        if let Ok(found) = ui.backend.rollouts().await
            && rollouts.as_ref() != Some(&found)
        {
            ui.feed.tell("rollouts", &json!({}));
            rollouts = Some(found);
        }
        drop(ui);
        tokio::time::sleep(PERIOD).await;
    }
}
