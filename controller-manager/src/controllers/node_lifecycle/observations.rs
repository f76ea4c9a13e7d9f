//! What is known of all nodes, and what follows from it for each: a node alone is not judged, most of
//! them silent at once are no dead nodes. Everything is given the time, and nothing is done here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::disruption::{self, Census, Eviction};
use super::evidence::{Evidence, Listening, Sign};
use super::token_bucket::TokenBucket;
use crate::eviction::EvictionArgs;

/// So long after the last look we must have been paused, and what happened meanwhile is not known yet.
const PAUSE: Duration = Duration::from_secs(2);

/// The judgement on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NodeHealth {
    /// It is heard of.
    Reachable,
    /// Its kubelet does not report.
    StatusUnknown,
    /// Nobody hears anything of its host.
    HostGone,
}

/// What is known of all nodes.
#[derive(Debug)]
pub(super) struct Observations {
    args: EvictionArgs,
    nodes: BTreeMap<String, Observed>,
    listening: Listening,
    looked: Instant,
    /// Whether most were silent at the last look.
    mass: Mass,
    told: BTreeMap<String, NodeHealth>,
    limiters: BTreeMap<String, TokenBucket>,
    /// Those who were given their turn to be given up.
    admitted: BTreeSet<(String, Eviction)>,
}

/// Whether most are silent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mass {
    kubelets: bool,
    hosts: bool,
}

#[derive(Debug)]
struct Observed {
    evidence: Evidence,
    zone: String,
    /// Since when it says that it is not ready.
    not_ready: Option<Instant>,
}

/// How many are unhealthy, in the cluster and by zone.
#[derive(Debug, Default)]
struct Count<'a> {
    cluster: Census,
    zones: BTreeMap<&'a str, Census>,
}

impl Observations {
    pub(super) fn new(args: EvictionArgs, now: Instant) -> Self {
        Self {
            args,
            nodes: BTreeMap::new(),
            listening: Listening { reports: now, hosts: now, redis: None },
            looked: now,
            mass: Mass::default(),
            told: BTreeMap::new(),
            limiters: BTreeMap::new(),
            admitted: BTreeSet::new(),
        }
    }

    /// What the API server says of a node.
    pub(super) fn see(&mut self, node: &str, zone: &str, not_ready: bool, now: Instant) {
        let observed = self.nodes.entry(node.to_owned()).or_insert_with(|| Observed {
            evidence: Evidence::new(now),
            zone: String::new(),
            not_ready: None,
        });
        zone.clone_into(&mut observed.zone);
        observed.not_ready = not_ready.then(|| observed.not_ready.unwrap_or(now));
    }

    pub(super) fn forget(&mut self, node: &str) {
        self.nodes.remove(node);
    }

    pub(super) fn take(&mut self, node: &str, sign: Sign, now: Instant) {
        if let Some(observed) = self.nodes.get_mut(node) {
            observed.evidence.take(sign, now);
        }
    }

    /// A look at the clock and at Redis. Returns the nodes of which something else is to be said than at
    /// the last look.
    pub(super) fn look(&mut self, redis_connected: bool, now: Instant) -> Vec<String> {
        if self.was_paused(now) {
            self.listening.reports = now;
            self.restart_hosts(now);
        }
        self.looked = now;
        self.listening.redis = redis_connected.then(|| self.listening.redis.unwrap_or(now));
        let is_mass = |count: Count<'_>| disruption::is_mass(count.cluster, &self.args);
        let mass = Mass { kubelets: is_mass(self.statuses(now)), hosts: is_mass(self.hosts(now)) };
        let before = std::mem::replace(&mut self.mass, mass);
        // When most are back, those not heard of yet get the time they need.
        if before.kubelets && !mass.kubelets {
            self.listening.reports = now;
        }
        if before.hosts && !mass.hosts {
            self.restart_hosts(now);
        }
        self.tell(before.kubelets != mass.kubelets, now)
    }

    fn tell(&mut self, everybody: bool, now: Instant) -> Vec<String> {
        let hosts = self.hosts(now);
        let judged =
            self.nodes.iter().map(|(name, node)| (name.clone(), self.judge(node, &hosts, now)));
        let healths: BTreeMap<String, NodeHealth> = judged.collect();
        let is_down = |name: &String| {
            healths.get(name).is_some_and(|health| *health != NodeHealth::Reachable)
                || self.nodes.get(name).is_some_and(|node| node.not_ready.is_some())
        };
        self.admitted.retain(|(name, _)| is_down(name));
        let before = std::mem::take(&mut self.told);
        let was = |name: &String| before.get(name).copied().unwrap_or(NodeHealth::Reachable);
        let changed = healths.iter().filter(|(name, health)| everybody || was(name) != **health);
        let changed = changed.map(|(name, _)| name.clone()).collect();
        self.told = healths;
        changed
    }

    /// Judges a node; `None` if it is not known.
    pub(super) fn health(&self, node: &str, now: Instant) -> Option<NodeHealth> {
        Some(self.judge(self.nodes.get(node)?, &self.hosts(now), now))
    }

    /// Whether nobody is to be evicted from the node because it is silent or not ready.
    pub(super) fn is_stopped(&self, node: &str, now: Instant) -> bool {
        let Some(observed) = self.nodes.get(node).filter(|_| !self.was_paused(now)) else {
            return true;
        };
        self.rate(Eviction::Tolerated, observed, &self.statuses(now)) <= 0.0
    }

    /// Since when the node says that it is not ready.
    pub(super) fn not_ready_since(&self, node: &str) -> Option<Instant> {
        self.nodes.get(node)?.not_ready
    }

    /// Asks for a node's turn to be given up; if it is not yet, one may ask again after some time. Whoever
    /// has had the turn keeps it until the node is well.
    pub(super) fn admit(
        &mut self,
        node: &str,
        eviction: Eviction,
        now: Instant,
    ) -> Result<(), Duration> {
        let admission = (node.to_owned(), eviction);
        let Some(observed) = self.nodes.get(node).filter(|_| !self.admitted.contains(&admission))
        else {
            return Ok(());
        };
        let count = match eviction {
            Eviction::Tolerated => self.statuses(now),
            Eviction::AtOnce => self.hosts(now),
        };
        let rate = self.rate(eviction, observed, &count);
        let zone = observed.zone.clone();
        let limiter = self.limiters.entry(zone).or_insert_with(|| TokenBucket::new(now));
        limiter.take(rate, now)?;
        self.admitted.insert(admission);
        Ok(())
    }

    /// The nodes whose hosts are to be asked, and whether it is urgent.
    pub(super) fn to_be_asked(&self, now: Instant) -> Vec<(String, bool)> {
        let speaking = self.nodes.iter().filter(|(_, node)| node.evidence.speaks_on_redis());
        let urgent = |node: &Observed| node.evidence.is_host_late(self.listening, now);
        speaking.map(|(name, node)| (name.clone(), urgent(node))).collect()
    }

    /// Whether the next look is overdue. Whoever wakes up before it must not judge by what he remembers.
    fn was_paused(&self, now: Instant) -> bool {
        now > self.looked + PAUSE
    }

    /// Nothing that was missed of hosts so far counts.
    fn restart_hosts(&mut self, now: Instant) {
        self.listening.hosts = now;
        self.listening.redis = self.listening.redis.map(|_| now);
        self.nodes.values_mut().for_each(|node| node.evidence.restart());
    }

    fn judge(&self, node: &Observed, hosts: &Count<'_>, now: Instant) -> NodeHealth {
        if self.was_paused(now) {
            return NodeHealth::Reachable;
        }
        let gone = node.evidence.is_host_gone(self.listening, now);
        if gone && self.rate(Eviction::AtOnce, node, hosts) > 0.0 {
            NodeHealth::HostGone
        } else if node.evidence.is_status_unknown(self.listening, now) {
            NodeHealth::StatusUnknown
        } else {
            NodeHealth::Reachable
        }
    }

    fn rate(&self, eviction: Eviction, node: &Observed, count: &Count<'_>) -> f64 {
        let was_mass = match eviction {
            Eviction::Tolerated => self.mass.kubelets,
            Eviction::AtOnce => self.mass.hosts,
        };
        if was_mass && !disruption::is_mass(count.cluster, &self.args) {
            // The next look begins to count anew.
            return 0.0;
        }
        let zone = count.zones.get(node.zone.as_str()).copied().unwrap_or_default();
        disruption::rate(eviction, count.cluster, zone, &self.args)
    }

    /// The count of hosts, by what is heard of them now.
    fn hosts(&self, now: Instant) -> Count<'_> {
        self.count(|node| node.evidence.is_host_silent(self.listening, now))
    }

    /// The count of kubelets that do not report, or report that they are not ready.
    fn statuses(&self, now: Instant) -> Count<'_> {
        self.count(|node| {
            node.not_ready.is_some() || node.evidence.is_status_late(self.listening, now)
        })
    }

    fn count(&self, unhealthy: impl Fn(&Observed) -> bool) -> Count<'_> {
        let mut count = Count::default();
        for node in self.nodes.values() {
            let unhealthy = unhealthy(node);
            count.cluster.count(unhealthy);
            count.zones.entry(node.zone.as_str()).or_default().count(unhealthy);
        }
        count
    }
}

#[cfg(test)]
impl Observations {
    pub(super) fn evidence(&self, node: &str) -> Evidence {
        self.nodes[node].evidence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes that are seen at second 0, heard on Redis until second 100, and reported until second 100.
    /// Those that are not `silent` go on until `now`.
    fn cluster(
        nodes: &[&str],
        silent: &[&str],
        now: u64,
    ) -> (Observations, impl Fn(u64) -> Instant) {
        let start = Instant::now();
        let at = move |seconds| start + Duration::from_secs(seconds);
        let mut all = Observations::new(EvictionArgs::default(), start);
        nodes.iter().for_each(|node| all.see(node, "", false, start));
        for second in 0..=now {
            for node in nodes {
                let lives = second <= 100 || !silent.contains(node);
                let sign = if lives { Sign::Answered } else { Sign::Silence };
                all.take(node, sign, at(second));
                if lives {
                    all.take(node, Sign::KubeletBeat, at(second));
                    all.take(node, Sign::Renewed, at(second));
                }
            }
            all.look(true, at(second));
        }
        (all, at)
    }

    #[test]
    fn a_gone_host_is_told_once() {
        let (mut all, at) = cluster(&["a", "b", "c"], &["a"], 106);
        assert_eq!(all.health("a", at(106)), Some(NodeHealth::Reachable));
        assert_eq!(all.look(true, at(107)), ["a"]);
        assert_eq!(all.health("a", at(107)), Some(NodeHealth::HostGone));
        assert_eq!(all.look(true, at(107)), Vec::<String>::new());
        all.take("a", Sign::KubeletBeat, at(108));
        assert_eq!(all.look(true, at(108)), ["a"]);
        assert_eq!(all.health("a", at(108)), Some(NodeHealth::Reachable));
    }

    #[test]
    fn most_of_them_silent_are_not_gone_but_unknown_and_nobody_is_evicted() {
        let (all, at) = cluster(&["a", "b", "c"], &["a", "b"], 125);
        assert_eq!(all.health("a", at(125)), Some(NodeHealth::Reachable));
        let (mut all, at) = cluster(&["a", "b", "c"], &["a", "b"], 141);
        assert_eq!(all.health("a", at(141)), Some(NodeHealth::StatusUnknown));
        assert!(all.is_stopped("a", at(141)));
        assert!(all.admit("a", Eviction::Tolerated, at(141)).is_err());
        assert!(all.admit("a", Eviction::AtOnce, at(141)).is_err());
    }

    #[test]
    fn when_most_are_back_the_others_get_their_time() {
        let (mut all, at) = cluster(&["a", "b", "c"], &["a", "b"], 200);
        all.take("a", Sign::Renewed, at(201));
        all.take("a", Sign::KubeletBeat, at(201));
        all.take("a", Sign::Answered, at(201));
        assert_eq!(all.look(true, at(201)), ["a", "b", "c"], "taints may change everywhere");
        assert_eq!(all.health("b", at(202)), Some(NodeHealth::Reachable));
    }

    #[test]
    fn after_a_pause_of_ours_counting_begins_anew() {
        let (mut all, at) = cluster(&["a", "b", "c"], &["a"], 103);
        assert_eq!(all.health("a", at(108)), Some(NodeHealth::Reachable), "not even woken up");
        assert!(all.is_stopped("a", at(108)));
        for second in 108..=148 {
            all.look(true, at(second));
            let expected =
                if second < 148 { NodeHealth::Reachable } else { NodeHealth::StatusUnknown };
            assert_eq!(all.health("a", at(second)), Some(expected), "{second}");
        }
    }

    #[test]
    fn a_turn_is_kept_until_the_node_is_well() {
        let (mut all, at) = cluster(&["a", "b", "c", "d", "e"], &["a", "b"], 107);
        assert_eq!(all.admit("a", Eviction::AtOnce, at(107)), Ok(()));
        assert_eq!(all.admit("a", Eviction::AtOnce, at(107)), Ok(()));
        assert!(all.admit("b", Eviction::AtOnce, at(107)).is_err());
        assert!(all.admit("a", Eviction::Tolerated, at(107)).is_err(), "that is another turn");
        assert_eq!(all.admit("b", Eviction::AtOnce, at(108)), Ok(()));
        all.take("a", Sign::KubeletBeat, at(109));
        all.look(true, at(109));
        assert_eq!(all.admit("a", Eviction::AtOnce, at(109)), Ok(()));
        assert!(all.admit("a", Eviction::Tolerated, at(109)).is_err());
    }

    #[test]
    fn a_deleted_node_is_not_judged() {
        let (mut all, at) = cluster(&["a"], &[], 1);
        all.forget("a");
        assert_eq!(all.health("a", at(1)), None);
        all.take("a", Sign::KubeletBeat, at(1));
        assert_eq!(all.health("a", at(1)), None);
    }
}
