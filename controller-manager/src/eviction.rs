//! How fast nodes are given up, and which pods are removed for good: the flags, with Kubernetes' names.

/// Nodes given up in a second, in large clusters.
const USUAL_RATE: f64 = 0.1;
/// The same in small ones.
const SMALL_CLUSTER_RATE: f64 = 1.0;

/// The flags.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct EvictionArgs {
    /// How many nodes of a zone are given up per second when they fail [default: 0.1; 1 in clusters of up to
    /// --large-cluster-size-threshold nodes]
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub node_eviction_rate: Option<f64>,
    /// The same in a zone most of whose nodes have failed; 0 if it is of up to --large-cluster-size-threshold nodes
    #[arg(long, value_name = "RATE", default_value = "0.01", value_parser = rate)]
    pub secondary_node_eviction_rate: f64,
    /// Which part of the nodes are most of them. When most nodes of the whole cluster fall silent at once, no
    /// pods are evicted for it
    #[arg(long, value_name = "PART", default_value = "0.55", value_parser = part)]
    pub unhealthy_zone_threshold: f64,
    /// How many nodes a small cluster has at most
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub large_cluster_size_threshold: usize,
    /// Remove nodes of which nothing has been heard for so long, with their pods, unless that is so of most nodes (see
    /// --unhealthy-zone-threshold); without it, they stay
    #[arg(long, value_name = "DURATION", value_parser = api_machinery::duration::parse)]
    pub node_removal_after: Option<std::time::Duration>,
    /// How many finished pods there may be before the oldest are removed; 0 keeps all
    #[arg(long, value_name = "N", default_value_t = 12_500)]
    pub terminated_pod_gc_threshold: usize,
}

impl EvictionArgs {
    /// Nodes of a zone that are given up in a second, in a cluster of so many nodes.
    pub(crate) fn node_eviction_rate(&self, nodes: usize) -> f64 {
        let small = nodes <= self.large_cluster_size_threshold;
        let usual = if small { SMALL_CLUSTER_RATE } else { USUAL_RATE };
        self.node_eviction_rate.unwrap_or(usual)
    }
}

impl Default for EvictionArgs {
    fn default() -> Self {
        Self {
            node_eviction_rate: None,
            secondary_node_eviction_rate: 0.01,
            unhealthy_zone_threshold: 0.55,
            large_cluster_size_threshold: 50,
            node_removal_after: None,
            terminated_pod_gc_threshold: 12_500,
        }
    }
}

fn rate(text: &str) -> Result<f64, String> {
    number(text)
        .filter(|rate| *rate >= 0.0)
        .ok_or_else(|| "must be a number, and not less than 0".to_owned())
}

fn part(text: &str) -> Result<f64, String> {
    number(text)
        .filter(|part| (0.0..=1.0).contains(part))
        .ok_or_else(|| "must be from 0 to 1".to_owned())
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Args {
        #[command(flatten)]
        eviction: EvictionArgs,
    }

    #[test]
    fn the_flags_default_to_what_kubernetes_does() {
        let parsed = Args::try_parse_from(["x"]).unwrap().eviction;
        assert_eq!(format!("{parsed:?}"), format!("{:?}", EvictionArgs::default()));
    }

    #[test]
    fn senseless_numbers_are_refused() {
        for wrong in
            ["--node-eviction-rate=-1", "--node-eviction-rate=nan", "--unhealthy-zone-threshold=55"]
        {
            assert!(Args::try_parse_from(["x", wrong]).is_err(), "{wrong}");
        }
        let set = Args::try_parse_from(["x", "--node-eviction-rate=0"]).unwrap().eviction;
        assert!(set.node_eviction_rate(3).abs() < f64::EPSILON);
    }
}
