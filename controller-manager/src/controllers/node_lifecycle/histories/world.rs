//! A cluster that is played in steps of a quarter of a second.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use api_types::api::coordination::v1::Lease;
use api_types::api::core::v1::Node;
use api_types::jiff::Timestamp;
use component::host_probe::Answer;
use listwatch::Testimony;
use serde_json::json;
use tokio::time::Instant;

use super::super::evidence::Sign;
use super::super::monitor::{ASK, ASK_SILENT};
use super::controller::{Controller, Role, name, number, patched};
use super::faults::{Fault, Kind};
use super::truth::{Truth, Word};
use super::{STEP, STEPS, steps};
use crate::frame::Change;
use crate::nodes;

/// After this a broken connection to Redis is noticed.
const NOTICED: u32 = steps(4);
/// Peers that each kube-proxy asks.
const PEERS: usize = 3;
/// The longest run of messages that are lost one after the other on one path.
const LONGEST_LOSS: u32 = 2;
/// For how long a kubelet that has just been started says that it is not ready.
const STARTING: u32 = steps(3);
/// How far a clock that jumps is wrong.
const JUMP_SECONDS: i64 = 3600;

/// A way by which messages come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Path {
    KubeletOverRedis,
    ProxyOverRedis,
    Rest,
    Question,
}

pub(super) struct World {
    loss: u32,
    faults: Vec<Fault>,
    pub(super) truth: Truth,
    pub(super) controller: Controller,
    /// The nodes as the API server has them.
    pub(super) stored: Vec<Arc<Node>>,
    leases: Vec<Arc<Lease>>,
    /// Whose Lease was renewed, at what time by its clock, that the controller has not seen.
    renewed: Vec<(usize, Timestamp)>,
    /// For how many steps a node has been cut off from Redis, or it was down.
    redis_lost: Vec<u32>,
    controller_lost: u32,
    lost_in_a_row: BTreeMap<(usize, Path), u32>,
    answered: BTreeMap<(usize, usize), bool>,
    asked: BTreeMap<usize, u32>,
    /// The controller has ended, and not begun again.
    stopped: bool,
    /// Which pods were evicted in this step.
    pub(super) evicted: Vec<(usize, Role)>,
}

impl World {
    /// With that part of the messages lost, in percent.
    pub(super) fn new(nodes: usize, loss: u32, faults: Vec<Fault>) -> Self {
        let stored: Vec<Arc<Node>> =
            (0..nodes).map(|node| reported(&named(node), "True", 0)).collect();
        Self {
            loss,
            faults,
            truth: Truth::new(nodes),
            controller: Controller::new(&stored),
            stored,
            leases: (0..nodes).map(|node| lease(node, Timestamp::UNIX_EPOCH)).collect(),
            renewed: Vec::new(),
            redis_lost: vec![0; nodes],
            controller_lost: 0,
            lost_in_a_row: BTreeMap::new(),
            answered: BTreeMap::new(),
            asked: BTreeMap::new(),
            stopped: false,
            evicted: Vec::new(),
        }
    }

    pub(super) fn nodes(&self) -> usize {
        self.stored.len()
    }

    pub(super) fn is_awake(&self) -> bool {
        !self.is(Kind::ControllerPaused) && !self.is(Kind::ControllerRestarted)
    }

    /// Plays a step; false when the history is over.
    pub(super) async fn step(&mut self) -> bool {
        tokio::time::advance(STEP).await;
        self.truth.now += 1;
        self.controller_lost = if self.controller_hears() { 0 } else { self.controller_lost + 1 };
        (0..self.nodes()).for_each(|node| self.live(node));
        self.evicted.clear();
        self.stopped |= self.is(Kind::ControllerRestarted);
        if self.is_awake() {
            if std::mem::take(&mut self.stopped) {
                self.restart();
            }
            self.inform();
            (0..self.nodes()).for_each(|node| self.speak(node));
            if self.now().is_multiple_of(2) {
                self.look();
            }
            let time = self.time();
            self.evicted = self.controller.work(&mut self.stored, time);
        } else {
            self.truth.asleep = self.now();
        }
        self.now() < STEPS
    }

    fn restart(&mut self) {
        self.controller = Controller::anew(&self.stored, &self.controller, self.time());
        self.truth.restart();
        self.renewed.clear();
        self.asked.clear();
    }

    fn now(&self) -> u32 {
        self.truth.now
    }

    fn is(&self, kind: Kind) -> bool {
        self.faults.iter().any(|fault| fault.kind == kind && fault.is_at(self.now()))
    }

    fn has(&self, node: usize, kinds: &[Kind]) -> bool {
        self.had(node, kinds, self.now())
    }

    fn had(&self, node: usize, kinds: &[Kind], step: u32) -> bool {
        let here =
            |fault: &&Fault| fault.node % self.nodes() == node && kinds.contains(&fault.kind);
        self.faults.iter().filter(here).any(|fault| fault.is_at(step))
    }

    fn clock(&self, is_wrong: bool) -> Timestamp {
        let seconds = i64::from(self.now()) / i64::from(steps(1));
        Timestamp::from_second(seconds + if is_wrong { JUMP_SECONDS } else { 0 }).unwrap()
    }

    /// The time by the controller's clock. Who begins anew believes it, so it is right then.
    fn time(&self) -> Timestamp {
        let restarts = self.faults.iter().any(|fault| fault.kind == Kind::ControllerRestarted);
        self.clock(self.is(Kind::ControllerClock) && !restarts)
    }

    fn controller_hears(&self) -> bool {
        !self.is(Kind::RedisDown) && !self.is(Kind::ControllerFromRedis)
    }

    fn speaks_over_redis(&self, node: usize) -> bool {
        self.controller_hears() && !self.has(node, &FROM_REDIS)
    }

    fn holds(&self, node: usize, path: Path) -> bool {
        let (kubelet, proxy) = (Kind::KubeletDown, Kind::ProxyDown);
        !self.has(node, &[Kind::HostDead])
            && match path {
                Path::KubeletOverRedis => {
                    self.speaks_over_redis(node) && !self.has(node, &[kubelet])
                }
                Path::ProxyOverRedis => self.speaks_over_redis(node) && !self.has(node, &[proxy]),
                Path::Rest => !self.has(node, &FROM_MASTER) && !self.has(node, &[kubelet]),
                Path::Question => {
                    !self.has(node, &FROM_MASTER) && !self.has(node, &[Kind::QuestionsDropped])
                }
            }
    }

    fn is_linked(&self, one: usize, other: usize) -> bool {
        !self.has(one, &FROM_PEERS) && !self.has(other, &FROM_PEERS)
    }

    /// What happens at a node: its kubelet renews its Lease, and says how it is.
    fn live(&mut self, node: usize) {
        let dead = self.has(node, &[Kind::HostDead]);
        self.truth.hosts[node].dead =
            dead.then(|| self.truth.hosts[node].dead.unwrap_or(self.now()));
        let lost = self.has(node, &FROM_REDIS) || self.is(Kind::RedisDown);
        self.redis_lost[node] = if lost { self.redis_lost[node] + 1 } else { 0 };
        if !self.holds(node, Path::Rest) {
            return;
        }
        let time = self.clock(self.has(node, &[Kind::NodeClock]));
        // A kubelet that misses Redis renews its Lease more often for a while.
        let misses = (NOTICED..NOTICED + steps(30)).contains(&self.redis_lost[node]);
        let period = steps(if misses { 2 } else { 10 });
        if (self.now() + node as u32).is_multiple_of(period) {
            self.renewed.push((node, time));
        }
        let ready = if self.is_starting(node) { "False" } else { "True" };
        if nodes::ready_status(&self.stored[node]) != ready {
            self.stored[node] = reported(&self.stored[node], ready, self.now());
        }
    }

    fn is_starting(&self, node: usize) -> bool {
        let was_down = |ago| self.had(node, &[Kind::KubeletDown, Kind::HostDead], self.now() - ago);
        self.now() > STARTING && (1..STARTING).any(was_down)
    }

    /// What is written waits for a controller that is paused; what is said over Redis is lost on it.
    fn inform(&mut self) {
        let time = self.time();
        for (node, renewed) in std::mem::take(&mut self.renewed) {
            let new = lease(node, renewed);
            let old = std::mem::replace(&mut self.leases[node], new.clone());
            let change = Change { old: Some(old), new: Some(new) };
            self.controller.monitor.lease_changed(&change, Instant::now());
            self.hear(node, Word::Renewed);
        }
        for node in 0..self.nodes() {
            let stored = self.stored[node].clone();
            self.truth.hosts[node].not_ready = nodes::ready_status(&stored) == "False";
            if self.controller.inform(node, &stored, time) {
                self.hear(node, Word::Renewed);
            }
        }
    }

    fn hear(&mut self, node: usize, word: Word) {
        let now = self.now();
        self.truth.hosts[node].hear(word, now);
    }

    /// Whether this message on a path is lost: by chance, but not too many one after the other.
    fn is_lost(&mut self, node: usize, path: Path) -> bool {
        let now = self.now();
        let row = self.lost_in_a_row.entry((node, path)).or_default();
        let chance = (now.wrapping_mul(2_654_435_761) ^ *row ^ node as u32) >> 7;
        let lost = *row < LONGEST_LOSS && chance % 100 < self.loss;
        *row = if lost { *row + 1 } else { 0 };
        lost
    }

    fn arrives(&mut self, node: usize, path: Path) -> bool {
        self.holds(node, path) && !self.is_lost(node, path)
    }

    /// What a node says, and what is said of it, in this step.
    fn speak(&mut self, node: usize) {
        if !(self.now() + node as u32).is_multiple_of(steps(1)) {
            return;
        }
        if self.arrives(node, Path::KubeletOverRedis) {
            self.controller.monitor.take(&name(node), Sign::KubeletBeat);
            self.hear(node, Word::KubeletBeat);
        }
        if self.arrives(node, Path::ProxyOverRedis) {
            self.testify(node);
        }
    }

    /// A kube-proxy has asked the nodes after its own, and tells of those that have ever answered.
    fn testify(&mut self, witness: usize) {
        self.hear(witness, Word::ProxyBeat);
        let (mut reached, mut missed) = (Vec::new(), Vec::new());
        for step in 1..=PEERS.min(self.nodes() - 1) {
            let peer = (witness + step) % self.nodes();
            let reaches = self.is_linked(witness, peer) && !self.has(peer, &[Kind::HostDead]);
            let before = self.answered.entry((witness, peer)).or_default();
            if reaches {
                *before = true;
                reached.push(name(peer));
                self.hear(peer, Word::ReachedByPeer);
            } else if *before {
                missed.push(name(peer));
                self.truth.hosts[peer].miss(self.truth.now);
            }
        }
        self.controller.monitor.testified(&Testimony { node: name(witness), reached, missed });
    }

    /// A tick of the controller's clock.
    fn look(&mut self) {
        let connected = self.controller_lost < NOTICED;
        self.truth.look(connected);
        for (host, urgent) in self.controller.look(connected) {
            self.ask(number(&host), urgent);
        }
    }

    /// A living host without a kubelet refuses the connection; of a dead one nothing comes back.
    fn ask(&mut self, node: usize, urgent: bool) {
        let period = (if urgent { ASK_SILENT } else { ASK }).as_millis() / STEP.as_millis();
        if self.asked.get(&node).is_some_and(|last| u128::from(self.now() - last) < period) {
            return;
        }
        self.asked.insert(node, self.now());
        let arrives = self.arrives(node, Path::Question);
        let answer = match arrives {
            true if self.has(node, &[Kind::KubeletDown]) => {
                Answer::of_failure(io::ErrorKind::ConnectionRefused)
            }
            true => Answer::Answered,
            false => Answer::Silence,
        };
        self.controller.monitor.answered(&name(node), answer);
        if arrives {
            self.hear(node, Word::Answered);
        } else {
            self.truth.hosts[node].ask_in_vain();
        }
    }
}

const FROM_REDIS: [Kind; 2] = [Kind::HostFromRedis, Kind::HostUnreachable];
const FROM_MASTER: [Kind; 2] = [Kind::HostFromMaster, Kind::HostUnreachable];
const FROM_PEERS: [Kind; 2] = [Kind::HostFromPeers, Kind::HostUnreachable];

fn named(node: usize) -> Node {
    serde_json::from_value(json!({"metadata": {"name": name(node)}})).unwrap()
}

/// What the kubelet writes; never the same twice.
fn reported(node: &Node, ready: &str, step: u32) -> Arc<Node> {
    let time = Timestamp::from_millisecond(i64::from(step)).unwrap();
    patched(
        node,
        &json!({"status": {"conditions": [
        {"type": "Ready", "status": ready, "reason": "KubeletReady", "lastHeartbeatTime": time}]}}),
    )
}

fn lease(node: usize, time: Timestamp) -> Arc<Lease> {
    let time = time.to_string();
    let lease = json!({"metadata": {"name": name(node)}, "spec": {"renewTime": time}});
    Arc::new(serde_json::from_value(lease).unwrap())
}
