//! A control plane for the tests of an operator: the API server in the test's own process, with a store of its own. No cluster, no
//! container, no port, nothing to download; it is ready in a moment, and gone with the test, so that each test has one.
//!
//! It is the whole API server: definitions with schemas, defaults, rules in CEL and conversion, server-side apply, watches,
//! webhooks, policies, roles. As with controller-runtime's envtest there are no controllers, kubelets or schedulers beside the
//! operator's own: no pod runs, a Deployment makes no pods, and what an owner leaves behind is not collected. What controllers
//! would say in a status, a test writes itself.
//!
//! ```no_run
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! use envtest::Environment;
//! use k8s_openapi::api::core::v1::ConfigMap;
//! use kube::{Api, api::ListParams};
//!
//! let environment = Environment::start().await;
//! let maps = Api::<ConfigMap>::default_namespaced(environment.client());
//! assert!(maps.list(&ListParams::default()).await.unwrap().items.is_empty());
//! # });
//! ```
//!
//! `tests/operator.rs` is an operator's test.

use std::path::PathBuf;

use api_types::k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, ResourceExt,
    api::PostParams,
    runtime::wait::{await_condition, conditions::is_crd_established},
};
use testkit::ControlPlane;

/// A control plane. It ends when it is dropped.
#[derive(Debug)]
pub struct Environment(ControlPlane);

impl Environment {
    /// Starts one.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn start() -> Self {
        Self(ControlPlane::start().await)
    }

    /// Starts one that is also reached over HTTPS, on a free port of 127.0.0.1: by programs, and by what the operator starts with a
    /// [kubeconfig](Self::kubeconfig).
    ///
    /// # Panics
    /// If it does not start.
    pub async fn listening() -> Self {
        Self(ControlPlane::builder().listen().start().await)
    }

    /// A client of the administrator, who may do everything.
    #[must_use]
    pub fn client(&self) -> Client {
        self.0.client()
    }

    /// A client of somebody else, who may do what roles say: of the operator as it is deployed,
    /// `system:serviceaccount:NAMESPACE:NAME`.
    #[must_use]
    pub fn client_as(&self, user: &str, groups: &[&str]) -> Client {
        self.0.client_as(user, groups)
    }

    /// A kubeconfig for programs: that of the administrator, if the groups are `["system:masters"]`.
    ///
    /// # Panics
    /// If the control plane does not [listen](Self::listening).
    #[must_use]
    pub fn kubeconfig(&self, user: &str, groups: &[&str]) -> PathBuf {
        self.0.kubeconfig(user, groups, &[])
    }

    /// Installs definitions, and waits until what they define is served.
    ///
    /// # Errors
    /// If one is refused.
    pub async fn install(
        &self,
        definitions: impl IntoIterator<Item = CustomResourceDefinition>,
    ) -> kube::Result<()> {
        let api = Api::<CustomResourceDefinition>::all(self.client());
        for definition in definitions {
            let created = api.create(&PostParams::default(), &definition).await?;
            let name = created.name_any();
            let established = await_condition(api.clone(), &name, is_crd_established());
            established.await.expect("the server that took a definition tells of it");
        }
        Ok(())
    }
}
