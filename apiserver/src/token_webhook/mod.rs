//! A server outside of the cluster that knows whose tokens are which nobody here knows
//! (Kubernetes: `k8s.io/apiserver/plugin/pkg/authenticator/token/webhook`).

mod verdicts;

use std::{fmt, path::Path, sync::Arc, time::Duration};

use api_types::api::authentication::v1::{TokenReviewStatus, UserInfo};
use serde_json::json;
use tokio::time::sleep;

use self::verdicts::Verdicts;
use crate::{
    identity::{AUTHENTICATED, Identity},
    kubelet_client::causes,
    webhook_client::kubeconfig::{KubeconfigError, Remote},
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is asked that has no answer at the moment, after how long, and how much longer each time (Kubernetes:
/// `DefaultAuthWebhookRetryBackoff`).
const ATTEMPTS: u32 = 5;
const BACKOFF: Duration = Duration::from_millis(500);
/// As long as an answer may be.
const LONGEST: usize = 1 << 20;

/// Whose a token is and for which of the audiences that are asked for it is meant; none if nobody's.
type Found = Option<(Identity, Vec<String>)>;

/// See the module. Clones share what they have heard.
#[derive(Clone, Debug)]
pub struct TokenWebhook(Arc<Webhook>);

#[derive(Debug)]
struct Webhook {
    remote: Remote,
    version: TokenReviewVersion,
    verdicts: Verdicts<Found>,
}

/// In which version of `authentication.k8s.io` it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum TokenReviewVersion {
    /// The stable one.
    V1,
    /// The one before, which Kubernetes asks in unless it is told otherwise.
    V1beta1,
}

impl TokenWebhook {
    /// The server of a kubeconfig, whose answers are believed for so long.
    ///
    /// # Errors
    /// If it can't be asked.
    pub fn new(
        kubeconfig: &Path,
        version: TokenReviewVersion,
        believed: Duration,
    ) -> Result<Self, KubeconfigError> {
        let remote = Remote::of(kubeconfig, PATIENCE)?;
        Ok(Self(Arc::new(Webhook { remote, version, verdicts: Verdicts::new(believed) })))
    }

    /// Whose a token is that is to be meant for one of these audiences; one that names none is meant for `own`.
    ///
    /// # Errors
    /// Why it can't be known, or is refused.
    pub(crate) async fn find(
        &self,
        token: &str,
        audiences: &[String],
        own: &[String],
    ) -> Result<Found, String> {
        let asked = std::iter::once(token).chain(audiences.iter().map(String::as_str));
        let find = async || found(self.ask(token, audiences).await?, audiences, own);
        self.0.verdicts.get(asked, find).await
    }

    async fn ask(&self, token: &str, audiences: &[String]) -> Result<TokenReviewStatus, String> {
        let version = match self.0.version {
            TokenReviewVersion::V1 => "authentication.k8s.io/v1",
            TokenReviewVersion::V1beta1 => "authentication.k8s.io/v1beta1",
        };
        let spec = json!({ "token": token, "audiences": audiences });
        let review = json!({ "apiVersion": version, "kind": "TokenReview", "spec": spec });
        let mut pause = BACKOFF;
        for _ in 1..ATTEMPTS {
            match self.attempt(review.to_string()).await {
                Err(Failure::Passing(_)) => sleep(pause).await,
                result => return result.map_err(|failure| failure.to_string()),
            }
            pause = pause * 3 / 2;
        }
        self.attempt(review.to_string()).await.map_err(|failure| failure.to_string())
    }

    async fn attempt(&self, review: String) -> Result<TokenReviewStatus, Failure> {
        let failed = |error: reqwest::Error| Failure::Lasting(causes(&error.without_url()));
        let mut answer = self.0.remote.post(review).send().await.map_err(failed)?;
        let status = answer.status();
        if !status.is_success() {
            let why = format!("the server answers {status}");
            let passes = status.is_server_error() || status.as_u16() == 429;
            return Err(if passes { Failure::Passing(why) } else { Failure::Lasting(why) });
        }
        let mut read = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(failed)? {
            if read.len() + part.len() > LONGEST {
                let why = format!("the answer is longer than {LONGEST} bytes");
                return Err(Failure::Lasting(why));
            }
            read.extend_from_slice(&part);
        }
        let review: Result<Review, _> = serde_json::from_slice(&read);
        let review = review.map_err(|error| Failure::Lasting(error.to_string()))?;
        Ok(review.status)
    }
}

/// As much as both versions say alike.
#[derive(serde::Deserialize)]
struct Review {
    #[serde(default)]
    status: TokenReviewStatus,
}

enum Failure {
    /// It may answer if it is asked again.
    Passing(String),
    Lasting(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Passing(why) | Self::Lasting(why)) = self;
        write!(f, "the token webhook can't be asked: {why}")
    }
}

/// What a review says.
fn found(status: TokenReviewStatus, wanted: &[String], own: &[String]) -> Result<Found, String> {
    if status.authenticated != Some(true) {
        return status.error.filter(|why| !why.is_empty()).map_or(Ok(None), Err);
    }
    let named = status.audiences.filter(|audiences| !audiences.is_empty());
    let meant = named.as_deref().unwrap_or(own);
    let both: Vec<_> = wanted.iter().filter(|it| meant.contains(it)).cloned().collect();
    if both.is_empty() {
        return Ok(None);
    }
    Ok(Some((identity(status.user.unwrap_or_default()), both)))
}

fn identity(UserInfo { extra, groups, uid, username }: UserInfo) -> Identity {
    let mut identity = Identity {
        user: username.unwrap_or_default(),
        groups: groups.unwrap_or_default(),
        uid,
        extra: extra.unwrap_or_default(),
    };
    if !identity.is_in(AUTHENTICATED) {
        identity.groups.push(AUTHENTICATED.to_owned());
    }
    identity
}
