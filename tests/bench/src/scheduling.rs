//! Decisions of the scheduler, without an API server: how long one takes on a large cluster.

use std::time::{Duration, Instant};

use anyhow::Context;
use rand::{SeedableRng, rngs::StdRng};
use scheduler::{
    cache::Cache, pod::PodInfo, queue::Queue, sample::Rotation, schedule::schedule,
    strategy::Strategy,
};
use serde_json::{Value, json};

use crate::{Args, load::Measured, report::Report};

fn node_name(index: usize) -> String {
    format!("node-{index:05}")
}

fn node(index: usize) -> Value {
    json!({
        "metadata": {"name": node_name(index), "labels": {"zone": format!("z{}", index % 3)}},
        "status": {
            "allocatable": {"cpu": "16", "memory": "64Gi", "ephemeral-storage": "100Gi", "pods": "110"},
            "conditions": [
                {"type": "MemoryPressure", "status": "False"}, {"type": "DiskPressure", "status": "False"},
                {"type": "PIDPressure", "status": "False"}, {"type": "Ready", "status": "True"},
            ],
        },
    })
}

fn pod(name: &str, cpu: &str) -> Value {
    let requests = json!({"requests": {"cpu": cpu, "memory": "128Mi"}});
    json!({
        "metadata": {"namespace": "default", "name": name, "uid": name},
        "spec": {"containers": [{"name": "main", "resources": requests}]},
    })
}

fn waiting(index: usize, cpu: &str) -> anyhow::Result<PodInfo> {
    Ok(PodInfo::new(serde_json::from_value(pod(&index.to_string(), cpu))?))
}

/// Pods one after another, each on the cluster as those before have left it; then pods that fit nowhere, which
/// means a reason from each node; then pods that leave a long queue.
pub(crate) fn measure(args: &Args, report: &mut Report) -> anyhow::Result<()> {
    for &nodes in &args.nodes {
        let mut cache = cluster(nodes, args.pods_per_node)?;
        report.add(&format!("schedule a pod, {nodes} nodes"), &placed(args, &mut cache)?);
        report.add(&format!("refuse a pod, {nodes} nodes"), &refused(args, &cache)?);
    }
    report.add("take a pod out of the queue", &removed(args)?);
    report.note(format!("{} pods on each node before, one thread", args.pods_per_node));
    Ok(())
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

fn placed(args: &Args, cache: &mut Cache) -> anyhow::Result<Measured> {
    let (strategy, mut rng) = ("min-pods".parse::<Strategy>()?, StdRng::seed_from_u64(1));
    let mut rotation = Rotation::default();
    each(args.decisions, |index| {
        let pod = waiting(index, "100m")?;
        let begin = Instant::now();
        let node = schedule(&pod, cache.snapshot(), &strategy, &mut rotation, &mut rng)?;
        cache.assume(&pod, &node);
        Ok(begin.elapsed())
    })
}

fn refused(args: &Args, cache: &Cache) -> anyhow::Result<Measured> {
    let (strategy, mut rng) = ("min-pods".parse::<Strategy>()?, StdRng::seed_from_u64(1));
    let mut rotation = Rotation::default();
    each(args.decisions, |index| {
        let pod = waiting(index, "64")?;
        let begin = Instant::now();
        let refused = schedule(&pod, cache.snapshot(), &strategy, &mut rotation, &mut rng);
        refused.err().context("it fits nowhere")?;
        Ok(begin.elapsed())
    })
}

fn removed(args: &Args) -> anyhow::Result<Measured> {
    let mut queue = Queue::default();
    let pods = (0..args.objects).map(|index| Ok(waiting(index, "1")?.uid));
    let pods = pods.collect::<anyhow::Result<Vec<_>>>()?;
    pods.iter().for_each(|pod| queue.add(pod));
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
    let all = times.iter().sum();
    Ok(Measured::new(times, all))
}
