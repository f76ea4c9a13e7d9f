//! Decisions of the scheduler, without an API server: how long one takes on a large cluster.

use std::time::{Duration, Instant};

use anyhow::Context;
use rand::{SeedableRng, rngs::StdRng};
use scheduler::{cache::Cache, pod::PodInfo, queue::Queue, schedule::schedule, strategy::Strategy};
use serde_json::{Value, json};

use crate::{Args, load::Measured, report::Report};

fn node(index: usize) -> Value {
    json!({
        "metadata": {"name": format!("node-{index:05}"), "labels": {"zone": format!("z{}", index % 3)}},
        "status": {
            "allocatable": {"cpu": "16", "memory": "64Gi", "ephemeral-storage": "100Gi", "pods": "110"},
            "conditions": [
                {"type": "MemoryPressure", "status": "False"}, {"type": "DiskPressure", "status": "False"},
                {"type": "PIDPressure", "status": "False"}, {"type": "Ready", "status": "True"},
            ],
        },
    })
}

fn pod(index: usize, cpu: &str) -> anyhow::Result<PodInfo> {
    let requests = json!({"requests": {"cpu": cpu, "memory": "128Mi"}});
    let pod = json!({
        "metadata": {"namespace": "default", "name": format!("pod-{index}"), "uid": index.to_string()},
        "spec": {"containers": [{"name": "main", "resources": requests}]},
    });
    Ok(PodInfo::new(serde_json::from_value(pod)?))
}

/// Pods one after another, each on the cluster as those before have left it; then pods that fit nowhere, which
/// means a reason from each node; then pods that leave a long queue.
pub(crate) fn measure(args: &Args, report: &mut Report) -> anyhow::Result<()> {
    let mut cache = Cache::default();
    for index in 0..args.nodes {
        cache.node_applied(serde_json::from_value(node(index))?);
    }
    report.add("schedule a pod", &placed(args, &mut cache)?);
    report.add("refuse a pod", &refused(args, &cache)?);
    report.add("take a pod out of the queue", &removed(args)?);
    report.note(format!("{} nodes, one thread", args.nodes));
    Ok(())
}

fn placed(args: &Args, cache: &mut Cache) -> anyhow::Result<Measured> {
    let (strategy, mut rng) = ("min-pods".parse::<Strategy>()?, StdRng::seed_from_u64(1));
    each(args.decisions, |index| {
        let pod = pod(index, "100m")?;
        let begin = Instant::now();
        let node = schedule(&pod, cache.snapshot(), &strategy, &mut rng)?;
        cache.assume(&pod, &node);
        Ok(begin.elapsed())
    })
}

fn refused(args: &Args, cache: &Cache) -> anyhow::Result<Measured> {
    let (strategy, mut rng) = ("min-pods".parse::<Strategy>()?, StdRng::seed_from_u64(1));
    each(args.decisions, |index| {
        let pod = pod(index, "64")?;
        let begin = Instant::now();
        let refused = schedule(&pod, cache.snapshot(), &strategy, &mut rng);
        refused.err().context("it fits nowhere")?;
        Ok(begin.elapsed())
    })
}

fn removed(args: &Args) -> anyhow::Result<Measured> {
    let mut queue = Queue::default();
    let pods = (0..args.objects).map(|index| Ok(pod(index, "1")?.uid));
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
