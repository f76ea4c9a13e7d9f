//! A finalizer of a pod that is taken away, whatever else becomes of the pod meanwhile.

use api_types::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

use crate::frame::{Error, Step};

/// The pod without it; `None` if the pod is gone.
pub(crate) async fn remove_finalizer(
    client: &Client,
    pod: &Pod,
    finalizer: &str,
) -> Result<Option<Pod>, Error> {
    let metadata = &pod.metadata;
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let name = metadata.name.as_deref().unwrap_or_default();
    let patch = json!({"metadata": {
        "uid": metadata.uid,
        "$deleteFromPrimitiveList/finalizers": [finalizer],
    }});
    let api = Api::<Pod>::namespaced(client.clone(), namespace);
    let patched = api.patch(name, &PatchParams::default(), &Patch::Strategic(patch)).await;
    patched.unless_gone("removing a finalizer of a pod")
}
