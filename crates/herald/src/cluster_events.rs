//! Kubernetes Events of ours: what `kubectl describe` tells about notifications.

use std::sync::Arc;

use herald_outbox::Notice;
use herald_sources::kubernetes::event_writer::{About, EventWriter, Happening};

use crate::operator::GivenUp;

/// Tells of notices that are given up on the object that they speak of. `api_version` knows the version of a kind, and
/// nothing is told of kinds that it does not know.
pub(crate) fn given_up(
    writer: Arc<EventWriter>,
    api_version: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
) -> GivenUp {
    Box::new(move |notice: &Notice, reason: &str| {
        let object = &notice.object;
        let Some(api_version) = api_version(&object.kind) else { return };
        let about = About {
            api_version,
            kind: object.kind.clone(),
            namespace: object.namespace.clone(),
            name: object.name.clone(),
            uid: object.uid.clone(),
        };
        writer.tell(Happening::given_up(about, &notice.trigger, &notice.service, &notice.recipient, reason));
    })
}

/// Tells what is wrong with a ConfigMap or Secret.
pub(crate) fn misconfigured(
    writer: &EventWriter,
    kind: &str,
    namespace: &str,
    name: &str,
    uid: &str,
    message: &str,
) {
    let about = About {
        api_version: "v1".into(),
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
    };
    writer.tell(Happening::configuration(about, message));
}
