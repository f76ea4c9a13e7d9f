//! The plugins of a server, in the order in which they are asked.

use std::sync::Arc;

use super::{
    Admission, Plugin, certificate_signing, default_ingress_class, default_storage_class,
    default_toleration_seconds::DefaultTolerationSeconds,
    deny_service_external_ips::DenyServiceExternalIps, device_admin_access, gpu_job_sources,
    limit_ranger, namespace_lifecycle, node_restriction, pod_security, policy, priority,
    resource_quota, role_escalation, runtime_class, scheduler_strategy::SchedulerStrategy,
    service_account, service_cluster_ip, service_node_port, storage_protection::StorageProtection,
    taint_nodes_by_condition::TaintNodesByCondition, webhook,
};
use crate::{
    authorizer::Authorizer,
    catalogue::InForce,
    config::{AdmissionPlugin, Config},
    storage::Storage,
};

type Plugins = Vec<Box<dyn Plugin>>;

/// What plugins are made of.
struct Parts<'a> {
    storage: &'a Arc<Storage>,
    catalogue: &'a InForce,
    authorizer: &'a Arc<Authorizer>,
    config: &'a Config,
}

impl Admission {
    /// Every plugin that is not left out.
    pub(crate) fn standard(
        storage: &Arc<Storage>,
        catalogue: &InForce,
        authorizer: &Arc<Authorizer>,
        config: &Config,
    ) -> Self {
        let parts = Parts { storage, catalogue, authorizer, config };
        let all = [parts.of_senders(), parts.of_objects(), parts.of_people(), parts.at_last()];
        Self(all.into_iter().flatten().collect())
    }
}

fn boxed(plugin: impl Plugin + 'static) -> Box<dyn Plugin> {
    Box::new(plugin)
}

impl Parts<'_> {
    fn asks(&self, plugin: AdmissionPlugin) -> bool {
        !self.config.left_out.contains(&plugin)
    }

    fn parts(&self) -> (InForce, Arc<Storage>) {
        (self.catalogue.clone(), self.storage.clone())
    }

    /// Those that are asked again once webhooks or policies have changed an object.
    fn asked_again(&self) -> Plugins {
        let mut plugins = self.own();
        plugins.extend(self.priority());
        plugins
    }

    fn priority(&self) -> Option<Box<dyn Plugin>> {
        let (catalogue, storage) = self.parts();
        let asks = self.asks(AdmissionPlugin::Priority);
        asks.then(|| boxed(priority::Priority { catalogue, storage }))
    }

    fn own(&self) -> Plugins {
        let (catalogue, storage) = self.parts();
        let limit_ranger = limit_ranger::LimitRanger { catalogue, storage };
        let (catalogue, storage) = self.parts();
        let must_exist = self.asks(AdmissionPlugin::ServiceAccount);
        let service_account = service_account::ServiceAccount { catalogue, storage, must_exist };
        vec![boxed(limit_ranger), boxed(service_account)]
    }

    /// What may be done, and by whom.
    fn of_senders(&self) -> Plugins {
        let authorizer = || self.authorizer.clone();
        let (catalogue, storage) = self.parts();
        let audiences = self.config.tokens.audiences().to_vec();
        let node_restriction = node_restriction::NodeRestriction {
            catalogue,
            storage: storage.clone(),
            authorizer: authorizer(),
            audiences,
        };
        let denies_external_ips = self.config.denies_external_ips;
        let mut plugins: Plugins = denies_external_ips
            .then(|| boxed(DenyServiceExternalIps))
            .into_iter()
            .chain([boxed(namespace_lifecycle::NamespaceLifecycle { storage })])
            .chain([boxed(node_restriction)])
            .chain(self.own())
            .collect();
        let (catalogue, storage) = self.parts();
        plugins.extend([
            boxed(role_escalation::RoleEscalation { authorizer: authorizer() }),
            boxed(policy::ParamRights::new(catalogue, storage, authorizer())),
            boxed(gpu_job_sources::GpuJobSources { authorizer: authorizer() }),
        ]);
        plugins
    }

    /// What objects get, and are held to.
    fn of_objects(&self) -> Plugins {
        use AdmissionPlugin as Name;
        let (catalogue, storage) = self.parts();
        let runtime_classes = runtime_class::RuntimeClasses { catalogue, storage };
        let (catalogue, storage) = self.parts();
        let storage_class = default_storage_class::DefaultStorageClass { catalogue, storage };
        let (catalogue, storage) = self.parts();
        let ingress_class = default_ingress_class::DefaultIngressClass { catalogue, storage };
        let taints = self.asks(Name::TaintNodesByCondition).then(|| boxed(TaintNodesByCondition));
        let tolerations = self.asks(Name::DefaultTolerationSeconds);
        let tolerations = tolerations.then(|| boxed(DefaultTolerationSeconds));
        let optional = taints.into_iter().chain(self.priority()).chain(tolerations);
        let others = [
            boxed(SchedulerStrategy),
            boxed(runtime_classes),
            boxed(StorageProtection),
            boxed(storage_class),
            boxed(ingress_class),
        ];
        optional.chain(others).collect()
    }

    /// What people have said, by policies and webhooks.
    fn of_people(&self) -> Plugins {
        let authorizer = || self.authorizer.clone();
        let mutating = |reinvoked| {
            let (catalogue, storage) = self.parts();
            policy::MutatingPolicies::new(catalogue, storage, authorizer(), reinvoked)
        };
        let mut reinvoked = self.asked_again();
        reinvoked.push(boxed(mutating(None)));
        let (catalogue, storage) = self.parts();
        let webhooks = webhook::Webhooks::new(catalogue, storage, authorizer(), reinvoked);
        let (catalogue, storage) = self.parts();
        let validating = policy::ValidatingPolicies::new(catalogue, storage, authorizer());
        vec![boxed(mutating(Some(self.asked_again()))), boxed(validating), boxed(webhooks)]
    }

    /// What is decided, or claimed, once nobody changes the object any more.
    fn at_last(&self) -> Plugins {
        let (catalogue, storage) = self.parts();
        let pod_security = pod_security::PodSecurity { catalogue, storage };
        let pod_security = self.asks(AdmissionPlugin::PodSecurity).then(|| boxed(pod_security));
        let authorizer = self.authorizer.clone();
        let (catalogue, storage) = self.parts();
        let admin_access = device_admin_access::DeviceAdminAccess { catalogue, storage };
        let (catalogue, storage) = self.parts();
        let own = self.config.service_cidr;
        let cluster_ip = service_cluster_ip::ServiceClusterIp { catalogue, storage, own };
        let (catalogue, storage) = self.parts();
        let range = self.config.node_ports;
        let node_port = service_node_port::ServiceNodePort { storage: storage.clone(), range };
        let others = [
            // After the webhooks, which must not say who asks.
            boxed(certificate_signing::CertificateSigning { authorizer }),
            boxed(admin_access),
            boxed(cluster_ip),
            boxed(node_port),
            boxed(resource_quota::ResourceQuotas::new(catalogue, storage)),
        ];
        pod_security.into_iter().chain(others).collect()
    }
}
