//! How the types of Kubernetes' API are owned where it is not field by field, or element by element: what the markers
//! `+listType`, `+listMapKey`, `+mapType` and `+structType` of `k8s.io/api` say, as tables.

/// The lists whose elements have owners of their own: type, field, and key fields (none: a set of plain values).
const LISTS: &[(&str, &str, &[&str])] = &[
    (
        "io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicySpec",
        "matchConditions",
        &["name"],
    ),
    ("io.k8s.api.admissionregistration.v1.MutatingWebhook", "matchConditions", &["name"]),
    ("io.k8s.api.admissionregistration.v1.MutatingWebhookConfiguration", "webhooks", &["name"]),
    (
        "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicyBindingSpec",
        "validationActions",
        &[],
    ),
    (
        "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicySpec",
        "matchConditions",
        &["name"],
    ),
    ("io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicySpec", "variables", &["name"]),
    (
        "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicyStatus",
        "conditions",
        &["type"],
    ),
    ("io.k8s.api.admissionregistration.v1.ValidatingWebhook", "matchConditions", &["name"]),
    ("io.k8s.api.admissionregistration.v1.ValidatingWebhookConfiguration", "webhooks", &["name"]),
    ("io.k8s.api.apps.v1.DaemonSetStatus", "conditions", &["type"]),
    ("io.k8s.api.apps.v1.DeploymentStatus", "conditions", &["type"]),
    ("io.k8s.api.apps.v1.ReplicaSetStatus", "conditions", &["type"]),
    ("io.k8s.api.apps.v1.StatefulSetStatus", "conditions", &["type"]),
    ("io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerStatus", "conditions", &["type"]),
    ("io.k8s.api.batch.v1.PodFailurePolicyOnExitCodesRequirement", "values", &[]),
    ("io.k8s.api.batch.v1.UncountedTerminatedPods", "failed", &[]),
    ("io.k8s.api.batch.v1.UncountedTerminatedPods", "succeeded", &[]),
    ("io.k8s.api.certificates.v1.CertificateSigningRequestStatus", "conditions", &["type"]),
    ("io.k8s.api.core.v1.ComponentStatus", "conditions", &["type"]),
    ("io.k8s.api.core.v1.Container", "env", &["name"]),
    ("io.k8s.api.core.v1.Container", "ports", &["containerPort", "protocol"]),
    ("io.k8s.api.core.v1.Container", "volumeDevices", &["devicePath"]),
    ("io.k8s.api.core.v1.Container", "volumeMounts", &["mountPath"]),
    ("io.k8s.api.core.v1.ContainerRestartRuleOnExitCodes", "values", &[]),
    ("io.k8s.api.core.v1.ContainerStatus", "allocatedResourcesStatus", &["name"]),
    ("io.k8s.api.core.v1.ContainerStatus", "volumeMounts", &["mountPath"]),
    ("io.k8s.api.core.v1.EphemeralContainer", "env", &["name"]),
    ("io.k8s.api.core.v1.EphemeralContainer", "ports", &["containerPort", "protocol"]),
    ("io.k8s.api.core.v1.EphemeralContainer", "volumeDevices", &["devicePath"]),
    ("io.k8s.api.core.v1.EphemeralContainer", "volumeMounts", &["mountPath"]),
    ("io.k8s.api.core.v1.NamespaceStatus", "conditions", &["type"]),
    ("io.k8s.api.core.v1.NodeAllocatableResourceClaimStatus", "containers", &[]),
    ("io.k8s.api.core.v1.NodeSpec", "podCIDRs", &[]),
    ("io.k8s.api.core.v1.NodeStatus", "addresses", &["type"]),
    ("io.k8s.api.core.v1.NodeStatus", "conditions", &["type"]),
    ("io.k8s.api.core.v1.PersistentVolumeClaimStatus", "conditions", &["type"]),
    ("io.k8s.api.core.v1.PodSpec", "containers", &["name"]),
    ("io.k8s.api.core.v1.PodSpec", "ephemeralContainers", &["name"]),
    ("io.k8s.api.core.v1.PodSpec", "hostAliases", &["ip"]),
    ("io.k8s.api.core.v1.PodSpec", "imagePullSecrets", &["name"]),
    ("io.k8s.api.core.v1.PodSpec", "initContainers", &["name"]),
    ("io.k8s.api.core.v1.PodSpec", "resourceClaims", &["name"]),
    ("io.k8s.api.core.v1.PodSpec", "schedulingGates", &["name"]),
    (
        "io.k8s.api.core.v1.PodSpec",
        "topologySpreadConstraints",
        &["topologyKey", "whenUnsatisfiable"],
    ),
    ("io.k8s.api.core.v1.PodSpec", "volumes", &["name"]),
    ("io.k8s.api.core.v1.PodStatus", "conditions", &["type"]),
    ("io.k8s.api.core.v1.PodStatus", "podIPs", &["ip"]),
    ("io.k8s.api.core.v1.PodStatus", "resourceClaimStatuses", &["name"]),
    ("io.k8s.api.core.v1.ReplicationControllerStatus", "conditions", &["type"]),
    ("io.k8s.api.core.v1.ResourceRequirements", "claims", &["name"]),
    ("io.k8s.api.core.v1.ResourceStatus", "resources", &["resourceID"]),
    ("io.k8s.api.core.v1.ServiceAccount", "secrets", &["name"]),
    ("io.k8s.api.core.v1.ServiceSpec", "ports", &["port", "protocol"]),
    ("io.k8s.api.core.v1.ServiceStatus", "conditions", &["type"]),
    ("io.k8s.api.discovery.v1.Endpoint", "addresses", &[]),
    ("io.k8s.api.flowcontrol.v1.FlowSchemaStatus", "conditions", &["type"]),
    ("io.k8s.api.flowcontrol.v1.NonResourcePolicyRule", "nonResourceURLs", &[]),
    ("io.k8s.api.flowcontrol.v1.NonResourcePolicyRule", "verbs", &[]),
    ("io.k8s.api.flowcontrol.v1.PriorityLevelConfigurationStatus", "conditions", &["type"]),
    ("io.k8s.api.flowcontrol.v1.ResourcePolicyRule", "apiGroups", &[]),
    ("io.k8s.api.flowcontrol.v1.ResourcePolicyRule", "namespaces", &[]),
    ("io.k8s.api.flowcontrol.v1.ResourcePolicyRule", "resources", &[]),
    ("io.k8s.api.flowcontrol.v1.ResourcePolicyRule", "verbs", &[]),
    ("io.k8s.api.networking.v1.ServiceCIDRStatus", "conditions", &["type"]),
    ("io.k8s.api.policy.v1.PodDisruptionBudgetStatus", "conditions", &["type"]),
    ("io.k8s.api.resource.v1.AllocatedDeviceStatus", "conditions", &["type"]),
    (
        "io.k8s.api.resource.v1.ResourceClaimStatus",
        "devices",
        &["driver", "device", "pool", "shareID"],
    ),
    ("io.k8s.api.resource.v1.ResourceClaimStatus", "reservedFor", &["uid"]),
    ("io.k8s.api.storage.v1.CSIDriverSpec", "volumeLifecycleModes", &[]),
    ("io.k8s.api.storage.v1.CSINodeSpec", "drivers", &["name"]),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", "finalizers", &[]),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", "ownerReferences", &["uid"]),
];

/// Types that are owned as a whole (`+structType=atomic`).
const WHOLES: &[&str] = &[
    "io.k8s.api.admissionregistration.v1.MatchResources",
    "io.k8s.api.admissionregistration.v1.NamedRuleWithOperations",
    "io.k8s.api.admissionregistration.v1.ParamKind",
    "io.k8s.api.admissionregistration.v1.ParamRef",
    "io.k8s.api.admissionregistration.v1.Variable",
    "io.k8s.api.autoscaling.v1.CrossVersionObjectReference",
    "io.k8s.api.core.v1.ConfigMapKeySelector",
    "io.k8s.api.core.v1.EndpointAddress",
    "io.k8s.api.core.v1.EndpointPort",
    "io.k8s.api.core.v1.FileKeySelector",
    "io.k8s.api.core.v1.LocalObjectReference",
    "io.k8s.api.core.v1.NodeSelector",
    "io.k8s.api.core.v1.NodeSelectorTerm",
    "io.k8s.api.core.v1.ObjectFieldSelector",
    "io.k8s.api.core.v1.ObjectReference",
    "io.k8s.api.core.v1.ResourceFieldSelector",
    "io.k8s.api.core.v1.ScopeSelector",
    "io.k8s.api.core.v1.SecretKeySelector",
    "io.k8s.api.core.v1.SecretReference",
    "io.k8s.api.core.v1.TopologySelectorTerm",
    "io.k8s.api.core.v1.TypedLocalObjectReference",
    "io.k8s.api.discovery.v1.EndpointPort",
    "io.k8s.api.networking.v1.ServiceBackendPort",
    "io.k8s.api.rbac.v1.RoleRef",
    "io.k8s.api.rbac.v1.Subject",
    "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector",
    "io.k8s.apimachinery.pkg.apis.meta.v1.OwnerReference",
];

/// Maps that are owned as a whole (`+mapType=atomic`).
const WHOLE_MAPS: &[(&str, &str)] = &[
    ("io.k8s.api.core.v1.PodSpec", "nodeSelector"),
    ("io.k8s.api.core.v1.ReplicationControllerSpec", "selector"),
    ("io.k8s.api.core.v1.ServiceSpec", "selector"),
    ("io.k8s.api.node.v1.Scheduling", "nodeSelector"),
];

/// Fields of such a type that are owned field by field all the same (`+structType=granular`).
const GRANULAR: &[(&str, &str)] = &[("io.k8s.api.core.v1.PersistentVolumeSpec", "claimRef")];

/// Structures that are parts of another, beside metadata, specs and statuses.
const PARTS: &[(&str, &str)] = &[
    ("io.k8s.api.admissionregistration.v1.MutatingWebhook", "clientConfig"),
    ("io.k8s.api.admissionregistration.v1.ValidatingWebhook", "clientConfig"),
    ("io.k8s.api.apps.v1.DaemonSetSpec", "template"),
    ("io.k8s.api.apps.v1.DaemonSetSpec", "updateStrategy"),
    ("io.k8s.api.apps.v1.DeploymentSpec", "strategy"),
    ("io.k8s.api.apps.v1.DeploymentSpec", "template"),
    ("io.k8s.api.apps.v1.ReplicaSetSpec", "template"),
    ("io.k8s.api.apps.v1.StatefulSetSpec", "template"),
    ("io.k8s.api.apps.v1.StatefulSetSpec", "updateStrategy"),
    ("io.k8s.api.autoscaling.v2.ContainerResourceMetricSource", "target"),
    ("io.k8s.api.autoscaling.v2.ContainerResourceMetricStatus", "current"),
    ("io.k8s.api.autoscaling.v2.ExternalMetricSource", "metric"),
    ("io.k8s.api.autoscaling.v2.ExternalMetricSource", "target"),
    ("io.k8s.api.autoscaling.v2.ExternalMetricStatus", "current"),
    ("io.k8s.api.autoscaling.v2.ExternalMetricStatus", "metric"),
    ("io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerSpec", "scaleTargetRef"),
    ("io.k8s.api.autoscaling.v2.ObjectMetricSource", "describedObject"),
    ("io.k8s.api.autoscaling.v2.ObjectMetricSource", "metric"),
    ("io.k8s.api.autoscaling.v2.ObjectMetricSource", "target"),
    ("io.k8s.api.autoscaling.v2.ObjectMetricStatus", "current"),
    ("io.k8s.api.autoscaling.v2.ObjectMetricStatus", "describedObject"),
    ("io.k8s.api.autoscaling.v2.ObjectMetricStatus", "metric"),
    ("io.k8s.api.autoscaling.v2.PodsMetricSource", "metric"),
    ("io.k8s.api.autoscaling.v2.PodsMetricSource", "target"),
    ("io.k8s.api.autoscaling.v2.PodsMetricStatus", "current"),
    ("io.k8s.api.autoscaling.v2.PodsMetricStatus", "metric"),
    ("io.k8s.api.autoscaling.v2.ResourceMetricSource", "target"),
    ("io.k8s.api.autoscaling.v2.ResourceMetricStatus", "current"),
    ("io.k8s.api.batch.v1.CronJobSpec", "jobTemplate"),
    ("io.k8s.api.batch.v1.JobSpec", "template"),
    ("io.k8s.api.core.v1.Container", "resources"),
    ("io.k8s.api.core.v1.ContainerStatus", "lastState"),
    ("io.k8s.api.core.v1.ContainerStatus", "state"),
    ("io.k8s.api.core.v1.EphemeralContainer", "resources"),
    ("io.k8s.api.core.v1.Event", "source"),
    ("io.k8s.api.core.v1.NodeDaemonEndpoints", "kubeletEndpoint"),
    ("io.k8s.api.core.v1.NodeStatus", "daemonEndpoints"),
    ("io.k8s.api.core.v1.NodeStatus", "nodeInfo"),
    ("io.k8s.api.core.v1.PersistentVolumeClaimSpec", "resources"),
    ("io.k8s.api.core.v1.PodTemplate", "template"),
    ("io.k8s.api.core.v1.PreferredSchedulingTerm", "preference"),
    ("io.k8s.api.core.v1.ServiceStatus", "loadBalancer"),
    ("io.k8s.api.core.v1.WeightedPodAffinityTerm", "podAffinityTerm"),
    ("io.k8s.api.discovery.v1.Endpoint", "conditions"),
    ("io.k8s.api.events.v1.Event", "deprecatedSource"),
    ("io.k8s.api.flowcontrol.v1.FlowSchemaSpec", "priorityLevelConfiguration"),
    ("io.k8s.api.flowcontrol.v1.LimitedPriorityLevelConfiguration", "limitResponse"),
    ("io.k8s.api.networking.v1.HTTPIngressPath", "backend"),
    ("io.k8s.api.networking.v1.IngressStatus", "loadBalancer"),
    ("io.k8s.api.networking.v1.NetworkPolicySpec", "podSelector"),
    ("io.k8s.api.resource.v1.AllocationResult", "devices"),
    ("io.k8s.api.resource.v1.ResourceClaimSpec", "devices"),
    ("io.k8s.api.resource.v1.ResourceSliceSpec", "pool"),
    ("io.k8s.api.storage.v1.VolumeAttachmentSpec", "source"),
    (
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinitionSpec",
        "names",
    ),
    (
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinitionStatus",
        "acceptedNames",
    ),
];

/// The key fields of a list; none of a set. `None` if it is owned as a whole.
pub(super) fn keys_of(type_: &str, field: &str) -> Option<&'static [&'static str]> {
    LISTS.iter().find(|(t, f, _)| (*t, *f) == (type_, field)).map(|(_, _, keys)| *keys)
}

/// Whether a type is owned as a whole, in this field of another.
pub(super) fn is_whole(type_: &str, of: (&str, &str)) -> bool {
    WHOLES.contains(&type_) && !GRANULAR.contains(&of)
}

/// Whether the map in this field of a type is owned as a whole.
pub(super) fn is_whole_map(of: (&str, &str)) -> bool {
    WHOLE_MAPS.contains(&of)
}

/// Whether the structure in this field of a type is part of it: in Go it is no pointer, so that it is there, empty, when
/// nobody has said anything.
pub(super) fn is_part((type_, field): (&str, &str)) -> bool {
    let is_of_all = matches!(field, "metadata" | "spec" | "status");
    type_.starts_with("io.k8s.") && (is_of_all || PARTS.contains(&(type_, field)))
}
