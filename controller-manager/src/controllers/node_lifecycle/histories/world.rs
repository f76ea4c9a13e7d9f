//! A cluster that is played in steps of a quarter of a second.

use std::collections::BTreeMap;

use tokio::time::{Duration, Instant};

use super::super::disruption::Eviction;
use super::super::evidence::Sign;
use super::super::observations::{NodeHealth, Observations};
use crate::eviction::EvictionArgs;

pub(super) const STEP: Duration = Duration::from_millis(250);
/// How long a history is.
pub(super) const STEPS: u32 = steps(120);
/// After this a broken connection to Redis is noticed.
const NOTICED: u32 = steps(4);
/// Peers that each kube-proxy asks.
const PEERS: usize = 3;
/// The longest run of messages that are lost one after the other on one path.
const LONGEST_LOSS: u32 = 2;

pub(super) const fn steps(seconds: u32) -> u32 {
    seconds * 4
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    HostDead,
    KubeletDown,
    ProxyDown,
    HostFromRedis,
    /// Neither REST nor our questions pass.
    HostFromMaster,
    HostFromPeers,
    /// The three above together.
    HostUnreachable,
    RedisDown,
    ControllerFromRedis,
    ControllerPaused,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    pub(super) node: usize,
    pub(super) start: u32,
    pub(super) length: u32,
}

/// A way by which a living host can be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Path {
    KubeletOverRedis,
    ProxyOverRedis,
    Rest,
    Question,
    Peer(usize),
}

pub(super) struct World {
    nodes: usize,
    loss: u32,
    faults: Vec<Fault>,
    now: u32,
    start: Instant,
    all: Observations,
    /// How many steps each path to each node has held.
    held: BTreeMap<(usize, Path), u32>,
    /// How many steps something has been otherwise than it should.
    redis_lost: BTreeMap<usize, u32>,
    controller_lost: u32,
    lost_in_a_row: BTreeMap<(usize, Path), u32>,
    answered: BTreeMap<(usize, usize), bool>,
    asked: BTreeMap<usize, u32>,
    /// Who has reported, and was not heard yet.
    reports: Vec<usize>,
    /// When who was given up how.
    pub(super) admissions: Vec<(u32, usize, Eviction)>,
}

impl World {
    pub(super) fn new(nodes: usize, loss: u32, faults: Vec<Fault>) -> Self {
        let start = Instant::now();
        let mut all = Observations::new(EvictionArgs::default(), start);
        (0..nodes).for_each(|node| all.see(&name(node), "", false, start));
        Self {
            nodes,
            loss,
            faults,
            now: 0,
            start,
            all,
            held: BTreeMap::new(),
            redis_lost: BTreeMap::new(),
            controller_lost: 0,
            lost_in_a_row: BTreeMap::new(),
            answered: BTreeMap::new(),
            asked: BTreeMap::new(),
            reports: Vec::new(),
            admissions: Vec::new(),
        }
    }

    pub(super) fn now(&self) -> u32 {
        self.now
    }

    pub(super) fn is_awake(&self) -> bool {
        !self.is(Kind::ControllerPaused)
    }

    /// Plays a step; false when the history is over.
    pub(super) fn step(&mut self) -> bool {
        self.now += 1;
        for node in 0..self.nodes {
            self.keep_paths(node);
            let lost = self.redis_lost.entry(node).or_default();
            let cut = self.faults.iter().any(|f| on(f, self.now, node, self.nodes, &FROM_REDIS))
                || self.faults.iter().any(|f| global(f, self.now, Kind::RedisDown));
            *lost = if cut { *lost + 1 } else { 0 };
        }
        self.controller_lost = if self.controller_hears() { 0 } else { self.controller_lost + 1 };
        // What is written waits for a controller that is paused; what is said over Redis is lost on it.
        let renewed: Vec<usize> = (0..self.nodes).filter(|node| self.renews(*node)).collect();
        self.reports.extend(renewed);
        if self.is_awake() {
            std::mem::take(&mut self.reports)
                .into_iter()
                .for_each(|node| self.take(node, Sign::Renewed));
            (0..self.nodes).for_each(|node| self.speak(node));
            if self.now.is_multiple_of(2) {
                self.look();
            }
        }
        self.now < STEPS
    }

    pub(super) fn health(&self, node: usize) -> NodeHealth {
        self.all.health(&name(node), self.time()).unwrap()
    }

    /// A path to a node that has held for so many steps.
    pub(super) fn path_for(&self, node: usize, steps: u32) -> Option<Path> {
        let mut held = self.held.iter().filter(|((of, _), held)| *of == node && **held >= steps);
        held.next().map(|((_, path), _)| *path)
    }

    pub(super) fn reports_for(&self, node: usize, steps: u32) -> bool {
        self.held.get(&(node, Path::Rest)).is_some_and(|held| *held >= steps)
    }

    fn time(&self) -> Instant {
        self.start + STEP * self.now
    }

    fn is(&self, kind: Kind) -> bool {
        self.faults.iter().any(|fault| global(fault, self.now, kind))
    }

    fn has(&self, node: usize, kinds: &[Kind]) -> bool {
        self.faults.iter().any(|fault| on(fault, self.now, node, self.nodes, kinds))
    }

    fn controller_hears(&self) -> bool {
        !self.is(Kind::RedisDown) && !self.is(Kind::ControllerFromRedis)
    }

    fn speaks_over_redis(&self, node: usize) -> bool {
        self.controller_hears() && !self.has(node, &FROM_REDIS)
    }

    fn holds(&self, node: usize, path: Path) -> bool {
        if self.has(node, &[Kind::HostDead]) {
            return false;
        }
        match path {
            Path::KubeletOverRedis => {
                self.speaks_over_redis(node) && !self.has(node, &[Kind::KubeletDown])
            }
            Path::ProxyOverRedis => {
                self.speaks_over_redis(node) && !self.has(node, &[Kind::ProxyDown])
            }
            Path::Rest => !self.has(node, &FROM_MASTER) && !self.has(node, &[Kind::KubeletDown]),
            Path::Question => !self.has(node, &FROM_MASTER),
            Path::Peer(peer) => {
                self.holds(peer, Path::ProxyOverRedis) && self.is_linked(node, peer)
            }
        }
    }

    fn is_linked(&self, one: usize, other: usize) -> bool {
        !self.has(one, &FROM_PEERS) && !self.has(other, &FROM_PEERS)
    }

    /// Those that ask about a node.
    fn witnesses(&self, node: usize) -> Vec<usize> {
        (1..=PEERS.min(self.nodes - 1))
            .map(|step| (node + self.nodes - step) % self.nodes)
            .collect()
    }

    fn keep_paths(&mut self, node: usize) {
        let peers = self.witnesses(node).into_iter().map(Path::Peer);
        let others = [Path::KubeletOverRedis, Path::ProxyOverRedis, Path::Rest, Path::Question];
        for path in peers.chain(others) {
            let holds = self.holds(node, path);
            let held = self.held.entry((node, path)).or_default();
            *held = if holds { *held + 1 } else { 0 };
        }
    }

    /// Whether this message on a path is lost: by chance, but not too many one after the other.
    fn is_lost(&mut self, node: usize, path: Path) -> bool {
        let row = self.lost_in_a_row.entry((node, path)).or_default();
        let chance = (self.now.wrapping_mul(2_654_435_761) ^ *row ^ node as u32) >> 7;
        let lost = *row < LONGEST_LOSS && chance % 100 < self.loss;
        *row = if lost { *row + 1 } else { 0 };
        lost
    }

    fn arrives(&mut self, node: usize, path: Path) -> bool {
        self.holds(node, path) && !self.is_lost(node, path)
    }

    /// What a node says, and what is said of it, in this step.
    fn speak(&mut self, node: usize) {
        let phase = self.now + node as u32;
        let beats = phase.is_multiple_of(steps(1));
        if beats && self.arrives(node, Path::KubeletOverRedis) {
            self.take(node, Sign::KubeletBeat);
        }
        if beats && self.arrives(node, Path::ProxyOverRedis) {
            self.take(node, Sign::ProxyBeat);
            self.testify(node);
        }
    }

    /// A kubelet that misses Redis renews its Lease more often for a while.
    fn renews(&self, node: usize) -> bool {
        let misses = (NOTICED..NOTICED + steps(30)).contains(&self.redis_lost[&node]);
        let period = steps(if misses { 2 } else { 10 });
        (self.now + node as u32).is_multiple_of(period) && self.holds(node, Path::Rest)
    }

    fn testify(&mut self, witness: usize) {
        for peer in (0..self.nodes)
            .filter(|peer| self.witnesses(*peer).contains(&witness))
            .collect::<Vec<_>>()
        {
            let reached = self.is_linked(witness, peer) && !self.has(peer, &[Kind::HostDead]);
            let before = self.answered.entry((witness, peer)).or_default();
            let sign = match (reached, *before) {
                (true, _) => Some(Sign::ReachedByPeer),
                (false, true) => Some(Sign::MissedByPeer),
                (false, false) => None,
            };
            *before |= reached;
            sign.into_iter().for_each(|sign| self.take(peer, sign));
        }
    }

    fn take(&mut self, node: usize, sign: Sign) {
        let time = self.time();
        self.all.take(&name(node), sign, time);
    }

    /// What the controller does at its ticks.
    fn look(&mut self) {
        let time = self.time();
        self.all.look(self.controller_lost < NOTICED, time);
        for (host, urgent) in self.all.to_be_asked(time) {
            self.ask(number(&host), urgent);
        }
        for node in 0..self.nodes {
            let eviction = match self.health(node) {
                NodeHealth::Reachable => continue,
                NodeHealth::HostGone => Eviction::AtOnce,
                NodeHealth::StatusUnknown if self.all.is_stopped(&name(node), time) => continue,
                NodeHealth::StatusUnknown => Eviction::Tolerated,
            };
            let known = self.admissions.iter().any(|(_, of, how)| (*of, *how) == (node, eviction));
            if self.all.admit(&name(node), eviction, time).is_ok() && !known {
                self.admissions.push((self.now, node, eviction));
            }
        }
    }

    fn ask(&mut self, node: usize, urgent: bool) {
        let period = steps(if urgent { 1 } else { 10 });
        if self.asked.get(&node).is_some_and(|last| self.now < last + period) {
            return;
        }
        self.asked.insert(node, self.now);
        let answered = self.arrives(node, Path::Question);
        self.take(node, if answered { Sign::Answered } else { Sign::Silence });
    }
}

const FROM_REDIS: [Kind; 2] = [Kind::HostFromRedis, Kind::HostUnreachable];
const FROM_MASTER: [Kind; 2] = [Kind::HostFromMaster, Kind::HostUnreachable];
const FROM_PEERS: [Kind; 2] = [Kind::HostFromPeers, Kind::HostUnreachable];

fn is_now(fault: &Fault, now: u32) -> bool {
    (fault.start..fault.start.saturating_add(fault.length)).contains(&now)
}

fn on(fault: &Fault, now: u32, node: usize, nodes: usize, kinds: &[Kind]) -> bool {
    kinds.contains(&fault.kind) && fault.node % nodes == node && is_now(fault, now)
}

fn global(fault: &Fault, now: u32, kind: Kind) -> bool {
    fault.kind == kind && is_now(fault, now)
}

fn name(node: usize) -> String {
    format!("n{node}")
}

fn number(name: &str) -> usize {
    name.trim_start_matches('n').parse().unwrap()
}
