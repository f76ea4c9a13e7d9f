//! Decisions of the scheduler, without an API server: how long one takes on a large cluster.

use std::time::{Duration, Instant};

use anyhow::Context;
use rand::{SeedableRng, rngs::StdRng};
use scheduler::{
    cache::Cache,
    pod::PodInfo,
    queue::Queue,
    sample::Rotation,
    schedule::schedule,
    strategy::{self, Strategy},
};
use serde_json::{Value, json};

use crate::{
    Args,
    load::Measured,
    report::{Report, Row},
};

pub(crate) fn node_name(index: usize) -> String {
    format!("node-{index:05}")
}

pub(crate) fn node(index: usize) -> Value {
    json!({
        "metadata": {"name": node_name(index), "labels": {"topology.kubernetes.io/zone": format!("z{}", index % 3)}},
        "status": {
            "allocatable": {"cpu": "16", "memory": "64Gi", "ephemeral-storage": "100Gi", "pods": "110"},
            "conditions": [
                {"type": "MemoryPressure", "status": "False"}, {"type": "DiskPressure", "status": "False"},
                {"type": "PIDPressure", "status": "False"}, {"type": "Ready", "status": "True"},
            ],
        },
    })
}

pub(crate) fn pod(name: &str, cpu: &str) -> Value {
    let requests = json!({"requests": {"cpu": cpu, "memory": "128Mi"}});
    let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "web", "controller": true});
    json!({
        "metadata": {"namespace": "default", "name": name, "uid": name, "ownerReferences": [owner]},
        "spec": {"containers": [{"name": "main", "resources": requests}]},
    })
}

fn waiting(name: &str, cpu: &str) -> anyhow::Result<PodInfo> {
    Ok(PodInfo::new(serde_json::from_value(pod(name, cpu))?))
}

/// Pods one after another, each on the cluster as those before have left it; then pods that fit nowhere, which
/// means a reason from each node; then pods that leave a long queue.
pub(crate) fn run(args: &Args) -> anyhow::Result<Report> {
    let mut report = Report::new(format!("Scheduler, {} pods on each node", args.pods_per_node));
    for &nodes in &args.nodes {
        let mut cache = cluster(nodes, args.pods_per_node)?;
        for strategy in strategy::ALL {
            let placed = placed(args, &mut cache, strategy)?;
            let row = format!("schedule a pod by {}, {nodes} nodes", strategy.name());
            report.add(Row::new(row).load(&placed));
        }
        let refused = refused(args, &cache)?;
        report.add(Row::new(format!("refuse a pod, {nodes} nodes")).load(&refused));
    }
    report.add(Row::new("take a pod out of the queue").load(&removed(args)?));
    Ok(report)
}

fn cluster(nodes: usize, pods_per_node: usize) -> anyhow::Result<Cache> {
    let mut cache = Cache::default();
    for index in 0..nodes {
        cache.node_applied(serde_json::from_value(node(index))?);
        for other in 0..pods_per_node {
            let mut pod = pod(&format!("on-{index}-{other}"), "100m");
            pod["spec"]["nodeName"] = json!(node_name(index));
            cache.pod_applied(serde_json::from_value(pod)?);
        }
    }
    Ok(cache)
}

fn placed(args: &Args, cache: &mut Cache, strategy: &Strategy) -> anyhow::Result<Measured> {
    let mut rng = StdRng::seed_from_u64(1);
    let mut rotation = Rotation::default();
    each(args.decisions, |index| {
        let pod = waiting(&format!("{}-{index}", strategy.name()), "100m")?;
        let begin = Instant::now();
        let choice = schedule(&pod, cache.snapshot(), strategy, &mut rotation, &mut rng)?;
        cache.assume(&pod, &choice.node);
        Ok(begin.elapsed())
    })
}

fn refused(args: &Args, cache: &Cache) -> anyhow::Result<Measured> {
    let (strategy, mut rng) = ("min-pods".parse::<Strategy>()?, StdRng::seed_from_u64(1));
    let mut rotation = Rotation::default();
    each(args.decisions, |index| {
        let pod = waiting(&index.to_string(), "64")?;
        let begin = Instant::now();
        let refused = schedule(&pod, cache.snapshot(), &strategy, &mut rotation, &mut rng);
        refused.err().context("it fits nowhere")?;
        Ok(begin.elapsed())
    })
}

fn removed(args: &Args) -> anyhow::Result<Measured> {
    let mut queue = Queue::default();
    let pods = (0..args.objects).map(|index| Ok(waiting(&index.to_string(), "1")?.uid));
    let pods = pods.collect::<anyhow::Result<Vec<_>>>()?;
    let now = tokio::time::Instant::now();
    pods.iter().for_each(|pod| queue.add(pod, now));
    each(pods.len(), |index| {
        let begin = Instant::now();
        queue.remove(&pods[pods.len() - 1 - index]);
        Ok(begin.elapsed())
    })
}

fn each(
    count: usize,
    mut once: impl FnMut(usize) -> anyhow::Result<Duration>,
) -> anyhow::Result<Measured> {
    let times = (0..count).map(&mut once).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(Measured::in_turn(&times))
}
