//! Tokens of the service accounts of the node's pods, each bound to its pod: asked for when a pod needs one, kept, and
//! asked for anew before they expire (Kubernetes: `pkg/kubelet/token`).

use std::{collections::HashMap, fmt, sync::Arc};

use api_types::{
    api::{
        authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
        core::v1::{Pod, ServiceAccount, ServiceAccountTokenProjection},
    },
    jiff::{SignedDuration, Timestamp},
};
use kube::{Api, Client, api::PostParams};
use parking_lot::Mutex;

use crate::{describe::describe, spec};

/// The life of a token whose volume does not say.
const HOUR: i64 = 3600;
/// No token is older than that, however long it is good for.
const OLDEST: SignedDuration = SignedDuration::from_hours(24);

const NO_TOKEN: &str = "the server returned no token";

/// What tells tokens apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    pod: String,
    audience: Option<String>,
    seconds: i64,
}

/// A token that was given. Its times are of this node's clock, which may differ from the API server's.
#[derive(Clone)]
struct Given {
    token: Arc<str>,
    asked: Timestamp,
    life: SignedDuration,
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Given").field("expires", &self.expires()).finish_non_exhaustive()
    }
}

impl Given {
    /// From then on another one is asked for: with a fifth of its life left.
    fn due(&self) -> Timestamp {
        (self.expires() - self.life / 5).min(self.asked + OLDEST)
    }

    fn expires(&self) -> Timestamp {
        self.asked + self.life
    }
}

/// The tokens of the node's pods.
pub struct Tokens {
    client: Client,
    known: Mutex<HashMap<Key, Given>>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

impl Tokens {
    /// None is known yet.
    pub fn new(client: Client) -> Self {
        Self { client, known: Mutex::default() }
    }

    /// The token that a volume of the pod shows.
    ///
    /// # Errors
    /// The API server gives none, and none that it gave is still good.
    pub async fn get(
        &self,
        pod: &Pod,
        wanted: &ServiceAccountTokenProjection,
    ) -> Result<String, kube::Error> {
        self.get_at(pod, wanted, Timestamp::now()).await
    }

    async fn get_at(
        &self,
        pod: &Pod,
        wanted: &ServiceAccountTokenProjection,
        now: Timestamp,
    ) -> Result<String, kube::Error> {
        let key = Key {
            pod: spec::identity(pod).uid,
            audience: wanted.audience.clone().filter(|audience| !audience.is_empty()),
            seconds: wanted.expiration_seconds.unwrap_or(HOUR),
        };
        let known = self.known.lock().get(&key).cloned();
        if let Some(known) = known.as_ref().filter(|known| now < known.due()) {
            return Ok(known.token.to_string());
        }
        match (self.ask(pod, &key, now).await, known) {
            (Ok(given), _) => {
                let token = given.token.to_string();
                self.known.lock().insert(key, given);
                Ok(token)
            }
            (Err(error), Some(known)) if now < known.expires() => {
                let error = describe(&error);
                tracing::warn!(
                    error,
                    pod = spec::label(pod),
                    "cannot renew a token, which is good for a while"
                );
                Ok(known.token.to_string())
            }
            (Err(error), _) => Err(error),
        }
    }

    /// The pod has ended: its tokens are forgotten.
    pub fn release(&self, uid: &str) {
        self.known.lock().retain(|key, _| key.pod != uid);
    }

    async fn ask(&self, pod: &Pod, key: &Key, now: Timestamp) -> Result<Given, kube::Error> {
        let identity = spec::identity(pod);
        let account = spec::spec(pod).and_then(|spec| spec.service_account_name.as_deref());
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &identity.namespace);
        let request =
            TokenRequest { spec: Some(request(key, identity.name)), ..Default::default() };
        let account = account.unwrap_or("default");
        let answer = api.create_token_request(account, &PostParams::default(), &request).await?;
        given(answer, key, now)
    }
}

fn given(answer: TokenRequest, key: &Key, asked: Timestamp) -> Result<Given, kube::Error> {
    let seconds = answer.spec.and_then(|spec| spec.expiration_seconds).unwrap_or(key.seconds);
    let token = answer.status.and_then(|status| status.token).filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| kube::Error::Service(NO_TOKEN.into()))?.into();
    Ok(Given { token, asked, life: SignedDuration::from_secs(seconds) })
}

fn request(key: &Key, pod: String) -> TokenRequestSpec {
    TokenRequestSpec {
        audiences: key.audience.clone().map(|audience| vec![audience]),
        bound_object_ref: Some(BoundObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(pod),
            uid: Some(key.pod.clone()),
        }),
        expiration_seconds: Some(key.seconds),
    }
}

#[cfg(test)]
mod tests {
    use api_types::api::authentication::v1::TokenReview;
    use http::StatusCode;
    use serde_json::json;
    use testkit::ControlPlane;

    use super::*;

    async fn account_and_pod(plane: &ControlPlane) -> Pod {
        let accounts: Api<ServiceAccount> = Api::default_namespaced(plane.client());
        let account = serde_json::from_value(json!({"metadata": {"name": "robot"}})).unwrap();
        accounts.create(&PostParams::default(), &account).await.unwrap();
        let mut pod = testkit::pod("web").node("n1").build();
        pod.spec.as_mut().unwrap().service_account_name = Some("robot".to_owned());
        Api::default_namespaced(plane.client()).create(&PostParams::default(), &pod).await.unwrap()
    }

    fn wanted(audience: Option<&str>) -> ServiceAccountTokenProjection {
        let audience = audience.map(str::to_owned);
        ServiceAccountTokenProjection {
            audience,
            expiration_seconds: Some(1000),
            path: "token".to_owned(),
        }
    }

    #[tokio::test]
    async fn a_token_is_bound_to_its_pod_and_kept_until_a_fifth_of_its_life_is_left() {
        let plane = ControlPlane::start().await;
        let pod = account_and_pod(&plane).await;
        let tokens = Tokens::new(plane.client());
        let begun = Timestamp::now();
        let at = |seconds| begun + SignedDuration::from_secs(seconds);
        let first = tokens.get_at(&pod, &wanted(None), begun).await.unwrap();
        let review = json!({"metadata": {}, "spec": {"token": first}});
        let reviews: Api<TokenReview> = Api::all(plane.client());
        let review = serde_json::from_value(review).unwrap();
        let review = reviews.create(&PostParams::default(), &review).await.unwrap();
        let user = review.status.unwrap().user.unwrap();
        assert_eq!(user.username.unwrap(), "system:serviceaccount:default:robot");
        let bound = &user.extra.unwrap()["authentication.kubernetes.io/pod-uid"];
        assert_eq!(bound[..], [pod.metadata.uid.clone().unwrap()]);
        assert_eq!(tokens.get_at(&pod, &wanted(None), at(790)).await.unwrap(), first);
        assert_ne!(tokens.get_at(&pod, &wanted(Some("vault")), at(790)).await.unwrap(), first);
        assert_ne!(tokens.get_at(&pod, &wanted(None), at(810)).await.unwrap(), first);
    }

    #[tokio::test]
    async fn a_token_that_cannot_be_renewed_is_used_as_long_as_it_is_good() {
        let plane = ControlPlane::start().await;
        let pod = account_and_pod(&plane).await;
        let tokens = Tokens::new(plane.client());
        let begun = Timestamp::now();
        let at = |seconds| begun + SignedDuration::from_secs(seconds);
        let first = tokens.get_at(&pod, &wanted(None), begun).await.unwrap();
        let _away = plane.answer(StatusCode::SERVICE_UNAVAILABLE, |request| {
            request.uri().path().ends_with("/token")
        });
        assert_eq!(tokens.get_at(&pod, &wanted(None), at(990)).await.unwrap(), first);
        tokens.get_at(&pod, &wanted(None), at(1010)).await.unwrap_err();
        tokens.release(pod.metadata.uid.as_deref().unwrap());
        tokens.get_at(&pod, &wanted(None), begun).await.unwrap_err();
    }

    #[tokio::test]
    async fn a_clock_that_is_slow_does_not_keep_a_token_from_being_renewed() {
        let plane = ControlPlane::start().await;
        let pod = account_and_pod(&plane).await;
        let tokens = Tokens::new(plane.client());
        let slow = Timestamp::now() - SignedDuration::from_hours(2);
        let first = tokens.get_at(&pod, &wanted(None), slow).await.unwrap();
        let later = slow + SignedDuration::from_secs(810);
        assert_ne!(tokens.get_at(&pod, &wanted(None), later).await.unwrap(), first);
    }

    #[test]
    fn an_answer_without_a_token_is_an_error() {
        let key = Key { pod: "u".to_owned(), audience: None, seconds: 1000 };
        for status in [json!(null), json!({"token": "", "expirationTimestamp": null})] {
            let answer = json!({"metadata": {}, "spec": {"audiences": []}, "status": status});
            let answer = serde_json::from_value(answer).unwrap();
            given(answer, &key, Timestamp::now()).unwrap_err();
        }
    }

    #[test]
    fn no_token_is_older_than_a_day() {
        let asked = Timestamp::now();
        let given = Given { token: "".into(), asked, life: SignedDuration::from_hours(1000) };
        assert_eq!(given.due(), asked + OLDEST);
    }
}
