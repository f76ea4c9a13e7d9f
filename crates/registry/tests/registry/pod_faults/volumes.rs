//! What volumes are, and where containers see them.

use super::{of_specs, of_volumes};

#[test]
fn of_what_a_volume_is() {
    of_volumes(&[
        (
            "emptyDir: {sizeLimit: -1}",
            "emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity",
        ),
        ("{emptyDir: {medium: Memory, sizeLimit: 1Mi}}", ""),
        (
            "{emptyDir: {}, cephfs: {monitors: []}, downwardAPI: {}, nfs: {server: '', path: ''}}",
            "nfs: Forbidden: may not specify more than 1 volume type
cephFS: Forbidden: may not specify more than 1 volume type
downwarAPI: Forbidden: may not specify more than 1 volume type",
        ),
        ("persistentVolumeClaim: {claimName: ''}", "persistentVolumeClaim.claimName: Required value"),
        ("persistentVolumeClaim: {claimName: a}", ""),
        (
            "gitRepo: {repository: '', directory: ../a}",
            "gitRepo.repository: Required value
gitRepo.directory: Invalid value: \"../a\": must not contain '..'",
        ),
        (
            "csi: {driver: '', nodePublishSecretRef: {name: ''}}",
            "csi.driver: Required value
csi.nodePublishSecretRef.name: Required value",
        ),
        ("csi: {driver: Example.com, nodePublishSecretRef: {name: a}}", ""),
        ("image: {}", "image.reference: Required value"),
        (
            "image: {reference: a, pullPolicy: Seldom}",
            "image.pullPolicy: Unsupported value: \"Seldom\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
        ),
        ("image: {reference: 'a:1'}", ""),
        (
            "flexVolume: {driver: '', options: {kubernetes.io/a: b}}",
            "flexVolume.driver: Required value
flexVolume.options[kubernetes.io/a]: Invalid value: \"kubernetes.io/a\": kubernetes.io and k8s.io namespaces are reserved",
        ),
        (
            "azureDisk: {diskName: '', diskURI: b, kind: Managed, cachingMode: A}",
            "azureDisk.diskName: Required value
azureDisk.cachingMode: Unsupported value: \"A\": supported values: \"None\", \"ReadOnly\", \"ReadWrite\"
azureDisk.diskURI: Unsupported value: \"b\": supported values: \"/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}\"",
        ),
    ]);
}

#[test]
fn of_a_claim_that_is_made_for_a_pod() {
    const SPEC: &str = "{accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}";
    of_volumes(&[
        ("ephemeral: {}", "ephemeral.volumeClaimTemplate: Required value"),
        (
            "ephemeral: {volumeClaimTemplate: {metadata: {name: a}, spec: {}}}",
            "ephemeral.volumeClaimTemplate.metadata.name: Forbidden: cannot be set
ephemeral.volumeClaimTemplate.spec.accessModes: Required value: at least 1 access mode is required
ephemeral.volumeClaimTemplate.spec.resources[storage]: Required value",
        ),
        (
            "ephemeral: {volumeClaimTemplate: {metadata: {labels: {a: b}}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}}",
            "",
        ),
    ]);
    let volumes = format!(
        "volumes: [{{name: v, ephemeral: {{volumeClaimTemplate: {{spec: {SPEC}}}}}}}, {{name: w, persistentVolumeClaim: {{claimName: a-v}}}}]"
    );
    of_specs(&[(
        volumes.as_str(),
        "volumes[1].persistentVolumeClaim.claimName: Invalid value: \"a-v\": must not reference a PVC that gets created for an ephemeral volume",
    )]);
}

#[test]
fn of_volumes_that_nodes_reach_over_a_network() {
    of_volumes(&[
        (
            "nfs: {server: '', path: a}",
            "nfs.server: Required value
nfs.path: Invalid value: \"a\": must be an absolute path",
        ),
        ("nfs: {server: a, path: /}", ""),
        (
            "iscsi: {targetPortal: '', iqn: '', lun: 256, chapAuthSession: true}",
            "iscsi.targetPortal: Required value
iscsi.iqn: Required value
iscsi.lun: Invalid value: 256: must be between 0 and 255, inclusive
iscsi.secretRef: Required value",
        ),
        (
            "iscsi: {targetPortal: a, iqn: eui.1, lun: 0, initiatorName: a}",
            "iscsi.iqn: Invalid value: \"eui.1\": must be valid format
iscsi.initiatorname: Invalid value: \"a\": must be valid format starting with iqn, eui, or naa",
        ),
        (
            "iscsi: {targetPortal: a, iqn: 'iqn.2001-04.com.example:storage', lun: 0, initiatorName: naa.12345678901234567890123456789012}",
            "",
        ),
        (
            "glusterfs: {endpoints: '', path: ''}",
            "glusterfs.endpoints: Required value
glusterfs.path: Required value",
        ),
        ("flocker: {}", "flocker: Required value: one of datasetName and datasetUUID is required"),
        (
            "flocker: {datasetName: a/b, datasetUUID: c}",
            "flocker: Invalid value: \"resource\": datasetName and datasetUUID can not be specified simultaneously
flocker.datasetName: Invalid value: \"a/b\": must not contain '/'",
        ),
        (
            "rbd: {monitors: [], image: ''}",
            "rbd.monitors: Required value
rbd.image: Required value",
        ),
        (
            "cinder: {volumeID: '', secretRef: {name: ''}}",
            "cinder.volumeID: Required value
cinder.secretRef.name: Required value",
        ),
        ("cephfs: {monitors: []}", "cephfs.monitors: Required value"),
        (
            "quobyte: {registry: 'a', volume: ''}",
            "quobyte.registry: Invalid value: \"a\": must be a host:port pair or multiple pairs separated by commas
quobyte.volume: Required value",
        ),
        ("quobyte: {registry: 'a:1,[::1]:2', volume: v}", ""),
        (
            "fc: {}",
            "fc.targetWWNs: Required value: must specify either targetWWNs or wwids, but not both",
        ),
        (
            "fc: {targetWWNs: [a], wwids: [b]}",
            "fc.targetWWNs: Invalid value: [\"a\"]: targetWWNs and wwids can not be specified simultaneously
fc.lun: Required value: lun is required if targetWWNs is specified",
        ),
        (
            "storageos: {volumeName: A, volumeNamespace: B, secretRef: {name: ''}}",
            "storageos.volumeName: Invalid value: \"A\": <label>
storageos.volumeNamespace: Invalid value: \"B\": <label>
storageos.secretRef.name: Required value",
        ),
        (
            "scaleIO: {gateway: '', system: '', secretRef: {name: a}}",
            "scaleIO.gateway: Required value
scaleIO.system: Required value
scaleIO.volumeName: Required value",
        ),
    ]);
}

#[test]
fn of_disks_of_clouds() {
    of_volumes(&[
        (
            "gcePersistentDisk: {pdName: '', partition: 256}",
            "persistentDisk.pdName: Required value
persistentDisk.partition: Invalid value: 256: must be between 1 and 255, inclusive",
        ),
        ("awsElasticBlockStore: {volumeID: ''}", "awsElasticBlockStore.volumeID: Required value"),
        (
            "azureFile: {secretName: '', shareName: ''}",
            "azureFile.secretName: Required value
azureFile.shareName: Required value",
        ),
        ("vsphereVolume: {volumePath: ''}", "vsphereVolume.volumePath: Required value"),
        ("photonPersistentDisk: {pdID: ''}", "photonPersistentDisk.pdID: Required value"),
        ("portworxVolume: {volumeID: ''}", "portworxVolume.volumeID: Required value"),
    ]);
}

#[test]
fn of_files_in_volumes() {
    of_volumes(&[
        (
            "downwardAPI: {defaultMode: 512, items: [{path: a}]}",
            "downwardAPI.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive
downwardAPI: Required value: one of fieldRef and resourceFieldRef is required",
        ),
        (
            "downwardAPI: {items: [{path: a, fieldRef: {fieldPath: spec.nodeName}}]}",
            "downwardAPI.fieldRef.fieldPath: Unsupported value: \"spec.nodeName\": supported values: \"metadata.annotations\", \"metadata.labels\", \"metadata.name\", \"metadata.namespace\", \"metadata.uid\"",
        ),
        (
            "downwardAPI: {items: [{path: a, fieldRef: {fieldPath: \"metadata.labels['b c']\"}}]}",
            "downwardAPI.fieldRef: Invalid value: \"b c\": <key>",
        ),
        (
            "downwardAPI: {items: [{path: a, fieldRef: {fieldPath: \"metadata.name['b']\"}}]}",
            "downwardAPI.fieldRef.fieldPath: Invalid value: \"metadata.name['b']\": error converting fieldPath: field label does not support subscript: metadata.name['b']",
        ),
        (
            "downwardAPI: {items: [{path: a, resourceFieldRef: {resource: limits.cpu, divisor: 2m}}]}",
            "downwardAPI.resourceFieldRef.containerName: Required value
downwardAPI.resourceFieldRef.divisor: Invalid value: \"limits.cpu\": only divisor's values 1m and 1 are supported with the cpu resource",
        ),
        (
            "downwardAPI: {items: [{path: a, fieldRef: {fieldPath: \"metadata.annotations['B.c/D']\"}}, {path: b, resourceFieldRef: {containerName: a, resource: requests.hugepages-2Mi, divisor: 1Mi}}]}",
            "",
        ),
    ]);
}

#[test]
fn of_sources_of_trust() {
    of_volumes(&[
        ("projected: {sources: [{}]}", ""),
        (
            "projected: {sources: [{clusterTrustBundle: {path: ''}}]}",
            "projected.sources[0].clusterTrustBundle: Required value: either name or signerName must be specified
projected.sources[0].clusterTrustBundle.path: Required value",
        ),
        (
            "projected: {sources: [{clusterTrustBundle: {name: A, path: a, labelSelector: {}}}]}",
            "projected.sources[0].clusterTrustBundle.name: Invalid value: \"A\": not a valid clustertrustbundlename: <subdomain>
projected.sources[0].clusterTrustBundle.labelSelector: Invalid value: {}: labelSelector must be unset if name is specified",
        ),
        (
            "projected: {sources: [{clusterTrustBundle: {signerName: a/b, path: a}}]}",
            "projected.sources[0].clusterTrustBundle.signerName: Invalid value: \"a\": should be a domain with at least two segments separated by dots",
        ),
        (
            "projected: {sources: [{podCertificate: {signerName: a.b/c, keyType: A, maxExpirationSeconds: 3599, userAnnotations: {a: b}}}]}",
            "projected.sources[0].podCertificate.userAnnotations: Invalid value: \"a\": must be a domain-prefixed key (such as \"acme.io/foo\")
projected.sources[0].podCertificate.keyType: Unsupported value: \"A\": supported values: \"RSA3072\", \"RSA4096\", \"ECDSAP256\", \"ECDSAP384\", \"ECDSAP521\", \"ED25519\"
projected.sources[0].podCertificate.maxExpirationSeconds: Invalid value: 3599: if provided, maxExpirationSeconds must be >= 3600
projected.sources[0].podCertificate: Required value: specify at least one of credentialBundlePath, keyPath, and certificateChainPath",
        ),
        (
            "projected: {sources: [{clusterTrustBundle: {name: 'a.b:c:d', path: a}}, {podCertificate: {signerName: kubernetes.io/c, keyType: ED25519, maxExpirationSeconds: 86401, credentialBundlePath: a}}]}",
            "projected.sources[1].podCertificate.maxExpirationSeconds: Invalid value: 86401: if provided, maxExpirationSeconds must be <= 86400
projected: Invalid value: \"a\": conflicting duplicate paths",
        ),
    ]);
    of_specs(&[(
        "{serviceAccountName: '', volumes: [{name: v, projected: {sources: [{serviceAccountToken: {path: a}}]}}]}",
        "volumes[0].projected.sources[0].serviceAccountToken: Forbidden: must not be specified when serviceAccountName is not set",
    )]);
}

/// A container that sees the volumes `v` and, as a device, `c`.
fn of_mounts(fields: &str, expected: &str) {
    let given = format!(
        "{{volumes: [{{name: v, emptyDir: {{}}}}, {{name: c, persistentVolumeClaim: {{claimName: c}}}}], containers: [{{name: a, image: x, {fields}}}]}}"
    );
    let lines = expected.lines().map(|line| format!("containers[0].{line}"));
    let expected = lines.collect::<Vec<_>>().join("\n");
    of_specs(&[(given.as_str(), expected.as_str())]);
}

#[test]
fn of_mounted_volumes() {
    for (mount, expected) in [
        (
            "name: '', mountPath: ''",
            "volumeMounts[0].name: Required value
volumeMounts[0].name: Not found: \"\"
volumeMounts[0].mountPath: Required value",
        ),
        (
            "name: v, mountPath: /a, subPath: a, subPathExpr: /b",
            "volumeMounts[0].subPathExpr: Invalid value: \"/b\": subPathExpr and subPath are mutually exclusive
volumeMounts.subPathExpr: Invalid value: \"/b\": must be a relative path",
        ),
        (
            "name: v, mountPath: /a, mountPropagation: Sideways",
            "volumeMounts.mountPropagation: Unsupported value: \"Sideways\": supported values: \"Bidirectional\", \"HostToContainer\", \"None\"",
        ),
        (
            "name: v, mountPath: /a, mountPropagation: Bidirectional",
            "volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers",
        ),
        (
            "name: v, mountPath: /a, recursiveReadOnly: Perhaps",
            "volumeMounts.recursiveReadOnly: Unsupported value: \"Perhaps\": supported values: \"Disabled\", \"Enabled\", \"IfPossible\"",
        ),
        (
            "name: v, mountPath: /a, recursiveReadOnly: Enabled, mountPropagation: HostToContainer",
            "volumeMounts.recursiveReadOnly: Forbidden: may only be specified when readOnly is true
volumeMounts.recursiveReadOnly: Forbidden: may only be specified when mountPropagation is None or not specified",
        ),
        (
            "name: v, mountPath: /a, subPathExpr: $(A)/b, readOnly: true, recursiveReadOnly: IfPossible, mountPropagation: None",
            "",
        ),
    ] {
        of_mounts(&format!("volumeMounts: [{{{mount}}}]"), expected);
    }
    of_mounts(
        "volumeMounts: [{name: v, mountPath: /a, mountPropagation: Bidirectional}], securityContext: {privileged: true}",
        "",
    );
}

#[test]
fn of_devices() {
    for (fields, expected) in [
        (
            "volumeDevices: [{name: v, devicePath: /dev/a}]",
            "volumeDevices[0].name: Invalid value: \"v\": can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode",
        ),
        (
            "volumeDevices: [{name: d, devicePath: ''}]",
            "volumeDevices[0].name: Not found: \"d\"
volumeDevices[0].devicePath: Required value",
        ),
        (
            "volumeDevices: [{name: c, devicePath: /a}, {name: c, devicePath: /a}]",
            "volumeDevices[1].name: Invalid value: \"c\": must be unique
volumeDevices[1].devicePath: Invalid value: \"/a\": must be unique",
        ),
        (
            "volumeDevices: [{name: c, devicePath: /a/../b}]",
            "volumeDevices[0].devicePath: Invalid value: \"/a/../b\": can not contain backsteps ('..')",
        ),
        (
            "volumeMounts: [{name: c, mountPath: /a}], volumeDevices: [{name: c, devicePath: /a}]",
            "volumeMounts[0].name: Invalid value: \"c\": must not already exist in volumeDevices
volumeMounts[0].mountPath: Invalid value: \"/a\": must not already exist as a path in volumeDevices
volumeDevices[0].name: Invalid value: \"c\": must not already exist in volumeMounts
volumeDevices[0].devicePath: Invalid value: \"/a\": must not already exist as a path in volumeMounts",
        ),
        ("volumeMounts: [{name: v, mountPath: /a}], volumeDevices: [{name: c, devicePath: /b}]", ""),
    ] {
        of_mounts(fields, expected);
    }
    of_specs(&[(
        "{hostUsers: false, volumes: [{name: c, persistentVolumeClaim: {claimName: c}}], containers: [{name: a, image: x, volumeDevices: [{name: c, devicePath: /a}]}]}",
        "containers[0].volumeDevices: Forbidden: when `hostUsers` is false",
    )]);
}
