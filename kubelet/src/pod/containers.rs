//! What the runtime has of one pod, asked no more often than something may have changed.
//!
//! To list the containers of a pod costs the runtime more the more containers the node has. They are made
//! by the pod's worker alone, so that it is enough to list them at first and at last, when somebody says
//! that something happened, and when something failed; in between those are looked at that are known.

use std::collections::BTreeSet;

use crate::runtime::{Runtime, RuntimeError, observed::Observed};

/// What is known of them.
#[derive(Debug, Default)]
pub(super) struct Containers {
    /// Their ids, if there are no others.
    ids: Option<BTreeSet<String>>,
    /// What was seen last, if nothing may have changed since.
    seen: Option<Observed>,
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

    /// There may be others.
    pub(super) fn distrust(&mut self) {
        *self = Self::default();
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
        self.ids = Some(found.iter().map(|container| container.id.clone()).collect());
        Ok(self.seen.insert(Observed::new(found)).clone())
    }
}
