//! The decider in a simulated cluster, over arbitrary histories in virtual time: names are taken again
//! while bindings are under way, events arrive late, bindings fail, or are refused after they were done.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use proptest::prelude::{Just, ProptestConfig, prop, prop_oneof, proptest};
use proptest::strategy::Strategy;
use rand::SeedableRng;

use super::*;
use crate::pod::node_of;

mod shapes;

use shapes::{NodeShape, PodShape, node_shape, pod_shape};

/// How many pods a node takes.
const ROOM: usize = 2;
/// Longer than any back-off, and much shorter than the time after which a parked pod is tried anyway.
const SOON: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
enum Step {
    CreatePod(u8, PodShape),
    /// Gets tolerations: nothing else of a pod can be changed.
    ChangePod(u8),
    DeletePod(u8),
    /// It is new, or has changed.
    SetNode(u8, NodeShape),
    RemoveNode(u8),
    /// The decider hears of the oldest changes.
    Deliver(usize),
    /// The decider lists anew: what it has not heard of yet, it sees now.
    Relist,
    Decide,
    Settle(usize, Fate),
    SettleReport(usize, Fate),
    Wait(u64),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Done,
    Refused,
    /// It was done, but the answer was lost.
    AnswerLost,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let fate = || prop_oneof![3 => Just(Fate::Done), 2 => Just(Fate::Refused), 1 => Just(Fate::AnswerLost)];
    let step = prop_oneof![
        5 => (0..8_u8, pod_shape()).prop_map(|(name, shape)| Step::CreatePod(name, shape)),
        2 => (0..8_u8).prop_map(Step::ChangePod),
        3 => (0..8_u8).prop_map(Step::DeletePod),
        3 => (0..2_u8, node_shape()).prop_map(|(name, shape)| Step::SetNode(name, shape)),
        1 => (0..2_u8).prop_map(Step::RemoveNode),
        6 => (1..4_usize).prop_map(Step::Deliver),
        1 => Just(Step::Relist),
        6 => Just(Step::Decide),
        4 => (0..8_usize, fate()).prop_map(|(index, fate)| Step::Settle(index, fate)),
        3 => (0..8_usize, fate()).prop_map(|(index, fate)| Step::SettleReport(index, fate)),
        2 => (0..5000_u64).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 0..120)
}

#[derive(Clone, Debug)]
enum Change {
    Pod(Box<Event<Pod>>),
    Node(Box<Event<Node>>),
}

/// The truth, and the decider that hears of it.
struct Cluster {
    decider: Decider,
    now: Instant,
    pods: BTreeMap<String, Pod>,
    pod_shapes: BTreeMap<Uid, PodShape>,
    nodes: BTreeMap<String, Node>,
    node_shapes: BTreeMap<String, NodeShape>,
    changes: VecDeque<Change>,
    binding: Vec<(PodInfo, NodeName)>,
    reporting: Vec<(Uid, FitError)>,
    /// What is written in the pods about why they wait.
    conditions: HashMap<Uid, FitError>,
    created: u32,
    an_answer_was_lost: bool,
}

impl Cluster {
    fn new() -> Self {
        let strategy = "min-pods".parse().unwrap();
        let mut cluster = Self {
            decider: Decider::new(strategy, StdRng::seed_from_u64(1), Pending::default()),
            now: Instant::now(),
            pods: BTreeMap::new(),
            pod_shapes: BTreeMap::new(),
            nodes: BTreeMap::new(),
            node_shapes: BTreeMap::new(),
            changes: VecDeque::new(),
            binding: Vec::new(),
            reporting: Vec::new(),
            conditions: HashMap::new(),
            created: 0,
            an_answer_was_lost: false,
        };
        cluster.relist();
        cluster
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::CreatePod(name, shape) => self.create_pod(&format!("p{name}"), *shape),
            Step::ChangePod(name) => self.change_pod(&format!("p{name}")),
            Step::DeletePod(name) => self.delete_pod(&format!("p{name}")),
            Step::SetNode(name, shape) => self.set_node(&format!("n{name}"), *shape),
            Step::RemoveNode(name) => self.remove_node(&format!("n{name}")),
            Step::Deliver(count) => self.deliver(*count),
            Step::Relist => self.relist(),
            Step::Decide => drop(self.decide()),
            Step::Settle(index, fate) => self.settle(*index, *fate),
            Step::SettleReport(index, fate) => self.settle_report(*index, *fate),
            Step::Wait(millis) => self.now += Duration::from_millis(*millis),
        }
    }

    fn create_pod(&mut self, name: &str, shape: PodShape) {
        if self.pods.contains_key(name) {
            return;
        }
        self.created += 1;
        let pod = shape.pod(name, &self.created.to_string());
        self.pod_shapes.insert(Uid::of(&pod), shape);
        self.pods.insert(name.to_owned(), pod.clone());
        self.changes.push_back(Change::Pod(Box::new(Event::Apply(pod))));
    }

    fn change_pod(&mut self, name: &str) {
        let Some(pod) = self.pods.get_mut(name) else { return };
        let shape = self.pod_shapes.get_mut(&Uid::of(pod)).unwrap();
        (shape.tolerates_taints, shape.tolerates_cordons) = (true, true);
        pod.spec.as_mut().unwrap().tolerations = shape.pod(name, "").spec.unwrap().tolerations;
        self.changes.push_back(Change::Pod(Box::new(Event::Apply(pod.clone()))));
    }

    fn delete_pod(&mut self, name: &str) {
        let gone = self.pods.remove(name).map(|pod| Change::Pod(Box::new(Event::Delete(pod))));
        self.changes.extend(gone);
    }

    fn set_node(&mut self, name: &str, shape: NodeShape) {
        let node = shape.node(name);
        self.node_shapes.insert(name.to_owned(), shape);
        self.nodes.insert(name.to_owned(), node.clone());
        self.changes.push_back(Change::Node(Box::new(Event::Apply(node))));
    }

    fn remove_node(&mut self, name: &str) {
        let gone = self.nodes.remove(name).map(|node| Change::Node(Box::new(Event::Delete(node))));
        self.changes.extend(gone);
    }

    fn deliver(&mut self, count: usize) {
        for change in self.changes.drain(..count.min(self.changes.len())) {
            match change {
                Change::Pod(event) => self.decider.pod_event(*event, self.now),
                Change::Node(event) => self.decider.node_event(*event, self.now),
            }
        }
    }

    fn relist(&mut self) {
        self.changes.clear();
        let now = self.now;
        self.decider.pod_event(Event::Init, now);
        self.decider.node_event(Event::Init, now);
        self.nodes.values().for_each(|n| self.decider.node_event(Event::InitApply(n.clone()), now));
        self.pods.values().for_each(|p| self.decider.pod_event(Event::InitApply(p.clone()), now));
        self.decider.pod_event(Event::InitDone, now);
        self.decider.node_event(Event::InitDone, now);
    }

    /// Whether anything was decided.
    fn decide(&mut self) -> bool {
        match self.decider.decide(self.now) {
            None => return false,
            Some(Decision::Bind(pod, choice)) => {
                let twice = self.binding.iter().any(|(other, _)| other.uid == pod.uid);
                assert!(!twice, "{} is being bound already", pod.key());
                self.binding.push((pod, choice.node));
            }
            Some(Decision::Report(pod, why)) => {
                let twice = self.reporting.iter().any(|(other, _)| *other == pod.uid);
                assert!(!twice, "{} is being written into already", pod.key());
                self.reporting.push((pod.uid, why));
            }
            Some(Decision::Wait) => {}
        }
        true
    }

    /// The API server's answer to a binding arrives.
    fn settle(&mut self, index: usize, fate: Fate) {
        if index >= self.binding.len() {
            return;
        }
        let (info, node) = self.binding.remove(index);
        let bound = fate != Fate::Refused && self.bind(&info, &node);
        self.an_answer_was_lost |= bound && fate == Fate::AnswerLost;
        let outcome = match fate {
            Fate::Done if bound => Outcome::Bound(info.uid),
            _ => Outcome::Failed(info.uid),
        };
        self.decider.call_ended(outcome, self.now);
    }

    /// The API server's answer to a report arrives.
    fn settle_report(&mut self, index: usize, fate: Fate) {
        if index >= self.reporting.len() {
            return;
        }
        let (pod, why) = self.reporting.remove(index);
        if fate != Fate::Refused {
            self.conditions.insert(pod.clone(), why.clone());
        }
        let outcome = match fate {
            Fate::Done => Outcome::Reported(pod, why),
            _ => Outcome::NotReported(pod),
        };
        self.decider.call_ended(outcome, self.now);
    }

    /// Kubernetes' rule: only a pod of the same identity that has no node.
    fn bind(&mut self, info: &PodInfo, node: &NodeName) -> bool {
        let pod = self.pods.get_mut(&info.key().name);
        let spec = pod.filter(|pod| Uid::of(pod) == info.uid).and_then(|pod| pod.spec.as_mut());
        let Some(spec) = spec.filter(|spec| spec.node_name.is_none()) else { return false };
        spec.node_name = Some(node.to_string());
        let pod = self.pods[&info.key().name].clone();
        self.changes.push_back(Change::Pod(Box::new(Event::Apply(pod))));
        true
    }

    fn on<'a>(&'a self, node: &'a str) -> impl Iterator<Item = PodShape> + 'a {
        let on_it = move |pod: &&Pod| node_of(pod) == Some(node);
        self.pods.values().filter(on_it).map(|pod| self.pod_shapes[&Uid::of(pod)])
    }

    fn used(&self, node: &str) -> usize {
        self.on(node).count()
    }

    fn unbound(&self) -> Vec<&Pod> {
        self.pods.values().filter(|pod| node_of(pod).is_none()).collect()
    }

    /// Whether the node would take the pod.
    fn would_take(&self, name: &str, pod: PodShape) -> bool {
        let node = self.node_shapes[name];
        let cpu: u8 = self.on(name).map(|pod| pod.cpu).sum();
        let port_taken = self.on(name).any(|pod| pod.wants_port);
        self.used(name) < ROOM
            && pod.zone.is_none_or(|zone| zone == node.zone)
            && (pod.tolerates_taints || !node.tainted)
            && (pod.tolerates_cordons || !node.cordoned)
            && !(pod.wants_port && port_taken)
            && (pod.cpu == 0 || pod.cpu + cpu <= node.cpu)
    }

    /// Everything arrives and succeeds, for a while.
    fn come_to_rest(&mut self) {
        let end = self.now + SOON;
        while self.now <= end {
            self.deliver(usize::MAX);
            while self.decide() {}
            let settled = !self.binding.is_empty() || !self.reporting.is_empty();
            (0..self.binding.len()).for_each(|_| self.settle(0, Fate::Done));
            (0..self.reporting.len()).for_each(|_| self.settle_report(0, Fate::Done));
            if !settled && self.changes.is_empty() {
                let wake = self.decider.next_wake(self.now).filter(|wake| *wake <= end);
                let Some(wake) = wake else { return };
                assert!(wake > self.now, "it would spin");
                self.now = wake;
            }
        }
    }

    /// Unless an answer was lost, no node was given more than it takes.
    fn check_room(&self) {
        let ports = |node: &str| self.on(node).filter(|pod| pod.wants_port).count();
        let full = self.nodes.keys().find(|node| self.used(node) > ROOM || ports(node) > 1);
        assert!(self.an_answer_was_lost || full.is_none(), "{full:?} has too many pods");
    }

    /// No pod waits while there is room, each that waits says why, and nothing is kept about pods that are gone.
    fn check_rest(&self) {
        let unbound = self.unbound();
        for pod in &unbound {
            let shape = self.pod_shapes[&Uid::of(pod)];
            let room = self.nodes.keys().find(|node| self.would_take(node, shape));
            assert!(room.is_none(), "{shape:?} waits in vain, {room:?} would take it");
            let report = self.decider.reports.get(&Uid::of(pod));
            let Some(Report::Written(latest)) = report else { panic!("{report:?}") };
            assert_eq!(self.conditions.get(&Uid::of(pod)), Some(latest));
        }
        assert_eq!(self.decider.queue.len(), unbound.len());
        assert!(self.decider.reports.len() <= unbound.len(), "{:?}", self.decider.reports);
        assert_eq!(self.decider.cache.pods().len(), self.pods.len());
    }
}

/// The binding of a pod ends when a pod of the same name waits already.
#[test]
fn the_end_of_a_binding_leaves_a_new_pod_of_the_name_alone() {
    for fate in [Fate::Done, Fate::Refused] {
        let mut cluster = Cluster::new();
        cluster.set_node("n0", NodeShape::default());
        cluster.create_pod("p0", PodShape::default());
        cluster.deliver(2);
        cluster.decide();
        cluster.delete_pod("p0");
        cluster.create_pod("p0", PodShape::default());
        cluster.deliver(2);
        let (first, node) = cluster.binding.remove(0);
        let outcome = match fate {
            Fate::Done => Outcome::Bound(first.uid),
            _ => Outcome::Failed(first.uid),
        };
        cluster.decider.call_ended(outcome, cluster.now);
        assert!(cluster.decide(), "the second is tried");
        assert_eq!(cluster.binding[0].1, node);
    }
}

/// It was changed while its binding was under way.
#[test]
fn a_pod_whose_binding_failed_is_decided_by_what_it_says_now() {
    let mut cluster = Cluster::new();
    cluster.set_node("n0", NodeShape::default());
    cluster.create_pod("p0", PodShape::default());
    cluster.deliver(2);
    cluster.decide();
    cluster.change_pod("p0");
    cluster.set_node("n0", NodeShape { tainted: true, ..NodeShape::default() });
    cluster.deliver(2);
    cluster.settle(0, Fate::Refused);
    cluster.come_to_rest();
    assert_eq!(cluster.used("n0"), 1, "it tolerates the taint by now");
}

#[test]
fn a_report_that_was_not_written_is_written_when_the_pod_is_tried_again() {
    let mut cluster = Cluster::new();
    cluster.create_pod("p0", PodShape::default());
    cluster.deliver(1);
    cluster.decide();
    for fate in [Fate::Refused, Fate::AnswerLost] {
        cluster.settle_report(0, fate);
        assert!(!cluster.decide(), "its back-off is not over");
        cluster.now = cluster.decider.next_wake(cluster.now).unwrap();
        cluster.decide();
        assert_eq!(cluster.reporting.len(), 1);
    }
    cluster.settle_report(0, Fate::Done);
    cluster.now += SOON;
    assert!(!cluster.decide(), "it is written");
}

/// Written at the same time, the older might be what stays.
#[test]
fn a_reason_that_is_found_while_another_is_written_is_written_after_it() {
    let mut cluster = Cluster::new();
    cluster.create_pod("p0", PodShape { zone: Some(true), ..PodShape::default() });
    cluster.deliver(1);
    cluster.decide();
    cluster.set_node("n0", NodeShape::default());
    cluster.deliver(1);
    cluster.now += SOON;
    assert!(cluster.decide(), "there is a node now, of the wrong zone");
    assert_eq!(cluster.reporting.len(), 1);
    cluster.come_to_rest();
    cluster.check_rest();
    let written = cluster.conditions.values().next().unwrap().to_string();
    assert!(written.starts_with("0/1 nodes"), "{written}");
}

/// The pod whose binding failed is gone before it is tried again; nothing else shows that there is room.
#[test]
fn the_room_of_a_binding_that_failed_is_for_others() {
    let mut cluster = Cluster::new();
    cluster.set_node("n0", NodeShape::default());
    ["p0", "p1", "p2"].iter().for_each(|name| cluster.create_pod(name, PodShape::default()));
    cluster.deliver(4);
    while cluster.decide() {}
    assert_eq!(cluster.binding.len(), ROOM, "one pod waits for room");
    let first = cluster.binding[0].0.key().name;
    cluster.settle(0, Fate::Refused);
    cluster.delete_pod(&first);
    cluster.come_to_rest();
    cluster.check_rest();
}

#[test]
fn a_port_of_a_pod_that_goes_is_for_others() {
    let mut cluster = Cluster::new();
    let shape = PodShape { wants_port: true, ..PodShape::default() };
    cluster.set_node("n0", NodeShape::default());
    ["p0", "p1"].iter().for_each(|name| cluster.create_pod(name, shape));
    cluster.come_to_rest();
    assert_eq!(cluster.used("n0"), 1);
    let (first, _) = cluster.pods.iter().find(|(_, pod)| node_of(pod).is_some()).unwrap();
    cluster.delete_pod(&first.clone());
    cluster.come_to_rest();
    assert_eq!(cluster.used("n0"), 1);
}

/// The end of a pod may come to be known only by the next one of its name.
#[test]
fn a_new_pod_of_a_name_ends_the_old_one() {
    let mut cluster = Cluster::new();
    cluster.set_node("n0", NodeShape::default());
    cluster.create_pod("p0", PodShape::default());
    cluster.deliver(2);
    cluster.decide();
    cluster.settle(0, Fate::Done);
    cluster.deliver(1);
    cluster.pods.remove("p0");
    cluster.create_pod("p0", PodShape::default());
    cluster.come_to_rest();
    cluster.check_rest();
    assert!(cluster.decider.cache.snapshot().nodes().all(|node| node.pods() == 1));
}

/// A store that is restored from a backup may not know of a binding any more.
#[test]
fn a_pod_that_has_lost_its_node_gets_one_again() {
    let mut cluster = Cluster::new();
    cluster.set_node("n0", NodeShape::default());
    cluster.create_pod("p0", PodShape::default());
    let backup = cluster.pods.clone();
    cluster.come_to_rest();
    assert_eq!(cluster.used("n0"), 1);
    cluster.pods = backup;
    cluster.relist();
    cluster.come_to_rest();
    cluster.check_rest();
    assert_eq!(cluster.used("n0"), 1);
}

/// A pod that no node takes is tried again when, and only when, a change turns a refusal.
#[test]
fn only_a_change_that_may_help_wakes_a_pod() {
    let base = NodeShape { zone: true, tainted: true, cordoned: true, cpu: 1 };
    let check = |pod: PodShape, node: NodeShape, expected: bool| {
        let mut cluster = Cluster::new();
        cluster.set_node("n0", base);
        cluster.create_pod("p0", pod);
        cluster.deliver(2);
        cluster.decide();
        cluster.set_node("n0", node);
        cluster.deliver(1);
        cluster.now += SOON;
        assert_eq!(cluster.decide(), expected, "{pod:?} {node:?}");
    };
    let tolerant =
        PodShape { tolerates_taints: true, tolerates_cordons: true, ..PodShape::default() };
    let unbearable = PodShape { tolerates_taints: false, ..tolerant };
    let cordoned = PodShape { tolerates_cordons: false, ..tolerant };
    let elsewhere = PodShape { zone: Some(false), ..tolerant };
    let large = PodShape { cpu: 3, ..tolerant };
    let fits_all = NodeShape { zone: false, tainted: false, cordoned: false, cpu: 3 };
    check(cordoned, NodeShape { cordoned: false, ..base }, true);
    check(cordoned, NodeShape { cordoned: true, ..fits_all }, false);
    check(unbearable, NodeShape { tainted: false, ..base }, true);
    check(unbearable, NodeShape { tainted: true, ..fits_all }, false);
    check(elsewhere, NodeShape { zone: false, ..base }, true);
    check(elsewhere, NodeShape { zone: true, ..fits_all }, false);
    check(large, NodeShape { cpu: 3, ..base }, true);
    check(large, NodeShape { cpu: 2, ..base }, false);
    check(large, NodeShape { cpu: 1, ..fits_all }, false);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn whatever_happens_no_pod_waits_while_there_is_room(steps in steps()) {
        let mut cluster = Cluster::new();
        for step in &steps {
            cluster.apply(step);
            cluster.check_room();
        }
        cluster.come_to_rest();
        cluster.check_room();
        cluster.check_rest();
    }
}
