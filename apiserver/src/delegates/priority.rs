//! Where the group versions that Kubernetes has stand among all (Kubernetes: `cmd/kube-apiserver/app/aggregator.go`).

/// A name with what it has among others.
type Ranked<T> = (&'static str, T);

/// Groups with their priority, and that of their versions.
const KNOWN: [(&str, i32, &[Ranked<i32>]); 22] = [
    ("", 18_000, &[("v1", 1)]),
    ("apps", 17_800, &[("v1", 15)]),
    ("events.k8s.io", 17_750, &[("v1", 15)]),
    ("authentication.k8s.io", 17_700, &[("v1", 15)]),
    ("authorization.k8s.io", 17_600, &[("v1", 15)]),
    ("autoscaling", 17_500, &[("v2", 30), ("v1", 15)]),
    ("batch", 17_400, &[("v1", 15)]),
    ("certificates.k8s.io", 17_300, &[("v1", 15), ("v1beta1", 9)]),
    ("networking.k8s.io", 17_200, &[("v1", 15)]),
    ("policy", 17_100, &[("v1", 15)]),
    ("rbac.authorization.k8s.io", 17_000, &[("v1", 15)]),
    ("storage.k8s.io", 16_800, &[("v1", 15)]),
    ("apiextensions.k8s.io", 16_700, &[("v1", 15)]),
    ("admissionregistration.k8s.io", 16_700, &[("v1", 15), ("v1beta1", 12), ("v1alpha1", 9)]),
    ("scheduling.k8s.io", 16_600, &[("v1", 15)]),
    ("coordination.k8s.io", 16_500, &[("v1", 15)]),
    ("node.k8s.io", 16_300, &[("v1", 15)]),
    ("discovery.k8s.io", 16_200, &[("v1", 15)]),
    ("resource.k8s.io", 16_200, &[("v1", 21), ("v1beta2", 15), ("v1beta1", 9)]),
    ("flowcontrol.apiserver.k8s.io", 16_100, &[("v1", 21)]),
    // Not of Kubernetes: after its own, before what comes from definitions.
    ("minik8s.io", 15_000, &[("v1", 15)]),
    // Its own says 20000 of these.
    ("apiregistration.k8s.io", 20_000, &[("v1", 18)]),
];
/// Of definitions' (Kubernetes: `crdregistration`), and of what is new.
const OTHERS: (i32, i32) = (1_000, 100);

/// The priority of a group version that this server serves: the group's, and the version's in it.
pub(crate) fn priority(group: &str, version: &str) -> (i32, i32) {
    let Some((_, of_group, versions)) = KNOWN.iter().find(|(name, ..)| *name == group) else {
        return OTHERS;
    };
    let known = versions.iter().find(|(name, _)| *name == version);
    (*of_group, known.map_or(1, |(_, priority)| *priority))
}
