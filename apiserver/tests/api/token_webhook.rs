//! Tokens that a server outside of the cluster knows, which is the test.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use apiserver::{Config, Identity, TokenReviewVersion, TokenWebhook};
use axum::{Json, Router, body::Body, extract::State, response::IntoResponse, routing::post};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, Request, StatusCode, header};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    harness::{Answer, Api, JSON},
    webhooks::{certificates, serve},
};

const SELF: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

/// What it was asked.
type Asked = Arc<Mutex<Vec<Value>>>;

async fn review(
    State(asked): State<Asked>,
    headers: HeaderMap,
    Json(review): Json<Value>,
) -> axum::response::Response {
    assert_eq!(headers[header::AUTHORIZATION], "Bearer of the server");
    let token = review["spec"]["token"].as_str().unwrap().to_owned();
    asked.lock().push(review.clone());
    let is_first = asked.lock().iter().filter(|it| it["spec"]["token"] == *token).count() == 1;
    let status = match token.as_str() {
        "jane" => json!({"authenticated": true, "user": {"username": "jane", "uid": "7",
            "groups": ["dev"], "extra": {"example.com/floor": ["3"]}}}),
        "elsewhere" => json!({"authenticated": true, "audiences": ["vault"],
            "user": {"username": "jane"}}),
        "faulty" => json!({"authenticated": false, "error": "no such token"}),
        "busy" if is_first => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        "busy" => json!({"authenticated": true, "user": {"username": "joe"}}),
        "broken" => return "no JSON".into_response(),
        _ => json!({"authenticated": false}),
    };
    Json(json!({"apiVersion": review["apiVersion"], "kind": "TokenReview", "status": status}))
        .into_response()
}

fn kubeconfig(server: &str, authority: &str) -> String {
    let cluster =
        json!({"server": server, "certificate-authority-data": STANDARD.encode(authority)});
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {"token": "of the server"}}],
    })
    .to_string()
}

async fn start(version: TokenReviewVersion) -> (Api, Asked) {
    component::install_crypto_provider();
    let ((authority, tls), asked) = (certificates(), Asked::default());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("https://localhost:{}/tokens", listener.local_addr().unwrap().port());
    let routes = Router::new().route("/tokens", post(review)).with_state(asked.clone());
    tokio::spawn(serve(listener, tls, routes));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), kubeconfig(&url, &authority)).unwrap();
    let webhook = TokenWebhook::new(file.path(), version, Duration::from_secs(120)).unwrap();
    let config = Config { token_webhook: Some(webhook), ..Config::default() };
    (Api::with(config).await, asked)
}

async fn who(api: &Api, token: &str) -> Answer {
    let request = Request::post(SELF)
        .header(header::CONTENT_TYPE, JSON)
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(Body::from("{}"))
        .unwrap();
    Answer::of(api.request_as(Identity::anonymous(), request).await).await
}

fn count(asked: &Asked, token: &str) -> usize {
    asked.lock().iter().filter(|review| review["spec"]["token"] == token).count()
}

#[tokio::test]
async fn who_is_known_elsewhere_is_known_here_and_asked_about_once() {
    let (api, asked) = start(TokenReviewVersion::V1).await;
    for _ in 0..3 {
        let user = who(&api, "jane").await.ok()["status"]["userInfo"].clone();
        let expected = json!({"username": "jane", "uid": "7", "groups": ["dev", "system:authenticated"],
            "extra": {"example.com/floor": ["3"]}});
        assert_eq!(user, expected);
        who(&api, "nobody").await.fails(401, "Unauthorized");
    }
    assert_eq!((count(&asked, "jane"), count(&asked, "nobody")), (1, 1));
    let first = asked.lock()[0].clone();
    assert_eq!(
        (&first["apiVersion"], &first["kind"]),
        (&json!("authentication.k8s.io/v1"), &json!("TokenReview"))
    );
    assert_eq!(first["spec"]["audiences"], json!(["https://kubernetes.default.svc.cluster.local"]));
    // Tokens of service accounts are nobody else's business.
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    api.post(accounts, &json!({"metadata": {"name": "robot"}})).await.ok();
    let made = api.post(&format!("{accounts}/robot/token"), &json!({"spec": {}})).await.ok();
    let token = made["status"]["token"].as_str().unwrap();
    let user = who(&api, token).await.ok()["status"]["userInfo"]["username"].clone();
    assert_eq!(user, "system:serviceaccount:default:robot");
    assert_eq!(count(&asked, token), 0);
}

#[tokio::test]
async fn a_token_for_others_is_taken_only_for_them_and_faults_are_asked_about_again() {
    let (api, asked) = start(TokenReviewVersion::V1beta1).await;
    who(&api, "elsewhere").await.fails(401, "Unauthorized");
    let review = json!({"spec": {"token": "elsewhere", "audiences": ["vault", "safe"]}});
    let status = api.post(REVIEWS, &review).await.ok()["status"].clone();
    assert_eq!((&status["authenticated"], &status["audiences"]), (&json!(true), &json!(["vault"])));
    for token in ["faulty", "broken"] {
        who(&api, token).await.fails(401, "Unauthorized");
        who(&api, token).await.fails(401, "Unauthorized");
        assert_eq!(count(&asked, token), 2, "{token}");
    }
    let user = who(&api, "busy").await.ok()["status"]["userInfo"]["username"].clone();
    assert_eq!((user, count(&asked, "busy")), (json!("joe"), 2));
    assert_eq!(asked.lock()[0]["apiVersion"], "authentication.k8s.io/v1beta1");
}
