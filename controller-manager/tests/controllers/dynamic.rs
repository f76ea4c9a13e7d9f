//! A kind that is known only when it is found, as somebody's own is.

use std::sync::Arc;

use api_types::api::apps::v1::ReplicaSet;
use api_types::api::core::v1::Pod;
use controller_manager::frame::Informer;
use kube::Api;
use kube::api::DynamicObject;
use kube::discovery::ApiResource;
use listwatch::Scope;
use serde_json::json;
use testkit::{ControlPlane, pod, wait};
use tokio_util::task::AbortOnDropHandle;

use crate::create;

#[tokio::test(flavor = "multi_thread")]
async fn its_objects_are_followed_and_found_by_label_and_by_controller() {
    let plane = ControlPlane::start().await;
    let kind = ApiResource::erase::<Pod>(&());
    let informer = Arc::new(Informer::<DynamicObject>::of(&kind));
    let following = informer.clone();
    let events = plane.listwatch().watch_kind(&kind, Scope::All);
    let _following =
        AbortOnDropHandle::new(tokio::spawn(async move { following.follow(events).await }));
    let owner =
        json!([{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "u", "controller": true}]);
    let mut owned = pod("owned").label("app", "web").build();
    owned.metadata.owner_references = Some(serde_json::from_value(owner).unwrap());
    let api = Api::<Pod>::namespaced(plane.client(), "default");
    for pod in [owned, pod("other").label("app", "db").build()] {
        let mark = informer.mark_of(&create(&api, &pod).await.metadata);
        wait::until("it is seen", async || informer.has_seen(&mark).then_some(()).ok_or(())).await;
    }
    let names = |found: Vec<Arc<DynamicObject>>| {
        found.iter().filter_map(|it| it.metadata.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(informer.controlled_by("default", "u")), ["owned"]);
    assert_eq!(names(informer.selected("default", &"app=db".parse().unwrap())), ["other"]);
}

#[test]
fn it_is_called_what_it_was_found_as() {
    let informer = Informer::<DynamicObject>::of(&ApiResource::erase::<ReplicaSet>(&()));
    assert_eq!((informer.kind(), &*informer.synced().kind), ("ReplicaSet", "replicasets"));
}
