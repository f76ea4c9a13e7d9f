use std::{future::pending, sync::Arc};

use serde_json::{Value, json};
use testkit::ControlPlane;

use super::*;
use crate::runtime::fake::Fake;

/// Starts a container with this security context; gives its failure.
async fn started(security: &Value) -> Result<(), Failure> {
    let (control_plane, root) = (ControlPlane::start().await, tempfile::tempdir().unwrap());
    let runtime = Arc::new(Fake::with_images(&["busybox:1"]));
    let context = Context::fake(control_plane.client(), runtime, root.path().to_owned());
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "u"},
        "spec": {"containers": [
            {"name": "main", "image": "busybox:1", "securityContext": security}]},
    }))
    .unwrap();
    let mut starter = Starter {
        context: &context,
        pod: &pod,
        sandbox_id: "s",
        pod_ip: "10.244.0.2",
        pulls: &mut BackOff::default(),
    };
    let wanted = spec::container(&pod, "main").unwrap();
    starter.start(wanted, 0, pending()).await
}

#[tokio::test]
async fn a_container_that_may_not_be_root_waits_with_the_reason() {
    let waiting = started(&json!({"runAsNonRoot": true})).await.unwrap_err().waiting;
    assert_eq!(waiting.reason, "CreateContainerConfigError");
    let message = "container has runAsNonRoot and image will run as root \
                   (pod: \"web_default(u)\", container: main)";
    assert_eq!(waiting.message, message);
    assert!(started(&json!({"runAsNonRoot": true, "runAsUser": 5})).await.is_ok());
}

#[tokio::test]
async fn a_seccomp_profile_that_is_not_there_keeps_the_container_from_starting() {
    let profile = json!({"type": "Localhost", "localhostProfile": "none.json"});
    let waiting = started(&json!({"seccompProfile": profile})).await.unwrap_err().waiting;
    assert_eq!(waiting.reason, "CreateContainerConfigError");
    assert!(waiting.message.contains("none.json"), "{}", waiting.message);
}
