//! Which nodes' pods use what. It follows the cache's pods whenever it is asked: as far as the cache has come, nobody is told
//! of a pod whose objects its node may not read yet. Bound pods are read once, not at each of their statuses.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use api_types::api::core::v1::Pod;
use futures::{FutureExt, StreamExt};
use parking_lot::Mutex;
use store::cache::{Change, Subscription};

use super::references::{self, Kind};
use crate::{
    catalogue::InForce,
    encoded::{CachedObject, Decoded},
    storage::Storage,
};

/// What a pod's node may read for it.
#[derive(Debug)]
struct Placed {
    node: String,
    namespace: String,
    uses: BTreeSet<(Kind, String)>,
}

/// An object, by its namespace and name.
type Used = (Kind, String, String);

/// See the module. Pure.
#[derive(Debug, Default)]
pub(super) struct Graph {
    /// By their keys in the store.
    pods: HashMap<Arc<str>, Placed>,
    /// Of each node, how many pods use an object.
    uses: HashMap<String, HashMap<Used, usize>>,
}

impl Graph {
    /// Whether a pod of a node uses an object.
    pub(super) fn has(&self, node: &str, kind: Kind, namespace: &str, name: &str) -> bool {
        let used = (kind, namespace.to_owned(), name.to_owned());
        self.uses.get(node).is_some_and(|uses| uses.contains_key(&used))
    }

    /// The pod of a key is this one, on this node.
    fn put(&mut self, key: &Arc<str>, node: &str, pod: &Pod) {
        self.remove(key);
        let placed = Placed {
            node: node.to_owned(),
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            uses: references::of(pod),
        };
        let uses = self.uses.entry(placed.node.clone()).or_default();
        for (kind, name) in &placed.uses {
            *uses.entry((*kind, placed.namespace.clone(), name.clone())).or_default() += 1;
        }
        self.pods.insert(key.clone(), placed);
    }

    fn remove(&mut self, key: &str) {
        let Some(Placed { node, namespace, uses: named }) = self.pods.remove(key) else { return };
        let Some(uses) = self.uses.get_mut(&node) else { return };
        for (kind, name) in named {
            let used = (kind, namespace.clone(), name);
            match uses.get_mut(&used) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(uses.remove(&used)),
            }
        }
        if uses.is_empty() {
            self.uses.remove(&node);
        }
    }

    fn note(&mut self, pod: &CachedObject) {
        let encoded = pod.object.as_ref().ok();
        let node = encoded.and_then(|it| it.field("spec.nodeName")).filter(|node| !node.is_empty());
        let (Some(encoded), Some(node)) = (encoded, node) else { return self.remove(&pod.key) };
        // A bound pod names the same objects until it ends, but for what its ephemeral containers add.
        let known = self.pods.get(&pod.key).is_some_and(|placed| placed.node == node);
        if known && !encoded.says("ephemeralContainers") {
            return;
        }
        match serde_json::from_slice(&encoded.json()) {
            Ok(read) => self.put(&pod.key, node, &read),
            Err(error) => {
                tracing::warn!(key = %pod.key, %error, "unreadable");
                self.remove(&pod.key);
            }
        }
    }

    fn follow(&mut self, change: &Change<Decoded>) {
        match &change.new {
            Some(pod) => self.note(pod),
            None => self.remove(change.key()),
        }
    }
}

/// The graph of the cache's pods.
#[derive(Debug)]
pub(super) struct Followed {
    storage: Arc<Storage>,
    prefix: String,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    graph: Graph,
    /// What changes after it.
    changes: Option<Subscription<Decoded>>,
}

impl Followed {
    pub(super) fn new(catalogue: &InForce, storage: Arc<Storage>) -> Self {
        let prefix = catalogue.load().find("", "v1", "pods").map(|def| def.prefix(None));
        Self { storage, prefix: prefix.unwrap_or_default(), known: Mutex::default() }
    }

    /// Whether a pod of a node uses an object, as the cache has it.
    pub(super) fn uses(&self, node: &str, kind: Kind, namespace: &str, name: &str) -> bool {
        let mut known = self.known.lock();
        if !known.go_on() {
            *known = self.anew();
        }
        known.graph.has(node, kind, namespace, name)
    }

    fn anew(&self) -> Known {
        let cache = self.storage.cache();
        let pods = cache.list(&self.prefix);
        let mut graph = Graph::default();
        pods.items.iter().for_each(|pod| graph.note(pod));
        Known { graph, changes: cache.watch(&self.prefix, pods.revision).ok() }
    }
}

impl Known {
    /// Takes in what has changed; `false` if not all of that is there any more.
    fn go_on(&mut self) -> bool {
        let Self { graph, changes: Some(changes) } = self else { return false };
        while let Some(change) = changes.next().now_or_never() {
            let Some(Ok(change)) = change else { return false };
            graph.follow(&change);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, secret: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"containers": [], "imagePullSecrets": [{"name": secret}]},
        }))
        .unwrap()
    }

    #[test]
    fn an_object_is_used_as_long_as_a_pod_of_the_node_does() {
        let mut graph = Graph::default();
        let [a, b]: [Arc<str>; 2] = ["a".into(), "b".into()];
        let has = |graph: &Graph, node, name| graph.has(node, Kind::Secret, "default", name);
        graph.put(&a, "n1", &pod("a", "s"));
        graph.put(&b, "n1", &pod("b", "s"));
        assert!(has(&graph, "n1", "s") && !has(&graph, "n2", "s") && !has(&graph, "n1", "t"));
        assert!(!graph.has("n1", Kind::ConfigMap, "default", "s"));
        assert!(!graph.has("n1", Kind::Secret, "other", "s"));
        graph.remove("a");
        assert!(has(&graph, "n1", "s"));
        // The same again changes nothing.
        graph.put(&b, "n1", &pod("b", "s"));
        graph.remove("b");
        assert!(!has(&graph, "n1", "s"));
        graph.put(&a, "n1", &pod("a", "s"));
        graph.put(&a, "n2", &pod("a", "t"));
        assert!(!has(&graph, "n1", "s") && has(&graph, "n2", "t"));
        graph.remove("a");
        assert!(graph.pods.is_empty() && graph.uses.is_empty());
    }
}
