//! Which nodes a decision looks at. In a large cluster it ends its search when it has found enough nodes that fit,
//! and the next one begins where this one ended: so the work stays the same as the cluster grows, and every node has
//! its turn. The numbers are Kubernetes'
//! (<https://kubernetes.io/docs/concepts/scheduling-eviction/scheduler-perf-tuning/>).

/// A cluster of no more nodes is looked at as a whole.
const AT_LEAST: usize = 100;
const AT_LEAST_PERCENT: usize = 5;

/// How many nodes that fit are enough to choose from.
pub(crate) fn enough(nodes: usize) -> usize {
    let percent = 50_usize.saturating_sub(nodes / 125).max(AT_LEAST_PERCENT);
    (nodes * percent / 100).max(AT_LEAST)
}

/// Where the next search begins.
#[derive(Debug, Default)]
pub struct Rotation {
    start: usize,
}

impl Rotation {
    pub(crate) fn start(&self) -> usize {
        self.start
    }

    /// So many of the nodes have been looked at.
    pub(crate) fn advance(&mut self, seen: usize, nodes: usize) {
        self.start = (self.start + seen) % nodes.max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enough_is_half_of_a_small_cluster_and_a_twentieth_of_a_large_one() {
        let check = |nodes, expected| assert_eq!(enough(nodes), expected, "{nodes} nodes");
        check(0, 100);
        check(99, 100);
        check(200, 100);
        check(500, 230);
        check(1_000, 420);
        check(5_000, 500);
        check(6_000, 300);
        check(20_000, 1_000);
    }
}
