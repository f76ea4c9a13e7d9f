//! The controllers. A new one is a file (or folder) here and a line in the list.

mod bootstrap_tokens;
mod certificate_signing_requests;
mod cluster_role_aggregation;
mod deployment;
mod dns;
mod function;
mod function_autoscaler;
mod garbage_collector;
mod gpu_job;
mod horizontal_pod_autoscaler;
mod ingress;
mod namespace;
mod node_ipam;
mod node_lifecycle;
mod node_removal;
mod pod_disruption;
mod pod_gc;
mod replicaset;
mod resource_quota;
mod root_ca_publisher;
mod router;
mod service_account;
mod service_endpoints;
mod taint_eviction;
mod workflow;
mod workflow_run;

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::context::Context;
use crate::frame::Registered;

/// Builds every controller and has the informers fill its queue. Background work of a controller goes
/// into `tasks`.
pub fn all(context: &Context, tasks: &mut JoinSet<()>) -> Vec<Registered> {
    let monitor = node_lifecycle::monitor(context);
    let pools = function::Pools::new(context);
    let objects = Arc::<garbage_collector::Monitors>::default();
    let workers = &context.settings.workers;
    let mut all = vec![
        replicaset::register(context).with_workers(workers.concurrent_replicaset_syncs),
        replicaset::register_replication_controllers(context)
            .with_workers(workers.concurrent_rc_syncs),
        deployment::register(context).with_workers(workers.concurrent_deployment_syncs),
        // One after another: two workers could give the same addresses away.
        node_ipam::register(context),
        node_lifecycle::register(context, &monitor, tasks)
            .with_workers(workers.concurrent_node_syncs),
        taint_eviction::register(context, &monitor)
            .with_workers(workers.concurrent_taint_eviction_syncs),
        pod_gc::register(context).with_workers(workers.concurrent_pod_gc_syncs),
        service_endpoints::register_endpoints(context)
            .with_workers(workers.concurrent_endpoint_syncs),
        service_endpoints::register_slices(context)
            .with_workers(workers.concurrent_service_endpoint_syncs),
        namespace::register(context).with_workers(workers.concurrent_namespace_syncs),
        service_account::register(context).with_workers(workers.concurrent_serviceaccount_syncs),
        garbage_collector::register(context, &objects, tasks)
            .with_workers(workers.concurrent_gc_syncs),
        resource_quota::register(context, &objects)
            .with_workers(workers.concurrent_resource_quota_syncs),
        function::register(context).with_workers(workers.concurrent_function_syncs),
        function::register_images(context).with_workers(workers.concurrent_function_image_syncs),
        function::register_pools(context, &pools).with_workers(workers.concurrent_warm_pool_syncs),
        function_autoscaler::register(context, pools, tasks)
            .with_workers(workers.concurrent_function_autoscaler_syncs),
        dns::register(context).with_workers(workers.concurrent_dns_syncs),
        ingress::register(context, tasks).with_workers(workers.concurrent_ingress_syncs),
        gpu_job::register(context).with_workers(workers.concurrent_gpu_job_syncs),
        horizontal_pod_autoscaler::register(context, tasks)
            .with_workers(workers.concurrent_horizontal_pod_autoscaler_syncs),
        cluster_role_aggregation::register(context, tasks),
        certificate_signing_requests::register_approver(context),
        certificate_signing_requests::register_cleaner(context),
        bootstrap_tokens::register(context, tasks),
        workflow::register(context).with_workers(workers.concurrent_workflow_syncs),
        workflow_run::register(context).with_workers(workers.concurrent_workflow_run_syncs),
    ];
    let publisher = root_ca_publisher::register(context, tasks);
    all.extend(publisher.map(|it| it.with_workers(workers.concurrent_root_ca_syncs)));
    all.extend(certificate_signing_requests::register_signer(context));
    all.extend(node_removal::register(context));
    let pull_secret = function::register_pull_secret(context, tasks);
    all.extend(pull_secret.map(|it| it.with_workers(workers.concurrent_pull_secret_syncs)));
    all
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;

    use component::Tasks;
    use listwatch::ListWatch;

    use crate::Settings;
    use crate::eviction::EvictionArgs;
    use crate::frame::{Informer, ObjectKey};
    use crate::functions::FunctionArgs;
    use crate::gpu_jobs::GpuJobArgs;
    use crate::network::Network;
    use crate::workers::{WorkersArgs, tests::parsed};

    use super::*;

    pub(super) fn context(listwatch: ListWatch, workers: WorkersArgs) -> Context {
        let pod_network = Network::new("10.244.0.0/16".parse().unwrap(), 24).unwrap();
        let signing = Some(crate::signing::tests::signing());
        let (root_ca, eviction) = (Some("PEM".to_owned()), EvictionArgs::default());
        let (functions, gpu_jobs) = (FunctionArgs::default(), GpuJobArgs::default());
        let settings = Settings {
            pod_network,
            root_ca,
            signing,
            eviction,
            workers,
            functions,
            gpu_jobs,
            prometheus_url: None,
        };
        Context::new(listwatch, settings, Tasks::default())
    }

    #[tokio::test]
    async fn each_flag_is_for_its_controller() {
        let plane = testkit::ControlPlane::start().await;
        let controllers = [
            ("replicaset", "replicaset-controller"),
            ("rc", "replication-controller"),
            ("deployment", "deployment-controller"),
            ("endpoint", "endpoint-controller"),
            ("service-endpoint", "endpointslice-controller"),
            ("namespace", "namespace-controller"),
            ("gc", "garbage-collector"),
            ("resource-quota", "resourcequota-controller"),
            ("node", "node-controller"),
            ("taint-eviction", "taint-eviction-controller"),
            ("pod-gc", "pod-garbage-collector"),
            ("serviceaccount", "serviceaccount-controller"),
            ("root-ca", "root-ca-certificate-publisher-controller"),
            ("function", "function-controller"),
            ("function-image", "function-image-controller"),
            ("function-autoscaler", "function-autoscaler"),
            ("dns", "dns-controller"),
            ("ingress", "ingress-controller"),
            ("gpu-job", "gpu-job-controller"),
            ("horizontal-pod-autoscaler", "horizontal-pod-autoscaler"),
            ("pull-secret", "function-pull-secret-controller"),
            ("warm-pool", "warm-pool-controller"),
            ("workflow", "workflow-controller"),
            ("workflow-run", "workflow-run-controller"),
        ];
        let numbered = || (11..).zip(controllers);
        let flag = |(number, (flag, _))| format!("--concurrent-{flag}-syncs={number}");
        let workers = parsed(&numbered().map(flag).collect::<Vec<_>>()).unwrap();
        let mut context = context(plane.listwatch(), workers);
        context.settings.functions.function_registry_secret = Some(ObjectKey::new("a", "b"));
        let all = format!("{:?}", all(&context, &mut JoinSet::new()));
        let mut expected: Vec<_> = numbered().map(|(number, (_, name))| (name, number)).collect();
        expected.extend(
            [
                "node-ipam-controller",
                "clusterrole-aggregation-controller",
                "certificatesigningrequest-approving-controller",
                "certificatesigningrequest-cleaner-controller",
                "certificatesigningrequest-signing-controller",
                "token-cleaner-controller",
            ]
            .map(|name| (name, 1)),
        );
        for (name, workers) in &expected {
            let described = format!("controller: {name:?}, workers: {workers},");
            assert!(all.contains(&described), "no {described} in {all}");
        }
        assert_eq!(all.matches("workers: ").count(), expected.len(), "{all}");
    }

    #[tokio::test]
    async fn each_controller_waits_for_what_it_reads() {
        let plane = testkit::ControlPlane::start().await;
        let all = all(&context(plane.listwatch(), WorkersArgs::default()), &mut JoinSet::new());
        for (name, reads) in [
            ("deployment-controller", &["deployments", "replicasets", "pods"] as &[_]),
            ("replicaset-controller", &["pods", "replicasets"]),
            ("replication-controller", &["pods", "replicationcontrollers"]),
            ("node-ipam-controller", &["nodes"]),
            ("node-controller", &["pods", "nodes", "leases"]),
            ("taint-eviction-controller", &["pods", "nodes", "leases"]),
            ("pod-garbage-collector", &["pods", "nodes"]),
            ("endpoint-controller", &["services", "pods", "endpoints"]),
            ("endpointslice-controller", &["services", "pods", "endpointslices", "nodes"]),
            ("namespace-controller", &["namespaces", "pods"]),
            ("serviceaccount-controller", &["namespaces", "serviceaccounts"]),
            ("garbage-collector", &[]),
            ("resourcequota-controller", &["resourcequotas", "pods", "services"]),
            ("function-controller", &["functions", "replicasets", "pods"]),
            ("function-image-controller", &["functions", "replicasets", "pods"]),
            ("warm-pool-controller", &["functions", "replicasets", "pods"]),
            ("function-autoscaler", &["functions", "replicasets", "leases"]),
            (
                "gpu-job-controller",
                &[
                    "serviceaccounts",
                    "roles",
                    "rolebindings",
                    "gpujobs",
                    "pods",
                    "nodes",
                    "namespaces",
                ],
            ),
            ("dns-controller", &["dnses", "ingresses", "ingressclasses", "services"]),
            (
                "ingress-controller",
                &["dnses", "ingresses", "ingressclasses", "services", "nodes", "secrets"],
            ),
            ("horizontal-pod-autoscaler", &["horizontalpodautoscalers", "pods"]),
            ("workflow-controller", &["workflows", "workflowruns", "functions"]),
            ("root-ca-certificate-publisher-controller", &["namespaces", "configmaps"]),
            ("clusterrole-aggregation-controller", &["clusterroles"]),
            (
                "certificatesigningrequest-approving-controller",
                &["certificatesigningrequests", "nodes", "services", "endpoints"],
            ),
            ("certificatesigningrequest-cleaner-controller", &["certificatesigningrequests"]),
            ("certificatesigningrequest-signing-controller", &["certificatesigningrequests"]),
            ("token-cleaner-controller", &["secrets"]),
        ] {
            let of_it = format!("controller: {name:?}");
            let debug = all.iter().map(|controller| format!("{controller:?}"));
            let described = debug.into_iter().find(|text| text.contains(&of_it)).unwrap();
            assert!(described.contains(&format!("reads: {reads:?}")), "{described}");
        }
    }

    /// A replica may lead many times, and what it has seen of a large cluster is large.
    #[tokio::test]
    async fn nothing_that_was_seen_outlives_a_term() {
        let plane = testkit::ControlPlane::start().await;
        let context = context(plane.listwatch(), WorkersArgs::default());
        let mut tasks = JoinSet::new();
        let controllers = all(&context, &mut tasks);
        let left = remains(&context);
        assert!(left().iter().all(|(_, there)| *there));
        tasks.shutdown().await;
        drop((controllers, context));
        let left: Vec<_> = left().into_iter().filter(|(_, there)| *there).collect();
        assert!(left.is_empty(), "{left:?}");
    }

    /// Which stores are still there.
    fn remains(context: &Context) -> impl Fn() -> Vec<(&'static str, bool)> + use<> {
        fn weak<K>(store: &Arc<Informer<K>>) -> Box<dyn Fn() -> bool>
        where
            K: 'static,
        {
            let store: Weak<Informer<K>> = Arc::downgrade(store);
            Box::new(move || store.strong_count() > 0)
        }
        let all = &context.informers;
        let stores = [
            ("pods", weak(&all.pods)),
            ("nodes", weak(&all.nodes)),
            ("leases", weak(&all.node_leases)),
            ("gateways' leases", weak(&all.gateway_leases)),
            ("namespaces", weak(&all.namespaces)),
            ("deployments", weak(&all.deployments)),
            ("replica sets", weak(&all.replica_sets)),
            ("replication controllers", weak(&all.replication_controllers)),
            ("resource quotas", weak(&all.resource_quotas)),
            ("services", weak(&all.services)),
            ("endpoints", weak(&all.endpoints)),
            ("endpoint slices", weak(&all.endpoint_slices)),
            ("service accounts", weak(&all.service_accounts)),
            ("autoscalers", weak(&all.horizontal_pod_autoscalers)),
            ("DNS objects", weak(&all.dnses)),
            ("requests for certificates", weak(&all.certificate_signing_requests)),
            ("Ingresses", weak(&all.ingresses)),
            ("classes of Ingresses", weak(&all.ingress_classes)),
            ("gpu jobs", weak(&all.gpu_jobs)),
            ("workflows", weak(&all.workflows)),
            ("workflow runs", weak(&all.workflow_runs)),
            ("functions", weak(&all.functions)),
        ];
        move || stores.iter().map(|(name, there)| (*name, there())).collect()
    }
}
