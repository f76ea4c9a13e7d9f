//! How the scheduler chooses among the nodes that fit, and where that is written down.

/// The names of the strategies; the first is the usual one.
pub const SCHEDULING_STRATEGIES: [&str; 8] =
    ["balanced", "spread", "round-robin", "min-pods", "max-pods", "min-cpu", "min-mem", "random"];

/// The namespace of the ConfigMap that names the strategy in force.
pub const SCHEDULER_CONFIG_NAMESPACE: &str = "kube-system";
/// Its name.
pub const SCHEDULER_CONFIG_NAME: &str = "scheduler";
/// The key of its `data`.
pub const STRATEGY_KEY: &str = "strategy";
