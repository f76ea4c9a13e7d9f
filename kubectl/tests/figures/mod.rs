//! What nodes and pods use, as their kubelets would tell it.

use api_types::{
    api::core::v1 as core,
    jiff::Timestamp,
    metrics::{NodeMetrics, PodMetrics},
};
use kube::{
    Api,
    api::{ListParams, PostParams},
};
use listwatch::{ContainerUsage, Heartbeat, PodUsage, PodsUsage, Usage};
use testkit::ControlPlane;

/// A pod's namespace and name, and its containers, each with its thousandths of a processor and its bytes.
pub(crate) type Pod = (&'static str, &'static str, &'static [(&'static str, u64, u64)]);

/// Makes a pod that runs on n1, with what it is an app of as a label; its uid.
pub(crate) async fn run(plane: &ControlPlane, namespace: &str, name: &str, app: &str) -> String {
    let api = Api::<core::Pod>::namespaced(plane.client(), namespace);
    let pod = testkit::pod(name).namespace(namespace).label("app", app).node("n1");
    let pod = pod.running("10.244.0.9").build();
    let created = api.create(&PostParams::default(), &pod).await.unwrap();
    api.replace_status(name, &PostParams::default(), &pod).await.unwrap();
    created.metadata.uid.unwrap()
}

/// Says over Redis what a node and its pods use until the API server knows: of the node in the first second of 1970, of
/// each pod in one more.
pub(crate) async fn announce(plane: &ControlPlane, node: (u64, u64), pods: &[Pod]) {
    let usage = |second: i64, milli: u64, bytes: u64| Usage {
        timestamp: Timestamp::from_second(second).unwrap(),
        window_seconds: Some(10.0),
        cpu_nano_cores: Some(milli * 1_000_000 + 1),
        memory_working_set_bytes: Some(bytes),
        ..Usage::default()
    };
    let mut told = Vec::new();
    for (second, (namespace, name, containers)) in (1..).zip(pods) {
        let container = |(name, milli, bytes): &(&str, u64, u64)| ContainerUsage {
            name: (*name).to_owned(),
            usage: usage(second, *milli, *bytes),
        };
        told.push(PodUsage {
            namespace: (*namespace).to_owned(),
            name: (*name).to_owned(),
            uid: run(plane, namespace, name, name).await,
            usage: Usage::default(),
            containers: containers.iter().map(container).collect(),
        });
    }
    let (listwatch, n1) = (plane.listwatch(), "n1".to_owned());
    let beat = Heartbeat {
        node: n1.clone(),
        cpu_percent: 0.0,
        memory_percent: 0.0,
        pods: pods.len(),
        usage: Some(usage(0, node.0, node.1)),
    };
    let all = ListParams::default();
    testkit::wait::until("figures are there", async || {
        listwatch.beat(&beat).await;
        listwatch.announce_pods_usage(&PodsUsage { node: n1.clone(), pods: told.clone() });
        let known = Api::<PodMetrics>::all(plane.client()).list(&all).await.unwrap().items.len();
        let nodes = Api::<NodeMetrics>::all(plane.client()).list(&all).await.unwrap().items.len();
        (known == pods.len() && nodes == 1).then_some(()).ok_or((known, nodes))
    })
    .await;
}
