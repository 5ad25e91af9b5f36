//! Where leases are kept.

use async_trait::async_trait;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, PostParams, Preconditions},
};

/// Why a request for a lease did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// Somebody else was faster.
    #[error("the lease was changed by somebody else")]
    Conflict,
    /// It is not there.
    #[error("the lease is not there")]
    NotFound,
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// Where leases are kept.
#[async_trait]
pub trait LeaseStore: Send + Sync + 'static {
    /// A lease.
    async fn get(&self, name: &str) -> Result<Option<Lease>, LeaseError>;
    /// Creates it; a conflict if it is there.
    async fn create(&self, lease: Lease) -> Result<Lease, LeaseError>;
    /// Replaces it, if it still has the resource version that it carries.
    async fn update(&self, lease: Lease) -> Result<Lease, LeaseError>;
    /// Those with a label.
    async fn list(&self, selector: &str) -> Result<Vec<Lease>, LeaseError>;
    /// Deletes it, if it still has this resource version.
    async fn delete(&self, name: &str, version: Option<&str>) -> Result<(), LeaseError>;
}

/// Leases of a namespace of a cluster.
#[derive(Clone)]
pub struct KubeLeases(Api<Lease>);

impl KubeLeases {
    /// Those of a namespace.
    pub fn new(client: Client, namespace: &str) -> KubeLeases {
        KubeLeases(Api::namespaced(client, namespace))
    }
}

fn params() -> PostParams {
    PostParams { field_manager: Some("herald".into()), ..PostParams::default() }
}

fn failed(error: kube::Error) -> LeaseError {
    match &error {
        kube::Error::Api(status) if status.code == 409 => LeaseError::Conflict,
        kube::Error::Api(status) if status.code == 404 => LeaseError::NotFound,
        kube::Error::Api(status) => LeaseError::Failed(status.message.clone()),
        _ => LeaseError::Failed(error.to_string()),
    }
}

#[async_trait]
impl LeaseStore for KubeLeases {
    async fn get(&self, name: &str) -> Result<Option<Lease>, LeaseError> {
        self.0.get_opt(name).await.map_err(failed)
    }

    async fn create(&self, lease: Lease) -> Result<Lease, LeaseError> {
        self.0.create(&params(), &lease).await.map_err(failed)
    }

    async fn update(&self, lease: Lease) -> Result<Lease, LeaseError> {
        let name = lease.metadata.name.clone().unwrap_or_default();
        self.0.replace(&name, &params(), &lease).await.map_err(failed)
    }

    async fn list(&self, selector: &str) -> Result<Vec<Lease>, LeaseError> {
        let list = self.0.list(&ListParams::default().labels(selector)).await.map_err(failed)?;
        Ok(list.items)
    }

    async fn delete(&self, name: &str, version: Option<&str>) -> Result<(), LeaseError> {
        let preconditions =
            version.map(|version| Preconditions { resource_version: Some(version.to_owned()), uid: None });
        let params = DeleteParams { preconditions, ..DeleteParams::default() };
        self.0.delete(name, &params).await.map(drop).map_err(failed)
    }
}
