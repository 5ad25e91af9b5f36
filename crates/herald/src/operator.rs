//! What operators see: health, readiness, metrics.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use herald_outbox::{Notice, Observer};
use herald_web::{Operator, metrics::Metrics};
use jiff::Timestamp;

use crate::{failure::Failure, pipeline::report::Reporter};

/// The state that operators ask about.
pub(crate) struct Health {
    metrics: Metrics,
    ready: AtomicBool,
    reporter: Arc<Reporter>,
}

impl Health {
    pub(crate) fn new(reporter: Arc<Reporter>) -> Arc<Health> {
        let metrics = Metrics::new(env!("CARGO_PKG_VERSION"));
        Arc::new(Health { metrics, ready: AtomicBool::new(false), reporter })
    }

    /// The first look is done.
    pub(crate) fn is_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// Answers on these ports until the program ends.
    pub(crate) async fn serve(self: &Arc<Self>, ports: &[u16]) -> Result<(), Failure> {
        let mut opened = Vec::new();
        for port in ports.iter().copied().filter(|port| *port != 0) {
            if opened.contains(&port) {
                continue;
            }
            let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
            let listener = tokio::net::TcpListener::bind(address).await.map_err(|e| {
                Failure::bad(format!("can't listen on port {port}: {e}; choose another one, or 0 for none"))
            })?;
            opened.push(port);
            tokio::spawn(herald_web::serve(listener, self.clone(), std::future::pending()));
        }
        Ok(())
    }
}

impl Operator for Health {
    fn ready(&self) -> Result<(), String> {
        match self.ready.load(Ordering::Acquire) {
            true => Ok(()),
            false => Err("the first look at the objects is not done".into()),
        }
    }

    fn metrics(&self) -> String {
        self.metrics.problems(self.reporter.count());
        self.metrics.text()
    }
}

impl Observer for Health {
    fn attempted(&self, notice: &Notice, outcome: &str, took: Duration) {
        self.metrics.attempted(&notice.service, outcome, took);
    }

    fn dead_letter(&self, notice: &Notice, reason: &str) {
        self.metrics.dead_letter(&notice.service);
        tracing::error!(
            rollout = format!("{}/{}", notice.object.namespace, notice.object.name),
            trigger = notice.trigger,
            service = notice.service,
            delivery_id = notice.id,
            "given up: {reason}"
        );
    }

    fn backlog(&self, waiting: u64, oldest: Option<Timestamp>) {
        let age = oldest.map_or(0.0, |oldest| Timestamp::now().duration_since(oldest).as_secs_f64());
        self.metrics.backlog(waiting, age.max(0.0));
    }
}
