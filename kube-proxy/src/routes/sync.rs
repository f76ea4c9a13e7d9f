//! The loop over the nodes, and what it tells people: a route that the kernel refuses is a matter of
//! how hosts are connected, so it is said once per node, as an event, and does not make this
//! program unready.

use std::{collections::BTreeMap, sync::Arc};

use api_types::api::core::v1::Node;
use component::{
    Check,
    events::{EventType, Recorder},
};
use kube::runtime::reflector::Store;
use tokio::sync::Notify;
use tracing::{info, warn};

use super::{
    Host,
    kernel::{Kernel, Refusal},
    reconciler::{Summary, reconcile},
};
use crate::{metrics::RouteMetrics, sync::Pace};

/// Kubernetes' reason for it.
const REASON: &str = "FailedToCreateRoute";

/// Keeps this host's routes.
#[derive(Debug)]
pub struct Routes {
    host: Host,
    kernel: Kernel,
    outlets: Outlets,
    /// By node, what was said about it last.
    told: BTreeMap<String, String>,
}

/// Where it is told how things are.
#[derive(Clone, Debug)]
pub struct Outlets {
    /// Whether the kernel can be spoken to.
    pub check: Check,
    /// Numbers.
    pub metrics: RouteMetrics,
    /// Warnings about nodes.
    pub recorder: Recorder,
}

impl Routes {
    /// Nothing is touched yet.
    pub fn new(host: Host, kernel: Kernel, outlets: Outlets) -> Self {
        Routes { host, kernel, outlets, told: BTreeMap::new() }
    }

    /// Passes until dropped. Nothing is touched before the first complete list is there: routes to
    /// nodes that are not in it are removed.
    pub async fn run(&mut self, nodes: &Store<Node>, wake: &Notify) {
        self.outlets.check.failed("waiting for the API server's list of nodes");
        // An error means that the watch has ended: the program is stopping.
        let _ = nodes.wait_until_ready().await;
        let mut pace = Pace::default();
        loop {
            let well = self.pass(&nodes.state()).await;
            pace.wait(well, wake).await;
        }
    }

    /// True if there is nothing that should be tried again soon.
    async fn pass(&mut self, nodes: &[Arc<Node>]) -> bool {
        let result = reconcile(&self.kernel, &self.host, nodes.iter().map(AsRef::as_ref)).await;
        let fault = match result {
            Ok(summary) => {
                self.tell(&summary, nodes);
                (!summary.left.is_empty()).then(|| sentence(&summary.left))
            }
            Err(error) => Some(format!("{:#}", anyhow::Error::from(error))),
        };
        match &fault {
            None => self.outlets.check.ready(),
            Some(why) => {
                warn!("routes to other nodes are not as they should be: {why}");
                self.outlets.check.failed(why);
            }
        }
        fault.is_none()
    }

    fn tell(&mut self, summary: &Summary, nodes: &[Arc<Node>]) {
        self.outlets.metrics.record(summary);
        let refused: BTreeMap<String, String> =
            summary.refused.iter().map(|(node, why)| (node.clone(), sentence(why))).collect();
        for (node, why) in news(&self.told, &refused) {
            warn!(node, "its pods can't be reached from this host: {why}");
            let object = nodes.iter().find(|object| object.metadata.name.as_deref() == Some(node));
            if let Some(object) = object {
                let message = format!("no route to its pods from {}: {why}", self.host.node);
                self.outlets.recorder.about(&**object, EventType::Warning, REASON, message);
            }
        }
        for node in self.told.keys().filter(|node| !refused.contains_key(*node)) {
            info!(node, "nothing is in the way of a route to its pods any more");
        }
        self.told = refused;
    }
}

/// What is refused now and was not for this reason before.
fn news<'a>(
    told: &BTreeMap<String, String>,
    refused: &'a BTreeMap<String, String>,
) -> Vec<(&'a str, &'a str)> {
    let new = |(node, why): &(&String, &String)| told.get(*node) != Some(why);
    refused.iter().filter(new).map(|(node, why)| (node.as_str(), why.as_str())).collect()
}

fn sentence(refusals: &[Refusal]) -> String {
    let all: Vec<String> = refusals.iter().map(Refusal::to_string).collect();
    all.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reasons(reasons: &[(&str, &str)]) -> BTreeMap<String, String> {
        reasons.iter().map(|(node, why)| ((*node).to_owned(), (*why).to_owned())).collect()
    }

    #[test]
    fn only_what_is_new_is_told() {
        let before = reasons(&[("n2", "far"), ("n3", "far")]);
        assert_eq!(news(&BTreeMap::new(), &before), [("n2", "far"), ("n3", "far")]);
        assert_eq!(news(&before, &before), []);
        assert_eq!(news(&before, &reasons(&[("n2", "in the way")])), [("n2", "in the way")]);
    }
}
