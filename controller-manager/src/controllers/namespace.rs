//! Empties namespaces that are being deleted, and lets them go when they are empty.
//!
//! *Flow*: delete every collection that discovery knows; what is left (pods that end gracefully, objects
//! with finalizers) is told in a condition and waited for; then the finalizer `kubernetes` is removed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api_types::api::core::v1::{Namespace, Pod};
use api_types::jiff::Timestamp;
use futures::future::try_join_all;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::discovery::verbs;
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::context::Context;
use crate::discovery::{self, Discovered};
use crate::frame::{Change, Controller, Error, Next, ObjectKey, Registered, Step, WorkQueue};
use crate::informers::Informers;

const NAME: &str = "namespace-controller";
const FINALIZER: &str = "kubernetes";

/// While something is left, look again this often. Pods are looked at when one goes.
const REMAINING: Duration = Duration::from_secs(2);

pub(super) fn register(context: &Context) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    watch(&context.informers, &queue);
    let controller = Namespaces { client: context.client(), informers: context.informers.clone() };
    Registered::new(controller, queue)
}

fn watch(informers: &Informers, queue: &Arc<WorkQueue>) {
    let wanted = queue.clone();
    informers.namespaces.on_change(move |change: &Change<Namespace>| {
        let leaving = change.new.iter().filter(|namespace| is_leaving(namespace));
        leaving.for_each(|namespace| wanted.add(ObjectKey::of(&namespace.metadata)));
    });
    let (wanted, namespaces) = (queue.clone(), informers.namespaces.clone());
    informers.pods.on_change(move |change: &Change<Pod>| {
        let (Some(pod), None) = (&change.old, &change.new) else { return };
        let namespace = ObjectKey::cluster(pod.metadata.namespace.clone().unwrap_or_default());
        if namespaces.get(&namespace).is_some_and(|namespace| is_leaving(&namespace)) {
            wanted.add(namespace);
        }
    });
}

fn is_leaving(namespace: &Namespace) -> bool {
    namespace.metadata.deletion_timestamp.is_some()
}

struct Namespaces {
    client: Client,
    informers: Informers,
}

#[async_trait::async_trait]
impl Controller for Namespaces {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(namespace) =
            self.informers.namespaces.get(key).filter(|namespace| is_leaving(namespace))
        else {
            return Ok(Next::Change);
        };
        let left = self.empty(&key.name).await?;
        self.tell(&namespace, &left).await?;
        if !left.is_empty() {
            return Ok(Next::After(REMAINING));
        }
        self.finalize(&key.name).await?;
        Ok(Next::Change)
    }
}

impl Namespaces {
    /// Deletes everything in the namespace; returns what is left, by resource.
    async fn empty(&self, namespace: &str) -> Result<BTreeMap<String, usize>, Error> {
        let all = discovery::resources(self.client.clone()).await.step("discovering resources")?;
        let deletable = |found: &&Discovered| {
            found.is_namespaced() && found.supports(&[verbs::LIST, verbs::DELETE])
        };
        let deletions =
            all.iter().filter(deletable).map(|found| self.empty_resource(found, namespace));
        let left = try_join_all(deletions).await?;
        Ok(left.into_iter().filter(|(_, count)| *count > 0).collect())
    }

    async fn empty_resource(
        &self,
        found: &Discovered,
        namespace: &str,
    ) -> Result<(String, usize), Error> {
        let api = found.api(self.client.clone(), namespace);
        let name = match found.resource.group.as_str() {
            "" => format!("{}.", found.resource.plural),
            group => format!("{}.{group}", found.resource.plural),
        };
        let everything = ListParams::default();
        let before = api.list(&everything).await.step("listing what is in the namespace")?;
        if before.items.is_empty() {
            return Ok((name, 0));
        }
        if found.supports(&[verbs::DELETE_COLLECTION]) {
            let deleted = api.delete_collection(&DeleteParams::default(), &everything).await;
            deleted.unless_gone("deleting what is in the namespace")?;
        } else {
            for object in before.items {
                let name = object.metadata.name.unwrap_or_default();
                let deleted = api.delete(&name, &DeleteParams::default()).await;
                deleted.unless_gone("deleting what is in the namespace")?;
            }
        }
        let after = api.list(&everything).await.step("listing what is left in the namespace")?;
        Ok((name, after.items.len()))
    }

    async fn tell(
        &self,
        namespace: &Namespace,
        left: &BTreeMap<String, usize>,
    ) -> Result<(), Error> {
        let Some(condition) = remaining(namespace, left, Timestamp::now()) else { return Ok(()) };
        let api = Api::<Namespace>::all(self.client.clone());
        let name = namespace.metadata.name.as_deref().unwrap_or_default();
        let patch = Patch::Strategic(
            json!({"status": {"phase": "Terminating", "conditions": [condition]}}),
        );
        let patched = api.patch_status(name, &PatchParams::default(), &patch).await;
        patched.unless_gone("writing what is left in the namespace").map(|_| ())
    }

    async fn finalize(&self, name: &str) -> Result<(), Error> {
        let api = Api::<Namespace>::all(self.client.clone());
        let Some(mut namespace) = api.get_opt(name).await.step("reading the namespace")? else {
            return Ok(());
        };
        let finalizers = namespace.spec.get_or_insert_default().finalizers.get_or_insert_default();
        finalizers.retain(|finalizer| finalizer != FINALIZER);
        let finalized =
            api.replace_subresource("finalize", name, &PostParams::default(), &namespace).await;
        finalized.unless_gone("finalizing the namespace").map(|_: Option<Namespace>| ())
    }
}

/// The condition that tells what is left; `None` if it has been told.
fn remaining(
    namespace: &Namespace,
    left: &BTreeMap<String, usize>,
    now: Timestamp,
) -> Option<Value> {
    let known = namespace.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let known = known.into_iter().find(|condition| condition.type_ == "NamespaceContentRemaining");
    let list = left.iter().map(|(name, count)| format!("{name} has {count} resource instances"));
    let (status, reason, message) = match left.is_empty() {
        true => ("False", "ContentRemoved", "All content successfully removed".to_owned()),
        false => {
            let list: Vec<String> = list.collect();
            (
                "True",
                "SomeResourcesRemain",
                format!("Some resources are remaining: {}", list.join(", ")),
            )
        }
    };
    // Nothing was ever left: not worth a condition.
    let told = known.map_or(left.is_empty(), |known| known.message.as_deref() == Some(&message));
    let since = known
        .filter(|known| known.status == status)
        .and_then(|known| known.last_transition_time.clone());
    let since = since.map_or(now, |time| time.0);
    (!told).then(|| {
        json!({"type": "NamespaceContentRemaining", "status": status, "reason": reason,
               "message": message, "lastTransitionTime": since})
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_once_per_change() {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let pods = BTreeMap::from([("pods.".to_owned(), 2)]);
        let nothing = BTreeMap::new();
        let mut namespace = Namespace::default();
        assert_eq!(remaining(&namespace, &nothing, now), None);
        let told = remaining(&namespace, &pods, now).unwrap();
        assert_eq!(told["message"], "Some resources are remaining: pods. has 2 resource instances");
        namespace.status = serde_json::from_value(json!({"conditions": [told]})).unwrap();
        assert_eq!(remaining(&namespace, &pods, now), None);
        assert_eq!(remaining(&namespace, &nothing, now).unwrap()["status"], "False");
    }
}
