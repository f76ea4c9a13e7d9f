//! The cluster's services, as far as containers are told of them.

use std::time::Duration;

use api_types::api::core::v1::Service;
use component::Tasks;
use futures::StreamExt;
use kube::runtime::reflector::Store;
use listwatch::{ListWatch, Scope};
use tokio_util::sync::CancellationToken;

use crate::container::service_links;

/// How long a start waits for the first list.
const FIRST_LIST: Duration = Duration::from_secs(5);

/// The services were not listed yet, so a container would not be told of them.
#[derive(Debug, thiserror::Error)]
#[error("services have not yet been read at least once, cannot construct envvars")]
pub struct NotRead;

/// All services, kept up to date.
#[derive(Clone, Debug)]
pub struct Services {
    store: Store<Service>,
}

impl Services {
    /// Follows the services until shutdown.
    pub fn follow(listwatch: &ListWatch, tasks: &Tasks, shutdown: CancellationToken) -> Self {
        let (store, changes) = listwatch.reflect::<Service>(Scope::All);
        let follow = changes.for_each(async |change| {
            if let Err(error) = change {
                tracing::debug!(%error, "cannot watch the services");
            }
        });
        tasks.spawn("following the Services", async move {
            shutdown.run_until_cancelled(follow).await;
        });
        Self { store }
    }

    /// These, for good.
    #[cfg(test)]
    pub(crate) fn fixed(services: impl IntoIterator<Item = Service>) -> Self {
        use kube::runtime::{reflector, watcher::Event};
        let (store, mut writer) = reflector::store();
        writer.apply_watcher_event(&Event::Init);
        for service in services {
            writer.apply_watcher_event(&Event::InitApply(service));
        }
        writer.apply_watcher_event(&Event::InitDone);
        Self { store }
    }

    /// What a container of the namespace is told; `all`: of more than the API server.
    pub async fn variables(
        &self,
        namespace: &str,
        all: bool,
    ) -> Result<Vec<(String, String)>, NotRead> {
        let listed = tokio::time::timeout(FIRST_LIST, self.store.wait_until_ready()).await;
        match listed {
            Ok(Ok(())) => Ok(service_links::variables(&self.store.state(), namespace, all)),
            _ => Err(NotRead),
        }
    }
}

#[cfg(test)]
mod tests {
    use testkit::{ControlPlane, wait};

    use super::*;

    #[tokio::test]
    async fn a_panic_while_services_are_followed_ends_the_program() {
        let plane = ControlPlane::start().await;
        let tasks = Tasks::default();
        let _fault = plane.panic(|request| request.uri().path() == "/api/v1/services");
        Services::follow(&plane.listwatch(), &tasks, CancellationToken::new());
        let said = wait::within("the program is told", tasks.panicked()).await.to_string();
        assert_eq!(said, "following the Services has failed");
    }
}
