//! By what the objects of each kind are found without looking at all of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use api_machinery::LabelSelector;
use api_machinery::host_routes::Claim;
use api_types::api::apps::v1::{
    ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet,
};
use api_types::api::autoscaling::v2::HorizontalPodAutoscaler;
use api_types::api::batch::v1::{CronJob, Job};
use api_types::api::certificates::v1::CertificateSigningRequest;
use api_types::api::coordination::v1::Lease;
use api_types::api::core::v1::{
    ConfigMap, Endpoints, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod,
    ReplicationController, ResourceQuota, Secret, Service, ServiceAccount,
};
use api_types::api::discovery::v1::EndpointSlice;
use api_types::api::networking::v1::{Ingress, IngressClass, ServiceCIDR};
use api_types::api::policy::v1::PodDisruptionBudget;
use api_types::api::rbac::v1::{ClusterRole, Role, RoleBinding};
use api_types::api::storage::v1::StorageClass;
use api_types::gateway::{Gateway, GatewayClass, HttpRoute, ReferenceGrant};
use api_types::meta::ObjectMeta;
use api_types::minik8s::{Dns, Function, GpuJob, Workflow, WorkflowRun};
use kube::api::DynamicObject;
use kube::core::PartialObjectMeta;

use crate::frame::{Fault, Informer, Label, ObjectKey, Term, View, Watched};
use crate::{owners, pods};

/// A kind whose objects select others of their namespace.
pub trait Selecting: Watched {
    /// The selector; `None` if it is invalid, or empty, which must not mean everything.
    fn selector(&self) -> Option<LabelSelector>;
}

/// What is wrong with an object that has no such selector.
#[derive(Debug, thiserror::Error)]
#[error("the selector selects nothing")]
pub(crate) struct SelectsNothing;

impl Fault for SelectsNothing {
    fn may_pass(&self) -> bool {
        false
    }
}

/// A kind whose objects are found by their labels and their controller.
pub trait Owned: Watched {}

impl Watched for Pod {
    fn terms(&self) -> Vec<Term> {
        let node = pods::node_of(self).map(|node| Term::Node(node.to_owned()));
        controller(&self.metadata).chain(labels(&self.metadata)).chain(node).collect()
    }
}

impl Owned for Pod {}

impl Watched for ReplicaSet {
    fn terms(&self) -> Vec<Term> {
        controller(&self.metadata).chain(labels(&self.metadata)).chain(selects(self)).collect()
    }
}

impl Owned for ReplicaSet {}

impl Selecting for ReplicaSet {
    fn selector(&self) -> Option<LabelSelector> {
        let selector = LabelSelector::try_from(&self.spec.as_ref()?.selector).ok()?;
        (!selector.is_everything()).then_some(selector)
    }
}

impl Watched for ReplicationController {
    fn terms(&self) -> Vec<Term> {
        selects(self).collect()
    }
}

impl Selecting for ReplicationController {
    fn selector(&self) -> Option<LabelSelector> {
        let selector = LabelSelector::from_labels(self.spec.as_ref()?.selector.as_ref()?);
        (!selector.is_everything()).then_some(selector)
    }
}

impl Watched for Deployment {
    fn terms(&self) -> Vec<Term> {
        selects(self).collect()
    }
}

impl Selecting for Deployment {
    fn selector(&self) -> Option<LabelSelector> {
        let selector = LabelSelector::try_from(&self.spec.as_ref()?.selector).ok()?;
        (!selector.is_everything()).then_some(selector)
    }
}

impl Watched for PodDisruptionBudget {
    fn terms(&self) -> Vec<Term> {
        selects(self).collect()
    }
}

impl Selecting for PodDisruptionBudget {
    /// Here an empty one does mean everything.
    fn selector(&self) -> Option<LabelSelector> {
        LabelSelector::try_from(self.spec.as_ref()?.selector.as_ref()?).ok()
    }
}

impl Watched for Job {
    fn terms(&self) -> Vec<Term> {
        controller(&self.metadata).chain(labels(&self.metadata)).chain(selects(self)).collect()
    }
}

impl Owned for Job {}

impl Selecting for Job {
    fn selector(&self) -> Option<LabelSelector> {
        let selector = LabelSelector::try_from(self.spec.as_ref()?.selector.as_ref()?).ok()?;
        (!selector.is_everything()).then_some(selector)
    }
}

impl Watched for StatefulSet {
    fn terms(&self) -> Vec<Term> {
        selects(self).collect()
    }
}

impl Selecting for StatefulSet {
    fn selector(&self) -> Option<LabelSelector> {
        let selector = LabelSelector::try_from(&self.spec.as_ref()?.selector).ok()?;
        (!selector.is_everything()).then_some(selector)
    }
}

impl Watched for DaemonSet {
    fn terms(&self) -> Vec<Term> {
        selects(self).collect()
    }
}

impl Selecting for DaemonSet {
    fn selector(&self) -> Option<LabelSelector> {
        let selector = LabelSelector::try_from(&self.spec.as_ref()?.selector).ok()?;
        (!selector.is_everything()).then_some(selector)
    }
}

impl Watched for ControllerRevision {
    fn terms(&self) -> Vec<Term> {
        controller(&self.metadata).chain(labels(&self.metadata)).collect()
    }
}

impl Owned for ControllerRevision {}

impl Watched for Service {
    fn terms(&self) -> Vec<Term> {
        selects(self).collect()
    }
}

impl Selecting for Service {
    /// That of an external name stands for nothing here.
    fn selector(&self) -> Option<LabelSelector> {
        let spec =
            self.spec.as_ref().filter(|spec| spec.type_.as_deref() != Some("ExternalName"))?;
        let selector = LabelSelector::from_labels(spec.selector.as_ref()?);
        (!selector.is_everything()).then_some(selector)
    }
}

impl Watched for EndpointSlice {
    fn terms(&self) -> Vec<Term> {
        labels(&self.metadata).collect()
    }
}

impl Watched for WorkflowRun {
    fn terms(&self) -> Vec<Term> {
        let namespace = namespace(&self.metadata);
        vec![Term::RunOf(ObjectKey::new(namespace, &self.spec.workflow))]
    }
}

impl Watched for Dns {
    fn terms(&self) -> Vec<Term> {
        vec![Term::Host(self.spec.host.clone())]
    }
}

impl Watched for Ingress {
    fn terms(&self) -> Vec<Term> {
        let hosts = Claim::of_ingress(self).hosts.into_iter();
        hosts.map(|host| Term::Host(host.to_owned())).collect()
    }
}

/// Of whatever kind.
impl Watched for DynamicObject {
    fn terms(&self) -> Vec<Term> {
        controller(&self.metadata).chain(labels(&self.metadata)).collect()
    }
}

impl Owned for DynamicObject {}

impl Watched for PartialObjectMeta<DynamicObject> {}
impl Watched for CertificateSigningRequest {}

impl Watched for ClusterRole {}
impl Watched for ConfigMap {}
impl Watched for CronJob {}
impl Watched for Endpoints {}
impl Watched for Function {}
impl Watched for Gateway {}
impl Watched for GatewayClass {}
impl Watched for GpuJob {}
impl Watched for HorizontalPodAutoscaler {}
impl Watched for HttpRoute {}
impl Watched for IngressClass {}
impl Watched for Lease {}
impl Watched for Namespace {}
impl Watched for Node {}
impl Watched for PersistentVolume {}
impl Watched for PersistentVolumeClaim {}
impl Watched for ReferenceGrant {}
impl Watched for ResourceQuota {}
impl Watched for Role {}
impl Watched for RoleBinding {}
impl Watched for Secret {}
impl Watched for ServiceAccount {}
impl Watched for ServiceCIDR {}
impl Watched for StorageClass {}
impl Watched for Workflow {}

impl<K: Owned> Informer<K> {
    /// The objects of a namespace whose controller has this uid.
    pub fn controlled_by(&self, namespace: &str, uid: &str) -> Vec<Arc<K>> {
        self.with(&controlled(namespace, uid))
    }

    /// The objects of a namespace that the selector picks.
    pub fn selected(&self, namespace: &str, selector: &LabelSelector) -> Vec<Arc<K>> {
        self.view().selected(namespace, selector)
    }

    /// The objects of a namespace whose controller has this uid, and those that the selector picks and that have none.
    pub fn claimable(&self, namespace: &str, uid: &str, selector: &LabelSelector) -> Vec<Arc<K>> {
        // Of one moment: an object that is being adopted or released would be found twice.
        let view = self.view();
        let mut found = view.selected(namespace, selector);
        found.retain(|object| owners::controller_of(object.meta()).is_none());
        found.extend(view.with(&controlled(namespace, uid)));
        found
    }
}

impl<K: Owned> View<'_, K> {
    fn selected(&self, namespace: &str, selector: &LabelSelector) -> Vec<Arc<K>> {
        let required = selector.required();
        let terms = required.map(|(key, value)| label(namespace, key, value)).collect();
        let mut found = match self.rarest(terms) {
            Some(term) => self.with(&term),
            None => self.filter_in(namespace, |_| true),
        };
        found.retain(|object| picks(selector, object.meta()));
        found
    }
}

impl<K: Selecting> Informer<K> {
    /// The objects that select one with these labels.
    pub fn selecting(&self, metadata: &ObjectMeta) -> Vec<Arc<K>> {
        let namespace = namespace(metadata).to_owned();
        let by_label = labels_of(metadata)
            .iter()
            .map(|(key, value)| Term::Selects(Label::new(&namespace, key, value)));
        let terms = by_label.chain([Term::SelectsUnknown(namespace.clone())]);
        let mut found: Vec<_> = terms.flat_map(|term| self.with(&term)).collect();
        found.retain(|object| object.selector().is_some_and(|selector| picks(&selector, metadata)));
        found
    }
}

impl Informer<Pod> {
    /// The pods on a node.
    pub fn on_node(&self, node: &str) -> Vec<Arc<Pod>> {
        self.with(&Term::Node(node.to_owned()))
    }
}

impl Informer<EndpointSlice> {
    /// The slices of a namespace with a label.
    pub fn labelled(&self, namespace: &str, key: &str, value: &str) -> Vec<Arc<EndpointSlice>> {
        self.with(&label(namespace, key, value))
    }
}

fn controller(metadata: &ObjectMeta) -> impl Iterator<Item = Term> + use<> {
    let owner = owners::controller_of(metadata);
    owner.map(|owner| controlled(namespace(metadata), &owner.uid)).into_iter()
}

fn controlled(namespace: &str, uid: &str) -> Term {
    Term::Controller { namespace: namespace.to_owned(), uid: uid.to_owned() }
}

fn labels(metadata: &ObjectMeta) -> impl Iterator<Item = Term> {
    let namespace = namespace(metadata);
    labels_of(metadata).iter().map(move |(key, value)| label(namespace, key, value))
}

fn label(namespace: &str, key: &str, value: &str) -> Term {
    Term::Label(Label::new(namespace, key, value))
}

/// Under one of the labels that it requires: whatever it selects has that one too.
fn selects<K: Selecting>(object: &K) -> impl Iterator<Item = Term> + use<K> {
    let namespace = namespace(object.meta());
    let term = object.selector().map(|selector| match selector.required().next() {
        Some((key, value)) => Term::Selects(Label::new(namespace, key, value)),
        None => Term::SelectsUnknown(namespace.to_owned()),
    });
    term.into_iter()
}

/// Whether the selector picks what has these labels.
pub(crate) fn picks(selector: &LabelSelector, metadata: &ObjectMeta) -> bool {
    selector.matches(labels_of(metadata))
}

fn labels_of(metadata: &ObjectMeta) -> &BTreeMap<String, String> {
    static NONE: BTreeMap<String, String> = BTreeMap::new();
    metadata.labels.as_ref().unwrap_or(&NONE)
}

fn namespace(metadata: &ObjectMeta) -> &str {
    metadata.namespace.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use kube::runtime::watcher::Event;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// What is told of pods: each is known by its number.
    #[derive(Clone, Debug)]
    enum Step {
        Apply(u8, Value),
        Delete(u8),
        Relist(Vec<(u8, Value)>),
    }

    fn pod(number: u8, shape: &Value) -> Pod {
        let mut pod = shape.clone();
        pod["metadata"]["name"] = json!(format!("p{number}"));
        pod["metadata"]["namespace"] = json!(format!("ns{}", number % 2));
        serde_json::from_value(pod).unwrap()
    }

    fn shape() -> impl Strategy<Value = Value> {
        let labels = prop::collection::btree_map("[ab]", "[xy]", 0..3);
        let (owner, node) = (prop::option::of("[uv]"), prop::option::of("n[12]"));
        (labels, owner, node, any::<u32>()).prop_map(|(labels, owner, node, version)| {
            let owners = owner.map(|uid| {
                json!([{"apiVersion": "v1", "kind": "X", "name": "x", "uid": uid, "controller": true}])
            });
            json!({"metadata": {"labels": labels, "ownerReferences": owners, "resourceVersion": version.to_string()},
                   "spec": {"nodeName": node, "containers": []}})
        })
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let number = || 0..6_u8;
        let step = prop_oneof![
            5 => (number(), shape()).prop_map(|(number, shape)| Step::Apply(number, shape)),
            2 => number().prop_map(Step::Delete),
            1 => prop::collection::vec((number(), shape()), 0..6).prop_map(Step::Relist),
        ];
        prop::collection::vec(step, 0..40)
    }

    fn take_in(pods: &Informer<Pod>, step: &Step) {
        match step {
            Step::Apply(number, shape) => pods.take_in(Event::Apply(pod(*number, shape))),
            Step::Delete(number) => pods.take_in(Event::Delete(pod(*number, &json!({})))),
            Step::Relist(all) => {
                let all = all.iter().map(|(number, shape)| Event::InitApply(pod(*number, shape)));
                let list = [Event::Init].into_iter().chain(all).chain([Event::InitDone]);
                list.for_each(|event| pods.take_in(event));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn what_is_found_is_what_a_look_at_all_finds(steps in steps()) {
            let pods = Informer::<Pod>::default();
            for step in &steps {
                take_in(&pods, step);
                for node in ["n1", "n2"] {
                    let expected = pods.filter(|pod| pods::node_of(pod) == Some(node));
                    prop_assert_eq!(pods.on_node(node), expected);
                }
                for uid in ["u", "v"] {
                    let is_its = |pod: &Pod| owners::is_controlled_by(&pod.metadata, uid);
                    let expected = pods.filter_in("ns1", is_its);
                    prop_assert_eq!(pods.controlled_by("ns1", uid), expected);
                }
                for selector in ["a=x", "a=x,b=y", "a in (x,y),b=x", "a", "!a", "a!=x"] {
                    let selector: LabelSelector = selector.parse().unwrap();
                    let expected = pods.filter_in("ns1", |pod| picks(&selector, &pod.metadata));
                    prop_assert_eq!(pods.selected("ns1", &selector), expected);
                }
            }
        }
    }

    #[test]
    fn the_sets_that_select_a_pod_are_found_by_its_labels() {
        let sets = Informer::<ReplicaSet>::default();
        for (name, namespace, selector) in [
            ("web", "ns", json!({"matchLabels": {"app": "web"}})),
            ("front", "ns", json!({"matchLabels": {"app": "web", "tier": "front"}})),
            ("db", "ns", json!({"matchLabels": {"app": "db"}})),
            ("any", "ns", json!({"matchExpressions": [{"key": "app", "operator": "Exists"}]})),
            ("everything", "ns", json!({})),
            ("elsewhere", "other", json!({"matchLabels": {"app": "web"}})),
        ] {
            let set = json!({"metadata": {"name": name, "namespace": namespace}, "spec": {"selector": selector}});
            sets.take_in(Event::Apply(serde_json::from_value(set).unwrap()));
        }
        let check = |labels: Value, expected: &[&str]| {
            let pod = json!({"namespace": "ns", "labels": labels});
            let found = sets.selecting(&serde_json::from_value(pod).unwrap());
            let mut names: Vec<_> =
                found.iter().filter_map(|set| set.metadata.name.as_deref()).collect();
            names.sort_unstable();
            assert_eq!(names, expected, "{labels}");
        };
        check(json!({"app": "web"}), &["any", "web"]);
        check(json!({"app": "web", "tier": "front"}), &["any", "front", "web"]);
        check(json!({"tier": "front"}), &[]);
        check(json!(null), &[]);
    }

    #[test]
    fn an_external_name_selects_nothing_here() {
        let service = |kind: &str| -> Service {
            let spec = json!({"type": kind, "selector": {"app": "web"}});
            serde_json::from_value(json!({"spec": spec})).unwrap()
        };
        assert!(service("ClusterIP").selector().is_some());
        assert!(service("ExternalName").selector().is_none());
    }
}
