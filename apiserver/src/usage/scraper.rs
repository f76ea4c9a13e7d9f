//! Asks kubelets what is used, for whom nobody tells: without Redis, or for nodes of which nothing came.

use futures::future::join_all;
use tokio::time::timeout;

use super::{
    summary::Summary,
    turns::{BUDGET, Turns},
};
use crate::kubelet_client::{Kubelet, KubeletClient, Kubelets};

const PATH: &str = "/stats/summary";
/// More is no summary of the pods that a node can have.
const MAX_BYTES: usize = 16 << 20;

/// See the module.
#[derive(Debug)]
pub(super) struct Scraper {
    kubelets: Kubelets,
    turns: Turns,
}

impl Scraper {
    pub(super) fn new(client: &KubeletClient) -> reqwest::Result<Self> {
        Ok(Self { kubelets: client.kubelets()?, turns: Turns::default() })
    }

    /// Asks all at once, and hands over each answer when it is there. One that hangs keeps nobody for longer than the
    /// budget.
    pub(super) async fn scrape(&self, kubelets: &[Kubelet], heard: impl Fn(&str, Summary)) {
        self.turns.forget(|is_known| self.kubelets.retain(is_known));
        let scrapes = kubelets.iter().map(|kubelet| self.scrape_one(kubelet, &heard));
        // Those that were begun by another reader end sooner.
        let _ = timeout(BUDGET, join_all(scrapes)).await;
    }

    async fn scrape_one(&self, kubelet: &Kubelet, heard: impl Fn(&str, Summary)) {
        let heard = |summary| heard(&kubelet.node, summary);
        if let Err(error) = self.turns.ask(&kubelet.node, self.summary(kubelet), heard).await {
            tracing::debug!(error = format!("{error:#}"), node = kubelet.node, "cannot be scraped");
        }
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
}
