//! What the page asks, answered from the outbox and the shelf.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use herald_core::notification::Notification;
use herald_outbox::{Filter, HistoryEntry, Outbox, OutboxError, Outcome};
use herald_services::{ObjectRef, redact::Redactor};
use herald_sources::ObjectKey;
use herald_web::ui::{
    Backend,
    backend::{
        Ask, Attempt, Choices, Configuration, Delivery, Detail, Fault, Health, Preview, Query, Queue,
        Rollout, RolloutDetail, Template,
    },
};
use jiff::Timestamp;
use serde_json::Value as Json;

use super::{configured::Configured, preview, shelf::Shelf};
use crate::{explain, pipeline::payload, scene};

/// How much of the history tells how services do.
const LATELY: u32 = 200;

/// The page's backend.
pub(super) struct Page {
    outbox: Arc<dyn Outbox>,
    shelf: Arc<Shelf>,
}

impl Page {
    pub(super) fn new(outbox: Arc<dyn Outbox>, shelf: Arc<Shelf>) -> Page {
        Page { outbox, shelf }
    }

    fn configured(&self) -> Result<Arc<Configured>, Fault> {
        self.shelf.configuration().ok_or_else(|| {
            Fault::Early(
                "No configuration was read yet. Look again when Herald has read its ConfigMap.".into(),
            )
        })
    }

    /// Lines of the history without the secrets of their namespaces, made by `of`.
    fn cleaned<'e, T>(
        &self,
        entries: impl IntoIterator<Item = &'e HistoryEntry>,
        mut of: impl FnMut(&'e HistoryEntry, &Redactor) -> T,
    ) -> Vec<T> {
        let mut redactors: BTreeMap<&str, Arc<Redactor>> = BTreeMap::new();
        let one = |entry: &'e HistoryEntry| {
            let namespace = entry.notice.object.namespace.as_str();
            let redactor = redactors.entry(namespace).or_insert_with(|| self.shelf.redactor(namespace));
            of(entry, redactor)
        };
        entries.into_iter().map(one).collect()
    }

    /// What a namespace configures beside the controller, if it does.
    async fn tenant(&self, namespace: &str) -> Result<Option<scene::Configured>, Fault> {
        let Some(tenant) = self.shelf.tenant(namespace) else { return Ok(None) };
        let loaded = tokio::task::spawn_blocking(move || scene::Configured {
            config: tenant.config.clone(),
            loading: scene::Configured::of(&tenant.input).loading,
        });
        loaded.await.map(Some).map_err(|_| Fault::Broken("a configuration can't be read".into()))
    }

    async fn past(&self, key: ObjectKey) -> Result<explain::Past, Fault> {
        explain::past(&*self.outbox, &key).await.map_err(|failure| Fault::Broken(failure.message))
    }
}

fn broken(error: OutboxError) -> Fault {
    Fault::Broken(error.to_string())
}

fn filter(query: &Query) -> Result<Filter, Fault> {
    let given = |text: &String| (!text.is_empty()).then(|| text.clone());
    let outcome = match query.outcome.as_str() {
        "" => None,
        word => Some(
            Outcome::ALL
                .into_iter()
                .find(|outcome| outcome.label() == word)
                .ok_or_else(|| Fault::Asked(format!("there is no outcome `{word}`")))?,
        ),
    };
    let (namespace, name) = match query.rollout.split_once('/') {
        Some((namespace, name)) => (Some(namespace.to_owned()), given(&name.to_owned())),
        None => (None, given(&query.rollout)),
    };
    Ok(Filter {
        outcome,
        namespace,
        name,
        trigger: given(&query.trigger),
        service: given(&query.service),
        recipient: given(&query.recipient),
        limit: Some(query.rows()),
        ..Filter::default()
    })
}

fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A line of the history.
pub(crate) fn delivery(entry: &HistoryEntry, redactor: &Redactor) -> Delivery {
    let notice = &entry.notice;
    let clean = |text: &Option<String>| text.as_ref().map(|text| redactor.clean(text));
    Delivery {
        id: notice.id.clone(),
        namespace: notice.object.namespace.clone(),
        kind: notice.object.kind.clone(),
        name: notice.object.name.clone(),
        trigger: notice.trigger.clone(),
        service: notice.service.clone(),
        recipient: redactor.clean(&notice.recipient),
        outcome: entry.outcome.label().to_owned(),
        created: notice.created.to_string(),
        finished: entry.finished.map(|at| at.to_string()),
        took_ms: entry.took.map(milliseconds),
        attempts: entry.attempts,
        reason: clean(&entry.reason),
        answer: clean(&entry.answer),
    }
}

/// Everything that the store knows of a delivery, and what it says.
pub(crate) fn detail(entry: &HistoryEntry, redactor: &Redactor) -> (Detail, Option<Notification>) {
    let (content, missing) = match payload::read(&entry.notice.payload) {
        Ok(notification) => (Some(notification), None),
        Err(missing) => (None, Some(redactor.clean(&missing))),
    };
    let content = content.as_ref().and_then(|content| clean(content, redactor));
    let attempts = entry.failures.iter().map(|attempt| Attempt {
        at: attempt.at.to_string(),
        took_ms: milliseconds(attempt.took),
        reason: attempt.reason.clone(),
        answer: redactor.clean(&attempt.answer),
    });
    let detail = Detail {
        delivery: delivery(entry, redactor),
        failures: attempts.collect(),
        content: content.as_ref().map(preview::content),
        missing,
        why: payload::why(&entry.notice.payload).and_then(|why| clean(&why, redactor)),
        ..Detail::default()
    };
    (detail, content)
}

/// All texts of a value without secrets.
fn cleaned(value: &Json, redactor: &Redactor) -> Json {
    match value {
        Json::String(text) => Json::String(redactor.clean(text)),
        Json::Array(items) => items.iter().map(|item| cleaned(item, redactor)).collect(),
        Json::Object(map) => map.iter().map(|(key, value)| (key.clone(), cleaned(value, redactor))).collect(),
        other => other.clone(),
    }
}

/// An explanation without secrets: a condition may have looked at one.
fn clean<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T, redactor: &Redactor) -> Option<T> {
    serde_json::to_value(value).ok().and_then(|json| serde_json::from_value(cleaned(&json, redactor)).ok())
}

#[async_trait]
impl Backend for Page {
    async fn deliveries(&self, query: &Query) -> Result<Vec<Delivery>, Fault> {
        let found = self.outbox.list(filter(query)?).await.map_err(broken)?;
        Ok(self.cleaned(&found, delivery))
    }

    async fn delivery(&self, id: &str) -> Result<Option<Detail>, Fault> {
        let Some(entry) = self.outbox.show(id).await.map_err(broken)? else { return Ok(None) };
        let redactor = self.shelf.redactor(&entry.notice.object.namespace);
        let (mut detail, content) = detail(&entry, &redactor);
        if let Some(notification) = content {
            self.add_requests(&mut detail, &notification).await;
        }
        Ok(Some(detail))
    }

    async fn queue(&self) -> Result<Queue, Fault> {
        let (waiting, oldest) = self.outbox.backlog().await.map_err(broken)?;
        let dead = Filter { outcome: Some(Outcome::DeadLetter), ..Filter::default() };
        let dead = self.outbox.count(dead).await.map_err(broken)?;
        Ok(Queue { waiting, oldest: oldest.map(|at| at.to_string()), dead })
    }

    async fn services(&self) -> Result<Vec<Health>, Fault> {
        let newest = Filter { limit: Some(LATELY), ..Filter::default() };
        let lately = self.outbox.list(newest).await.map_err(broken)?;
        let mut all: BTreeMap<String, Health> = BTreeMap::new();
        let mut times: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        if let Some(configured) = self.shelf.configuration() {
            for service in configured.core.config.services() {
                let health = Health {
                    service: service.name.to_string(),
                    service_type: service.service_type.to_string(),
                    ..Health::default()
                };
                all.insert(health.service.clone(), health);
            }
            for key in configured.core.config.broken_keys().filter(|key| key.starts_with("service.")) {
                let name = key.rsplit('.').next().unwrap_or_default().to_owned();
                let health = all.entry(name.clone()).or_default();
                (health.service, health.state) = (name, "broken".to_owned());
            }
        }
        let said = |entry: &HistoryEntry, redactor: &Redactor| {
            entry.answer.as_ref().or(entry.reason.as_ref()).map(|text| redactor.clean(text))
        };
        for (entry, said) in lately.iter().zip(self.cleaned(&lately, said)) {
            let health = all.entry(entry.notice.service.clone()).or_default();
            health.service.clone_from(&entry.notice.service);
            let failed =
                entry.reason.is_some() && matches!(entry.outcome, Outcome::Pending | Outcome::DeadLetter);
            health.dead += u32::from(entry.outcome == Outcome::DeadLetter);
            if failed {
                health.failing += 1;
                // A success after it takes it back.
                if health.last_delivered.is_none() && health.last_failure.is_none() {
                    health.last_failure = said;
                }
            }
            if entry.outcome == Outcome::Delivered {
                health.delivered += 1;
                if health.last_delivered.is_none() {
                    health.last_delivered = entry.finished.map(|at| at.to_string());
                }
                times.entry(health.service.clone()).or_default().extend(entry.took.map(milliseconds));
            }
        }
        for health in all.values_mut().filter(|health| health.state.is_empty()) {
            health.state = match (&health.last_failure, &health.last_delivered) {
                (Some(_), _) => "failing",
                (None, Some(_)) => "good",
                (None, None) => "idle",
            }
            .to_owned();
            if let Some(times) = times.get_mut(&health.service) {
                times.sort_unstable();
                health.typical_ms = times.get(times.len() / 2).copied();
            }
        }
        Ok(all.into_values().collect())
    }

    async fn rollouts(&self) -> Result<Vec<Rollout>, Fault> {
        Ok(self.shelf.lines())
    }

    async fn rollout(&self, namespace: &str, name: &str) -> Result<Option<RolloutDetail>, Fault> {
        let Some((rollout, kept)) = self.shelf.find(namespace, name) else { return Ok(None) };
        let redactor = self.shelf.redactor(namespace);
        let key = ObjectKey { kind: "Rollout".into(), namespace: namespace.into(), name: name.into() };
        let mut detail = RolloutDetail { rollout, ..RolloutDetail::default() };
        if let Some(kept) = kept {
            let past = self.past(key).await?;
            detail.decisions = past.decisions.iter().rev().filter_map(|one| clean(one, &redactor)).collect();
            let configured = self.configured()?;
            let tenant = self.tenant(namespace).await?;
            let now = Timestamp::now();
            let all = explain::present(&configured.core, tenant.as_ref(), kept.look(), past, now);
            detail.explanations = all.iter().filter_map(|one| clean(one, &redactor)).collect();
        }
        Ok(Some(detail))
    }

    async fn configuration(&self) -> Result<Configuration, Fault> {
        let configured = self.configured()?;
        let shown = tokio::task::spawn_blocking(move || configured.shown().clone());
        shown.await.map_err(|_| Fault::Broken("the configuration can't be shown".into()))
    }

    async fn choices(&self) -> Result<Choices, Fault> {
        let configured = self.configured()?;
        let templates = configured.core.config.templates().map(|template| Template {
            name: template.name.to_string(),
            source: configured.redactor.clean(&template.source),
            built_in: template.layer != herald_core::config::Layer::ConfigMap,
        });
        let live = self.shelf.lines();
        let live = live.iter().take(100).map(|line| format!("live:{}/{}", line.namespace, line.name));
        let samples = herald_lint::samples::samples().iter().map(|sample| format!("sample:{}", sample.name));
        Ok(Choices { templates: templates.collect(), objects: live.chain(samples).collect() })
    }

    async fn preview(&self, ask: Ask) -> Result<Preview, Fault> {
        let configured = self.configured()?;
        let scene = match preview::scene(&self.shelf, &ask) {
            Ok(scene) => scene,
            Err(Fault::Asked(error)) => return Ok(Preview { error: Some(error), ..Preview::default() }),
            Err(broken) => return Err(broken),
        };
        preview::preview(&configured, scene, ask).await
    }

    async fn resend(&self, ids: &[String]) -> Result<usize, Fault> {
        let mut count = 0;
        for id in ids {
            let filter = Filter { id: Some(id.clone()), ..Filter::default() };
            count += self.outbox.resend(filter, Timestamp::now()).await.map_err(broken)?;
        }
        Ok(count)
    }

    async fn drop_notices(&self, ids: &[String]) -> Result<usize, Fault> {
        let mut count = 0;
        for id in ids {
            let filter = Filter { id: Some(id.clone()), ..Filter::default() };
            count += self.outbox.drop_notices(filter, Timestamp::now()).await.map_err(broken)?;
        }
        Ok(count)
    }
}

impl Page {
    /// What the configuration in force would send of it, with placeholders for secrets.
    async fn add_requests(&self, detail: &mut Detail, notification: &Notification) {
        // A service of a namespace's own configuration carries its name in front.
        let (input, instance) = match detail.delivery.service.split_once('/') {
            Some((namespace, name)) => (self.shelf.tenant(namespace).map(|one| one.input.clone()), name),
            None => (self.shelf.configuration().map(|one| one.input.clone()), &*detail.delivery.service),
        };
        let Some(input) = input.map(|input| preview::without_secrets(&input)) else { return };
        let loaded = tokio::task::spawn_blocking(move || {
            let core = scene::Configured::of(&input);
            (core.config, input)
        });
        let Ok((config, input)) = loaded.await else { return };
        let Some(service) = config.service(instance) else { return };
        detail.service_type = service.service_type.to_string();
        let line = &detail.delivery;
        let sent = herald_services::Delivery {
            notification,
            recipient: &line.recipient,
            notice_id: &line.id,
            trigger: &line.trigger,
            object: ObjectRef { kind: &line.kind, namespace: &line.namespace, name: &line.name },
            now: Timestamp::now(),
        };
        detail.requests = preview::requests(&config, &input, instance, &sent).await.unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use herald_core::config::ConfigInput;
    use herald_outbox::{Access, Batch, Notice, SqliteOutbox};
    use herald_services::handles::MemoryHandles;
    use jiff::Timestamp;

    use super::*;
    use crate::pipeline::{configuration::Builder, report::Reporter};

    #[tokio::test]
    async fn secrets_of_a_namespaces_own_configuration_are_masked_too() {
        let home = tempfile::tempdir().unwrap();
        let outbox = SqliteOutbox::open(home.path().join("state.db"), Access::Owner).unwrap();
        let said = Notification { message: "the word is s3cret-of-red".into(), ..Notification::default() };
        let notice = Notice {
            id: "n".into(),
            object: herald_outbox::ObjectRef { namespace: "red".into(), ..Default::default() },
            trigger: "t".into(),
            service: "red/hook".into(),
            recipient: "to s3cret-of-red".into(),
            created: Timestamp::UNIX_EPOCH,
            due_after: Timestamp::UNIX_EPOCH,
            payload: payload::write(&said, None).unwrap(),
        };
        let failed = herald_outbox::Attempt {
            at: Timestamp::UNIX_EPOCH,
            took: std::time::Duration::ZERO,
            reason: "rejected".into(),
            answer: "s3cret-of-red is wrong".into(),
        };
        outbox.commit(Batch { enqueue: vec![notice], ..Batch::default() }).await.unwrap();
        outbox.give_up("n", "rejected", failed).await.unwrap();
        let builder = Builder::new(Box::new(MemoryHandles::default()));
        let data =
            BTreeMap::from([("service.webhook.hook".to_owned(), "url: https://example.com".to_owned())]);
        let secret = BTreeMap::from([("word".to_owned(), b"s3cret-of-red".to_vec())]);
        let own = ConfigInput { namespace: Some("red".into()), data, secret, ..ConfigInput::default() };
        let tenant = builder.build_tenant("red", &own, None, &Reporter::quiet());
        let shelf = Arc::new(Shelf::default());
        shelf.configured(&builder.build(&ConfigInput::default(), None, &Reporter::quiet()));
        shelf.tenants(&Arc::new([("red".to_owned(), Arc::new(tenant))].into()));
        let page = Page::new(Arc::new(outbox), shelf);
        let shown = [
            serde_json::to_string(&page.deliveries(&Query::default()).await.unwrap()).unwrap(),
            serde_json::to_string(&page.delivery("n").await.unwrap()).unwrap(),
            serde_json::to_string(&page.services().await.unwrap()).unwrap(),
        ];
        for one in shown {
            assert!(one.contains("***") && !one.contains("s3cret"), "{one}");
        }
        let detail = page.delivery("n").await.unwrap().unwrap();
        assert_eq!(detail.service_type, "webhook", "its service is that of the namespace");
    }

    #[test]
    fn secrets_in_the_history_are_masked_before_they_are_shown() {
        let notification =
            Notification { message: "the token is s3cret-token".into(), ..Notification::default() };
        let entry = HistoryEntry {
            notice: Notice {
                id: "n".into(),
                object: herald_outbox::ObjectRef::default(),
                trigger: "t".into(),
                service: "s".into(),
                recipient: "to s3cret-token".into(),
                created: Timestamp::UNIX_EPOCH,
                due_after: Timestamp::UNIX_EPOCH,
                payload: payload::write(&notification, None).unwrap(),
            },
            outcome: Outcome::DeadLetter,
            finished: None,
            took: None,
            attempts: 1,
            reason: Some("reason s3cret-token".into()),
            answer: Some("answer s3cret-token".into()),
            failures: vec![herald_outbox::Attempt {
                at: Timestamp::UNIX_EPOCH,
                took: std::time::Duration::ZERO,
                reason: "rejected".into(),
                answer: "attempt s3cret-token".into(),
            }],
        };
        let (detail, content) = detail(&entry, &Redactor::new(["s3cret-token"]));
        let shown = format!("{}{content:?}", serde_json::to_string(&detail).unwrap());
        assert!(!shown.contains("s3cret"), "{shown}");
        for part in ["the token is ***", "to ***", "reason ***", "answer ***", "attempt ***"] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
    }
}
