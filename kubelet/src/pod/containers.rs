//! What the runtime has of one pod, asked no more often than something may have changed.
//!
//! To list the containers of a pod costs the runtime more the more containers the node has. They are made
//! by the pod's worker alone, so that it is enough to list them at first and at last, when somebody says
//! that something happened, and when something failed; in between those are looked at that are known.

use std::collections::{BTreeMap, BTreeSet};

use crate::runtime::{Resources, Runtime, RuntimeError, observed::Observed};

/// What is known of them.
#[derive(Debug, Default)]
pub(super) struct Containers {
    /// Their ids, if there are no others.
    ids: Option<BTreeSet<String>>,
    /// What was seen last, if nothing may have changed since.
    seen: Option<Observed>,
    /// What they were given, by id: what a host does not enforce is not given to them again and again.
    given: BTreeMap<String, Resources>,
}

impl Containers {
    /// Those that are known may not be what they were.
    pub(super) fn changed(&mut self) {
        self.seen = None;
    }

    /// There is one more.
    pub(super) fn made(&mut self, id: String) {
        self.changed();
        if let Some(ids) = &mut self.ids {
            ids.insert(id);
        }
    }

    /// One has been given this.
    pub(super) fn given(&mut self, id: &str, resources: Resources) {
        self.changed();
        self.given.insert(id.to_owned(), resources);
    }

    /// There may be others.
    pub(super) fn distrust(&mut self) {
        (self.ids, self.seen) = (None, None);
    }

    /// The containers of the pod as they are.
    pub(super) async fn look(
        &mut self,
        runtime: &dyn Runtime,
        pod: &str,
    ) -> Result<Observed, RuntimeError> {
        if let Some(seen) = &self.seen {
            return Ok(seen.clone());
        }
        let known = match &self.ids {
            Some(ids) => runtime.inspect(ids).await?,
            None => Vec::new(),
        };
        let found = if known.is_empty() { runtime.list(Some(pod)).await? } else { known };
        let ids: BTreeSet<String> = found.iter().map(|container| container.id.clone()).collect();
        self.given.retain(|id, _| ids.contains(id));
        self.ids = Some(ids);
        let mut observed = Observed::new(found);
        for container in &mut observed.containers {
            if let Some(given) = self.given.get(&container.id) {
                container.resources = *given;
            }
        }
        Ok(self.seen.insert(observed).clone())
    }
}
