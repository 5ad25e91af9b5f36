//! One trace for each notice, from the change that made it due to the request that was accepted, for OpenTelemetry.
//!
//! A notice outlives processes and moves between replicas, so its trace is derived from its id: whoever works on it adds
//! to the same trace, and a line of the log with `delivery_id` leads to it. Spans are made when they have ended; a trace
//! of a notice that is still tried has no root yet.
//!
//! ```text
//! notice                 the change was seen ─────────────────────────▶ accepted, or given up
//!   enqueue              decided, rendered, stored
//!   attempt (each)                                the service was asked
//!     POST (each)                                     one request and its answer
//! ```

mod export;

use std::{sync::Arc, time::SystemTime};

use async_trait::async_trait;
use herald_outbox::{Attempted, Batch, Deliverer, Notice};
use herald_services::http::Call;
use herald_web::metrics::Metrics;
use jiff::Timestamp;
use opentelemetry::{
    InstrumentationScope, KeyValue, SpanId, TraceFlags, TraceId,
    trace::{SpanContext, SpanKind, Status, TraceState},
};
use opentelemetry_sdk::{
    runtime::Tokio,
    trace::{
        SpanData, SpanEvents, SpanLinks, SpanProcessor as _,
        span_processor_with_async_runtime::BatchSpanProcessor,
    },
};
use sha2::{Digest as _, Sha256};

use self::export::Sampling;

tokio::task_local! {
    /// The attempt that this task makes: its requests belong to it.
    static ATTEMPT: (TraceId, SpanId);
}

/// Where spans go: nowhere, unless `OTEL_EXPORTER_OTLP_ENDPOINT` names a collector. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Traces(Option<Arc<Tracing>>);

struct Tracing {
    processor: BatchSpanProcessor<Tokio>,
    scope: InstrumentationScope,
    sampling: Sampling,
}

/// A span to be.
struct Ended {
    context: (TraceId, SpanId),
    parent: SpanId,
    kind: SpanKind,
    name: String,
    began: SystemTime,
    ended: SystemTime,
    attributes: Vec<KeyValue>,
    status: Status,
}

impl Traces {
    /// What the environment asks for, or why that can't be; to be called where tokio runs.
    pub(crate) fn from_env(metrics: &Arc<Metrics>) -> Traces {
        match export::wanted(|name| std::env::var(name).ok(), metrics) {
            Ok(None) => Traces::default(),
            Ok(Some((exporter, resource, sampling))) => {
                let mut processor = BatchSpanProcessor::builder(exporter, Tokio).build();
                processor.set_resource(&resource);
                let scope =
                    InstrumentationScope::builder("herald").with_version(env!("CARGO_PKG_VERSION")).build();
                Traces(Some(Arc::new(Tracing { processor, scope, sampling })))
            }
            Err(problem) => {
                tracing::warn!("no traces are sent: {problem}");
                Traces::default()
            }
        }
    }

    /// Sends what was not sent yet, at the end of the program.
    pub(crate) async fn flush(&self) {
        let Some(tracing) = self.0.clone() else { return };
        // It waits for the exporter, which runs on this runtime.
        let flushed = tokio::task::spawn_blocking(move || tracing.processor.force_flush());
        if tokio::time::timeout(export::LAST_SPANS, flushed).await.is_err() {
            tracing::warn!("the last spans could not be sent within {} s", export::LAST_SPANS.as_secs());
        }
    }

    /// The notices of a batch that is about to be stored; nothing without a collector.
    pub(crate) fn enqueuing(&self, batch: &Batch) -> Vec<Notice> {
        if self.0.is_none() {
            return Vec::new();
        }
        batch.enqueue.iter().map(|notice| Notice { payload: Vec::new(), ..notice.clone() }).collect()
    }

    /// These are stored, if they are among the new ones.
    pub(crate) fn enqueued(&self, notices: &[Notice], is_new: impl Fn(&str) -> bool) {
        let Some(tracing) = &self.0 else { return };
        for notice in notices.iter().filter(|notice| is_new(&notice.id)) {
            let trace = trace_of(&notice.id);
            tracing.end(Ended {
                context: (trace, span_of(&[&notice.id, "enqueue"])),
                parent: root_of(&notice.id),
                kind: SpanKind::Producer,
                name: "enqueue".into(),
                began: notice.created.into(),
                ended: SystemTime::now(),
                attributes: Vec::new(),
                status: Status::Unset,
            });
        }
    }

    /// A notice has arrived, or is given up for a reason: its trace is whole.
    pub(crate) fn settled(&self, notice: &Notice, given_up: Option<&str>) {
        let Some(tracing) = &self.0 else { return };
        let status = given_up.map_or(Status::Ok, |reason| Status::error(reason.to_owned()));
        tracing.end(Ended {
            context: (trace_of(&notice.id), root_of(&notice.id)),
            parent: SpanId::INVALID,
            kind: SpanKind::Internal,
            name: format!("notice {}", notice.trigger),
            began: notice.created.into(),
            ended: SystemTime::now(),
            attributes: about(notice),
            status,
        });
    }

    /// A request to a service has ended.
    pub(crate) fn called(&self, call: &Call<'_>) {
        let Some(tracing) = &self.0 else { return };
        let Ok((trace, attempt)) = ATTEMPT.try_with(|attempt| *attempt) else { return };
        let ended = SystemTime::now();
        let mut attributes = vec![
            KeyValue::new("http.request.method", call.method.to_owned()),
            KeyValue::new("server.address", call.host.to_owned()),
            KeyValue::new("http.request.body.size", size(call.sent)),
            KeyValue::new("http.response.body.size", size(call.received)),
        ];
        let status = match call.outcome {
            Ok(code) => {
                attributes.push(KeyValue::new("http.response.status_code", i64::from(code)));
                if code < 400 { Status::Unset } else { Status::error("") }
            }
            Err(reason) => {
                attributes.push(KeyValue::new("error.type", reason.label()));
                Status::error("")
            }
        };
        let began = ended.checked_sub(call.elapsed).unwrap_or(ended);
        let nanos = began.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos().to_string();
        tracing.end(Ended {
            context: (trace, span_of(&[&attempt.to_string(), &nanos])),
            parent: attempt,
            kind: SpanKind::Client,
            name: call.method.to_owned(),
            began,
            ended,
            attributes,
            status,
        });
    }

    /// The same deliverer, with a span for each attempt.
    pub(crate) fn around<D: Deliverer>(&self, deliverer: D) -> Traced<D> {
        Traced { deliverer, traces: self.clone() }
    }
}

impl Tracing {
    fn end(&self, span: Ended) {
        let (trace, id) = span.context;
        if !self.sampling.takes(trace) {
            return;
        }
        self.processor.on_end(SpanData {
            span_context: SpanContext::new(trace, id, TraceFlags::SAMPLED, false, TraceState::default()),
            parent_span_id: span.parent,
            parent_span_is_remote: false,
            span_kind: span.kind,
            name: span.name.into(),
            start_time: span.began,
            // A clock that was set back doesn't make a span that ends before it begins.
            end_time: span.ended.max(span.began),
            attributes: span.attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: span.status,
            instrumentation_scope: self.scope.clone(),
        });
    }
}

/// A deliverer whose attempts are told.
pub(crate) struct Traced<D> {
    deliverer: D,
    traces: Traces,
}

#[async_trait]
impl<D: Deliverer> Deliverer for Traced<D> {
    fn digest(&self, notices: &[Notice]) -> Option<Vec<u8>> {
        self.deliverer.digest(notices)
    }

    async fn deliver(&self, notice: &Notice, attempt: u32) -> Attempted {
        let Some(tracing) = &self.traces.0 else { return self.deliverer.deliver(notice, attempt).await };
        let began = SystemTime::now();
        let nanos = Timestamp::try_from(began).map(Timestamp::as_nanosecond).unwrap_or_default().to_string();
        let context = (trace_of(&notice.id), span_of(&[&notice.id, "attempt", &nanos]));
        let mut span = AttemptSpan { tracing, notice, attempt, context, began, attempted: None };
        let attempted = ATTEMPT.scope(context, self.deliverer.deliver(notice, attempt)).await;
        span.attempted = Some(attempted.clone());
        attempted
    }
}

/// Told when it is dropped: an attempt that takes too long is cut off in the middle.
struct AttemptSpan<'a> {
    tracing: &'a Tracing,
    notice: &'a Notice,
    attempt: u32,
    context: (TraceId, SpanId),
    began: SystemTime,
    attempted: Option<Attempted>,
}

impl Drop for AttemptSpan<'_> {
    fn drop(&mut self) {
        let mut attributes = about(self.notice);
        attributes.push(KeyValue::new("herald.attempt", i64::from(self.attempt)));
        let status = match self.attempted.take() {
            Some(Attempted::Delivered { .. }) => Status::Ok,
            // There was none.
            Some(Attempted::Postponed) => return,
            // Not what the other side said: it may repeat addresses, and traces go to other people than the history.
            Some(Attempted::Failed { class, .. }) => {
                attributes.push(KeyValue::new("error.type", class.label()));
                Status::error(class.label())
            }
            None => {
                attributes.push(KeyValue::new("error.type", "timed out"));
                Status::error("cut off before there was a result")
            }
        };
        self.tracing.end(Ended {
            context: self.context,
            parent: root_of(&self.notice.id),
            kind: SpanKind::Consumer,
            name: format!("attempt {}", self.notice.service),
            began: self.began,
            ended: SystemTime::now(),
            attributes,
            status,
        });
    }
}

fn about(notice: &Notice) -> Vec<KeyValue> {
    let text = |key: &'static str, value: &str| KeyValue::new(key, value.to_owned());
    vec![
        text("k8s.namespace.name", &notice.object.namespace),
        text("herald.kind", &notice.object.kind),
        text("herald.object", &notice.object.name),
        text("herald.trigger", &notice.trigger),
        text("herald.service", &notice.service),
        text("herald.recipient", &notice.recipient),
        text("herald.delivery_id", &notice.id),
    ]
}

fn size(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// The trace of a notice.
fn trace_of(notice: &str) -> TraceId {
    let [high, low] = hash(&[notice]);
    TraceId::from((u128::from(high) << 64) | u128::from(low))
}

fn root_of(notice: &str) -> SpanId {
    span_of(&[notice, "notice"])
}

fn span_of(parts: &[&str]) -> SpanId {
    let [high, _] = hash(parts);
    SpanId::from(high)
}

/// Never zero, which is no id.
fn hash(parts: &[&str]) -> [u64; 2] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let (mut high, mut low) = (0, 0);
    for (at, byte) in hash.finalize().into_iter().take(16).enumerate() {
        let half = if at < 8 { &mut high } else { &mut low };
        *half = (*half << 8) | u64::from(byte);
    }
    [high | 1, low]
}
