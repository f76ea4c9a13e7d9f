//! The controllers. A new one is a file (or folder) here and a line in the list.

mod bootstrap_tokens;
mod certificate_signing_requests;
mod cluster_role_aggregation;
mod cron_job;
mod daemon_set;
mod deployment;
mod disruption;
mod dns;
mod function;
mod function_autoscaler;
mod garbage_collector;
mod gateway;
mod gpu_job;
mod horizontal_pod_autoscaler;
mod ingress;
mod job;
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
mod service_cidr;
mod service_endpoints;
mod service_load_balancer;
mod stateful_set;
mod taint_eviction;
mod volume_binder;
mod volume_protection;
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
    let certificates = ingress::certificates(context, tasks);
    let workers = &context.settings.workers;
    let mut all = vec![
        replicaset::register(context).with_workers(workers.concurrent_replicaset_syncs),
        replicaset::register_replication_controllers(context)
            .with_workers(workers.concurrent_rc_syncs),
        deployment::register(context).with_workers(workers.concurrent_deployment_syncs),
        job::register(context).with_workers(workers.concurrent_job_syncs),
        job::register_orphans(context),
        cron_job::register(context).with_workers(workers.concurrent_cron_job_syncs),
        disruption::register(context),
        stateful_set::register(context).with_workers(workers.concurrent_statefulset_syncs),
        daemon_set::register(context).with_workers(workers.concurrent_daemonset_syncs),
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
        service_endpoints::register_mirror(context)
            .with_workers(workers.mirroring_concurrent_service_endpoint_syncs),
        // One after another: two workers could give one address to two Services.
        service_load_balancer::register(context),
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
        ingress::register(context, &certificates).with_workers(workers.concurrent_ingress_syncs),
        // One after another: it looks at all of them.
        gateway::register(context, &certificates, tasks),
        gpu_job::register(context).with_workers(workers.concurrent_gpu_job_syncs),
        horizontal_pod_autoscaler::register(context, tasks)
            .with_workers(workers.concurrent_horizontal_pod_autoscaler_syncs),
        cluster_role_aggregation::register(context, tasks),
        certificate_signing_requests::register_approver(context),
        certificate_signing_requests::register_cleaner(context),
        bootstrap_tokens::register(context, tasks),
        service_cidr::register(context),
        // One after another: two workers could give two claims one volume.
        volume_binder::register(context),
        volume_protection::register(context),
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
    use crate::workers::{WorkersArgs, tests::parsed};

    use super::*;

    pub(super) fn context(listwatch: ListWatch, workers: WorkersArgs) -> Context {
        let pod_network = crate::network::tests::network("10.244.0.0/16");
        let signing = Some(crate::signing::tests::signing());
        let (root_ca, eviction) = (Some("PEM".to_owned()), EvictionArgs::default());
        let (functions, gpu_jobs) = (FunctionArgs::default(), GpuJobArgs::default());
        let settings = Settings {
            pod_network,
            service_cidr: "10.96.0.0/16".parse().unwrap(),
            root_ca,
            reserved_addresses: Vec::new(),
            signing,
            eviction,
            workers,
            functions,
            gpu_jobs,
            load_balancer_pool: crate::load_balancer_pool::Pool::default(),
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
            ("job", "job-controller"),
            ("cron-job", "cronjob-controller"),
            ("statefulset", "statefulset-controller"),
            ("daemonset", "daemonset-controller"),
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
                "job-orphan-pod-controller",
                "disruption-controller",
                "node-ipam-controller",
                "clusterrole-aggregation-controller",
                "certificatesigningrequest-approving-controller",
                "certificatesigningrequest-cleaner-controller",
                "certificatesigningrequest-signing-controller",
                "token-cleaner-controller",
                "service-cidr-controller",
                "persistentvolume-binder",
                "service-lb-controller",
                "volume-protection-controller",
                "gateway-controller",
            ]
            .map(|name| (name, 1)),
        );
        expected.push(("endpointslice-mirroring-controller", 5));
        for (name, workers) in &expected {
            let described = format!("controller: {name:?}, workers: {workers},");
            assert!(all.contains(&described), "no {described} in {all}");
        }
        assert_eq!(all.matches("workers: ").count(), expected.len(), "{all}");
    }

    /// The kinds that each controller reads.
    const READS: &[(&str, &[&str])] = &[
        ("deployment-controller", &["deployments", "replicasets", "pods"]),
        ("replicaset-controller", &["pods", "replicasets"]),
        (
            "statefulset-controller",
            &["pods", "statefulsets", "controllerrevisions", "persistentvolumeclaims"],
        ),
        ("daemonset-controller", &["pods", "nodes", "daemonsets", "controllerrevisions"]),
        ("replication-controller", &["pods", "replicationcontrollers"]),
        ("job-controller", &["pods", "jobs"]),
        ("job-orphan-pod-controller", &["pods", "jobs"]),
        ("cronjob-controller", &["jobs", "cronjobs"]),
        ("disruption-controller", &["pods", "poddisruptionbudgets", "replicasets", "deployments"]),
        ("node-ipam-controller", &["nodes"]),
        ("node-controller", &["pods", "nodes", "leases"]),
        ("taint-eviction-controller", &["pods", "nodes", "leases"]),
        ("pod-garbage-collector", &["pods", "nodes"]),
        ("endpoint-controller", &["services", "pods", "endpoints"]),
        ("endpointslice-controller", &["services", "pods", "endpointslices", "nodes"]),
        ("endpointslice-mirroring-controller", &["services", "endpoints", "endpointslices"]),
        ("service-lb-controller", &["services", "nodes"]),
        ("namespace-controller", &["namespaces", "pods"]),
        ("serviceaccount-controller", &["namespaces", "serviceaccounts"]),
        ("garbage-collector", &[]),
        (
            "resourcequota-controller",
            &["resourcequotas", "pods", "services", "persistentvolumeclaims"],
        ),
        ("function-controller", &["functions", "replicasets", "pods"]),
        ("function-image-controller", &["functions", "replicasets", "pods"]),
        ("warm-pool-controller", &["functions", "replicasets", "pods"]),
        ("function-autoscaler", &["functions", "replicasets", "leases"]),
        (
            "gpu-job-controller",
            &["serviceaccounts", "roles", "rolebindings", "gpujobs", "pods", "nodes", "namespaces"],
        ),
        ("dns-controller", &["dnses", "ingresses", "ingressclasses", "services"]),
        (
            "ingress-controller",
            &["dnses", "ingresses", "ingressclasses", "services", "nodes", "secrets"],
        ),
        (
            "gateway-controller",
            &[
                "gatewayclasses",
                "gateways",
                "httproutes",
                "referencegrants",
                "services",
                "namespaces",
                "secrets",
            ],
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
        ("service-cidr-controller", &["servicecidrs"]),
        (
            "persistentvolume-binder",
            &["persistentvolumes", "persistentvolumeclaims", "storageclasses", "pods", "nodes"],
        ),
        ("volume-protection-controller", &["pods", "persistentvolumeclaims", "persistentvolumes"]),
    ];

    #[tokio::test]
    async fn each_controller_waits_for_what_it_reads() {
        let plane = testkit::ControlPlane::start().await;
        let all = all(&context(plane.listwatch(), WorkersArgs::default()), &mut JoinSet::new());
        for (name, reads) in READS {
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
            ("stateful sets", weak(&all.stateful_sets)),
            ("daemon sets", weak(&all.daemon_sets)),
            ("controller revisions", weak(&all.controller_revisions)),
            ("claims", weak(&all.persistent_volume_claims)),
            ("volumes", weak(&all.persistent_volumes)),
            ("storage classes", weak(&all.storage_classes)),
            ("replication controllers", weak(&all.replication_controllers)),
            ("jobs", weak(&all.jobs)),
            ("budgets of disruptions", weak(&all.pod_disruption_budgets)),
            ("cron jobs", weak(&all.cron_jobs)),
            ("resource quotas", weak(&all.resource_quotas)),
            ("services", weak(&all.services)),
            ("service ranges", weak(&all.service_cidrs)),
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
