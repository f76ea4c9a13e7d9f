//! How many objects controllers look at at a time: the flags, with Kubernetes' names.

use clap::value_parser;

/// The flags.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct WorkersArgs {
    /// How many ReplicaSets are looked at at a time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = value_parser!(u16).range(1..))]
    pub concurrent_replicaset_syncs: u16,
    /// How many Endpoints are looked at at a time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = value_parser!(u16).range(1..))]
    pub concurrent_endpoint_syncs: u16,
    /// Of how many Services the EndpointSlices are looked at at a time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = value_parser!(u16).range(1..))]
    pub concurrent_service_endpoint_syncs: u16,
    /// How many namespaces are emptied at a time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = value_parser!(u16).range(1..))]
    pub concurrent_namespace_syncs: u16,
    /// How many objects the garbage collector looks at at a time
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = value_parser!(u16).range(1..))]
    pub concurrent_gc_syncs: u16,
}

impl Default for WorkersArgs {
    fn default() -> Self {
        Self {
            concurrent_replicaset_syncs: 8,
            concurrent_endpoint_syncs: 8,
            concurrent_service_endpoint_syncs: 8,
            concurrent_namespace_syncs: 8,
            concurrent_gc_syncs: 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Args {
        #[command(flatten)]
        workers: WorkersArgs,
    }

    #[test]
    fn the_flags_have_defaults_and_none_may_be_zero() {
        let parsed = Args::try_parse_from(["x"]).unwrap().workers;
        assert_eq!(format!("{parsed:?}"), format!("{:?}", WorkersArgs::default()));
        assert!(Args::try_parse_from(["x", "--concurrent-gc-syncs=0"]).is_err());
    }
}
