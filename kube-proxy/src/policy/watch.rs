//! What is kept of the objects of a kind: what policies go by. Of a pod's changes few are among them.

use std::{collections::HashMap, fmt::Debug, mem, pin::pin, sync::Arc};

use futures::StreamExt;
use kube::{Resource, runtime::watcher::Event};
use listwatch::{ListWatch, Scope, absent_is_empty};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tracing::warn;

use crate::wake::Wake;

/// Facts of the objects of a kind.
#[derive(Debug)]
pub(super) struct Kept<V>(Arc<Mutex<Facts<V>>>);

/// Namespace and name.
type Name = (Option<String>, Option<String>);

#[derive(Debug)]
struct Facts<V> {
    listed: bool,
    all: HashMap<Name, V>,
    /// Of a list that is under way.
    coming: HashMap<Name, V>,
}

impl<V: Clone + PartialEq> Kept<V> {
    /// Nothing yet, and what has to be polled for it to be kept up to date. `wake` is called when a fact changes.
    pub(super) fn follow<K>(
        listwatch: &ListWatch,
        wake: Arc<Wake>,
        read: impl Fn(&K) -> Option<V>,
    ) -> (Self, impl Future<Output = ()>)
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    {
        let kept = Arc::new(Mutex::new(Facts::default()));
        let (facts, events) = (kept.clone(), absent_is_empty(listwatch.watch::<K>(Scope::All)));
        // An API server that has no policies has none to go by.
        let following = async move {
            let mut events = pin!(events);
            while let Some(event) = events.next().await {
                match event {
                    Ok(event) => {
                        if facts.lock().note(event, &read) {
                            wake.changed();
                        }
                    }
                    Err(error) => warn!(%error, "watching"),
                }
            }
        };
        (Kept(kept), following)
    }

    /// All, as soon as there was a complete list.
    pub(super) fn all(&self) -> Option<Vec<V>> {
        let facts = self.0.lock();
        facts.listed.then(|| facts.all.values().cloned().collect())
    }
}

impl<V> Default for Facts<V> {
    fn default() -> Self {
        Facts { listed: false, all: HashMap::new(), coming: HashMap::new() }
    }
}

impl<V: PartialEq> Facts<V> {
    /// Whether anything is otherwise than before.
    fn note<K: Resource>(&mut self, event: Event<K>, read: impl Fn(&K) -> Option<V>) -> bool {
        match event {
            Event::Init => self.coming.clear(),
            Event::InitApply(object) => {
                self.coming.extend(read(&object).map(|fact| (name(&object), fact)));
            }
            Event::InitDone => {
                let before = mem::replace(&mut self.all, mem::take(&mut self.coming));
                return !mem::replace(&mut self.listed, true) || before != self.all;
            }
            Event::Apply(object) => {
                let name = name(&object);
                let Some(fact) = read(&object) else { return self.all.remove(&name).is_some() };
                if self.all.get(&name) == Some(&fact) {
                    return false;
                }
                self.all.insert(name, fact);
                return true;
            }
            Event::Delete(object) => return self.all.remove(&name(&object)).is_some(),
        }
        false
    }
}

fn name(object: &impl Resource) -> Name {
    (object.meta().namespace.clone(), object.meta().name.clone())
}

#[cfg(test)]
mod tests {
    use api_types::{api::core::v1::Namespace, meta::ObjectMeta};

    use super::*;

    fn namespace(name: &str, labels: &[(&str, &str)]) -> Namespace {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let (name, labels) = (Some(name.to_owned()), Some(labels));
        Namespace {
            metadata: ObjectMeta { name, labels, ..ObjectMeta::default() },
            ..Namespace::default()
        }
    }

    #[test]
    fn only_what_is_otherwise_than_before_is_news() {
        let mut facts = Facts::default();
        let mut note = |event| {
            let read =
                |n: &Namespace| n.metadata.labels.clone().filter(|labels| !labels.is_empty());
            facts.note(event, read)
        };
        let (plain, named) = (namespace("a", &[]), namespace("a", &[("x", "1")]));
        assert!(!note(Event::Init) && !note(Event::InitApply(named.clone())));
        assert!(note(Event::InitDone), "the first list");
        assert!(!note(Event::Apply(named.clone())), "the same again");
        assert!(note(Event::Apply(namespace("a", &[("x", "2")]))));
        assert!(note(Event::Apply(plain.clone())), "it says nothing any more");
        assert!(!note(Event::Delete(plain)));
        note(Event::Init);
        assert!(!note(Event::InitDone), "a list without news");
        note(Event::Init);
        note(Event::InitApply(named.clone()));
        assert!(note(Event::InitDone) && note(Event::Delete(named)));
    }
}
