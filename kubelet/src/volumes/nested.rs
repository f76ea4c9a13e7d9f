//! What is mounted in a volume: another volume, at a path below one where this volume is (Kubernetes:
//! `getNestedMountpoints`).

use std::{
    collections::BTreeSet,
    path::{Component, Path},
};

use api_types::api::core::v1::{Container, Pod};

use crate::spec;

/// The paths in a volume where the pod's containers mount something.
pub(super) fn places(pod: &Pod, volume: &str) -> BTreeSet<String> {
    let containers = spec::init_containers(pod).chain(spec::containers(pod));
    containers.flat_map(|container| of_container(container, volume)).collect()
}

fn of_container(container: &Container, volume: &str) -> Vec<String> {
    let mounts = || container.volume_mounts.iter().flatten();
    // Of a part of a volume, only that part is seen there.
    let is_whole = |path: &Option<String>| path.as_ref().is_none_or(String::is_empty);
    let whole = mounts().filter(|mount| {
        mount.name == volume && is_whole(&mount.sub_path) && is_whole(&mount.sub_path_expr)
    });
    let below = |above: &str| mounts().filter_map(move |it| part(&it.mount_path, above)).collect();
    let mut places: Vec<String> = Vec::new();
    for mount in whole {
        let mut found: Vec<String> = below(&mount.mount_path);
        found.sort_by(|a, b| Path::new(a).cmp(Path::new(b)));
        // What is in one of them is that one's.
        found.dedup_by(|next, kept| Path::new(next).starts_with(&*kept));
        places.append(&mut found);
    }
    places
}

/// The path below another one, if it is below it.
fn part(path: &str, above: &str) -> Option<String> {
    let below = Path::new(path).strip_prefix(above).ok()?;
    let is_plain = below.components().all(|it| matches!(it, Component::Normal(_)));
    let parts: std::path::PathBuf = below.components().collect();
    let part = parts.to_str()?.to_owned();
    (is_plain && !part.is_empty()).then_some(part)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(mounts: &[(&str, &str)], expected: &[&str]) {
        let mount = |(name, path): &(&str, &str)| json!({"name": name, "mountPath": path});
        let mounts: Value = mounts.iter().map(mount).collect();
        let container = json!({"name": "c", "volumeMounts": mounts});
        let pod = json!({"spec": {"containers": [container]}});
        let found = places(&serde_json::from_value(pod).unwrap(), "v");
        assert!(found.iter().eq(expected), "{found:?}");
    }

    #[test]
    fn places_are_those_right_below_where_the_volume_is() {
        let token = "/var/run/secrets/kubernetes.io/serviceaccount";
        check(&[("v", "/var/run/secrets"), ("t", token)], &["kubernetes.io/serviceaccount"]);
        check(&[("t", "/a/b/c"), ("v", "/a"), ("u", "/a/b"), ("w", "/a/b-c/")], &["b", "b-c"]);
        check(&[("v", "/a"), ("t", "/ab"), ("u", "/"), ("v", "/c"), ("w", "/c/d")], &["d"]);
        check(&[("v", "/a"), ("t", "/a/../b")], &[]);
    }

    #[test]
    fn of_a_part_of_the_volume_nothing_is_known() {
        let mounts = json!([
            {"name": "v", "mountPath": "/a", "subPath": "x"},
            {"name": "t", "mountPath": "/a/b"},
        ]);
        let container = json!({"name": "c", "volumeMounts": mounts});
        let pod = json!({"spec": {"containers": [container]}});
        assert_eq!(places(&serde_json::from_value(pod).unwrap(), "v"), BTreeSet::new());
    }
}
