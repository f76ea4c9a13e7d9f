//! Tokens of service accounts: how they are asked for, whom they let in, and when they do no longer.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use apiserver::{ApiServer, Config, Identity};
use axum::body::Body;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{Request, header};
use serde_json::{Value, json};

use crate::{
    faulty::{Fate, Op},
    harness::{Answer, Api, JSON, PODS, pod},
};

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
const SELF: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// A server with a service account, and its UID.
async fn start() -> (Api, String) {
    let api = Api::start().await;
    let account = api.post(ACCOUNTS, &json!({"metadata": {"name": "robot"}})).await.ok();
    let uid = account["metadata"]["uid"].as_str().unwrap().to_owned();
    (api, uid)
}

async fn ask(api: &Api, spec: Value) -> Answer {
    api.post(&format!("{ACCOUNTS}/robot/token"), &json!({"spec": spec})).await
}

async fn token(api: &Api, spec: Value) -> String {
    ask(api, spec).await.ok()["status"]["token"].as_str().unwrap().to_owned()
}

/// A request of somebody who has nothing but a token.
async fn with_token(api: &Api, token: &str, method: &str, path: &str, body: &Value) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::CONTENT_TYPE, JSON)
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(Body::from(body.to_string()))
        .unwrap();
    Answer::of(api.request_as(Identity::anonymous(), request).await).await
}

async fn who(api: &Api, token: &str) -> Answer {
    with_token(api, token, "POST", SELF, &json!({})).await
}

async fn review(api: &Api, token: &str, audiences: Value) -> Value {
    let review = json!({"spec": {"token": token, "audiences": audiences}});
    api.post(REVIEWS, &review).await.ok()["status"].clone()
}

fn claims(token: &str) -> Value {
    let claims = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test]
async fn a_token_says_whose_it_is_and_lets_that_one_in() {
    let (api, uid) = start().await;
    let before = now();
    let asked = ask(&api, json!({"expirationSeconds": 1200})).await;
    assert_eq!(asked.code, 201);
    let request = asked.ok();
    assert_eq!(
        (&request["kind"], &request["apiVersion"]),
        (&json!("TokenRequest"), &json!("authentication.k8s.io/v1"))
    );
    let metadata = &request["metadata"];
    assert_eq!((&metadata["name"], &metadata["namespace"]), (&json!("robot"), &json!("default")));
    assert_eq!(request["spec"], json!({"audiences": [ISSUER], "expirationSeconds": 1200}));
    let token = request["status"]["token"].as_str().unwrap();
    let claims = claims(token);
    let issued = claims["iat"].as_u64().unwrap();
    assert!((before..=now()).contains(&issued));
    assert_eq!((&claims["nbf"], &claims["exp"]), (&json!(issued), &json!(issued + 1200)));
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!(ISSUER), &json!([ISSUER])));
    assert_eq!(claims["sub"], "system:serviceaccount:default:robot");
    let account = json!({"name": "robot", "uid": uid});
    let expected = json!({"namespace": "default", "serviceaccount": account});
    assert_eq!(claims["kubernetes.io"], expected);
    let user = json!({
        "username": "system:serviceaccount:default:robot",
        "uid": uid,
        "groups": [
            "system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated",
        ],
        "extra": {
            "authentication.kubernetes.io/credential-id":
                [format!("JTI={}", claims["jti"].as_str().unwrap())],
        },
    });
    assert_eq!(who(&api, token).await.ok()["status"]["userInfo"], user);
    let reviewed = review(&api, token, json!([])).await;
    assert_eq!(reviewed, json!({"authenticated": true, "audiences": [ISSUER], "user": user}));
}

#[tokio::test]
async fn a_request_that_says_little_is_completed_and_a_wrong_one_refused() {
    let (api, uid) = start().await;
    let robot = format!("{ACCOUNTS}/robot/token");
    let made = api.post(&robot, &json!({})).await.ok();
    assert_eq!(made["spec"], json!({"audiences": [ISSUER], "expirationSeconds": 3600}));
    let short = ask(&api, json!({"expirationSeconds": 599})).await.fails(422, "Invalid");
    assert_eq!(
        short,
        "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 599: \
         may not specify a duration less than 10 minutes"
    );
    let long = ask(&api, json!({"expirationSeconds": 4_294_967_297_i64})).await;
    let long = long.fails(422, "Invalid");
    assert!(long.ends_with("may not specify a duration larger than 2^32 seconds"), "{long}");
    let named = api.post(&robot, &json!({"metadata": {"name": "other"}})).await;
    assert_eq!(
        named.fails(422, "Invalid"),
        "TokenRequest.authentication.k8s.io \"robot\" is invalid: metadata.name: Invalid value: \"other\": \
         must match the service account name if specified"
    );
    let other = api.post(&robot, &json!({"metadata": {"uid": "other"}})).await;
    let other = other.fails(409, "Conflict");
    assert!(other.contains(&format!("does not match the UID of the service account ({uid})")));
    let nobody = api.post(&format!("{ACCOUNTS}/nobody/token"), &json!({})).await;
    assert_eq!(nobody.fails(404, "NotFound"), "serviceaccounts \"nobody\" not found");
    api.get(&robot).await.fails(405, "MethodNotAllowed");
}

#[tokio::test]
async fn a_token_is_good_for_as_long_as_what_it_is_bound_to() {
    let (api, _) = start().await;
    let mut p = pod("p");
    p["spec"]["serviceAccountName"] = "robot".into();
    p["spec"]["nodeName"] = "n".into();
    let secrets = "/api/v1/namespaces/default/secrets";
    let (node, secret) = (json!({"metadata": {"name": "n"}}), json!({"metadata": {"name": "s"}}));
    for (kind, collection, object) in
        [("Node", "/api/v1/nodes", node), ("Pod", PODS, p), ("Secret", secrets, secret)]
    {
        let made = api.post(collection, &object).await.ok();
        let (name, uid) = (&made["metadata"]["name"], &made["metadata"]["uid"]);
        let bound = json!({"apiVersion": "v1", "kind": kind, "name": name, "uid": uid});
        let token = token(&api, json!({"boundObjectRef": bound})).await;
        let field = kind.to_lowercase();
        let claim = &claims(&token)["kubernetes.io"];
        assert_eq!(claim[&field], json!({"name": name, "uid": uid}));
        let extra = who(&api, &token).await.ok()["status"]["userInfo"]["extra"].clone();
        let said = |key: &str| extra[format!("authentication.kubernetes.io/{key}")].clone();
        if kind != "Secret" {
            assert_eq!(said(&format!("{field}-name")), json!([name]));
            assert_eq!(said(&format!("{field}-uid")), json!([uid]));
        }
        if kind == "Pod" {
            assert_eq!(said("node-name"), json!(["n"]));
        }
        let path = format!("{collection}/{}", name.as_str().unwrap());
        api.delete(&format!("{path}?gracePeriodSeconds=0")).await.ok();
        until_refused(&api, &token, "service account token has been invalidated").await;
        // Another one of its name is not the one that was meant.
        api.post(collection, &object).await.ok();
        until_refused(&api, &token, &format!("{field} UID (")).await;
        let stale = json!({"boundObjectRef": {
            "apiVersion": "v1", "kind": kind, "name": name, "uid": "other",
        }});
        let stale = ask(&api, stale).await.fails(409, "Conflict");
        let why = "the UID in the bound object reference (other) does not match the UID in record";
        assert!(stale.contains(why), "{stale}");
    }
}

/// Waits until a token is refused for this reason.
async fn until_refused(api: &Api, token: &str, why: &str) {
    let asking = async {
        loop {
            let reviewed = review(api, token, json!([])).await;
            let error = reviewed["error"].as_str().unwrap_or_default();
            if error.starts_with(why) {
                assert_eq!(reviewed.get("authenticated"), None);
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), asking).await.expect(why);
    who(api, token).await.fails(401, "Unauthorized");
}

#[tokio::test]
async fn the_token_that_a_pod_gets_by_itself_is_good_for_a_year() {
    let pod_token = async |api: &Api, spec: Value| {
        let mut pod = pod("p");
        pod["spec"]["serviceAccountName"] = json!("robot");
        if api.get(&format!("{PODS}/p")).await.code == 404 {
            api.post(PODS, &pod).await.ok();
        }
        let mut spec = spec;
        spec["boundObjectRef"] = json!({"apiVersion": "v1", "kind": "Pod", "name": "p"});
        let status = ask(api, spec).await.ok()["status"].clone();
        let claims = claims(status["token"].as_str().unwrap());
        let warn = claims["kubernetes.io"]["warnafter"].as_i64();
        let issued = claims["iat"].as_i64().unwrap();
        (claims["exp"].as_i64().unwrap() - issued, warn.map(|warn| warn - issued), status)
    };
    let (api, _) = start().await;
    let before = now();
    let (life, warn, status) = pod_token(&api, json!({"expirationSeconds": 3607})).await;
    assert_eq!((life, warn), (365 * 24 * 3600, Some(3607)));
    let told = status["expirationTimestamp"]
        .as_str()
        .unwrap()
        .parse::<api_types::jiff::Timestamp>()
        .unwrap();
    let told = told.as_second() - i64::try_from(before).unwrap();
    assert!((3600..3700).contains(&told), "it is to be renewed as ever: {told}");
    for other in [
        json!({"expirationSeconds": 3606}),
        json!({"expirationSeconds": 3607, "audiences": ["vault"]}),
    ] {
        let seconds = other["expirationSeconds"].as_i64().unwrap();
        let (life, warn, _) = pod_token(&api, other).await;
        assert_eq!((life, warn), (seconds, None));
    }
    let unbound = claims(&token(&api, json!({"expirationSeconds": 3607})).await);
    assert_eq!(unbound["exp"].as_i64().unwrap() - unbound["iat"].as_i64().unwrap(), 3607);
}

#[tokio::test]
async fn a_node_has_tokens_of_its_own_pods_only() {
    let (api, _) = start().await;
    let mut pod = pod("p");
    pod["spec"]["serviceAccountName"] = json!("robot");
    pod["spec"]["nodeName"] = json!("n1");
    let token = json!({"serviceAccountToken": {"path": "t"}});
    pod["spec"]["volumes"] = json!([{"name": "t", "projected": {"sources": [token]}}]);
    let uid = api.post(PODS, &pod).await.ok()["metadata"]["uid"].clone();
    let mut elsewhere = pod.clone();
    elsewhere["metadata"]["name"] = json!("q");
    elsewhere["spec"]["nodeName"] = json!("n2");
    api.post(PODS, &elsewhere).await.ok();
    let ask = async |node: &str, spec: Value| {
        let request = Request::post(format!("{ACCOUNTS}/robot/token"))
            .header(header::CONTENT_TYPE, JSON)
            .body(Body::from(json!({"spec": spec}).to_string()))
            .unwrap();
        let identity = Identity::new(format!("system:node:{node}"), &["system:nodes"]);
        Answer::of(api.request_as(identity, request).await).await
    };
    let bound =
        json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid}});
    ask("n1", bound.clone()).await.ok();
    let mut shown = bound.clone();
    shown["audiences"] = json!(["vault"]);
    let why = ask("n1", shown).await.fails(403, "Forbidden");
    assert!(why.contains("audience \"vault\" not found in pod spec volume"), "{why}");
    let begins = "serviceaccounts \"robot\" is forbidden: node requested token";
    assert_eq!(
        ask("n2", bound).await.fails(403, "Forbidden"),
        format!("{begins} bound to a pod scheduled on a different node")
    );
    assert_eq!(
        ask("n1", json!({})).await.fails(403, "Forbidden"),
        format!("{begins} not bound to a pod")
    );
}

#[tokio::test]
async fn nothing_else_can_a_token_be_bound_to() {
    let (api, _) = start().await;
    api.post(PODS, &pod("p")).await.ok();
    let bind = async |version: &str, kind: &str, name: &str| {
        let bound = json!({"apiVersion": version, "kind": kind, "name": name});
        ask(&api, json!({"boundObjectRef": bound})).await
    };
    assert_eq!(
        bind("v1", "Pod", "p").await.fails(400, "BadRequest"),
        "cannot bind token for serviceaccount \"robot\" to pod running with different serviceaccount name."
    );
    assert_eq!(
        bind("apps/v1", "Pod", "p").await.fails(400, "BadRequest"),
        "cannot bind token to object of type apps/v1, Kind=Pod"
    );
    assert_eq!(bind("v1", "Secret", "no").await.fails(404, "NotFound"), "secrets \"no\" not found");
}

#[tokio::test]
async fn a_token_ends_with_its_account() {
    let (api, _) = start().await;
    let token = token(&api, json!({})).await;
    who(&api, &token).await.ok();
    api.delete(&format!("{ACCOUNTS}/robot")).await.ok();
    until_refused(&api, &token, "serviceaccounts \"robot\" not found").await;
    api.post(ACCOUNTS, &json!({"metadata": {"name": "robot"}})).await.ok();
    until_refused(&api, &token, "service account UID (").await;
}

#[tokio::test]
async fn a_token_that_is_shown_on_after_its_end_is_not_looked_for_each_time() {
    let (api, faulty) = Api::faulty().await;
    let robot = json!({"metadata": {"name": "robot"}});
    api.post(ACCOUNTS, &robot).await.ok();
    let leaked = token(&api, json!({})).await;
    api.delete(&format!("{ACCOUNTS}/robot")).await.ok();
    until_refused(&api, &leaked, "serviceaccounts \"robot\" not found").await;
    let is_it = |op, key: &str| op == Op::Get && key.ends_with("/serviceaccounts/default/robot");
    faulty.rule(move |op, key| if is_it(op, key) { panic!("it was asked") } else { Fate::Pass });
    who(&api, &leaked).await.fails(401, "Unauthorized");
    faulty.rule(|_, _| Fate::Pass);
    // Another account of its name is there at once, though the cache has not heard of it.
    faulty.hush();
    api.post(ACCOUNTS, &robot).await.ok();
    let fresh = token(&api, json!({})).await;
    who(&api, &fresh).await.ok();
}

#[tokio::test]
async fn to_find_out_whose_a_token_is_is_part_of_the_request() {
    let (api, faulty) = Api::faulty().await;
    api.post(ACCOUNTS, &json!({"metadata": {"name": "robot"}})).await.ok();
    let token = token(&api, json!({})).await;
    api.delete(&format!("{ACCOUNTS}/robot")).await.ok();
    // The cache doesn't know it any more: the store is asked.
    api.get(ACCOUNTS).await.ok();
    let is_it = |op, key: &str| op == Op::Get && key.ends_with("/serviceaccounts/default/robot");
    faulty
        .rule(move |op, key| if is_it(op, key) { panic!("the store's fault") } else { Fate::Pass });
    who(&api, &token).await.fails(500, "InternalError");
    faulty.rule(move |op, key| if is_it(op, key) { Fate::Hold } else { Fate::Pass });
    let impatient = format!("{SELF}?timeout=10ms");
    let body = json!({});
    let asking = with_token(&api, &token, "POST", &impatient, &body);
    // The server's own patience would end later.
    let late = tokio::time::timeout(Duration::from_secs(30), asking).await.unwrap();
    late.fails(504, "Timeout");
}

#[tokio::test]
async fn a_token_is_good_for_whom_it_is_meant() {
    let (api, _) = start().await;
    let vault = token(&api, json!({"audiences": ["vault", "safe"]})).await;
    who(&api, &vault).await.fails(401, "Unauthorized");
    let reviewed = review(&api, &vault, json!(["bank", "vault"])).await;
    assert_eq!(
        (&reviewed["authenticated"], &reviewed["audiences"]),
        (&json!(true), &json!(["vault"]))
    );
    let reviewed = review(&api, &vault, json!([])).await;
    let why = format!(
        "token audiences [\"vault\", \"safe\"] is invalid for the target audiences [\"{ISSUER}\"]"
    );
    assert_eq!(reviewed, json!({"error": why, "user": {}}));
    let empty = api.post(REVIEWS, &json!({"spec": {"token": ""}})).await.fails(400, "BadRequest");
    assert_eq!(empty, "token is required for TokenReview in authentication");
    assert_eq!(review(&api, "x.y.z", json!([])).await["error"], "invalid bearer token");
    api.get(REVIEWS).await.fails(405, "MethodNotAllowed");
}

#[tokio::test]
async fn a_server_with_another_key_knows_no_token_of_ours() {
    let (api, _) = start().await;
    let token = token(&api, json!({})).await;
    let other = ApiServer::start(Config::default(), api.store.clone(), None).await.unwrap();
    let api = api.with_server(other);
    who(&api, &token).await.fails(401, "Unauthorized");
}

#[tokio::test]
async fn without_roles_an_account_may_look_at_what_there_is_and_ask_who_it_is() {
    let (api, _) = start().await;
    let token = token(&api, json!({})).await;
    let open = ["/version", "/readyz", "/api", "/apis", "/api/v1", "/openapi/v3"];
    for path in open.into_iter().chain(["/openid/v1/jwks", "/.well-known/openid-configuration"]) {
        let answer = with_token(&api, &token, "GET", path, &Value::Null).await;
        assert_eq!(answer.code, 200, "{path}");
    }
    let pod = pod("p");
    for (method, path, body) in [
        ("GET", PODS, &Value::Null),
        ("POST", PODS, &pod),
        ("GET", "/api/v1/namespaces/default/secrets", &Value::Null),
        ("POST", "/api/v1/namespaces/default/serviceaccounts/robot/token", &json!({})),
        ("POST", REVIEWS, &json!({"spec": {"token": token}})),
        ("GET", "/metrics", &Value::Null),
    ] {
        let refused = with_token(&api, &token, method, path, body).await.fails(403, "Forbidden");
        assert!(refused.contains("\"system:serviceaccount:default:robot\" cannot"), "{refused}");
    }
    let request = Request::get(PODS)
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header("impersonate-user", "kubernetes-admin")
        .header("impersonate-group", "system:masters")
        .body(Body::empty())
        .unwrap();
    let answer = Answer::of(api.request_as(Identity::anonymous(), request).await).await;
    answer.fails(403, "Forbidden");
    let keys = Request::get("/openid/v1/jwks").body(Body::empty()).unwrap();
    let nobody = Answer::of(api.request_as(Identity::anonymous(), keys).await).await;
    nobody.fails(403, "Forbidden");
}

#[tokio::test]
async fn others_can_verify_tokens_by_what_the_server_publishes() {
    let (api, _) = start().await;
    let token = token(&api, json!({})).await;
    let configuration = api.get("/.well-known/openid-configuration").await;
    assert_eq!(
        configuration.ok(),
        json!({
            "issuer": ISSUER,
            "jwks_uri": "https://127.0.0.1:6443/openid/v1/jwks",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    );
    let keys = api.get("/openid/v1/jwks").await;
    assert_eq!(keys.headers["content-type"], "application/jwk-set+json");
    assert_eq!(keys.headers["cache-control"], "public, max-age=3600");
    let key = &keys.ok()["keys"][0];
    let part = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap();
    let point = [&[4], &*part("x"), &*part("y")].concat();
    let (said, signature) = token.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let algorithm = &ring::signature::ECDSA_P256_SHA256_FIXED;
    let key = ring::signature::UnparsedPublicKey::new(algorithm, point);
    key.verify(said.as_bytes(), &signature).unwrap();
}
