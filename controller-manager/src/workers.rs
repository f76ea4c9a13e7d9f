//! How many objects controllers look at at a time: the flags, with Kubernetes' names where it has them.

use clap::value_parser;

/// Lists the flags once, with their defaults.
macro_rules! workers {
    ($(#[doc = $doc:literal] $flag:ident = $default:literal,)*) => {
        /// The flags.
        #[derive(clap::Args, Clone, Copy, Debug)]
        pub struct WorkersArgs {
            $(
                #[doc = $doc]
                #[arg(long, value_name = "N", default_value_t = $default, value_parser = value_parser!(u16).range(1..))]
                pub $flag: u16,
            )*
        }

        impl Default for WorkersArgs {
            fn default() -> Self {
                Self { $($flag: $default,)* }
            }
        }
    };
}

workers! {
    /// How many Deployments are looked at at a time
    concurrent_deployment_syncs = 8,
    /// How many StatefulSets are looked at at a time
    concurrent_statefulset_syncs = 8,
    /// How many DaemonSets are looked at at a time
    concurrent_daemonset_syncs = 2,
    /// How many ReplicaSets are looked at at a time
    concurrent_replicaset_syncs = 8,
    /// How many ReplicationControllers are looked at at a time
    concurrent_rc_syncs = 8,
    /// How many Jobs are looked at at a time
    concurrent_job_syncs = 5,
    /// How many CronJobs are looked at at a time
    concurrent_cron_job_syncs = 5,
    /// How many Endpoints are looked at at a time
    concurrent_endpoint_syncs = 8,
    /// Of how many Services the EndpointSlices are looked at at a time
    concurrent_service_endpoint_syncs = 8,
    /// Of how many Services the Endpoints are mirrored at a time
    mirroring_concurrent_service_endpoint_syncs = 5,
    /// How many namespaces are emptied at a time
    concurrent_namespace_syncs = 8,
    /// How many objects the garbage collector looks at at a time
    concurrent_gc_syncs = 20,
    /// How many ResourceQuotas are counted at a time
    concurrent_resource_quota_syncs = 5,
    /// Of how many nodes the conditions and taints are looked at at a time
    concurrent_node_syncs = 8,
    /// How many pods are looked at at a time for whether they may stay on a tainted node
    concurrent_taint_eviction_syncs = 8,
    /// How many pods are looked at at a time for whether they are left over
    concurrent_pod_gc_syncs = 8,
    /// Of how many namespaces the ServiceAccount is looked at at a time
    concurrent_serviceaccount_syncs = 8,
    /// Of how many namespaces the ConfigMap kube-root-ca.crt is looked at at a time
    concurrent_root_ca_syncs = 8,
    /// How many DNS objects are looked at at a time
    concurrent_dns_syncs = 8,
    /// How many Ingresses are looked at at a time
    concurrent_ingress_syncs = 8,
    /// How many GPU jobs are looked at at a time
    concurrent_gpu_job_syncs = 8,
    /// How many functions are looked at at a time
    concurrent_function_syncs = 8,
    /// Of how many functions the images are looked at at a time
    concurrent_function_image_syncs = 8,
    /// Of how many functions the instances are counted at a time
    concurrent_function_autoscaler_syncs = 8,
    /// How many HorizontalPodAutoscalers are looked at at a time
    concurrent_horizontal_pod_autoscaler_syncs = 8,
    /// Of how many namespaces the copy of the registry's Secret is looked at at a time
    concurrent_pull_secret_syncs = 8,
    /// How many warm pools are looked at at a time
    concurrent_warm_pool_syncs = 8,
    /// How many workflows are looked at at a time
    concurrent_workflow_syncs = 8,
    /// How many runs of workflows are looked at at a time
    concurrent_workflow_run_syncs = 8,
}

#[cfg(test)]
pub(crate) mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Args {
        #[command(flatten)]
        workers: WorkersArgs,
    }

    /// The flags as they are parsed.
    pub(crate) fn parsed(flags: &[String]) -> Result<WorkersArgs, clap::Error> {
        let args = std::iter::once("x").chain(flags.iter().map(String::as_str));
        Args::try_parse_from(args).map(|args| args.workers)
    }

    #[test]
    fn the_flags_have_defaults_and_none_may_be_zero() {
        let defaults = parsed(&[]).unwrap();
        assert_eq!(format!("{defaults:?}"), format!("{:?}", WorkersArgs::default()));
        assert!(parsed(&["--concurrent-gc-syncs=0".to_owned()]).is_err());
    }
}
