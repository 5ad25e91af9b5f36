//! What kinds an API server has.

use std::time::Duration;

use kube::Client;

use super::watch::Resource;

/// The API server says what there is within this time.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Why a kind can't be watched.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// It is not there, or not fit for it.
    #[error("{0}")]
    Unfit(String),
    /// Nobody knows.
    #[error("the API server doesn't say what kinds there are: {0}")]
    Unreachable(String),
}

/// The kind of that name, if its objects belong to namespaces and can be watched. The core group's name is empty.
pub async fn kind(
    client: &Client,
    group: &str,
    version: &str,
    kind: &str,
) -> Result<Resource, DiscoverError> {
    let api = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let asked = async {
        match group.is_empty() {
            true => client.list_core_api_resources(version).await,
            false => client.list_api_group_resources(&api).await,
        }
    };
    let all = match tokio::time::timeout(TIMEOUT, asked).await {
        Ok(Ok(all)) => all,
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => {
            return Err(DiscoverError::Unfit(format!("this cluster has no API {api}")));
        }
        Ok(Err(error)) => return Err(DiscoverError::Unreachable(error.to_string())),
        Err(_) => return Err(DiscoverError::Unreachable(format!("no answer within {TIMEOUT:?}"))),
    };
    // Subresources have a slash in their names.
    let kinds = || all.resources.iter().filter(|one| !one.name.contains('/'));
    let Some(found) = kinds().find(|one| one.kind == kind) else {
        let mut names: Vec<&str> = kinds().map(|one| one.kind.as_str()).collect();
        names.sort_unstable();
        return Err(DiscoverError::Unfit(format!("{api} has no kind {kind}; it has {}", names.join(", "))));
    };
    if !found.namespaced {
        let why = format!("{kind} belongs to no namespace, and notifications do");
        return Err(DiscoverError::Unfit(why));
    }
    if !["list", "watch"].iter().all(|verb| found.verbs.iter().any(|one| one == verb)) {
        return Err(DiscoverError::Unfit(format!("{kind} can't be watched")));
    }
    Ok(Resource::new(group, version, &found.name, kind))
}
