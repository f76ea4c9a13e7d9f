//! Containers that are to take more or less while they run.

use std::time::Duration;

use kubelet::runtime::{ContainerSpec, Resources, Runtime, command::run};

use crate::{Node, container};

#[tokio::test]
async fn a_container_is_marked_for_when_memory_is_short() {
    let node = Node::start("10.219.34.0/24").await;
    let pod = node.pod("a");
    let (sandbox, _) = node.sandbox(&pod).await;
    let script = "cat /proc/self/oom_score_adj";
    let spec = ContainerSpec { oom_score_adj: 321, ..container(&pod, &sandbox, script) };
    let id = node.runtime.create(&spec).await.unwrap();
    node.runtime.start(&id).await.unwrap();
    let (_, output) = node.outcome(&pod, &id).await;
    assert_eq!(output.trim(), "321");
}

#[tokio::test]
async fn a_container_that_runs_is_given_other_bounds() {
    let node = Node::start("10.219.32.0/24").await;
    let pod = node.pod("a");
    let (sandbox, _) = node.sandbox(&pod).await;
    let id = node.run(&pod, &sandbox, "sleep 1000").await;
    assert_eq!(node.find(&pod, &id).await.resources, Resources::default());
    let small =
        Resources { cpu_shares: Some(512), cpu_quota: Some(50_000), memory: Some(64 << 20) };
    let large = Resources { memory: Some(128 << 20), ..small };
    for bounds in [small, large, small] {
        node.runtime.update(&id, &bounds).await.unwrap();
        assert_eq!(node.find(&pod, &id).await.resources, bounds);
        let files =
            "cat /sys/fs/cgroup/memory/memory.limit_in_bytes || cat /sys/fs/cgroup/memory.max";
        let script = ["sh", "-c", files].map(str::to_owned);
        let patience = Duration::from_secs(10);
        let (_, output) = run(node.runtime.clone(), &id, &script, patience).await.unwrap();
        let limit = bounds.memory.unwrap().to_string();
        assert!(output.contains(&limit), "{output:?}");
    }
    node.runtime.update(&id, &Resources { memory: Some(1), ..small }).await.unwrap_err();
    assert_eq!(node.find(&pod, &id).await.resources, small);
}
