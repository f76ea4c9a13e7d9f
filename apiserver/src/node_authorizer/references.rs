//! Which objects a pod names, so that its node has to read them. Pure (Kubernetes: `pkg/api/v1/pod/util.go`).

use std::collections::BTreeSet;

use api_types::api::core::v1::{EnvFromSource, EnvVar, Pod, PodSpec, Volume, VolumeProjection};
use registry::MIRROR;

/// A kind of objects that nodes read only as their pods need them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    ConfigMap,
    PersistentVolumeClaim,
    Pod,
    Secret,
    ServiceAccount,
}

/// What a pod names in its namespace, itself among it. What a mirror pod names counts for nothing: the node made it up.
pub(super) fn of(pod: &Pod) -> BTreeSet<(Kind, String)> {
    let mut all = BTreeSet::new();
    let mut note = |kind: Kind, name: &str| {
        if !name.is_empty() {
            all.insert((kind, name.to_owned()));
        }
    };
    note(Kind::Pod, pod.metadata.name.as_deref().unwrap_or_default());
    if !is_mirror(pod) {
        pod.spec.iter().for_each(|spec| visit(spec, &mut note));
        made_claims(pod).for_each(|claim| note(Kind::PersistentVolumeClaim, &claim));
    }
    all
}

/// Of volumes that come and go with the pod.
fn made_claims(pod: &Pod) -> impl Iterator<Item = String> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let made = volumes.filter(|volume| volume.ephemeral.is_some());
    made.map(move |volume| format!("{name}-{}", volume.name))
}

/// Whether a pod names an object of another kind, or has one made for it (Kubernetes: `HasAPIObjectReference`).
pub(crate) fn names_objects(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let mut found = false;
    visit(spec, &mut |_, name| found |= !name.is_empty());
    let has_account = spec.service_account.as_ref().is_some_and(|name| !name.is_empty());
    let has_claims = spec.resource_claims.as_ref().is_some_and(|claims| !claims.is_empty());
    found || has_account || has_claims || spec.volumes.iter().flatten().any(is_of_objects)
}

/// Whether there is no such volume without the API.
fn is_of_objects(volume: &Volume) -> bool {
    let mut sources = volume.projected.iter().flat_map(|it| it.sources.iter().flatten());
    volume.azure_file.is_some()
        || volume.config_map.is_some()
        || volume.csi.is_some()
        || volume.ephemeral.is_some()
        || volume.glusterfs.is_some()
        || volume.persistent_volume_claim.is_some()
        || volume.secret.is_some()
        || sources.any(|source| !is_of_the_pod(source))
}

/// Whether all that is projected are the pod's own fields.
fn is_of_the_pod(source: &VolumeProjection) -> bool {
    let downward_api = source.downward_api.clone();
    *source == VolumeProjection { downward_api, ..VolumeProjection::default() }
}

pub(crate) fn is_mirror(pod: &Pod) -> bool {
    pod.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(MIRROR))
}

fn visit(spec: &PodSpec, note: &mut impl FnMut(Kind, &str)) {
    note(Kind::ServiceAccount, spec.service_account_name.as_deref().unwrap_or_default());
    let pull_secrets = spec.image_pull_secrets.iter().flatten();
    pull_secrets.for_each(|secret| note(Kind::Secret, &secret.name));
    for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
        environment(&container.env, &container.env_from, note);
    }
    for container in spec.ephemeral_containers.iter().flatten() {
        environment(&container.env, &container.env_from, note);
    }
    for volume in spec.volumes.iter().flatten() {
        visit_volume(volume, note);
    }
}

fn environment(
    variables: &Option<Vec<EnvVar>>,
    sources: &Option<Vec<EnvFromSource>>,
    note: &mut impl FnMut(Kind, &str),
) {
    for source in sources.iter().flatten() {
        source.secret_ref.iter().for_each(|it| note(Kind::Secret, &it.name));
        source.config_map_ref.iter().for_each(|it| note(Kind::ConfigMap, &it.name));
    }
    for source in variables.iter().flatten().filter_map(|variable| variable.value_from.as_ref()) {
        source.secret_key_ref.iter().for_each(|it| note(Kind::Secret, &it.name));
        source.config_map_key_ref.iter().for_each(|it| note(Kind::ConfigMap, &it.name));
    }
}

fn visit_volume(volume: &Volume, note: &mut impl FnMut(Kind, &str)) {
    volume.config_map.iter().for_each(|it| note(Kind::ConfigMap, &it.name));
    let claim = volume.persistent_volume_claim.as_ref();
    claim.iter().for_each(|it| note(Kind::PersistentVolumeClaim, &it.claim_name));
    let secret = volume.secret.as_ref().and_then(|it| it.secret_name.as_deref());
    note(Kind::Secret, secret.unwrap_or_default());
    volume.azure_file.iter().for_each(|it| note(Kind::Secret, &it.secret_name));
    credentials(volume, note);
    let projected = volume.projected.iter().flat_map(|it| it.sources.iter().flatten());
    projected.for_each(|source| projection(source, note));
}

/// Of what the node mounts from elsewhere.
fn credentials(volume: &Volume, note: &mut impl FnMut(Kind, &str)) {
    let references = [
        volume.cephfs.as_ref().and_then(|it| it.secret_ref.as_ref()),
        volume.cinder.as_ref().and_then(|it| it.secret_ref.as_ref()),
        volume.csi.as_ref().and_then(|it| it.node_publish_secret_ref.as_ref()),
        volume.flex_volume.as_ref().and_then(|it| it.secret_ref.as_ref()),
        volume.iscsi.as_ref().and_then(|it| it.secret_ref.as_ref()),
        volume.rbd.as_ref().and_then(|it| it.secret_ref.as_ref()),
        volume.scale_io.as_ref().map(|it| &it.secret_ref),
        volume.storageos.as_ref().and_then(|it| it.secret_ref.as_ref()),
    ];
    references.into_iter().flatten().for_each(|it| note(Kind::Secret, &it.name));
}

fn projection(source: &VolumeProjection, note: &mut impl FnMut(Kind, &str)) {
    source.secret.iter().for_each(|it| note(Kind::Secret, &it.name));
    source.config_map.iter().for_each(|it| note(Kind::ConfigMap, &it.name));
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn named(spec: &Value) -> Vec<(Kind, String)> {
        let mut object = json!({"metadata": {"name": "p"}, "spec": {"containers": []}});
        for (field, value) in spec.as_object().unwrap() {
            object["spec"][field] = value.clone();
        }
        let pod: Pod = serde_json::from_value(object).unwrap();
        of(&pod).into_iter().filter(|(kind, _)| *kind != Kind::Pod).collect()
    }

    #[test]
    fn each_way_to_name_an_object_counts() {
        let check = |spec: Value, expected: &[(Kind, &str)]| {
            let expected: Vec<_> =
                expected.iter().map(|(kind, name)| (*kind, (*name).to_owned())).collect();
            assert_eq!(named(&spec), expected, "{spec}");
        };
        let secret: &[_] = &[(Kind::Secret, "s")];
        let map: &[_] = &[(Kind::ConfigMap, "m")];
        check(json!({"imagePullSecrets": [{"name": "s"}]}), secret);
        check(json!({"serviceAccountName": "a"}), &[(Kind::ServiceAccount, "a")]);
        for containers in ["containers", "initContainers", "ephemeralContainers"] {
            let with =
                |field: &str, value: Value| json!({containers: [{"name": "c", field: [value]}]});
            check(with("envFrom", json!({"secretRef": {"name": "s"}})), secret);
            check(with("envFrom", json!({"configMapRef": {"name": "m"}})), map);
            let variable = |from: Value| json!({"name": "V", "valueFrom": from});
            let key = |name: &str| json!({"name": name, "key": "k"});
            check(with("env", variable(json!({"secretKeyRef": key("s")}))), secret);
            check(with("env", variable(json!({"configMapKeyRef": key("m")}))), map);
            check(with("env", json!({"name": "V", "value": "s"})), &[]);
        }
        let volume = |source: Value| {
            let mut volume = source;
            volume["name"] = "v".into();
            json!({"volumes": [volume]})
        };
        check(volume(json!({"secret": {"secretName": "s"}})), secret);
        check(volume(json!({"configMap": {"name": "m"}})), map);
        let claim: &[_] = &[(Kind::PersistentVolumeClaim, "c")];
        check(volume(json!({"persistentVolumeClaim": {"claimName": "c"}})), claim);
        let made: &[_] = &[(Kind::PersistentVolumeClaim, "p-v")];
        check(volume(json!({"ephemeral": {}})), made);
        let projected = |source: Value| volume(json!({"projected": {"sources": [source]}}));
        check(projected(json!({"secret": {"name": "s"}})), secret);
        check(projected(json!({"configMap": {"name": "m"}})), map);
        let reference = json!({"name": "s"});
        check(volume(json!({"azureFile": {"secretName": "s", "shareName": "x"}})), secret);
        check(volume(json!({"cephfs": {"monitors": [], "secretRef": reference}})), secret);
        check(volume(json!({"cinder": {"volumeID": "x", "secretRef": reference}})), secret);
        check(volume(json!({"csi": {"driver": "x", "nodePublishSecretRef": reference}})), secret);
        check(volume(json!({"flexVolume": {"driver": "x", "secretRef": reference}})), secret);
        let iscsi = json!({"targetPortal": "x", "iqn": "x", "lun": 0, "secretRef": reference});
        check(volume(json!({"iscsi": iscsi})), secret);
        check(
            volume(json!({"rbd": {"monitors": [], "image": "x", "secretRef": reference}})),
            secret,
        );
        let scale_io = json!({"gateway": "x", "system": "x", "secretRef": reference});
        check(volume(json!({"scaleIO": scale_io})), secret);
        check(volume(json!({"storageos": {"secretRef": reference}})), secret);
    }

    #[test]
    fn what_a_mirror_pod_names_counts_for_nothing() {
        let pod = json!({
            "metadata": {"name": "p", "annotations": {MIRROR: "x"}},
            "spec": {"containers": [], "imagePullSecrets": [{"name": "s"}]},
        });
        let pod: Pod = serde_json::from_value(pod).unwrap();
        assert_eq!(of(&pod), [(Kind::Pod, "p".to_owned())].into());
        assert!(names_objects(&pod));
    }

    #[test]
    fn a_mirror_pod_has_only_what_is_of_its_node_or_itself() {
        let check = |field: &str, value: Value, expected: bool| {
            let spec = json!({"containers": [], field: value});
            let pod = json!({"metadata": {"name": "p"}, "spec": spec});
            let pod: Pod = serde_json::from_value(pod).unwrap();
            assert_eq!(names_objects(&pod), expected, "{spec}");
        };
        let volume = |kind: &str, source: Value, expected: bool| {
            check("volumes", json!([{"name": "v", kind: source}]), expected);
        };
        volume("hostPath", json!({"path": "/x"}), false);
        volume("emptyDir", json!({}), false);
        volume("ephemeral", json!({}), true);
        volume("csi", json!({"driver": "x"}), true);
        volume("glusterfs", json!({"endpoints": "e", "path": "x"}), true);
        volume("configMap", json!({}), true);
        volume("secret", json!({}), true);
        let projected = |source: Value, expected: bool| {
            volume("projected", json!({"sources": [source]}), expected);
        };
        projected(json!({"downwardAPI": {}}), false);
        projected(json!({"serviceAccountToken": {"path": "t"}}), true);
        projected(json!({"clusterTrustBundle": {"path": "t"}}), true);
        projected(json!({"podCertificate": {"keyType": "x", "signerName": "x"}}), true);
        projected(json!({"downwardAPI": {}, "serviceAccountToken": {"path": "t"}}), true);
        check("resourceClaims", json!([{"name": "c"}]), true);
        check("serviceAccount", json!("a"), true);
        check("serviceAccount", json!(""), false);
    }
}
