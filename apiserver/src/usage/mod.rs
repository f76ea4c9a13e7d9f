//! What nodes and pods use. Kubelets announce it over Redis; those that are not heard are asked.

mod samples;
mod scraper;
mod summary;
mod turns;

use listwatch::{PodsUsage, Usage};
use parking_lot::Mutex;
use tokio::time::Instant;

pub(crate) use self::samples::{Containers, Figures, Sample};
use self::{
    samples::{Samples, Source},
    scraper::Scraper,
    summary::Summary,
};
use crate::kubelet_client::{Kubelet, KubeletClient};

/// See the module.
#[derive(Debug)]
pub(crate) struct Usages {
    samples: Mutex<Samples>,
    scraper: Option<Scraper>,
}

impl Usages {
    /// Those of nodes whose kubelets can be asked with these credentials.
    pub(crate) fn new(client: Option<&KubeletClient>) -> Self {
        let scraper = client.map(Scraper::new).transpose();
        let scraper = scraper.unwrap_or_else(|error| {
            tracing::error!(%error, "kubelets cannot be asked what is used");
            None
        });
        Self { samples: Mutex::default(), scraper }
    }

    /// A node has told what it uses.
    pub(crate) fn hear_node(&self, node: &str, usage: &Usage) {
        self.samples.lock().hear_node(node, usage, Instant::now());
    }

    /// A node has told what its pods use.
    pub(crate) fn hear_pods(&self, pods: &PodsUsage) {
        self.samples.lock().hear_pods(pods, Source::Announced, Instant::now());
    }

    /// Whether a node's kubelet has to be asked.
    pub(crate) fn is_silent(&self, node: &str) -> bool {
        self.scraper.is_some() && !self.samples.lock().is_announced(node, Instant::now())
    }

    /// Asks kubelets.
    pub(crate) async fn ask(&self, kubelets: &[Kubelet]) {
        let Some(scraper) = &self.scraper else { return };
        let heard = |node: &str, summary: Summary| {
            let ((usage, pods), now) = (summary.announced(node), Instant::now());
            let mut samples = self.samples.lock();
            samples.hear_node(node, &usage, now);
            samples.hear_pods(&pods, Source::Asked, now);
        };
        scraper.scrape(kubelets, heard).await;
    }

    /// What a node uses, if that is known.
    pub(crate) fn node(&self, name: &str) -> Option<Sample<Figures>> {
        self.samples.lock().node(name, Instant::now()).cloned()
    }

    /// What a pod uses that is bound to a node, if that is known.
    pub(crate) fn pod(&self, node: &str, uid: &str) -> Option<Sample<Containers>> {
        self.samples.lock().pod(node, uid, Instant::now()).cloned()
    }
}
