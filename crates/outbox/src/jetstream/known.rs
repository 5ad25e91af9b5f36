//! What is known of many notices, asked for at once.

use std::{collections::HashMap, sync::Arc};

use async_nats::StatusCode;
use futures::StreamExt as _;
use serde::Serialize;
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    task::JoinSet,
};

use super::{
    record::{Record, token},
    stores::{Stores, TIMEOUT},
};
use crate::OutboxError;

/// Ids in one question; a server answers up to 1024.
pub(super) const TOGETHER: usize = 128;

/// Questions on their way: while they are, further ids gather for the next.
const QUESTIONS: usize = 4;

/// Who asks for what is known of a notice, and where the answer goes.
type Asked = (String, oneshot::Sender<Result<Option<Record>, OutboxError>>);

/// Asks for what is known of notices, for all who want to know at the same time.
pub(super) struct Lookups(mpsc::Sender<Asked>);

impl Lookups {
    /// Asks as long as this lives.
    pub(super) fn start(stores: Stores) -> Lookups {
        let (sender, mut asked) = mpsc::channel::<Asked>(2 * TOGETHER);
        tokio::spawn(async move {
            let places = Arc::new(Semaphore::new(QUESTIONS));
            let mut questions = JoinSet::new();
            loop {
                let Ok(place) = places.clone().acquire_owned().await else { return };
                let mut together = Vec::new();
                if asked.recv_many(&mut together, TOGETHER).await == 0 {
                    return;
                }
                while questions.try_join_next().is_some() {}
                let stores = stores.clone();
                questions.spawn(async move {
                    let ids: Vec<String> = together.iter().map(|(id, _)| id.clone()).collect();
                    let mut known = stores.known_of(&ids).await;
                    for (id, answer) in together {
                        let one =
                            known.as_mut().map(|known| known.remove(&id)).map_err(|error| error.clone());
                        // Who doesn't wait any more has lost the partition.
                        let _ = answer.send(one);
                    }
                    drop(place);
                });
            }
        });
        Lookups(sender)
    }

    /// What is known of a notice.
    pub(super) async fn known(&self, id: &str) -> Result<Option<Record>, OutboxError> {
        let (answer, answered) = oneshot::channel();
        self.0.send((id.to_owned(), answer)).await.map_err(|_| OutboxError::Closed)?;
        answered.await.map_err(|_| OutboxError::Closed)?
    }
}

/// The newest messages of some subjects (servers since 2.11).
#[derive(Serialize)]
struct Question {
    multi_last: Vec<String>,
}

impl Stores {
    /// What is known of notices beside the stream, by id: one question for all, where the server takes it.
    pub(super) async fn known_of(&self, ids: &[String]) -> Result<HashMap<String, Record>, OutboxError> {
        self.there().await?;
        if ids.len() > 1
            && self.client().is_server_compatible(2, 11, 0)
            && let Some(found) = self.asked_at_once(ids).await?
        {
            return Ok(found);
        }
        let mut found = HashMap::new();
        for asked in futures::future::join_all(ids.iter().map(|id| self.known(id))).await {
            found.extend(asked?.map(|record| (record.id.clone(), record)));
        }
        Ok(found)
    }

    /// `None` where some server of a cluster doesn't understand.
    async fn asked_at_once(&self, ids: &[String]) -> Result<Option<HashMap<String, Record>>, OutboxError> {
        let client = self.client();
        let inbox = client.new_inbox();
        let mut answers = client.subscribe(inbox.clone()).await.map_err(|error| self.failed(error))?;
        let subject = |id: &String| format!("$KV.{}.{}", self.history.name, token(id));
        let question = Question { multi_last: ids.iter().map(subject).collect() };
        let question = serde_json::to_vec(&question).map_err(|error| self.failed(error))?;
        let to = format!("$JS.API.DIRECT.GET.{}", self.history.stream_name);
        let sent = client.publish_with_reply(to, inbox, question.into()).await;
        sent.map_err(|error| self.failed(error))?;
        let mut found = HashMap::new();
        loop {
            let next = tokio::time::timeout(TIMEOUT, answers.next()).await;
            let Some(answer) = next.map_err(|_| self.failed("no answer about what is known"))? else {
                return Err(self.failed("the connection is closed"));
            };
            match answer.status {
                None => {
                    let removed = answer.headers.as_ref().is_some_and(|h| h.get("KV-Operation").is_some());
                    // What can't be read is as good as unknown: then it is attempted.
                    if !removed && let Ok(record) = Record::decode(&answer.payload) {
                        found.insert(record.id.clone(), record);
                    }
                }
                // 204 is the end of the answers, 404 that there are none.
                Some(status) if status.as_u16() == 204 => return Ok(Some(found)),
                Some(StatusCode::NOT_FOUND) => return Ok(Some(found)),
                Some(_) => return Ok(None),
            }
        }
    }
}
