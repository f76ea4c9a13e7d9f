//! Which templates the pods of an owner are, or were, made of: its ControllerRevisions (Kubernetes: `pkg/controller/history`).
//! For owners of any kind whose objects have a `spec.template`.
//!
//! *Guarantees*: an owner's template has one revision, however far the store lags behind and though answers are lost, because
//! a revision is called by what is in it. One whose name is taken by something else is called otherwise.

mod revision;

use std::collections::BTreeSet;
use std::sync::Arc;

use api_machinery::LabelSelector;
use api_types::api::apps::v1::ControllerRevision;
use api_types::api::core::v1::PodTemplateSpec;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client};
use serde_json::json;

use crate::frame::{Error, Expectations, Informer, ObjectKey, Step, code};
use crate::owners::{Owner, is_controlled_by};
use crate::pod_control::Claims;

pub(crate) use revision::{name, template};

/// The label of pods that says by which revision they were made.
pub(crate) const REVISION_LABEL: &str = "controller-revision-hash";

/// The label of revisions that says their hash.
const HASH_LABEL: &str = "controller.kubernetes.io/hash";

/// The histories of owners of one kind. Owners are told apart by their keys.
pub(crate) struct History<O: Owner<DynamicType = ()>> {
    client: Client,
    revisions: Arc<Informer<ControllerRevision>>,
    expectations: Arc<Expectations>,
    claims: Claims<O, ControllerRevision>,
    hash_label: &'static str,
}

/// An owner's revisions, the oldest first.
#[derive(Debug)]
pub(crate) struct Revisions {
    /// Those before the one of the template that the owner has.
    pub(crate) before: Vec<Arc<ControllerRevision>>,
    /// That of the template.
    pub(crate) newest: Arc<ControllerRevision>,
    /// How many names were taken by something else.
    pub(crate) collisions: i32,
}

impl Revisions {
    /// The revision of this name.
    pub(crate) fn named(&self, wanted: &str) -> Option<&Arc<ControllerRevision>> {
        self.before.iter().chain([&self.newest]).find(|revision| name(revision) == wanted)
    }

    /// Those of the template: the newest, and any that somebody else has made.
    pub(crate) fn of_template(&self) -> impl Iterator<Item = &Arc<ControllerRevision>> {
        let data = self.newest.data.as_ref().map(|data| &data.0);
        let is_same =
            move |it: &&Arc<ControllerRevision>| it.data.as_ref().map(|data| &data.0) == data;
        [&self.newest].into_iter().chain(self.before.iter().filter(is_same))
    }

    /// Those that are in nobody's use, beyond the limit; a negative one has all stay.
    pub(crate) fn forgotten(
        &self,
        used: &BTreeSet<String>,
        limit: i32,
    ) -> Vec<Arc<ControllerRevision>> {
        let unused = self.before.iter().filter(|revision| !used.contains(name(revision)));
        let mut unused: Vec<_> = unused.cloned().collect();
        let surplus = usize::try_from(limit).map_or(0, |limit| unused.len().saturating_sub(limit));
        unused.truncate(surplus);
        unused
    }
}

impl<O: Owner<DynamicType = ()>> History<O> {
    pub(crate) fn new(client: Client, revisions: Arc<Informer<ControllerRevision>>) -> Self {
        let expectations = Arc::<Expectations>::default();
        let claims =
            Claims::of((), client.clone(), revisions.clone(), expectations.clone(), |it| {
                it.metadata.deletion_timestamp.is_none()
            });
        Self { client, revisions, expectations, claims, hash_label: HASH_LABEL }
    }

    /// Revisions have their hash under this label.
    pub(crate) fn labelled(self, hash_label: &'static str) -> Self {
        Self { hash_label, ..self }
    }

    /// Whether the store shows all that was written for the owner.
    pub(crate) fn shows_own_writes(&self, key: &ObjectKey) -> bool {
        self.expectations.are_met(key, &self.revisions)
    }

    /// Forgets an owner that is gone.
    pub(crate) fn forget(&self, key: &ObjectKey) {
        self.expectations.forget(key);
    }

    /// The owner's revisions. If none has its template there will be one; if an older one has, that is the newest from now on.
    /// `None` in a namespace that is on its way out.
    pub(crate) async fn revisions(
        &self,
        key: &ObjectKey,
        owner: &O,
        selector: &LabelSelector,
        template: &PodTemplateSpec,
        collisions: i32,
    ) -> Result<Option<Revisions>, Error> {
        let mut all = self.claims.claim(key, owner, selector).await?;
        revision::sort(&mut all);
        let data = revision::data(template);
        let next = all.last().map_or(1, |last| last.revision.saturating_add(1));
        let newest = match all.iter().rposition(|revision| revision::has(revision, &data)) {
            Some(place) if place + 1 == all.len() => Some((all.remove(place), collisions)),
            Some(place) => Some((self.renumber(key, &all.remove(place), next).await?, collisions)),
            None => {
                self.create(key, revision::Draft::of(owner, template, data, next), collisions)
                    .await?
            }
        };
        Ok(newest.map(|(newest, collisions)| Revisions { before: all, newest, collisions }))
    }

    /// Going back to an older template makes it the newest.
    async fn renumber(
        &self,
        key: &ObjectKey,
        revision: &ControllerRevision,
        number: i64,
    ) -> Result<Arc<ControllerRevision>, Error> {
        let metadata = &revision.metadata;
        let patch = Patch::Merge(json!({
            "metadata": {"uid": metadata.uid, "resourceVersion": metadata.resource_version},
            "revision": number,
        }));
        let patched = self.api(key).patch(name(revision), &PatchParams::default(), &patch).await;
        // If it is gone, the store will show that.
        let patched = patched.step("numbering a ControllerRevision")?;
        Ok(self.written(key, patched))
    }

    async fn create(
        &self,
        key: &ObjectKey,
        draft: revision::Draft,
        mut collisions: i32,
    ) -> Result<Option<(Arc<ControllerRevision>, i32)>, Error> {
        loop {
            let wanted = draft.revision(collisions, self.hash_label);
            let created = self.api(key).create(&PostParams::default(), &wanted).await;
            let existing = match created {
                Err(error) if code(&error) == Some(409) => {
                    let read = self.api(key).get(name(&wanted)).await;
                    // It may be gone by now, and the name free.
                    Some(read.step("reading a ControllerRevision")?)
                }
                created => created.unless_terminating("creating a ControllerRevision")?,
            };
            let Some(existing) = existing else { return Ok(None) };
            let is_ours = is_controlled_by(&existing.metadata, draft.owner());
            if is_ours && revision::has(&existing, draft.data()) {
                return Ok(Some((self.written(key, existing), collisions)));
            }
            collisions = collisions.saturating_add(1);
        }
    }

    fn written(&self, key: &ObjectKey, revision: ControllerRevision) -> Arc<ControllerRevision> {
        self.expectations.written(key, self.revisions.mark(&revision));
        Arc::new(revision)
    }

    /// Deletes revisions that nothing is made of any more.
    pub(crate) async fn delete(
        &self,
        key: &ObjectKey,
        revisions: &[Arc<ControllerRevision>],
    ) -> Result<(), Error> {
        for revision in revisions {
            let this_one = Preconditions {
                uid: revision.metadata.uid.clone(),
                // Somebody may have gone back to it meanwhile.
                resource_version: revision.metadata.resource_version.clone(),
            };
            let how = DeleteParams::default().preconditions(this_one);
            let deleted = self.api(key).delete(name(revision), &how).await;
            deleted.unless_gone("deleting a ControllerRevision")?;
        }
        Ok(())
    }

    fn api(&self, key: &ObjectKey) -> Api<ControllerRevision> {
        Api::namespaced(self.client.clone(), &key.namespace)
    }
}

#[cfg(test)]
mod tests;
