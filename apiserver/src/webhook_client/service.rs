//! Where a Service leads that a webhook, or another API server, is behind: to one of its endpoints that are ready, as kube-proxy would lead there.

use std::net::{IpAddr, SocketAddr};

use api_machinery::ApiError;
use serde_json::Value;
use store::{Store, cache::Cache};
use uuid::Uuid;

use crate::{
    encoded::{self, Decoded},
    service_endpoints,
};

/// The Services there are: whoever converts what is stored asks for them from below the storage.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Services<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) cache: &'a Cache<Decoded>,
}

impl Services<'_> {
    /// Finds the place, or says why there is none.
    pub(crate) async fn find(
        self,
        namespace: &str,
        name: &str,
        port: u16,
    ) -> Result<SocketAddr, String> {
        let service = self.read(namespace, name).await?;
        let mut ports = service["spec"]["ports"].as_array().into_iter().flatten();
        let found = ports
            .find(|it| it["port"] == port)
            .ok_or_else(|| format!("no service port {port} found for service {name:?}"))?;
        let slices = service_endpoints::slices(self.cache, Some(namespace), name);
        let slices = slices.map_err(|error| error.to_string())?;
        let mut ready =
            service_endpoints::ready(&slices, found["name"].as_str().unwrap_or_default());
        if !ready.is_empty() {
            let random = usize::try_from(Uuid::new_v4().as_u64_pair().1).unwrap_or_default();
            return Ok(ready.swap_remove(random % ready.len()).address);
        }
        // Of a Service without a selector nobody has to tell who is behind it: kube-proxy may know.
        let address =
            service["spec"]["clusterIP"].as_str().and_then(|it| it.parse::<IpAddr>().ok());
        let has_selector = service["spec"]["selector"].as_object().is_some_and(|it| !it.is_empty());
        match address.filter(|_| !has_selector) {
            Some(address) => Ok(SocketAddr::new(address, port)),
            None => Err(format!("no endpoints available for service {name:?}")),
        }
    }

    async fn read(self, namespace: &str, name: &str) -> Result<Value, String> {
        let key = format!("/registry/core/services/{namespace}/{name}");
        let found = self.store.get(&key).await.map_err(|error| error.to_string())?;
        let entry = found.ok_or_else(|| ApiError::not_found("", "services", name).to_string())?;
        encoded::decode(&entry).map_err(|error| error.to_string())
    }
}
