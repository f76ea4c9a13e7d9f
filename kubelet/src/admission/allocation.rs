//! What the containers of a pod may take, as they were given it: what they ask for may be more by now. Pure.

use std::collections::BTreeMap;

use api_types::{
    Quantity,
    api::core::v1::{Container, ContainerStatus, Pod, ResourceRequirements},
};

use crate::spec;

const RESIZABLE: [&str; 2] = ["cpu", "memory"];

/// Whether the containers of a pod ask for what they have.
pub(crate) fn is_allocated(wanted: &Pod, allocated: &Pod) -> bool {
    let sizes = |pod| all(pod).map(|container| (&container.name, &container.resources));
    sizes(wanted).eq(sizes(allocated))
}

fn all(pod: &Pod) -> impl Iterator<Item = &Container> {
    spec::init_containers(pod).chain(spec::containers(pod))
}

/// The pod, of whose containers each takes what it does in the other.
pub(crate) fn with_sizes_of(mut pod: Pod, allocated: &Pod) -> Pod {
    for container in all_mut(&mut pod) {
        if let Some(known) = all(allocated).find(|known| known.name == container.name) {
            container.resources.clone_from(&known.resources);
        }
    }
    pod
}

/// The pod as an earlier kubelet has told that it had its share. One that told nothing gave what was asked for.
pub(super) fn told(pod: &Pod) -> Pod {
    let mut told = pod.clone();
    for container in all_mut(&mut told) {
        if let (Some(resources), Some(status)) =
            (&mut container.resources, spec::reported(pod, &container.name))
        {
            give(resources, status);
        }
    }
    told
}

fn give(wanted: &mut ResourceRequirements, status: &ContainerStatus) {
    let Some(told) = &status.resources else { return };
    let requests = status.allocated_resources.as_ref().or(told.requests.as_ref());
    replace(&mut wanted.requests, requests);
    replace(&mut wanted.limits, told.limits.as_ref());
}

/// Those amounts that may change as they were told.
fn replace(
    wanted: &mut Option<BTreeMap<String, Quantity>>,
    told: Option<&BTreeMap<String, Quantity>>,
) {
    let Some(wanted) = wanted else { return };
    for name in RESIZABLE {
        match told.and_then(|told| told.get(name)) {
            Some(amount) => drop(wanted.insert(name.to_owned(), amount.clone())),
            None => drop(wanted.remove(name)),
        }
    }
}

fn all_mut(pod: &mut Pod) -> impl Iterator<Item = &mut Container> {
    let spec = pod.spec.as_mut();
    spec.into_iter()
        .flat_map(|spec| spec.init_containers.iter_mut().flatten().chain(&mut spec.containers))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(resources: &Value, status: &Value) -> Pod {
        let told =
            json!({"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 0});
        let mut told = [told];
        for (field, value) in status.as_object().unwrap() {
            told[0][field] = value.clone();
        }
        serde_json::from_value(json!({
            "metadata": {"name": "p"},
            "spec": {"containers": [{"name": "c", "resources": resources}]},
            "status": {"containerStatuses": told},
        }))
        .unwrap()
    }

    fn resources(pod: &Pod) -> Value {
        serde_json::to_value(spec::containers(pod).next().unwrap().resources.as_ref()).unwrap()
    }

    #[test]
    fn what_was_told_is_what_was_given() {
        let wanted = json!({"requests": {"cpu": "2", "memory": "1Gi", "example.com/x": "1"},
                            "limits": {"cpu": "2", "memory": "1Gi"}});
        let check = |status: &Value, expected: &Value| {
            assert_eq!(&resources(&told(&pod(&wanted, status))), expected, "{status}");
        };
        check(&json!({}), &wanted);
        let status = json!({"allocatedResources": {"cpu": "1"},
                            "resources": {"requests": {"cpu": "500m"}, "limits": {"cpu": "2"}}});
        let given = json!({"requests": {"cpu": "1", "example.com/x": "1"}, "limits": {"cpu": "2"}});
        check(&status, &given);
    }

    #[test]
    fn a_pod_that_is_resized_has_what_it_had() {
        let (small, large) = (json!({"requests": {"cpu": "1"}}), json!({"requests": {"cpu": "2"}}));
        let [small, large] = [small, large].map(|resources| pod(&resources, &json!({})));
        assert!(!is_allocated(&large, &small));
        let has = with_sizes_of(large.clone(), &small);
        assert!(is_allocated(&has, &small));
        assert!(is_allocated(&large, &large));
    }
}
