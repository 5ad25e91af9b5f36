//! What is watched: Rollouts, or objects of one other kind. Those have no lifecycle: triggers with a `when` are for them.

use std::{fmt, str::FromStr};

use herald_core::variables;
use herald_sources::kubernetes::{
    Client,
    discover::{self, DiscoverError},
    watch::Resource,
};

use crate::{failure::Failure, pipeline::engine::SCOPE};

/// A kind as `--resource` names it: `group/version/Kind`, for the core group `v1/Kind`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResourceName {
    group: String,
    version: String,
    kind: String,
}

impl FromStr for ResourceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        let (group, version, kind) = match parts.as_slice() {
            [version, kind] => ("", *version, *kind),
            [group, version, kind] => (*group, *version, *kind),
            _ => ("", "", ""),
        };
        let is_version =
            version.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        let is_kind = kind.starts_with(|c: char| c.is_ascii_uppercase())
            && kind.chars().all(|c| c.is_ascii_alphanumeric());
        let is_group = group.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'));
        if !is_version || !is_kind || !is_group {
            return Err(format!(
                "{text:?} names no kind; write group/version/Kind, such as apps/v1/Deployment or v1/Pod"
            ));
        }
        let name = ResourceName { group: group.into(), version: version.into(), kind: kind.into() };
        let variable = name.variable();
        if variables::BUILT_IN.contains(&variable.as_str()) {
            return Err(format!(
                "objects of kind {kind} can't be watched: conditions have another `{variable}`"
            ));
        }
        Ok(name)
    }
}

impl ResourceName {
    /// The variable under which conditions and templates see the objects.
    pub(crate) fn variable(&self) -> String {
        variables::of_kind(&self.kind)
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = if self.group.is_empty() { "" } else { "/" };
        write!(f, "{}{slash}{}/{}", self.group, self.version, self.kind)
    }
}

/// The kind that is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Watched {
    resource: Resource,
}

impl Watched {
    /// Rollouts.
    pub(crate) fn rollouts() -> Watched {
        Watched { resource: Resource::new("argoproj.io", "v1alpha1", "rollouts", "Rollout") }
    }

    /// The kind of that name, as the API server knows it.
    pub(crate) async fn find(client: &Client, name: &ResourceName) -> Result<Watched, Failure> {
        let ResourceName { group, version, kind } = name;
        let resource = discover::kind(client, group, version, kind).await;
        resource.map(|resource| Watched { resource }).map_err(|error| {
            let message = format!("--resource {name}: {error}");
            match error {
                DiscoverError::Unfit(_) => Failure::bad(message),
                DiscoverError::Unreachable(_) => Failure::unreachable(message),
            }
        })
    }

    /// Whether it is what Herald is made for.
    pub(crate) fn is_rollouts(&self) -> bool {
        *self == Watched::rollouts()
    }

    /// The kind, as watches and patches name it.
    pub(crate) fn resource(&self) -> Resource {
        self.resource.clone()
    }

    /// The kind's name.
    pub(crate) fn kind(&self) -> &str {
        &self.resource.kind
    }

    /// Where the store keeps what is known of them.
    pub(crate) fn scope(&self) -> String {
        if self.is_rollouts() { SCOPE.to_owned() } else { self.resource.to_string() }
    }

    /// A name of something that each kind has of its own: a lease, or a key in the store.
    pub(crate) fn own(&self, name: &str) -> String {
        if self.is_rollouts() { name.to_owned() } else { format!("{name}-{}", self.resource) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_named_by_group_version_and_kind() {
        let name: ResourceName = "apps/v1/Deployment".parse().unwrap();
        assert_eq!(
            (name.group.as_str(), name.version.as_str(), name.kind.as_str()),
            ("apps", "v1", "Deployment")
        );
        for core in ["v1/Pod", "/v1/Pod"] {
            let name: ResourceName = core.parse().unwrap();
            assert_eq!((name.group.as_str(), name.version.as_str(), name.kind.as_str()), ("", "v1", "Pod"));
        }
        for wrong in
            ["", "Deployment", "apps/Deployment", "apps/v1/deployments", "a/b/v1/C", "apps/v1/", "a b/v1/C"]
        {
            let error = wrong.parse::<ResourceName>().unwrap_err();
            assert!(error.contains("apps/v1/Deployment"), "{wrong}: {error}");
        }
        let error = "v1/Event".parse::<ResourceName>().unwrap_err();
        assert!(error.contains("another `event`"), "{error}");
    }

    #[test]
    fn what_is_known_of_rollouts_stays_where_it_was() {
        let rollouts = Watched::rollouts();
        assert_eq!((rollouts.scope().as_str(), rollouts.own("herald").as_str()), ("rollout", "herald"));
        let deployments = Watched { resource: Resource::new("apps", "v1", "deployments", "Deployment") };
        assert_eq!(deployments.scope(), "deployments.apps");
        assert_eq!(deployments.own("herald"), "herald-deployments.apps");
    }
}
