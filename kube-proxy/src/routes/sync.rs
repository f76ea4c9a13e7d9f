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
use tracing::{info, warn};

use super::{
    Host,
    guard::{Fault, Guard},
    kernel::{Kernel, Refusal},
    metrics::RouteMetrics,
    reconciler::{RouteReport, reconcile},
};
use crate::{
    pace::{Outcome, Pace},
    told::news,
    wake::Wake,
};

/// Kubernetes' reason for it.
const REASON: &str = "FailedToCreateRoute";

/// Keeps this host's routes.
#[derive(Debug)]
pub struct Routes {
    host: Host,
    kernel: Kernel,
    outlets: Outlets,
    /// Nothing where the packet filter is somebody else's.
    guard: Option<Guard>,
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
        Routes { host, kernel, outlets, guard: None, told: BTreeMap::new() }
    }

    /// With rules of the packet filter of the network namespace in which it runs, which is the kernel's.
    #[must_use]
    pub fn guarded(self) -> Self {
        Routes { guard: Some(Guard::default()), ..self }
    }

    /// Passes until dropped. Nothing is touched before the first complete list is there: routes to
    /// nodes that are not in it are removed.
    pub async fn run(&mut self, nodes: &Store<Node>, wake: &Wake) {
        self.outlets.check.failed("waiting for the API server's list of nodes");
        // An error means that the watch has ended: the program is stopping.
        let _ = nodes.wait_until_ready().await;
        let mut pace = Pace::default();
        loop {
            let outcome = self.pass(&nodes.state()).await;
            pace.wait(outcome, wake).await;
        }
    }

    async fn pass(&mut self, nodes: &[Arc<Node>]) -> Outcome {
        // Before there is what it is for.
        let unguarded = self.keep_guard(nodes).await.err().map(|fault| {
            let why = anyhow::Error::from(fault);
            format!("anybody may send to the VXLAN: {why:#}")
        });
        let result = reconcile(&self.kernel, &self.host, nodes.iter().map(AsRef::as_ref)).await;
        let fault = match result {
            Ok(report) => {
                self.tell(&report, nodes);
                (!report.left.is_empty()).then(|| sentence(&report.left))
            }
            Err(error) => Some(format!("{:#}", anyhow::Error::from(error))),
        };
        let faults: Vec<String> = unguarded.into_iter().chain(fault).collect();
        if faults.is_empty() {
            self.outlets.check.ready();
            return Outcome::Well;
        }
        let why = faults.join("; ");
        warn!("routes to other nodes are not as they should be: {why}");
        self.outlets.check.failed(why);
        Outcome::Failed
    }

    async fn keep_guard(&mut self, nodes: &[Arc<Node>]) -> Result<(), Fault> {
        let Some(guard) = &mut self.guard else { return Ok(()) };
        guard.pass(&self.kernel, &self.host, nodes.iter().map(AsRef::as_ref)).await
    }

    fn tell(&mut self, report: &RouteReport, nodes: &[Arc<Node>]) {
        self.outlets.metrics.record(report);
        let refused: BTreeMap<String, String> =
            report.refused.iter().map(|(node, why)| (node.clone(), sentence(why))).collect();
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

fn sentence(refusals: &[Refusal]) -> String {
    let all: Vec<String> = refusals.iter().map(Refusal::to_string).collect();
    all.join("; ")
}
