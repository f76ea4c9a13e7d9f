//! Acting as somebody else.

use apiserver::Identity;
use axum::body::Body;
use http::Request;
use serde_json::json;

use crate::harness::{Answer, Api, CONFIG_MAPS};

async fn act(api: &Api, identity: Identity, (method, path): (&str, &str), as_: &[&str]) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for header in as_ {
        let (name, value) = header.split_once(": ").unwrap();
        request = request.header(name, value);
    }
    let request = request.body(Body::empty()).unwrap();
    Answer::of(api.request_as(identity, request).await).await
}

#[tokio::test]
async fn what_is_done_as_somebody_is_authorized_as_that_one() {
    let api = Api::start().await;
    api.config_map("a", json!({})).await;
    let path = format!("{CONFIG_MAPS}/a");
    let delete = ("DELETE", path.as_str());
    let nobody = act(&api, Identity::admin(), delete, &["Impersonate-User: nobody"]).await;
    assert_eq!(
        nobody.fails(403, "Forbidden"),
        "configmaps \"a\" is forbidden: User \"nobody\" cannot delete resource \"configmaps\" in API group \"\" \
         in the namespace \"default\""
    );
    api.get(&path).await.ok();
    let masters = ["Impersonate-User: jane", "Impersonate-Group: system:masters"];
    act(&api, Identity::admin(), delete, &masters).await.ok();
}

#[tokio::test]
async fn who_may_do_nothing_may_act_as_nobody() {
    let api = Api::start().await;
    let as_admin = ["Impersonate-User: jane", "Impersonate-Group: system:masters"];
    let answer = act(&api, Identity::anonymous(), ("GET", CONFIG_MAPS), &as_admin).await;
    assert_eq!(
        answer.fails(403, "Forbidden"),
        "users \"jane\" is forbidden: User \"system:anonymous\" cannot impersonate resource \"users\" in API group \
         \"\" at the cluster scope"
    );
}

#[tokio::test]
async fn somebody_impersonated_sees_what_is_served_and_no_more() {
    let api = Api::start().await;
    let see =
        async |path| act(&api, Identity::admin(), ("GET", path), &["Impersonate-User: jane"]).await;
    for path in ["/version", "/apis", "/api/v1", "/openapi/v3"] {
        see(path).await.ok();
    }
    let message = see("/metrics").await.fails(403, "Forbidden");
    assert_eq!(message, "forbidden: User \"jane\" cannot get path \"/metrics\"");
    see("/frogs").await.fails(403, "Forbidden");
    let message = see("/apis/frogs.io/v1/frogs").await.fails(403, "Forbidden");
    assert_eq!(
        message,
        "frogs.frogs.io is forbidden: User \"jane\" cannot list resource \"frogs\" in API group \"frogs.io\" \
         at the cluster scope"
    );
}

#[tokio::test]
async fn who_may_make_a_review_is_told_that_a_version_has_none() {
    let api = Api::start().await;
    let review = ("POST", "/apis/authorization.k8s.io/v9/selfsubjectaccessreviews");
    let answer = act(&api, Identity::admin(), review, &["Impersonate-User: jane"]).await;
    answer.fails(404, "NotFound");
}

#[tokio::test]
async fn a_group_is_nobody_without_a_user() {
    let api = Api::start().await;
    let group = ["Impersonate-Group: system:masters"];
    let answer = act(&api, Identity::admin(), ("GET", CONFIG_MAPS), &group).await;
    let message = answer.fails(500, "InternalError");
    assert!(message.ends_with("without impersonating a user name"), "{message}");
}

#[tokio::test]
async fn a_token_without_a_certificate_is_not_taken_for_nobody() {
    let api = Api::start().await;
    let token = ["Authorization: Bearer abc"];
    let answer = act(&api, Identity::anonymous(), ("GET", CONFIG_MAPS), &token).await;
    assert_eq!(answer.fails(401, "Unauthorized"), "Unauthorized");
    act(&api, Identity::admin(), ("GET", CONFIG_MAPS), &token).await.ok();
}
