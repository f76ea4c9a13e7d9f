//! Sources of volumes that are no more (Kubernetes: `pkg/api/pod/warnings.go`, `pkg/api/persistentvolume/util.go`).

use api_machinery::FieldPath;

use crate::warnings::tell;

/// Their fields, what these are called in warnings, and what is told of them.
const GONE: [(&str, &str, &str); 9] = [
    ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("flocker", "flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("gitRepo", "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    (
        "photonPersistentDisk",
        "photonPersistentDisk",
        "deprecated in v1.11, non-functional in v1.16+",
    ),
    ("quobyte", "quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
    ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
];

/// Adds what is told of a source, if it is one of these.
pub(crate) fn source(source: &str, path: &FieldPath, warnings: &mut Vec<String>) {
    if let Some((_, name, why)) = GONE.iter().find(|(field, ..)| *field == source) {
        tell(&path.child(name), why, warnings);
    }
}
