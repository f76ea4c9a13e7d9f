//! Which objects of a resource a watch has shown: what a new list does not show is gone.

use std::collections::HashSet;

use api_types::meta::ObjectMeta;
use kube::runtime::watcher::Event;

use super::graph::Uid;

/// The objects of one resource that are in the graph, to find out at a new list which are gone.
#[derive(Debug, Default)]
pub(super) struct Known {
    uids: HashSet<Uid>,
    listed: HashSet<Uid>,
}

/// What an event says.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) applied: Option<ObjectMeta>,
    pub(super) gone: Vec<Uid>,
}

impl Known {
    /// These are in the graph already.
    pub(super) fn new(uids: HashSet<Uid>) -> Self {
        Self { uids, listed: HashSet::new() }
    }

    pub(super) fn take_in(&mut self, event: Event<ObjectMeta>) -> News {
        match event {
            Event::Apply(metadata) => self.applied(metadata),
            Event::Delete(metadata) => self.deleted(&metadata),
            Event::Init => {
                self.listed.clear();
                News::default()
            }
            Event::InitApply(metadata) => {
                self.listed.insert(metadata.uid.clone().unwrap_or_default());
                self.applied(metadata)
            }
            Event::InitDone => self.end_of_list(),
        }
    }

    fn applied(&mut self, metadata: ObjectMeta) -> News {
        self.uids.insert(metadata.uid.clone().unwrap_or_default());
        News { applied: Some(metadata), gone: Vec::new() }
    }

    fn deleted(&mut self, metadata: &ObjectMeta) -> News {
        let uid = metadata.uid.clone().unwrap_or_default();
        self.uids.remove(&uid);
        News { applied: None, gone: vec![uid] }
    }

    fn end_of_list(&mut self) -> News {
        let before = std::mem::replace(&mut self.uids, std::mem::take(&mut self.listed));
        News { applied: None, gone: before.difference(&self.uids).cloned().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(uid: &str) -> ObjectMeta {
        ObjectMeta { uid: Some(uid.to_owned()), ..ObjectMeta::default() }
    }

    #[test]
    fn what_a_new_list_does_not_show_is_gone() {
        let mut known = Known::default();
        let mut gone = |event| known.take_in(event).gone;
        gone(Event::Apply(object("a")));
        gone(Event::Apply(object("b")));
        gone(Event::Init);
        gone(Event::InitApply(object("b")));
        assert_eq!(gone(Event::InitDone), ["a"]);
        assert_eq!(gone(Event::Delete(object("b"))), ["b"]);
    }
}
