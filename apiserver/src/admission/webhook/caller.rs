//! Asking a webhook for its verdict.

use api_types::api::admissionregistration::v1::WebhookClientConfig;

use super::review::{self, Expected, Question, Verdict};
use crate::webhook_client::{Patience, Services, WebhookClient};

/// Of who doesn't say.
const SECONDS: i32 = 10;
/// It may have a patch that makes the largest object there is.
const LONGEST: usize = 4 << 20;

/// See the module.
#[derive(Debug)]
pub(super) struct Caller(WebhookClient);

impl Caller {
    pub(super) fn new(config: WebhookClientConfig, seconds: Option<i32>) -> Self {
        Self(WebhookClient::new(config, patience(seconds)))
    }

    /// Whether it is what would be made of this: then its connections serve.
    pub(super) fn is_of(&self, config: &WebhookClientConfig, seconds: Option<i32>) -> bool {
        self.0.is_of(config, patience(seconds))
    }

    /// Asks; fails with why there is no verdict.
    pub(super) async fn call(
        &self,
        services: Services<'_>,
        question: &Question,
        expected: Expected,
    ) -> Result<Verdict, String> {
        let asked = self.0.ask(services, &question.review(expected.version)).await;
        let answer = asked.map_err(|why| format!("failed to call webhook: {why}"))?;
        review::verdict(&answer, &question.uid, expected)
            .map_err(|why| format!("received invalid webhook response: {why}"))
    }
}

fn patience(given: Option<i32>) -> Patience {
    let seconds = u64::try_from(given.unwrap_or(SECONDS)).unwrap_or_default();
    Patience { seconds, longest: LONGEST }
}
