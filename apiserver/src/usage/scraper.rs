//! Asks kubelets what is used, for whom nobody tells: without Redis, or for nodes of which nothing came.

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::Context;
use futures::future::join_all;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use super::summary::Summary;
use crate::kubelet_client::{Kubelet, KubeletClient, Kubelets};

/// How long a reader waits for kubelets, together.
pub(super) const BUDGET: Duration = Duration::from_secs(3);
/// For how long an answer, or that there was none, is everybody's.
const SHARED: Duration = Duration::from_secs(1);
const PATH: &str = "/stats/summary";
/// More is no summary of the pods that a node can have.
const MAX_BYTES: usize = 16 << 20;

/// See the module.
#[derive(Debug)]
pub(super) struct Scraper {
    kubelets: Kubelets,
    /// When each node was last asked, for as long as that counts. Who finds it locked waits for the answer.
    asked: Mutex<HashMap<String, Arc<Asked>>>,
}

type Asked = tokio::sync::Mutex<Option<Instant>>;

impl Scraper {
    pub(super) fn new(client: &KubeletClient) -> reqwest::Result<Self> {
        Ok(Self { kubelets: client.kubelets()?, asked: Mutex::default() })
    }

    /// Asks all at once, and hands over each answer when it is there. One that hangs keeps nobody for longer than the
    /// budget.
    pub(super) async fn scrape(&self, kubelets: &[Kubelet], heard: impl Fn(&str, Summary)) {
        self.forget();
        let scrapes = kubelets.iter().map(|kubelet| self.scrape_one(kubelet, &heard));
        // Those that were begun by another reader end sooner.
        let _ = timeout(BUDGET, join_all(scrapes)).await;
    }

    async fn scrape_one(&self, kubelet: &Kubelet, heard: impl Fn(&str, Summary)) {
        let asked = self.asked.lock().entry(kubelet.node.clone()).or_default().clone();
        let mut asked = asked.lock().await;
        if asked.is_some_and(|at| at.elapsed() < SHARED) {
            return;
        }
        let summary = timeout(BUDGET, self.summary(kubelet)).await;
        match summary.context("no answer in time").flatten() {
            Ok(summary) => heard(&kubelet.node, summary),
            Err(error) => {
                tracing::debug!(
                    error = format!("{error:#}"),
                    node = kubelet.node,
                    "cannot be scraped"
                );
            }
        }
        *asked = Some(Instant::now());
    }

    async fn summary(&self, kubelet: &Kubelet) -> anyhow::Result<Summary> {
        let mut answer = self.kubelets.get(kubelet, PATH).await?.error_for_status()?;
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await? {
            anyhow::ensure!(body.len() + part.len() <= MAX_BYTES, "the summary is too long");
            body.extend_from_slice(&part);
        }
        Ok(serde_json::from_slice(&body)?)
    }

    fn forget(&self) {
        let counts = |asked: &Arc<Asked>| {
            let at = asked.try_lock();
            at.map_or(true, |at| at.is_some_and(|at| at.elapsed() < SHARED))
        };
        let mut all = self.asked.lock();
        all.retain(|_, asked| Arc::strong_count(asked) > 1 || counts(asked));
        self.kubelets.retain(|node| all.contains_key(node));
    }
}
