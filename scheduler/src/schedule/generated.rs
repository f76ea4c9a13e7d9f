//! Each strategy on generated clusters: the node that is chosen is the best of those that fit by what the strategy is for.

use std::sync::Arc;

use proptest::prelude::{prop, prop_assert, prop_assert_eq, proptest};
use proptest::strategy::Strategy as _;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;
use tokio::time::Instant;

use super::*;
use crate::plugins::tests::pod;
use crate::pod::Uid;
use crate::snapshot::{Share, Shares, Usage};
use crate::strategy;

const CONTROLLER: &str = "web";

#[derive(Clone, Debug)]
struct Shape {
    /// In tenths of a core, and of GiB.
    cpu: u32,
    memory: u32,
    /// Those of the controller, and others; each takes a tenth of each.
    own: usize,
    others: usize,
    usage: (f64, f64),
}

fn shape() -> impl proptest::strategy::Strategy<Value = Shape> {
    let usage = (0.0..1.0, 0.0..1.0);
    (1..80_u32, 1..80_u32, 0..4_usize, 0..8_usize, usage)
        .prop_map(|(cpu, memory, own, others, usage)| Shape { cpu, memory, own, others, usage })
}

/// A pod that asks for a tenth of a core and of a GiB.
fn modest(controller: Option<&str>) -> PodInfo {
    let requests = json!({"cpu": "100m", "memory": TENTH.to_string()});
    let pod = pod(json!({"containers": [{"name": "c", "resources": {"requests": requests}}]}));
    PodInfo { controller: controller.map(Uid::from), ..pod }
}

const TENTH: u64 = (1 << 30) / 10;

fn cluster(shapes: &[Shape]) -> Snapshot {
    let (mut cluster, now) = (Snapshot::default(), Instant::now());
    cluster.set_time(now);
    for (index, shape) in shapes.iter().enumerate() {
        let allocatable = json!({"cpu": format!("{}00m", shape.cpu), "pods": "110",
            "memory": (u64::from(shape.memory) * TENTH).to_string()});
        let node = json!({"metadata": {"name": index.to_string()}, "status": {"allocatable": allocatable,
            "conditions": [{"type": "Ready", "status": "True"}]}});
        let mut pods = Shares::new();
        for (count, controller) in [(shape.own, Some(CONTROLLER)), (shape.others, None)] {
            for other in 0..count {
                let uid = Uid::from(format!("{controller:?}{other}").as_str());
                pods.insert(uid, Share::from(&modest(controller)));
            }
        }
        cluster.add(Arc::new(serde_json::from_value(node).unwrap()), pods);
        let (cpu, memory) = shape.usage;
        let name = NodeName::from(index.to_string().as_str());
        cluster.heard(&name, Usage { cpu, memory }, now);
    }
    cluster
}

fn choose(cluster: &Snapshot, strategy: &str, pod: &PodInfo, seed: u64) -> Option<Choice> {
    let (mut rotation, mut rng) = (Rotation::default(), StdRng::seed_from_u64(seed));
    schedule(pod, cluster, &strategy.parse().unwrap(), &mut rotation, &mut rng).ok()
}

/// What a strategy has least of on the node that it chooses, as it is with the pod there.
fn least(strategy: &str) -> Option<fn(&Shape) -> f64> {
    Some(match strategy {
        "min-pods" => |shape| (shape.own + shape.others) as f64,
        "max-pods" => |shape| -((shape.own + shape.others) as f64),
        "spread" => |shape| shape.own as f64,
        "min-cpu" => |shape| shape.usage.0 + 1.0 / f64::from(shape.cpu),
        "min-mem" => |shape| shape.usage.1 + 1.0 / f64::from(shape.memory),
        _ => return None,
    })
}

proptest! {
    #[test]
    fn the_best_of_the_nodes_that_fit_is_chosen(shapes in prop::collection::vec(shape(), 1..9), seed: u64) {
        let (cluster, pod) = (cluster(&shapes), modest(Some(CONTROLLER)));
        let fits = |shape: &&Shape| {
            let pods = u32::try_from(shape.own + shape.others).unwrap();
            pods < shape.cpu && pods < shape.memory
        };
        for name in strategy::ALL.iter().map(strategy::Strategy::name) {
            let choice = choose(&cluster, name, &pod, seed);
            prop_assert_eq!(choice.is_some(), shapes.iter().any(|shape| fits(&shape)), "{}", name);
            let Some(choice) = choice else { continue };
            let chosen = &shapes[choice.node.as_str().parse::<usize>().unwrap()];
            prop_assert!(fits(&chosen), "{} has chosen {:?}", name, chosen);
            prop_assert!(choice.score.is_none_or(|score| (0..=100).contains(&score)), "{}", choice);
            if let Some(least) = least(name) {
                let best = shapes.iter().filter(fits).map(least).fold(f64::INFINITY, f64::min);
                prop_assert!(least(chosen) <= best + 1e-6, "{} has chosen {:?}", name, chosen);
            }
        }
    }

    #[test]
    fn a_burst_is_spread_whatever_spreads(nodes in 1..9_usize, rounds in 1..5_usize, seed: u64) {
        let usage = (0.1, 0.1);
        let same = Shape { cpu: 80, memory: 80, own: 0, others: 0, usage };
        for name in ["balanced", "spread", "round-robin", "min-pods", "min-cpu", "min-mem"] {
            let mut cluster = cluster(&vec![same.clone(); nodes]);
            for index in 0..nodes * rounds {
                let mut pod = modest(Some(CONTROLLER));
                pod.uid = Uid::from(index.to_string().as_str());
                let node = choose(&cluster, name, &pod, seed.wrapping_add(index as u64)).unwrap().node;
                cluster.assign(&pod, &node);
                cluster.place(&node, pod.uid.clone(), Share::from(&pod));
            }
            let even = cluster.nodes().all(|node| node.pods() == rounds);
            prop_assert!(even, "{}: {:?}", name, cluster.nodes().map(NodeInfo::pods).collect::<Vec<_>>());
        }
    }
}

#[test]
fn balanced_prefers_the_node_where_both_are_taken_alike() {
    let shape = |cpu, memory| Shape { cpu, memory, own: 0, others: 5, usage: (0.5, 0.5) };
    // With the pod, 30 % and 10 %, or 20 % of both.
    let cluster = cluster(&[shape(20, 60), shape(30, 30)]);
    for seed in 0..16 {
        let choice = choose(&cluster, "balanced", &modest(None), seed).unwrap();
        assert_eq!(choice.node.as_str(), "1");
    }
}

#[test]
fn the_choice_says_why() {
    let shape = |own, usage| Shape { cpu: 40, memory: 40, own, others: 0, usage: (usage, usage) };
    let cluster = cluster(&[shape(3, 0.25), shape(0, 0.5)]);
    let pod = modest(Some(CONTROLLER));
    let check = |strategy: &str, expected: &str| {
        assert_eq!(choose(&cluster, strategy, &pod, 1).unwrap().to_string(), expected);
    };
    check("min-pods", "1 (min-pods, score 100)");
    check("balanced", "1 (balanced, score 99)");
    check("max-pods", "0 (max-pods, score 100)");
    check("min-cpu", "0 (min-cpu, score 78)");
    assert!(choose(&cluster, "random", &pod, 1).unwrap().to_string().ends_with(" (random)"));
}
