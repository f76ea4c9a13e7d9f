//! Commands that connect to pods, as far as they come without a node.

use api_types::api::core::v1::Pod;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::{harness::Kubectl, pod};

#[tokio::test]
async fn what_cannot_be_connected_to_is_said_as_kubectl_says_it() {
    let kubectl = Kubectl::new().await;
    kubectl.ok_with("apply -f -", &pod("web", "nginx:1")).await;
    for (line, why) in [
        ("exec", "error: pod, type/name or --filename must be specified"),
        ("exec web", "error: you must specify at least one command for the container"),
        ("exec none -- date", "Error from server (NotFound): pods \"none\" not found"),
        ("exec web -c other -- date", "error: container other is not valid for pod web"),
        (
            "exec web -- date",
            "Error from server (BadRequest): pod web does not have a host assigned",
        ),
        ("attach web", "Error from server (BadRequest): pod web does not have a host assigned"),
        (
            "port-forward web 80",
            "error: unable to forward port because pod is not running. Current status=Pending",
        ),
    ] {
        assert_eq!(kubectl.fails(line, "").await, why, "{line}");
    }
    for (line, why) in [
        ("exec web date", "error: exec [POD] [COMMAND] is not supported anymore."),
        ("attach", "error: at least 1 argument is required for attach"),
        ("port-forward web", "error: TYPE/NAME and list of ports are required for port-forward"),
        ("exec -it web -- date", "Unable to use a TTY - input is not a terminal"),
        ("attach -t web", "error: Unable to use a TTY - container main did not allocate one"),
    ] {
        let said = kubectl.fails(line, "").await;
        assert!(said.starts_with(why), "{line}: {said}");
    }
}

#[tokio::test]
async fn a_pod_that_is_over_is_not_connected_to() {
    let kubectl = Kubectl::new().await;
    kubectl.ok_with("apply -f -", &pod("web", "nginx:1")).await;
    let pods: Api<Pod> = Api::default_namespaced(kubectl.plane.client());
    let over = Patch::Merge(json!({"status": {"phase": "Succeeded"}}));
    pods.patch_status("web", &PatchParams::default(), &over).await.unwrap();
    let why = "a container in a completed pod; current phase is Succeeded";
    let said = kubectl.fails("exec web -- date", "").await;
    assert_eq!(said, format!("error: cannot exec into {why}"));
    assert_eq!(kubectl.fails("attach web", "").await, format!("error: cannot attach {why}"));
}
