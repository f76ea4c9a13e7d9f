//! Which objects belong to an owner. One that matches and has no controller is adopted; one that the owner
//! controls but that no longer matches is released.
//! <https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#non-template-pod-acquisitions>

use std::fmt::Debug;
use std::sync::Arc;

use api_machinery::LabelSelector;
use api_types::NamespaceResourceScope;
use api_types::meta::{ObjectMeta, OwnerReference};
use futures::future::join_all;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::discovery::ApiResource;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::frame::{Error, Expectations, Informer, ObjectKey, Step};
use crate::indexes::{Owned, picks};
use crate::owners::{Owner, controller_reference_of, is_controlled_by};

/// A kind whose objects are claimed.
pub(crate) trait Claimed:
    Owned + Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned
{
}

impl<K> Claimed for K where
    K: Owned + Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned
{
}

/// Claims objects of one kind for owners of another: pods for ReplicaSets, ReplicaSets for Deployments.
pub(crate) struct Claims<O: Owner, C> {
    client: Client,
    store: Arc<Informer<C>>,
    expectations: Arc<Expectations>,
    may_be_adopted: fn(&C) -> bool,
    finalizer: Option<&'static str>,
    is_member: fn(&O, &C) -> bool,
    kind: O::DynamicType,
}

impl<O: Owner, C: Claimed> Claims<O, C> {
    /// For owners of this kind. What is written is told to the expectations.
    pub(crate) fn of(
        kind: O::DynamicType,
        client: Client,
        store: Arc<Informer<C>>,
        expectations: Arc<Expectations>,
        may_be_adopted: fn(&C) -> bool,
    ) -> Self {
        Self {
            client,
            store,
            expectations,
            may_be_adopted,
            finalizer: None,
            is_member: |_, _| true,
            kind,
        }
    }

    /// What is adopted gets this finalizer, and loses it when it is released.
    pub(crate) fn holding(self, finalizer: &'static str) -> Self {
        Self { finalizer: Some(finalizer), ..self }
    }

    /// What is not the owner's by more than its labels is none of its business.
    pub(crate) fn with_members(self, is_member: fn(&O, &C) -> bool) -> Self {
        Self { is_member, ..self }
    }

    /// The objects that are the owner's as it is.
    pub(crate) fn owned(&self, owner: &O, selector: &LabelSelector) -> Vec<Arc<C>> {
        self.look(owner, selector).owned
    }

    /// The owner's objects, after adoption and release.
    pub(crate) async fn claim(
        &self,
        key: &ObjectKey,
        owner: &O,
        selector: &LabelSelector,
    ) -> Result<Vec<Arc<C>>, Error> {
        let claim = self.look(owner, selector);
        if !claim.adopt.is_empty() && !self.may_adopt(key, owner).await? {
            return Ok(claim.owned);
        }
        let adopted = claim.adopt.iter().map(|(object, owners)| (object, owners, true));
        let released = claim.release.iter().map(|(object, owners)| (object, owners, false));
        let patches = adopted.chain(released).map(|(object, owners, is_adopted)| {
            self.patch_owners(key, object, owners, self.finalizers(object.meta(), is_adopted))
        });
        join_all(patches).await.into_iter().collect::<Result<Vec<()>, Error>>()?;
        let adopted = claim.adopt.into_iter().map(|(object, _)| object);
        Ok(claim.owned.into_iter().chain(adopted).collect())
    }

    fn look(&self, owner: &O, selector: &LabelSelector) -> Claim<C> {
        let metadata = owner.meta();
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        let uid = metadata.uid.as_deref().unwrap_or_default();
        let mut candidates = self.store.claimable(namespace, uid, selector);
        candidates.retain(|object| (self.is_member)(owner, object));
        let reference = controller_reference_of(owner, &self.kind);
        decide(metadata, reference.as_ref(), selector, &candidates, self.may_be_adopted)
    }

    /// Asks the API server itself: the owner may be on its way out, and the store not know it yet.
    async fn may_adopt(&self, key: &ObjectKey, owner: &O) -> Result<bool, Error> {
        let kind = ApiResource::erase::<O>(&self.kind);
        let (client, namespace) = (self.client.clone(), &key.namespace);
        let api =
            Api::<PartialObjectMeta<DynamicObject>>::namespaced_with(client, namespace, &kind);
        let current = api.get_opt(&key.name).await.step("reading the owner before adopting")?;
        Ok(current.is_some_and(|current| {
            current.metadata.uid == owner.meta().uid
                && current.metadata.deletion_timestamp.is_none()
        }))
    }

    /// The finalizers of an object that changes hands.
    fn finalizers(&self, metadata: &ObjectMeta, is_adopted: bool) -> Option<Vec<String>> {
        let ours = self.finalizer?;
        let known = metadata.finalizers.iter().flatten().filter(|finalizer| *finalizer != ours);
        Some(known.cloned().chain(is_adopted.then(|| ours.to_owned())).collect())
    }

    async fn patch_owners(
        &self,
        key: &ObjectKey,
        object: &C,
        owners: &OwnerReferences,
        finalizers: Option<Vec<String>>,
    ) -> Result<(), Error> {
        let metadata = object.meta();
        let mut patch = json!({"metadata": {
            "uid": metadata.uid,
            "resourceVersion": metadata.resource_version,
            "ownerReferences": owners,
        }});
        if let Some(finalizers) = finalizers {
            patch["metadata"]["finalizers"] = json!(finalizers);
        }
        let patch = Patch::Merge(patch);
        let name = metadata.name.as_deref().unwrap_or_default();
        let api = Api::<C>::namespaced(self.client.clone(), &key.namespace);
        let patched = api.patch(name, &PatchParams::default(), &patch).await;
        if let Some(patched) = patched.unless_gone("changing the owner of an object")? {
            self.expectations.written(key, self.store.mark(&patched));
        }
        Ok(())
    }
}

type OwnerReferences = Vec<OwnerReference>;

/// What to do with the objects, with the owner references that those to change should have.
#[derive(Debug)]
struct Claim<C> {
    owned: Vec<Arc<C>>,
    adopt: Vec<(Arc<C>, OwnerReferences)>,
    release: Vec<(Arc<C>, OwnerReferences)>,
}

/// Of candidates that are the owner's, or nobody's.
fn decide<C: Resource>(
    owner: &ObjectMeta,
    reference: Option<&OwnerReference>,
    selector: &LabelSelector,
    candidates: &[Arc<C>],
    may_be_adopted: fn(&C) -> bool,
) -> Claim<C> {
    let leaving = owner.deletion_timestamp.is_some();
    let uid = owner.uid.as_deref().unwrap_or_default();
    let mut claim = Claim { owned: Vec::new(), adopt: Vec::new(), release: Vec::new() };
    for object in candidates {
        let metadata = object.meta();
        match (is_controlled_by(metadata, uid), picks(selector, metadata)) {
            (true, true) => claim.owned.push(object.clone()),
            (true, false) if !leaving => {
                claim.release.push((object.clone(), without(metadata, uid)))
            }
            (false, true) if !leaving && may_be_adopted(object) => {
                claim.adopt.push((object.clone(), with(metadata, uid, reference)));
            }
            _ => {}
        }
    }
    claim
}

fn with(metadata: &ObjectMeta, uid: &str, reference: Option<&OwnerReference>) -> OwnerReferences {
    without(metadata, uid).into_iter().chain(reference.cloned()).collect()
}

fn without(metadata: &ObjectMeta, uid: &str) -> OwnerReferences {
    let references = metadata.owner_references.clone().unwrap_or_default();
    references.into_iter().filter(|reference| reference.uid != uid).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::atomic::{AtomicBool, Ordering};

    use api_types::api::apps::v1::{Deployment, ReplicaSet};
    use api_types::api::batch::v1::Job;
    use api_types::api::core::v1::Pod;
    use kube::runtime::watcher::Event;
    use serde_json::{Value, json};

    use super::*;
    use crate::pods;

    fn owner<O: DeserializeOwned>(deletion: Value) -> O {
        serde_json::from_value(json!({
            "metadata": {"namespace": "ns", "name": "web", "uid": "u", "deletionTimestamp": deletion},
            "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": {}},
        }))
        .unwrap()
    }

    fn selector() -> LabelSelector {
        "app=web".parse().unwrap()
    }

    fn object<C: DeserializeOwned>(name: &str, app: &str, owner: Option<&str>, phase: &str) -> C {
        let owners = owner.map(|uid| {
            json!([{"apiVersion": "v1", "kind": "X", "name": "x", "uid": uid, "controller": true}])
        });
        let metadata = json!({"namespace": "ns", "name": name, "labels": {"app": app}, "ownerReferences": owners});
        serde_json::from_value(
            json!({"metadata": metadata, "status": {"phase": phase, "replicas": 0}}),
        )
        .unwrap()
    }

    fn claims<O: Owner<DynamicType = ()>, C: Claimed>(
        store: Arc<Informer<C>>,
        may_be_adopted: fn(&C) -> bool,
    ) -> Claims<O, C> {
        let service = tower::service_fn(|_: http::Request<kube::client::Body>| async {
            Err::<http::Response<kube::client::Body>, _>(std::io::Error::other("nobody is asked"))
        });
        let client = Client::new(service, "default");
        Claims::of((), client, store, Arc::default(), may_be_adopted)
    }

    /// What happens to the object, in a store of all: "owned", "adopt", "release" or nothing.
    fn check<O: Owner<DynamicType = ()>, C: Claimed>(
        owner: &O,
        object: C,
        may_be_adopted: fn(&C) -> bool,
        expected: &str,
    ) {
        let store = Arc::new(Informer::default());
        store.take_in(Event::Apply(object.clone()));
        let claim = claims(store, may_be_adopted).look(owner, &selector());
        let got = match (claim.owned.len(), claim.adopt.len(), claim.release.len()) {
            (1, 0, 0) => "owned",
            (0, 1, 0) => "adopt",
            (0, 0, 1) => "release",
            (0, 0, 0) => "",
            other => panic!("claimed twice: {other:?}"),
        };
        assert_eq!(got, expected, "{object:?}");
    }

    #[tokio::test]
    async fn objects_are_owned_adopted_released_or_left() {
        let living = owner::<ReplicaSet>(json!(null));
        let check = |app: &str, owner, phase: &str, expected| {
            check(&living, object::<Pod>("p", app, owner, phase), pods::is_active, expected);
        };
        check("web", Some("u"), "Running", "owned");
        check("web", None, "Running", "adopt");
        check("web", None, "Failed", "");
        check("db", Some("u"), "Running", "release");
        check("web", Some("other"), "Running", "");
        check("db", None, "Running", "");
    }

    const OTHERS: usize = 500;
    const LOOKS: usize = 100;

    #[tokio::test]
    async fn an_object_that_changes_hands_meanwhile_is_claimed_once() {
        let store = Arc::new(Informer::default());
        let owner = owner::<ReplicaSet>(json!(null));
        let claims = claims(store.clone(), pods::is_active);
        // They take their time to be looked at.
        for index in 0..OTHERS {
            store.take_in(Event::Apply(object::<Pod>(&index.to_string(), "web", None, "Running")));
        }
        let [ours, nobodys] =
            [Some("u"), None].map(|uid| object::<Pod>("p", "web", uid, "Running"));
        store.take_in(Event::Apply(ours.clone()));
        let looked = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !looked.load(Ordering::Relaxed) {
                    store.take_in(Event::Apply(nobodys.clone()));
                    store.take_in(Event::Apply(ours.clone()));
                }
            });
            let looks = (0..LOOKS).map(|_| claims.look(&owner, &selector()));
            let counts: BTreeSet<_> = looks.map(|it| it.owned.len() + it.adopt.len()).collect();
            looked.store(true, Ordering::Relaxed);
            assert_eq!(counts, [OTHERS + 1].into());
        });
    }

    /// Who may write in another namespace has no say in this one.
    #[tokio::test]
    async fn an_object_of_another_namespace_is_not_the_owners_whatever_it_says() {
        let living = owner::<ReplicaSet>(json!(null));
        let mut foreign = object::<Pod>("p", "web", Some("u"), "Running");
        foreign.metadata.namespace = Some("other".to_owned());
        check(&living, foreign, pods::is_active, "");
    }

    #[tokio::test]
    async fn an_owner_on_its_way_out_neither_adopts_nor_releases() {
        let leaving = owner::<ReplicaSet>(json!("2026-01-01T00:00:00Z"));
        let check = |app: &str, owner| {
            check(&leaving, object::<Pod>("p", app, owner, "Running"), pods::is_active, "");
        };
        check("web", None);
        check("db", Some("u"));
    }

    #[tokio::test]
    async fn who_may_be_adopted_is_the_owners_business() {
        let job = owner::<Job>(json!(null));
        check(&job, object::<Pod>("p", "web", None, "Succeeded"), |_| true, "adopt");
        let deployment = owner::<Deployment>(json!(null));
        let may = |set: &ReplicaSet| set.metadata.deletion_timestamp.is_none();
        check(&deployment, object::<ReplicaSet>("s", "web", None, ""), may, "adopt");
        check(&deployment, object::<ReplicaSet>("s", "db", Some("u"), ""), may, "release");
    }

    #[test]
    fn an_adopted_object_names_its_owner_and_keeps_its_other_owners() {
        let other = OwnerReference { uid: "other".to_owned(), ..OwnerReference::default() };
        let mut pod = object::<Pod>("p", "web", None, "Running");
        pod.metadata.owner_references = Some(vec![other.clone()]);
        let reference = controller_reference_of(&owner::<Job>(json!(null)), &());
        let references = with(&pod.metadata, "u", reference.as_ref());
        assert_eq!(references[0], other);
        let ours = serde_json::to_value(&references[1]).unwrap();
        assert_eq!(
            ours,
            json!({"apiVersion": "batch/v1", "kind": "Job", "name": "web", "uid": "u",
                   "controller": true, "blockOwnerDeletion": true})
        );
        pod.metadata.owner_references = Some(references);
        assert_eq!(without(&pod.metadata, "u"), [other]);
    }
}
