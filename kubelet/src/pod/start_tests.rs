use std::{future::ready, sync::Arc};

use api_types::api::core::v1::Service;
use serde_json::{Value, json};
use testkit::ControlPlane;

use super::*;
use crate::{runtime::fake::Fake, services::Services};

/// For a pod with this spec, which is completed.
fn starter(context: Context, mut spec: Value) -> Starter {
    spec["containers"] = json!([{"name": "main", "image": "busybox:1"}]);
    let metadata = json!({"name": "web", "namespace": "default", "uid": "u"});
    let pod = json!({"metadata": metadata, "spec": spec});
    let ips = Ips { first: "10.244.0.2".to_owned(), second: Some("fd00:10:244::2".to_owned()) };
    let place = Place::new("s".to_owned(), ips);
    Starter {
        context: Arc::new(context),
        pod: serde_json::from_value(pod).unwrap(),
        place: watch::Sender::new(place).subscribe(),
        shared: Arc::default(),
    }
}

/// Starts the container of such a pod; gives its failure, or its environment.
async fn started(spec: Value) -> Result<Vec<String>, Failure> {
    let (control_plane, root) = (ControlPlane::start().await, tempfile::tempdir().unwrap());
    let runtime = Arc::new(Fake::with_images(&["busybox:1"]));
    let services =
        ["kubernetes", "db"].map(|name| testkit::service(name).port(80, 80).with(given_ip).build());
    let context = Context {
        publish_ports: false,
        services: Services::fixed(services),
        ..Context::fake(control_plane.client(), runtime.clone(), root.path().to_owned())
    };
    let starter = starter(context, spec);
    let wanted = spec::container(&starter.pod, "main").unwrap();
    starter.start(&wanted, 0, ready(()), &CancellationToken::new()).await?;
    Ok(runtime.specs().remove(0).env)
}

fn given_ip(service: &mut Service) {
    service.spec.get_or_insert_default().cluster_ip = Some("10.96.0.9".to_owned());
}

async fn waiting(security: &Value) -> Waiting {
    started(json!({"securityContext": security})).await.unwrap_err().waiting
}

#[tokio::test]
async fn a_container_that_may_not_be_root_waits_with_the_reason() {
    let waiting = waiting(&json!({"runAsNonRoot": true})).await;
    assert_eq!(waiting.reason, "CreateContainerConfigError");
    let message = "container has runAsNonRoot and image will run as root \
                   (pod: \"web_default(u)\", container: main)";
    assert_eq!(waiting.message, message);
    let other = json!({"securityContext": {"runAsNonRoot": true, "runAsUser": 5}});
    assert!(started(other).await.is_ok());
}

#[tokio::test]
async fn a_seccomp_profile_that_is_not_there_keeps_the_container_from_starting() {
    let profile = json!({"type": "Localhost", "localhostProfile": "none.json"});
    let waiting = waiting(&json!({"seccompProfile": profile})).await;
    assert_eq!(waiting.reason, "CreateContainerConfigError");
    assert!(waiting.message.contains("none.json"), "{}", waiting.message);
}

#[tokio::test]
async fn a_container_is_told_of_services_unless_its_pod_wants_no_links() {
    let told = async |spec: Value| {
        let environment = started(spec).await.unwrap();
        ["KUBERNETES", "DB"]
            .map(|name| environment.contains(&format!("{name}_SERVICE_HOST=10.96.0.9")))
    };
    assert_eq!(told(json!({})).await, [true, true]);
    assert_eq!(told(json!({"enableServiceLinks": true})).await, [true, true]);
    assert_eq!(told(json!({"enableServiceLinks": false})).await, [true, false]);
}

#[tokio::test]
async fn a_container_is_told_the_addresses_of_both_families() {
    let (control_plane, root) = (ControlPlane::start().await, tempfile::tempdir().unwrap());
    let runtime = Arc::new(Fake::with_images(&["busybox:1"]));
    let context = Context::fake(control_plane.client(), runtime, root.path().to_owned());
    let starter = starter(context, json!({}));
    let wanted = spec::container(&starter.pod, "main").unwrap();
    starter.start(&wanted, 0, ready(()), &CancellationToken::new()).await.unwrap();
    let hosts = std::fs::read_to_string(starter.context.pod_dir("u").join("etc-hosts")).unwrap();
    assert!(hosts.contains("10.244.0.2\tweb") && hosts.contains("fd00:10:244::2\tweb"), "{hosts}");
}

#[tokio::test]
async fn the_kernel_is_told_how_readily_to_end_a_container() {
    let (control_plane, root) = (ControlPlane::start().await, tempfile::tempdir().unwrap());
    let runtime = Arc::new(Fake::with_images(&["busybox:1"]));
    let context = Context::fake(control_plane.client(), runtime.clone(), root.path().to_owned());
    let mut starter = starter(context, json!({}));
    let mut pod = Pod::clone(&starter.pod);
    pod.status.get_or_insert_default().qos_class = Some("BestEffort".to_owned());
    starter.pod = Arc::new(pod);
    let wanted = spec::container(&starter.pod, "main").unwrap();
    starter.start(&wanted, 0, ready(()), &CancellationToken::new()).await.unwrap();
    assert_eq!(runtime.specs().remove(0).oom_score_adj, 1000);
}

#[tokio::test]
async fn the_files_of_a_pod_are_made_by_one_start_at_a_time() {
    let (control_plane, root) = (ControlPlane::start().await, tempfile::tempdir().unwrap());
    let runtime = Arc::new(Fake::with_images(&["busybox:1"]));
    let context = Context::fake(control_plane.client(), runtime, root.path().to_owned());
    let starter = starter(context, json!({"volumes": [{"name": "v", "emptyDir": {}}]}));
    let wanted = spec::container(&starter.pod, "main").unwrap();
    let turn = starter.shared.files.lock().await;
    let cancelled = CancellationToken::new();
    let mut start = std::pin::pin!(starter.start(&wanted, 0, ready(()), &cancelled));
    assert!(futures::poll!(&mut start).is_pending());
    let made = || starter.context.pod_dir("u").exists();
    assert!(!made());
    drop(turn);
    start.await.unwrap();
    assert!(made());
}
