//! Creating the missing pods: all at once, but after a start that is slow, so that a template that the
//! API server refuses costs one request and not hundreds.

use api_types::api::apps::v1::ReplicaSet;
use api_types::api::core::v1::Pod;
use api_types::meta::ObjectMeta;
use component::events::EventType;
use futures::future::join_all;
use kube::api::PostParams;

use super::ReplicaSets;
use crate::frame::{Error, ObjectKey, Step, is_terminating, reason};
use crate::owners::controller_reference;

impl ReplicaSets {
    pub(super) async fn create(
        &self,
        key: &ObjectKey,
        set: &ReplicaSet,
        count: usize,
    ) -> Result<(), Error> {
        let pod = pod_of(set);
        for batch in batches(count) {
            let creations = (0..batch).map(|_| self.create_one(key, set, &pod));
            join_all(creations).await.into_iter().collect::<Result<Vec<()>, Error>>()?;
        }
        Ok(())
    }

    async fn create_one(&self, key: &ObjectKey, set: &ReplicaSet, pod: &Pod) -> Result<(), Error> {
        let created = self.pods(key).create(&PostParams::default(), pod).await;
        if let Err(error) = &created
            && !is_terminating(error)
        {
            let message = format!("Error creating: {}", reason(error));
            self.recorder.about(set, EventType::Warning, "FailedCreate", message);
        }
        let created = created.unless_terminating("creating a pod").inspect_err(|error| {
            if !error.is_refusal() {
                self.unanswered.lock().insert(key.clone());
            }
        });
        // In a namespace that is on its way out there is nothing more to do.
        let Some(created) = created? else { return Ok(()) };
        self.expectations.written(key, self.informers.pods.mark(&created));
        let message = format!("Created pod: {}", created.metadata.name.unwrap_or_default());
        self.recorder.about(set, EventType::Normal, "SuccessfulCreate", message);
        Ok(())
    }
}

/// 1, 2, 4, … until all are made.
fn batches(count: usize) -> impl Iterator<Item = usize> {
    let mut left = count;
    let sizes = (0..).map_while(|step: u32| 1_usize.checked_shl(step));
    sizes.map_while(move |size| {
        let batch = size.min(left);
        left -= batch;
        (batch > 0).then_some(batch)
    })
}

/// A pod as the template says. Its name is made by the API server out of the set's, cut so that the
/// random end has room.
fn pod_of(set: &ReplicaSet) -> Pod {
    let template = set.spec.as_ref().and_then(|spec| spec.template.clone()).unwrap_or_default();
    let given = template.metadata.unwrap_or_default();
    let name = set.metadata.name.as_deref().unwrap_or_default();
    let metadata = ObjectMeta {
        generate_name: Some(format!("{name}-")),
        namespace: set.metadata.namespace.clone(),
        labels: given.labels,
        annotations: given.annotations,
        finalizers: given.finalizers,
        owner_references: controller_reference(set).map(|reference| vec![reference]),
        ..ObjectMeta::default()
    };
    Pod { metadata, spec: template.spec, status: None }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn batches_double() {
        let check = |count, expected: &[usize]| {
            assert_eq!(batches(count).collect::<Vec<_>>(), expected);
        };
        check(0, &[]);
        check(1, &[1]);
        check(3, &[1, 2]);
        check(10, &[1, 2, 4, 3]);
    }

    #[test]
    fn a_pod_is_the_template_with_an_owner() {
        let set: ReplicaSet = serde_json::from_value(json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {"namespace": "ns", "name": "web", "uid": "u"},
            "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": {
                "metadata": {"labels": {"app": "web"}, "annotations": {"a": "b"}},
                "spec": {"containers": [{"name": "c", "image": "nginx"}]}}},
        }))
        .unwrap();
        let pod = serde_json::to_value(pod_of(&set)).unwrap();
        assert_eq!(
            pod,
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"generateName": "web-", "namespace": "ns", "labels": {"app": "web"},
                    "annotations": {"a": "b"}, "ownerReferences": [{"apiVersion": "apps/v1",
                    "kind": "ReplicaSet", "name": "web", "uid": "u", "controller": true,
                    "blockOwnerDeletion": true}]},
                "spec": {"containers": [{"name": "c", "image": "nginx"}]},
            })
        );
    }
}
