//! Names and labels by which containers are found again after a restart of the kubelet.

use std::collections::HashMap;

/// Container name of a sandbox.
pub const SANDBOX_NAME: &str = "POD";
/// Label: the pod's name.
pub const POD_NAME: &str = "io.kubernetes.pod.name";
/// Label: the pod's namespace.
pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
/// Label: the pod's uid.
pub const POD_UID: &str = "io.kubernetes.pod.uid";
/// Label: the container's name in the pod.
pub const CONTAINER_NAME: &str = "io.kubernetes.container.name";
/// Label: how often the container was restarted.
pub const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
/// Label: hash of the container's spec.
pub const HASH: &str = "io.kubernetes.container.hash";
/// Label: the image as the spec names it.
pub const IMAGE: &str = "io.minik8s.image";
/// Label: the sandbox a container joined.
pub const SANDBOX_ID: &str = "io.kubernetes.sandbox.id";
/// Label: the node; several kubelets may share one dockerd.
pub const NODE: &str = "io.minik8s.node";
/// Label of a sandbox: the pod's address, if it was known before. The truth about which addresses are in use.
pub const ADDRESS: &str = "io.minik8s.pod.address";
/// Label of a sandbox: the pod's address of IPv6 beside it, if it was made with one.
pub const SECOND_ADDRESS: &str = "io.minik8s.pod.second-address";

/// The pod a container belongs to, as its labels say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodIdentity {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

/// `k8s_<container>_<pod>_<namespace>_<uid>_<attempt>`.
pub fn container_name(pod: &PodIdentity, container: &str, attempt: u32) -> String {
    format!("k8s_{container}_{}_{}_{}_{attempt}", pod.name, pod.namespace, pod.uid)
}

/// The labels every container of a pod has.
pub fn identity(
    node: &str,
    pod: &PodIdentity,
    container: &str,
    attempt: u32,
) -> HashMap<String, String> {
    [
        (NODE, node),
        (POD_NAME, &pod.name),
        (POD_NAMESPACE, &pod.namespace),
        (POD_UID, &pod.uid),
        (CONTAINER_NAME, container),
        (RESTART_COUNT, &attempt.to_string()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect()
}

/// The pod that the labels name; `None` for a container that is not ours.
pub fn pod_of(labels: &HashMap<String, String>) -> Option<PodIdentity> {
    let get = |key: &str| labels.get(key).cloned();
    Some(PodIdentity { uid: get(POD_UID)?, namespace: get(POD_NAMESPACE)?, name: get(POD_NAME)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_give_the_pod_back() {
        let pod = PodIdentity { uid: "u".into(), namespace: "default".into(), name: "a_b".into() };
        assert_eq!(pod_of(&identity("n1", &pod, "main", 3)), Some(pod.clone()));
        assert_eq!(container_name(&pod, "main", 3), "k8s_main_a_b_default_u_3");
    }
}
