//! How many nodes may be given up, and how fast. When most fall silent at once it is more likely we
//! who hear nothing, or a cause that moving pods does not cure. The rules and their names are
//! Kubernetes', except that no zone may be given up while most of the whole cluster is silent.

use crate::eviction::EvictionArgs;

/// How the pods of a node are to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Eviction {
    /// When their tolerations end: their node is not ready, or its status unknown.
    Tolerated,
    /// At once: their host is gone.
    AtOnce,
}

/// How many nodes there are, and how many of them are silent or not ready now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Census {
    pub(super) nodes: usize,
    pub(super) unhealthy: usize,
}

impl Census {
    pub(super) fn count(&mut self, unhealthy: bool) {
        self.nodes += 1;
        self.unhealthy += usize::from(unhealthy);
    }

    #[expect(clippy::cast_precision_loss, reason = "no cluster has 2^52 nodes")]
    fn is_mostly_unhealthy(self, threshold: f64) -> bool {
        self.unhealthy as f64 > self.nodes as f64 * threshold
    }
}

/// The state of a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ZoneState {
    Normal,
    PartialDisruption,
    FullDisruption,
}

fn zone_state(zone: Census, args: &EvictionArgs) -> ZoneState {
    if zone.unhealthy == zone.nodes {
        ZoneState::FullDisruption
    } else if zone.unhealthy > 2 && zone.is_mostly_unhealthy(args.unhealthy_zone_threshold) {
        ZoneState::PartialDisruption
    } else {
        ZoneState::Normal
    }
}

/// Whether so much of the cluster is silent that it says nothing about the nodes.
pub(super) fn is_mass(cluster: Census, args: &EvictionArgs) -> bool {
    cluster.is_mostly_unhealthy(args.unhealthy_zone_threshold)
}

/// How many nodes of a zone may be given up in a second.
pub(super) fn rate(eviction: Eviction, cluster: Census, zone: Census, args: &EvictionArgs) -> f64 {
    let reduced = if zone.nodes > args.large_cluster_size_threshold {
        args.secondary_node_eviction_rate
    } else {
        0.0
    };
    if is_mass(cluster, args) {
        let hopeless = eviction == Eviction::AtOnce || cluster.unhealthy == cluster.nodes;
        return if hopeless { 0.0 } else { reduced };
    }
    match zone_state(zone, args) {
        ZoneState::PartialDisruption => reduced,
        // All other zones are well, so this one is really lost.
        ZoneState::Normal | ZoneState::FullDisruption => args.node_eviction_rate(cluster.nodes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Unhealthy and all nodes, of the cluster and of the zone.
    fn check(cluster: (usize, usize), zone: (usize, usize), tolerated: f64, at_once: f64) {
        let census = |(unhealthy, nodes)| Census { nodes, unhealthy };
        let rate =
            |eviction| rate(eviction, census(cluster), census(zone), &EvictionArgs::default());
        let rates = (rate(Eviction::Tolerated), rate(Eviction::AtOnce));
        assert_eq!(rates, (tolerated, at_once), "{cluster:?} {zone:?}");
    }

    #[test]
    fn small_clusters_are_quicker_than_large_ones() {
        check((1, 2), (1, 2), 1.0, 1.0);
        check((1, 50), (1, 50), 1.0, 1.0);
        check((1, 51), (1, 51), 0.1, 0.1);
    }

    #[test]
    fn when_most_are_silent_nobody_is_given_up() {
        check((1, 1), (1, 1), 0.0, 0.0);
        check((2, 2), (2, 2), 0.0, 0.0);
        check((2, 3), (2, 3), 0.0, 0.0);
        check((11, 20), (11, 20), 1.0, 1.0);
        check((12, 20), (12, 20), 0.0, 0.0);
        check((100, 100), (100, 100), 0.0, 0.0);
        check((60, 100), (60, 100), 0.01, 0.0);
    }

    #[test]
    fn a_zone_that_is_lost_whole_is_believed_and_one_that_is_half_lost_is_not() {
        check((5, 20), (5, 5), 1.0, 1.0);
        check((4, 20), (4, 5), 0.0, 0.0);
        check((2, 20), (2, 3), 1.0, 1.0);
        check((60, 400), (60, 100), 0.01, 0.01);
    }
}
