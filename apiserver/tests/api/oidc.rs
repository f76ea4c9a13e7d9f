//! People with tokens of an OpenID provider, which the test is.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use api_types::jiff::Timestamp;
use apiserver::{Config, Identity, OidcOptions, OidcProvider, Tokens};
use axum::{Json, Router, body::Body, extract::State, routing::get};
use http::{Request, header};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use parking_lot::Mutex;
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    harness::{Answer, Api, JSON},
    webhooks::{certificates, serve},
};

const RSA: &str = include_str!("../../src/tokens/testdata/rsa-pkcs8.pem");
const SELF: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
/// The year 2100.
const LATE: i64 = 4_102_444_800;

/// A provider, and the keys that it tells of.
struct Provider {
    url: String,
    authority: String,
    keys: Mutex<Vec<Value>>,
    asked: AtomicUsize,
}

impl Provider {
    async fn start() -> Arc<Self> {
        component::install_crypto_provider();
        let (authority, tls) = certificates();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let (keys, asked) = (Mutex::default(), AtomicUsize::default());
        let provider = Arc::new(Self { url, authority, keys, asked });
        let routes = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys_of))
            .route("/other/.well-known/openid-configuration", get(discovery))
            .route("/hang/.well-known/openid-configuration", get(hang))
            .with_state(provider.clone());
        tokio::spawn(serve(listener, tls, routes));
        provider
    }

    fn options(&self, below: &str) -> OidcOptions {
        OidcOptions {
            issuer: format!("{}{below}", self.url),
            client_id: "minik8s".to_owned(),
            authorities: Some(self.authority.clone()),
            groups_claim: Some("groups".to_owned()),
            groups_prefix: "corp:".to_owned(),
            ..OidcOptions::default()
        }
    }
}

async fn discovery(State(provider): State<Arc<Provider>>) -> Json<Value> {
    provider.asked.fetch_add(1, Ordering::Relaxed);
    Json(json!({"issuer": provider.url, "jwks_uri": format!("{}/keys", provider.url)}))
}

async fn keys_of(State(provider): State<Arc<Provider>>) -> Json<Value> {
    Json(json!({"keys": *provider.keys.lock()}))
}

async fn hang() {
    std::future::pending::<()>().await;
}

async fn server(options: OidcOptions) -> Api {
    let oidc = vec![OidcProvider::new(options).unwrap()];
    Api::with(Config { oidc, ..Config::default() }).await
}

/// A key, as a provider tells of it: as another API server does.
async fn told(pem: &str) -> Value {
    let other = Api::with(Config::new(Tokens::new(pem).unwrap())).await;
    other.get("/openid/v1/jwks").await.ok()["keys"][0].clone()
}

fn signed(pem: &str, algorithm: Algorithm, id: &Value, claims: &Value) -> String {
    let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap();
    let key = match algorithm {
        Algorithm::ES256 => EncodingKey::from_ec_der(der.secret_der()),
        _ => EncodingKey::from_rsa_der(der.secret_der()),
    };
    let kid = id.as_str().map(str::to_owned);
    encode(&Header { kid, ..Header::new(algorithm) }, claims, &key).unwrap()
}

async fn who(api: &Api, token: &str) -> Answer {
    let request = Request::post(SELF)
        .header(header::CONTENT_TYPE, JSON)
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(Body::from("{}"))
        .unwrap();
    Answer::of(api.request_as(Identity::anonymous(), request).await).await
}

#[tokio::test]
async fn who_has_a_token_of_the_provider_is_known_by_its_claims() {
    let (provider, key) = (Provider::start().await, told(RSA).await);
    provider.keys.lock().extend([json!({"kty": "frog"}), key.clone()]);
    let api = server(provider.options("")).await;
    let claims = json!({"iss": provider.url, "aud": ["other", "minik8s"], "sub": "jane",
        "exp": LATE, "groups": ["dev"]});
    let sign = |claims: &Value| signed(RSA, Algorithm::RS256, &key["kid"], claims);
    let token = sign(&claims);
    let name = format!("{}#jane", provider.url);
    let user = who(&api, &token).await.ok()["status"]["userInfo"].clone();
    assert_eq!(user["username"], name.as_str());
    assert_eq!(user["groups"], json!(["corp:dev", "system:authenticated"]));
    let review = api.post(REVIEWS, &json!({"spec": {"token": token}})).await.ok();
    assert_eq!(review["status"]["user"]["username"], name.as_str());
    for (claim, value) in [
        ("aud", json!("other")),
        ("exp", json!(1_000_000_000)),
        ("exp", json!(Timestamp::now().as_second() - 2)),
        ("exp", Value::Null),
        ("nbf", json!(LATE)),
        ("sub", Value::Null),
        ("groups", json!([1])),
        ("iss", json!("https://other.example")),
    ] {
        let mut wrong = claims.clone();
        wrong[claim] = value;
        who(&api, &sign(&wrong)).await.fails(401, "Unauthorized");
    }
    assert_eq!(provider.asked.load(Ordering::Relaxed), 1, "the key is not what is wrong");
    let (head, signature) = token.rsplit_once('.').unwrap();
    let forged = format!("{head}.{}", signature.chars().rev().collect::<String>());
    who(&api, &forged).await.fails(401, "Unauthorized");
    who(&api, &format!("{head}.")).await.fails(401, "Unauthorized");
    assert!(provider.asked.load(Ordering::Relaxed) < 5, "the keys are known");
}

#[tokio::test]
async fn a_key_that_is_new_is_heard_of_and_one_that_is_gone_is_no_longer_good() {
    let (provider, old) = (Provider::start().await, told(RSA).await);
    let pair = rcgen::KeyPair::generate().unwrap();
    let new = told(&pair.serialize_pem()).await;
    provider.keys.lock().push(old.clone());
    let signing_algorithms = ["RS256", "ES256"].map(str::to_owned).to_vec();
    let api = server(OidcOptions { signing_algorithms, ..provider.options("") }).await;
    let claims = json!({"iss": provider.url, "aud": "minik8s", "sub": "jane", "exp": LATE});
    let before = signed(RSA, Algorithm::RS256, &old["kid"], &claims);
    who(&api, &before).await.ok();
    *provider.keys.lock() = vec![new.clone()];
    let after = signed(&pair.serialize_pem(), Algorithm::ES256, &new["kid"], &claims);
    while who(&api, &after).await.code == 401 {
        tokio::task::yield_now().await;
    }
    who(&api, &before).await.fails(401, "Unauthorized");
}

#[tokio::test]
async fn who_shows_forged_tokens_again_and_again_makes_the_provider_no_work() {
    let (provider, key) = (Provider::start().await, told(RSA).await);
    provider.keys.lock().push(key.clone());
    let api = server(provider.options("")).await;
    let claims = json!({"iss": provider.url, "aud": "minik8s", "sub": "jane", "exp": LATE});
    let began = Instant::now();
    for id in 0..20 {
        let token = signed(RSA, Algorithm::RS256, &json!(id.to_string()), &claims);
        who(&api, &token).await.fails(401, "Unauthorized");
    }
    let asked = provider.asked.load(Ordering::Relaxed);
    assert!(asked as u64 <= began.elapsed().as_secs() + 1, "{asked} times");
}

#[tokio::test]
async fn a_key_for_something_else_is_none_that_signs() {
    let (provider, mut key) = (Provider::start().await, told(RSA).await);
    key["use"] = json!("enc");
    provider.keys.lock().push(key.clone());
    let api = server(provider.options("")).await;
    let claims = json!({"iss": provider.url, "aud": "minik8s", "sub": "jane", "exp": LATE});
    let token = signed(RSA, Algorithm::RS256, &key["kid"], &claims);
    who(&api, &token).await.fails(401, "Unauthorized");
    assert_eq!(provider.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_algorithm_that_is_not_allowed_and_another_issuer_are_refused() {
    let (provider, key) = (Provider::start().await, told(RSA).await);
    provider.keys.lock().push(key.clone());
    let signing_algorithms = vec!["ES256".to_owned()];
    let api = server(OidcOptions { signing_algorithms, ..provider.options("") }).await;
    let claims = json!({"iss": provider.url, "aud": "minik8s", "sub": "jane", "exp": LATE});
    let token = signed(RSA, Algorithm::RS256, &key["kid"], &claims);
    who(&api, &token).await.fails(401, "Unauthorized");
    assert_eq!(provider.asked.load(Ordering::Relaxed), 0, "nobody is asked for that");
    // The document names another issuer than the one that it is asked for.
    let api = server(provider.options("/other")).await;
    let claims = json!({"iss": format!("{}/other", provider.url), "aud": "minik8s", "sub": "jane",
        "exp": LATE});
    let token = signed(RSA, Algorithm::RS256, &key["kid"], &claims);
    who(&api, &token).await.fails(401, "Unauthorized");
    assert_eq!(provider.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_does_not_answer_makes_nobody_wait_for_ever() {
    let provider = Provider::start().await;
    let api = server(provider.options("/hang")).await;
    let claims = json!({"iss": format!("{}/hang", provider.url), "aud": "minik8s", "sub": "jane",
        "exp": LATE});
    let token = signed(RSA, Algorithm::RS256, &json!("x"), &claims);
    let asking = async || who(&api, &token).await.fails(401, "Unauthorized");
    futures::join!(asking(), asking());
    // Others go on.
    api.get("/api/v1/nodes").await.ok();
}

#[tokio::test]
async fn several_providers_may_be_described_in_a_file_with_expressions() {
    let (provider, key) = (Provider::start().await, told(RSA).await);
    provider.keys.lock().push(key.clone());
    let jwt = |url: &str, expression: &str| {
        json!({
            "issuer": {"url": url, "certificateAuthority": provider.authority, "audiences": ["a", "minik8s"],
                "audienceMatchPolicy": "MatchAny"},
            "claimMappings": {"username": {"expression": expression}},
            "userValidationRules": [{"expression": "user.username != 'corp:root'"}],
        })
    };
    let jwts =
        [jwt("https://other.example", "'other'"), jwt(&provider.url, "'corp:' + claims.sub")];
    let text = json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
        "jwt": jwts});
    let oidc = OidcProvider::of_configuration(&text.to_string()).unwrap();
    let api = Api::with(Config { oidc, ..Config::default() }).await;
    let token = |sub: &str| {
        let claims = json!({"iss": provider.url, "aud": "minik8s", "sub": sub, "exp": LATE});
        signed(RSA, Algorithm::RS256, &key["kid"], &claims)
    };
    let user = who(&api, &token("jane")).await.ok()["status"]["userInfo"].clone();
    assert_eq!(user["username"], "corp:jane");
    who(&api, &token("root")).await.fails(401, "Unauthorized");
}
