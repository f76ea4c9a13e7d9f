//! Which images are wanted here. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use api_types::{
    api::{
        apps::v1::ReplicaSet,
        core::v1::{LocalObjectReference, PodSpec},
    },
    minik8s::Function,
};
use kube::ResourceExt;

use crate::{container::image, runtime::PodIdentity};

/// The images that sets name, with all who name them: any of them may have the Secrets.
pub(super) type Images = BTreeMap<String, Vec<Puller>>;

/// On whose behalf an image is pulled.
#[derive(Debug)]
pub(super) struct Puller {
    /// There is no pod yet.
    pub(super) set: PodIdentity,
    pub(super) secrets: Vec<LocalObjectReference>,
}

pub(super) fn images<'a>(sets: impl IntoIterator<Item = &'a ReplicaSet>) -> Images {
    let mut images = Images::new();
    for set in sets {
        for image in of(set) {
            images.entry(image).or_default().push(puller(set));
        }
    }
    images
}

fn of(set: &ReplicaSet) -> BTreeSet<String> {
    let containers = pod(set).into_iter().flat_map(|pod| &pod.containers);
    let images = containers.filter_map(|container| container.image.clone());
    // Docker is asked for it by its name, which may be anything until a pod is made of it.
    images.filter(|image| image::fault(image).is_none()).collect()
}

fn puller(set: &ReplicaSet) -> Puller {
    let secrets = pod(set).and_then(|pod| pod.image_pull_secrets.clone()).unwrap_or_default();
    let set = PodIdentity {
        uid: set.uid().unwrap_or_default(),
        namespace: set.namespace().unwrap_or_default(),
        name: set.name_any(),
    };
    Puller { set, secrets }
}

fn pod(set: &ReplicaSet) -> Option<&PodSpec> {
    set.spec.as_ref()?.template.as_ref()?.spec.as_ref()
}

/// The sets of one function's versions, by its namespace and name.
type Functions<'a> = BTreeMap<(String, String), Vec<&'a ReplicaSet>>;

/// What is known of functions' sets: it is not said of a set whether its version serves.
#[derive(Debug, Default)]
pub(super) struct Serving(BTreeMap<(String, String), i64>);

impl Serving {
    /// The sets whose images are wanted here: those that have instances or are getting some, which are those of the
    /// version that serves and of the one that is to take over, be it new or an old one again. Where all
    /// sleep it is the one that had instances last, or else the newest.
    pub(super) fn of<'a>(&mut self, sets: &'a [Arc<ReplicaSet>]) -> Vec<&'a ReplicaSet> {
        let mut functions = Functions::new();
        let mut wanted = Vec::new();
        for set in sets {
            if let (Some(function), Some(_)) = (set.labels().get(Function::LABEL), version(set)) {
                let key = (set.namespace().unwrap_or_default(), function.clone());
                functions.entry(key).or_default().push(set);
            }
        }
        self.0.retain(|key, _| functions.contains_key(key));
        for (key, sets) in functions {
            let awake: Vec<_> = sets.iter().filter(|set| replicas(set) > 0).copied().collect();
            if let Some(latest) = awake.iter().filter_map(|set| version(set)).max() {
                self.0.insert(key, latest);
                wanted.extend(awake);
                continue;
            }
            let last = sets.iter().find(|set| version(set) == self.0.get(&key).copied());
            let newest = || sets.iter().max_by_key(|set| version(set));
            wanted.extend(last.or_else(newest));
        }
        wanted
    }
}

fn version(set: &ReplicaSet) -> Option<i64> {
    set.labels().get(Function::VERSION_LABEL)?.parse().ok()
}

fn replicas(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(name: &str, image: &str, secret: &str) -> ReplicaSet {
        let pod = json!({
            "containers": [{"name": "function", "image": image}],
            "imagePullSecrets": [{"name": secret}],
        });
        let spec = json!({"selector": {}, "template": {"spec": pod}});
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap()
    }

    #[test]
    fn docker_is_not_asked_for_what_is_no_image() {
        let number = |image: &str| images([&set("s", image, "registry")]).len();
        assert_eq!(number("localhost:5000/add:1"), 1);
        for image in ["add/get?x=", "../a", "a@b:c?d", "a b"] {
            assert_eq!(number(image), 0, "{image}");
        }
    }

    #[test]
    fn an_image_is_pulled_on_behalf_of_all_who_name_it() {
        let sets = [set("a", "add:1", "old"), set("b", "add:1", "new"), set("c", "get:1", "new")];
        let secrets = images(&sets).into_iter().map(|(image, pullers)| {
            let names = pullers.into_iter().flat_map(|puller| puller.secrets);
            (image, names.map(|secret| secret.name).collect::<Vec<_>>())
        });
        let expected = [("add:1", vec!["old", "new"]), ("get:1", vec!["new"])];
        assert!(secrets.eq(expected.map(|(image, names)| {
            (image.to_owned(), names.into_iter().map(str::to_owned).collect())
        })));
    }
}
