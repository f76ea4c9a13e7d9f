//! The Lease that says that this gateway lives.

use std::time::Duration;

use api_types::{api::coordination::v1 as coordination, jiff::Timestamp, meta::MicroTime};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use listwatch::{
    Demand, FunctionDemand,
    demand::{ANNOTATION, LEASE_LABEL, LEASE_NAMESPACE, LEASE_PREFIX, LEASE_SECONDS},
};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How often it is renewed.
const RENEWAL: Duration = Duration::from_secs(10);
/// How long a write may take: demand is told meanwhile only after it.
const PATIENCE: Duration = Duration::from_secs(2);

/// A Lease, whether or not it is there yet.
#[derive(Debug)]
pub(crate) struct Lease {
    api: Api<coordination::Lease>,
    identity: String,
    /// When it was last written, and with what.
    written: Option<(Instant, Demand)>,
    /// Whether the last attempt failed, which is told once.
    failed: bool,
    /// Cancelled once it is there.
    alive: CancellationToken,
}

impl Lease {
    pub(crate) fn new(client: Client, identity: &str, alive: CancellationToken) -> Self {
        let api = Api::namespaced(client, LEASE_NAMESPACE);
        Lease { api, identity: identity.to_owned(), written: None, failed: false, alive }
    }

    /// Writes it, if it has to be renewed or says something else about the demand.
    pub(crate) async fn hold(&mut self, demand: Demand) {
        let is_due = match &self.written {
            None => true,
            Some((at, told)) => at.elapsed() >= RENEWAL || !says_the_same(told, &demand),
        };
        if !is_due {
            return;
        }
        let begin = Instant::now();
        if self.written.is_none() {
            self.sweep().await;
        }
        let written = timeout(PATIENCE, self.write(&demand)).await;
        match written.unwrap_or_else(|_| Err(kube::Error::Service("no answer in time".into()))) {
            Ok(()) => {
                self.written = Some((begin, demand));
                self.failed = false;
                self.alive.cancel();
            }
            Err(error) if !std::mem::replace(&mut self.failed, true) => {
                warn!(%error, "writing the gateway's Lease");
            }
            Err(_) => {}
        }
    }

    /// Deletes it.
    pub(crate) async fn give_up(&self) {
        if self.written.is_some() {
            // It expires anyway.
            let _ = self.api.delete(&self.name(), &DeleteParams::default()).await;
        }
    }

    async fn write(&self, demand: &Demand) -> kube::Result<()> {
        let demand = serde_json::to_string(demand).map_err(kube::Error::SerdeError)?;
        let lease = self.content(&json!({ANNOTATION: demand}));
        match self.api.patch(&self.name(), &PatchParams::default(), &Patch::Merge(&lease)).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {
                let lease = serde_json::from_value(lease).map_err(kube::Error::SerdeError)?;
                self.api.create(&PostParams::default(), &lease).await.map(drop)
            }
            result => result.map(drop),
        }
    }

    fn content(&self, annotations: &Value) -> Value {
        let (label, value) = LEASE_LABEL;
        json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": self.name(),
                "labels": {label: value},
                "annotations": annotations,
            },
            "spec": {
                "holderIdentity": self.identity,
                "leaseDurationSeconds": LEASE_SECONDS,
                "renewTime": MicroTime(Timestamp::now()),
            },
        })
    }

    fn name(&self) -> String {
        format!("{LEASE_PREFIX}{}", self.identity)
    }

    /// Deletes what gateways that died left behind.
    async fn sweep(&self) {
        let (label, value) = LEASE_LABEL;
        let theirs = ListParams::default().labels(&format!("{label}={value}"));
        let Ok(leases) = self.api.list(&theirs).await else { return };
        for lease in leases.items.iter().filter(|lease| is_long_gone(lease)) {
            // The next gateway that begins tries again.
            let _ = self.api.delete(&lease.name_any(), &DeleteParams::default()).await;
        }
    }
}

/// For how long calls are in hand need not be written while the same ones are.
fn says_the_same(told: &Demand, demand: &Demand) -> bool {
    let without_time = |demand: &Demand| {
        let functions = demand.functions.iter();
        let without = |calls: &FunctionDemand| FunctionDemand { in_hand_milliseconds: 0, ..*calls };
        functions.map(|(name, calls)| (name.clone(), without(calls))).collect::<Vec<_>>()
    };
    without_time(told) == without_time(demand)
}

/// Ten times its duration ago: the clocks of hosts differ.
fn is_long_gone(lease: &coordination::Lease) -> bool {
    let renewed = lease.spec.as_ref().and_then(|spec| spec.renew_time.as_ref());
    renewed.is_none_or(|renewed| {
        Timestamp::now().duration_since(renewed.0).as_secs() > i64::from(10 * LEASE_SECONDS)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_a_call_goes_on_is_nothing_to_write() {
        let demand = |in_flight, in_hand_milliseconds| {
            let add =
                FunctionDemand { in_flight, in_hand_milliseconds, ..FunctionDemand::default() };
            Demand { gateway: "a".to_owned(), functions: [("d/add".to_owned(), add)].into() }
        };
        assert!(says_the_same(&demand(1, 1000), &demand(1, 2000)));
        assert!(!says_the_same(&demand(1, 1000), &demand(2, 1000)));
        assert!(!says_the_same(&demand(1, 1000), &Demand::default()));
    }
}
