//! What objects are charged to a ResourceQuota (Kubernetes: `pkg/quota/v1/evaluator/core`). Shared by the API server, which
//! refuses what would exceed one, and by the controller that counts anew.

use std::collections::{BTreeMap, BTreeSet};

use api_types::{
    api::core::v1::{
        Container, PersistentVolumeClaim, Pod, PodAffinityTerm, ResourceQuotaSpec,
        ScopedResourceSelectorRequirement, Service,
    },
    jiff::{SignedDuration, Timestamp},
};

use crate::{
    Quantity,
    amounts::{self, Amounts, Side},
    resized,
};

/// A resource whose objects are counted: its group and plural.
pub type GroupResource<'a> = (&'a str, &'a str);

const PODS: GroupResource<'_> = ("", "pods");
const SERVICES: GroupResource<'_> = ("", "services");
const CLAIMS: GroupResource<'_> = ("", "persistentvolumeclaims");

/// What every container of a pod has to say if a quota limits it.
const SAID: [&str; 6] =
    ["cpu", "limits.cpu", "limits.memory", "memory", "requests.cpu", "requests.memory"];

/// Which resource's objects use up what a quota calls by this name; `None` if nobody knows.
#[must_use]
pub fn charged_by(name: &str) -> Option<GroupResource<'_>> {
    if let Some(counted) = name.strip_prefix("count/") {
        let (plural, group) = counted.split_once('.').unwrap_or((counted, ""));
        return Some((group, plural));
    }
    match name {
        "pods" => Some(PODS),
        "services" | "services.nodeports" | "services.loadbalancers" => Some(SERVICES),
        "configmaps" | "replicationcontrollers" | "resourcequotas" | "secrets" => Some(("", name)),
        "persistentvolumeclaims" | "requests.storage" => Some(CLAIMS),
        _ if is_of_storage_class(name) => Some(CLAIMS),
        _ if is_taken_by_pods(name) => Some(PODS),
        _ => None,
    }
}

fn is_of_storage_class(name: &str) -> bool {
    let what = name.split_once(".storageclass.storage.k8s.io/").map(|(_, what)| what);
    matches!(what, Some("persistentvolumeclaims" | "requests.storage"))
}

fn is_taken_by_pods(name: &str) -> bool {
    let standard = |name| matches!(name, "cpu" | "memory" | "ephemeral-storage");
    let requested = name.strip_prefix("requests.");
    let limited = name.strip_prefix("limits.");
    standard(requested.or(limited).unwrap_or(name))
        || requested.unwrap_or(name).starts_with("hugepages-")
        || requested.is_some_and(is_extended)
}

/// One that is not Kubernetes' own.
fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.contains("kubernetes.io/")
}

/// The name under which any resource's objects can be counted.
fn count_of((group, plural): GroupResource<'_>) -> String {
    let dot = if group.is_empty() { "" } else { "." };
    format!("count/{plural}{dot}{group}")
}

/// An object that may be charged.
#[derive(Clone, Copy, Debug)]
pub enum Item<'a> {
    /// A pod.
    Pod(&'a Pod),
    /// A Service.
    Service(&'a Service),
    /// A claim to a volume.
    Claim(&'a PersistentVolumeClaim),
    /// One that merely counts.
    Other(GroupResource<'a>),
}

impl Item<'_> {
    /// Which resource it is of.
    #[must_use]
    pub fn resource(&self) -> GroupResource<'_> {
        match self {
            Self::Pod(_) => PODS,
            Self::Service(_) => SERVICES,
            Self::Claim(_) => CLAIMS,
            Self::Other(resource) => *resource,
        }
    }

    /// Whether it may use up what a quota calls by this name.
    #[must_use]
    pub fn uses(&self, name: &str) -> bool {
        charged_by(name) == Some(self.resource())
    }

    /// Whether it is in all scopes of a quota.
    #[must_use]
    pub fn is_in(&self, spec: &ResourceQuotaSpec) -> bool {
        let pod = match self {
            Self::Pod(pod) => Some(*pod),
            _ => None,
        };
        let exists = |scope: &String| ScopedResourceSelectorRequirement {
            scope_name: scope.clone(),
            operator: "Exists".to_owned(),
            values: None,
        };
        let selector = spec.scope_selector.as_ref();
        let more = selector.and_then(|it| it.match_expressions.as_ref()).into_iter().flatten();
        let all = spec.scopes.iter().flatten().map(exists).chain(more.cloned());
        all.into_iter().all(|scope| pod.is_some_and(|pod| is_pod_in(pod, &scope)))
    }

    /// What it uses up, of all that a quota may limit.
    #[must_use]
    pub fn usage(&self, now: Timestamp) -> Amounts {
        let mut used = match self {
            Self::Pod(pod) => pod_usage(pod, now),
            Self::Service(service) => service_usage(service),
            Self::Claim(claim) => claim_usage(claim),
            Self::Other(("", plural)) => count([(*plural).to_owned()]),
            Self::Other(_) => Amounts::new(),
        };
        used.insert(count_of(self.resource()), Quantity::from_units(1));
        used
    }

    /// What has to be said of it and is not, of what a quota limits: each container of a pod must request what is counted.
    /// What is said for the pod as a whole doesn't do (with Kubernetes it does), since nobody holds the containers to it.
    #[must_use]
    pub fn unsaid<'a>(&self, limited: impl Iterator<Item = &'a str>) -> Option<String> {
        let Self::Pod(Pod { spec: Some(spec), .. }) = self else { return None };
        let limited: BTreeSet<&str> = limited.filter(|name| SAID.contains(name)).collect();
        let mut missing = BTreeMap::<&str, BTreeSet<&str>>::new();
        for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
            let said = container_usage(container);
            for name in limited.iter().filter(|name| !said.contains_key(**name)) {
                missing.entry(name).or_default().insert(&container.name);
            }
        }
        let each = missing.into_iter().map(|(name, containers)| {
            format!("{name} for: {}", containers.into_iter().collect::<Vec<_>>().join(","))
        });
        let each: Vec<_> = each.collect();
        (!each.is_empty()).then(|| format!("must specify {}", each.join("; ")))
    }
}

/// One of each.
fn count<const N: usize>(names: [String; N]) -> Amounts {
    names.into_iter().map(|name| (name, Quantity::from_units(1))).collect()
}

/// Whether the pod is to end by itself: the scope `Terminating`.
#[must_use]
pub fn is_terminating(pod: &Pod) -> bool {
    let deadline = pod.spec.as_ref().and_then(|spec| spec.active_deadline_seconds);
    deadline.is_some_and(|seconds| seconds >= 0)
}

fn is_pod_in(pod: &Pod, scope: &ScopedResourceSelectorRequirement) -> bool {
    let class = pod.status.as_ref().and_then(|status| status.qos_class.as_deref());
    match scope.scope_name.as_str() {
        "Terminating" => is_terminating(pod),
        "NotTerminating" => !is_terminating(pod),
        "BestEffort" => class == Some("BestEffort"),
        "NotBestEffort" => class != Some("BestEffort"),
        "PriorityClass" => has_priority(pod, scope),
        "CrossNamespacePodAffinity" => looks_into_namespaces(pod),
        _ => false,
    }
}

fn has_priority(pod: &Pod, scope: &ScopedResourceSelectorRequirement) -> bool {
    let class = pod.spec.as_ref().and_then(|spec| spec.priority_class_name.as_ref());
    let class = class.filter(|class| !class.is_empty());
    let is_listed = class.is_some_and(|class| scope.values.iter().flatten().any(|v| v == class));
    match scope.operator.as_str() {
        "Exists" => class.is_some(),
        "DoesNotExist" => class.is_none(),
        "In" => is_listed,
        "NotIn" => !is_listed,
        _ => false,
    }
}

fn looks_into_namespaces(pod: &Pod) -> bool {
    let Some(affinity) = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref()) else {
        return false;
    };
    let is_wide = |term: &PodAffinityTerm| {
        term.namespaces.as_ref().is_some_and(|names| !names.is_empty())
            || term.namespace_selector.is_some()
    };
    let (near, far) = (affinity.pod_affinity.as_ref(), affinity.pod_anti_affinity.as_ref());
    let required = near
        .and_then(|it| it.required_during_scheduling_ignored_during_execution.as_ref())
        .into_iter()
        .chain(far.and_then(|it| it.required_during_scheduling_ignored_during_execution.as_ref()));
    let preferred = near
        .and_then(|it| it.preferred_during_scheduling_ignored_during_execution.as_ref())
        .into_iter()
        .chain(far.and_then(|it| it.preferred_during_scheduling_ignored_during_execution.as_ref()));
    required.flatten().any(is_wide)
        || preferred.flatten().any(|weighted| is_wide(&weighted.pod_affinity_term))
}

/// A pod that is over, or that should be gone by now, takes nothing any more. One that is to take less goes on to take what it
/// has until it has less.
fn pod_usage(pod: &Pod, now: Timestamp) -> Amounts {
    let Some(spec) = resized::effective(pod).filter(|_| !is_over(pod, now)) else {
        return Amounts::new();
    };
    let (mut requests, mut limits) = (Side::Requests.of_pod(&spec), Side::Limits.of_pod(&spec));
    let overhead = amounts::read(spec.overhead.as_ref());
    amounts::add(&mut requests, &overhead);
    // Without a limit there still is none.
    let limited = overhead.into_iter().filter(|(name, _)| limits.contains_key(name)).collect();
    amounts::add(&mut limits, &limited);
    let mut used = charged(&requests, &limits);
    used.extend(count(["pods".to_owned()]));
    used
}

fn is_over(pod: &Pod, now: Timestamp) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let (deleted, grace) =
        (&pod.metadata.deletion_timestamp, pod.metadata.deletion_grace_period_seconds);
    let is_late = deleted.as_ref().zip(grace).is_some_and(|(deleted, grace)| {
        deleted.0.checked_add(SignedDuration::from_secs(grace)).is_ok_and(|end| now > end)
    });
    matches!(phase, Some("Failed" | "Succeeded")) || is_late
}

fn container_usage(container: &Container) -> Amounts {
    let resources = container.resources.as_ref();
    charged(&Side::Requests.of(resources), &Side::Limits.of(resources))
}

/// Under the names that quotas have for them.
fn charged(requests: &Amounts, limits: &Amounts) -> Amounts {
    let mut used = Amounts::new();
    for (name, amount) in requests {
        let is_standard = matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage")
            || name.starts_with("hugepages-");
        if is_standard {
            used.insert(name.clone(), *amount);
        }
        if is_standard || is_extended(name) {
            used.insert(format!("requests.{name}"), *amount);
        }
    }
    for name in ["cpu", "memory", "ephemeral-storage"] {
        let limit = limits.get(name);
        used.extend(limit.map(|amount| (format!("limits.{name}"), *amount)));
    }
    used
}

fn service_usage(service: &Service) -> Amounts {
    let spec = service.spec.as_ref();
    let ports = spec.and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let allocates = spec.and_then(|spec| spec.allocate_load_balancer_node_ports).unwrap_or(true);
    let type_ = spec.and_then(|spec| spec.type_.as_deref());
    let node_ports = match type_ {
        Some("NodePort") => ports.len(),
        Some("LoadBalancer") if allocates => ports.len(),
        Some("LoadBalancer") => ports.iter().filter(|port| port.node_port.is_some()).count(),
        _ => 0,
    };
    let units = |number: usize| Quantity::from_units(i64::try_from(number).unwrap_or(i64::MAX));
    let balancers = usize::from(type_ == Some("LoadBalancer"));
    let mut used = count(["services".to_owned()]);
    used.insert("services.nodeports".to_owned(), units(node_ports));
    used.insert("services.loadbalancers".to_owned(), units(balancers));
    used
}

/// Counted as a whole and, under its name, for the class.
fn claim_usage(claim: &PersistentVolumeClaim) -> Amounts {
    const BETA: &str = "volume.beta.kubernetes.io/storage-class";
    let spec = claim.spec.as_ref();
    let annotations = claim.metadata.annotations.as_ref();
    let annotated = annotations.and_then(|annotations| annotations.get(BETA));
    let class = annotated.or(spec.and_then(|spec| spec.storage_class_name.as_ref()));
    let mut used = count(["persistentvolumeclaims".to_owned()]);
    let requests = spec.and_then(|spec| spec.resources.as_ref()?.requests.as_ref());
    used.extend(requests_of(amounts::read(requests)));
    let of_class = |class: &String| -> Amounts {
        let named =
            |(name, amount)| (format!("{class}.storageclass.storage.k8s.io/{name}"), amount);
        used.clone().into_iter().map(named).collect()
    };
    let classed = class.filter(|class| !class.is_empty()).map(of_class);
    used.extend(classed.unwrap_or_default());
    used
}

fn requests_of(mut requests: Amounts) -> Option<(String, Quantity)> {
    requests.remove("storage").map(|storage| ("requests.storage".to_owned(), storage))
}

#[cfg(test)]
mod tests;
