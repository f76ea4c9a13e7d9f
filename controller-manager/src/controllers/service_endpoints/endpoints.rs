//! Writes the Endpoints object of every Service with a selector.

use std::collections::BTreeMap;
use std::sync::Arc;

use api_types::api::core::v1::{Endpoints, Service};
use api_types::meta::ObjectMeta;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, Client};

use super::{backends, is_headless, primary_family, subsets, watch_services_and_pods};
use crate::context::Context;
use crate::frame::{Change, Controller, Error, Next, ObjectKey, Registered, Step, WorkQueue};
use crate::indexes::Selecting;
use crate::informers::Informers;

const MANAGED_BY: (&str, &str) = ("endpoints.kubernetes.io/managed-by", "endpoint-controller");
const HEADLESS: &str = "service.kubernetes.io/headless";
/// Says that there are more addresses than the object has.
const OVER_CAPACITY: (&str, &str) = ("endpoints.kubernetes.io/over-capacity", "truncated");

pub(crate) fn register(context: &Context) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    watch_services_and_pods(&context.informers, &queue);
    let wanted = queue.clone();
    context.informers.endpoints.on_change(move |change: &Change<Endpoints>| {
        change.latest().into_iter().for_each(|object| wanted.add(ObjectKey::of(&object.metadata)));
    });
    let controller = Controls { client: context.client(), informers: context.informers.clone() };
    let Informers { services, pods, endpoints, .. } = &context.informers;
    Registered::new(controller, queue).reads(services).reads(pods).reads(endpoints)
}

struct Controls {
    client: Client,
    informers: Informers,
}

#[async_trait::async_trait]
impl Controller for Controls {
    fn name(&self) -> &'static str {
        "endpoint-controller"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let current = self.informers.endpoints.get(key);
        match self.informers.services.get(key) {
            None => self.remove(key, current.as_deref()).await?,
            Some(service) => self.write(key, &service, current.as_deref()).await?,
        }
        Ok(Next::Change)
    }
}

impl Controls {
    fn api(&self, key: &ObjectKey) -> Api<Endpoints> {
        Api::namespaced(self.client.clone(), &key.namespace)
    }

    /// Only what this controller wrote goes with the Service, and not what somebody else has put in its place
    /// since.
    async fn remove(&self, key: &ObjectKey, current: Option<&Endpoints>) -> Result<(), Error> {
        let Some(ours) = current.filter(|object| is_ours(object)) else { return Ok(()) };
        let this_version = Preconditions {
            uid: ours.metadata.uid.clone(),
            resource_version: ours.metadata.resource_version.clone(),
        };
        let how = DeleteParams::default().preconditions(this_version);
        let deleted = self.api(key).delete(&key.name, &how).await;
        deleted.unless_gone("deleting the endpoints of a service that is gone").map(|_| ())
    }

    /// Without a selector, somebody else looks after them.
    async fn write(
        &self,
        key: &ObjectKey,
        service: &Service,
        current: Option<&Endpoints>,
    ) -> Result<(), Error> {
        let Some(selector) = service.selector() else { return Ok(()) };
        let selected = self.informers.pods.selected(&key.namespace, &selector);
        let backends = backends::of(service, &selected, primary_family(service));
        let wanted = wanted(service, &backends, current);
        if current == Some(&wanted) {
            return Ok(());
        }
        let how = PostParams::default();
        match current {
            Some(_) => {
                self.api(key).replace(&key.name, &how, &wanted).await.step("replacing endpoints")?
            }
            None => self.api(key).create(&how, &wanted).await.step("creating endpoints")?,
        };
        Ok(())
    }
}

fn is_ours(object: &Endpoints) -> bool {
    let labels = object.metadata.labels.as_ref();
    labels.and_then(|all| all.get(MANAGED_BY.0)).is_some_and(|by| by == MANAGED_BY.1)
}

/// The object as it should be: what others have added to its metadata stays.
fn wanted(
    service: &Service,
    backends: &[backends::Backend],
    current: Option<&Endpoints>,
) -> Endpoints {
    let name = |metadata: &ObjectMeta| ObjectMeta {
        name: metadata.name.clone(),
        namespace: metadata.namespace.clone(),
        ..ObjectMeta::default()
    };
    let known = current.map(|current| current.metadata.clone());
    let has_ports = service
        .spec
        .as_ref()
        .and_then(|spec| spec.ports.as_ref())
        .is_some_and(|ports| !ports.is_empty());
    let mut subsets = subsets::of(backends, has_ports);
    let truncated = subsets::truncate(&mut subsets);
    let mut metadata = ObjectMeta {
        labels: Some(labels(service)),
        ..known.unwrap_or_else(|| name(&service.metadata))
    };
    tell_truncated(&mut metadata, truncated);
    Endpoints { metadata, subsets: (!subsets.is_empty()).then_some(subsets) }
}

fn tell_truncated(metadata: &mut ObjectMeta, truncated: bool) {
    let mut annotations = metadata.annotations.take().unwrap_or_default();
    if truncated {
        annotations.insert(OVER_CAPACITY.0.to_owned(), OVER_CAPACITY.1.to_owned());
    } else {
        annotations.remove(OVER_CAPACITY.0);
    }
    metadata.annotations = (!annotations.is_empty()).then_some(annotations);
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned());
    if is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    } else {
        labels.remove(HEADLESS);
    }
    labels
}

#[cfg(test)]
mod tests {
    use api_machinery::IpFamily;
    use kube::runtime::watcher::Event;
    use serde_json::json;

    use super::super::backends::tests::{pod, service, typed};
    use super::*;

    #[test]
    fn truncation_is_told_in_an_annotation_that_comes_and_goes() {
        let service = service(json!([{"port": 80}]), json!({}));
        let pods: Vec<_> = (0..1001)
            .map(|n| pod(&format!("p{n}"), &format!("10.0.{}.{}", n / 256, n % 256), true))
            .collect();
        let with = |count: usize, current: Option<&Endpoints>| {
            wanted(&service, &backends::of(&service, &typed(&pods[..count]), IpFamily::V4), current)
        };
        let told = |endpoints: &Endpoints| {
            endpoints.metadata.annotations.as_ref().and_then(|a| a.get(OVER_CAPACITY.0)).cloned()
        };
        let many = with(1001, None);
        assert_eq!(told(&many).as_deref(), Some("truncated"));
        let fewer = with(1000, Some(&many));
        assert_eq!((told(&fewer), fewer.metadata.annotations.as_ref()), (None, None));
        assert_eq!(with(1000, Some(&fewer)), fewer, "nothing to do");
    }

    #[tokio::test]
    async fn what_somebody_puts_in_their_place_does_not_go_with_the_service() {
        let plane = testkit::ControlPlane::start().await;
        let controls = Controls { client: plane.client(), informers: Informers::default() };
        let key = ObjectKey::new("default", "web");
        let (api, how) = (controls.api(&key), PostParams::default());
        let service = service(json!([{"port": 80}]), json!({}));
        let mut mine = wanted(&service, &[], None);
        (mine.metadata.name, mine.metadata.namespace) = (Some(key.name.clone()), None);
        let mine = api.create(&how, &mine).await.unwrap();
        controls.informers.endpoints.take_in(Event::Apply(mine));
        api.delete(&key.name, &DeleteParams::default()).await.unwrap();
        let theirs = json!({"metadata": {"name": key.name}});
        let theirs: Endpoints = serde_json::from_value(theirs).unwrap();
        let theirs = api.create(&how, &theirs).await.unwrap();
        assert!(controls.reconcile(&key).await.unwrap_err().is_conflict());
        assert_eq!(api.get(&key.name).await.unwrap().metadata.uid, theirs.metadata.uid);
    }
}
