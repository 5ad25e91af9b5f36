//! What `OTEL_*` asks for: where spans go, which of them, and as whose.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use herald_web::metrics::Metrics;
use opentelemetry::{TraceId, trace::SpanKind};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{Sampler, SamplingDecision, ShouldSample as _, SpanData},
};

/// At the end of the program the last spans may take so long.
pub(super) const LAST_SPANS: Duration = Duration::from_secs(5);

/// How often a collector that takes nothing is complained about.
const COMPLAINING: Duration = Duration::from_secs(60);

/// Which traces are sent. The same trace is taken by all replicas, or by none.
pub(super) struct Sampling(Sampler);

impl Sampling {
    pub(super) fn takes(&self, trace: TraceId) -> bool {
        let result = self.0.should_sample(None, trace, "notice", &SpanKind::Internal, &[], &[]);
        result.decision == SamplingDecision::RecordAndSample
    }
}

/// The exporter that the environment asks for; `None` if it asks for none.
pub(super) fn wanted(
    env: impl Fn(&str) -> Option<String>,
    metrics: &Arc<Metrics>,
) -> Result<Option<(Told, Resource, Sampling)>, String> {
    let env = |name: &str| env(name).filter(|value| !value.trim().is_empty());
    let is =
        |name: &str, value: &str| env(name).is_some_and(|given| given.trim().eq_ignore_ascii_case(value));
    let named = |what: &str| {
        env(&format!("OTEL_EXPORTER_OTLP_TRACES_{what}"))
            .or_else(|| env(&format!("OTEL_EXPORTER_OTLP_{what}")))
    };
    if named("ENDPOINT").is_none() || is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
        return Ok(None);
    }
    if let Some(protocol) = named("PROTOCOL").filter(|protocol| protocol.trim() != "http/protobuf") {
        return Err(format!(
            "OTEL_EXPORTER_OTLP_PROTOCOL is `{protocol}`, and only `http/protobuf` is spoken here; a collector listens \
             for it on port 4318"
        ));
    }
    let sampling = Sampling(sampler(
        env("OTEL_TRACES_SAMPLER").as_deref().unwrap_or("always_on").trim(),
        env("OTEL_TRACES_SAMPLER_ARG").as_deref(),
    )?);
    // Fails only if there is a provider already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let exporter = SpanExporter::builder().with_http().build().map_err(|error| error.to_string())?;
    let mut resource = Resource::builder();
    let named_in_attributes =
        env("OTEL_RESOURCE_ATTRIBUTES").is_some_and(|given| given.contains("service.name="));
    if env("OTEL_SERVICE_NAME").is_none() && !named_in_attributes {
        resource = resource.with_service_name("herald");
    }
    let version = opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = resource.with_attribute(version).build();
    let told = Told { exporter, metrics: metrics.clone(), complained: Mutex::default() };
    Ok(Some((told, resource, sampling)))
}

/// By the names of the specification. No trace here has a parent elsewhere, so `parentbased_` changes nothing.
fn sampler(name: &str, arg: Option<&str>) -> Result<Sampler, String> {
    match name.strip_prefix("parentbased_").unwrap_or(name) {
        "always_on" => Ok(Sampler::AlwaysOn),
        "always_off" => Ok(Sampler::AlwaysOff),
        "traceidratio" => {
            let arg = arg.unwrap_or("1").trim();
            let ratio = arg.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
            ratio.map(Sampler::TraceIdRatioBased).ok_or_else(|| {
                format!("OTEL_TRACES_SAMPLER_ARG is `{arg}`; it has to be a number from 0 to 1")
            })
        }
        _ => Err(format!(
            "OTEL_TRACES_SAMPLER is `{name}`; known are always_on, always_off, traceidratio, and these with \
             parentbased_ before"
        )),
    }
}

/// An exporter whose failures are counted, and told now and then.
#[derive(Debug)]
pub(super) struct Told {
    exporter: SpanExporter,
    metrics: Arc<Metrics>,
    complained: Mutex<Option<Instant>>,
}

impl opentelemetry_sdk::trace::SpanExporter for Told {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        let result = self.exporter.export(batch).await;
        self.metrics.exported_spans(if result.is_ok() { "accepted" } else { "lost" }, count);
        if let Err(error) = &result {
            let mut complained = self.complained.lock().unwrap_or_else(PoisonError::into_inner);
            if complained.is_none_or(|at| at.elapsed() >= COMPLAINING) {
                *complained = Some(Instant::now());
                tracing::warn!("{count} spans are lost, the collector did not take them: {error}");
            }
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(pairs: &[(&str, &str)]) -> Result<bool, String> {
        let env =
            |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        wanted(env, &Arc::new(Metrics::new("0", None))).map(|wanted| wanted.is_some())
    }

    #[test]
    fn traces_are_sent_where_the_environment_names_a_collector() {
        const HERE: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
        assert_eq!(asked(&[]), Ok(false));
        assert_eq!(asked(&[HERE]), Ok(true));
        assert_eq!(
            asked(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:4318/v1/traces")]),
            Ok(true)
        );
        assert_eq!(asked(&[HERE, ("OTEL_SDK_DISABLED", "TRUE")]), Ok(false));
        assert_eq!(asked(&[HERE, ("OTEL_TRACES_EXPORTER", "none")]), Ok(false));
        let grpc = asked(&[HERE, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).unwrap_err();
        assert!(grpc.contains("4318"), "{grpc}");
        let sampler = asked(&[HERE, ("OTEL_TRACES_SAMPLER", "sometimes")]).unwrap_err();
        assert!(sampler.contains("traceidratio"), "{sampler}");
        let ratio = [HERE, ("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "2")];
        assert!(asked(&ratio).unwrap_err().contains("from 0 to 1"));
    }

    #[test]
    fn a_ratio_takes_about_as_many_traces() {
        let sampling = Sampling(sampler("parentbased_traceidratio", Some("0.25")).unwrap());
        let taken = (0..1000).filter(|n| sampling.takes(super::super::trace_of(&n.to_string()))).count();
        assert!((150..350).contains(&taken), "{taken}");
    }
}
