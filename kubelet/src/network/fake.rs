//! A pod network for tests that only gives addresses.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use async_trait::async_trait;
use component::{check::Difference, dual_stack::DualStack};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{
    Attachment, Held, NetworkError, NodeNetwork, PodAddresses, PodNetwork, PortMapping, ipam::Ipam,
};

/// The network.
#[derive(Debug)]
pub(crate) struct Fake {
    ipam: Mutex<Ipam>,
    up: AtomicBool,
    reconciled: AtomicUsize,
    attached: Mutex<BTreeSet<String>>,
    /// Whether addresses are chosen only when pods are connected.
    late: AtomicBool,
    /// What does not end: `attach`, `detach`, `host ports`, `reconcile`.
    held: watch::Sender<BTreeSet<&'static str>>,
}

impl Fake {
    /// Ready, with addresses of 10.244.1.0/24 and fd00:10:244:1::/64.
    pub(crate) fn ready() -> Self {
        let cidr = "10.244.1.0/24,fd00:10:244:1::/64".parse().expect("networks");
        Self {
            ipam: Mutex::new(Ipam::new(cidr, &[])),
            up: AtomicBool::new(true),
            reconciled: AtomicUsize::new(0),
            attached: Mutex::default(),
            late: AtomicBool::new(false),
            held: watch::Sender::default(),
        }
    }

    /// Brings the network up or down.
    pub(crate) fn set_up(&self, up: bool) {
        self.up.store(up, Ordering::Relaxed);
    }

    /// From now on no address is known before its pod is connected.
    pub(crate) fn choose_late(&self) {
        self.late.store(true, Ordering::Relaxed);
    }

    /// Whether that does not end before this is taken back.
    pub(crate) fn hold(&self, call: &'static str, held: bool) {
        self.held.send_modify(|calls| {
            if held {
                calls.insert(call)
            } else {
                calls.remove(call)
            };
        });
    }

    async fn unless_held(&self, call: &str) {
        // The sender is as old as this.
        let _ = self.held.subscribe().wait_for(|held| !held.contains(call)).await;
    }

    /// How often it was reconciled.
    pub(crate) fn reconciled(&self) -> usize {
        self.reconciled.load(Ordering::Relaxed)
    }

    /// Whether the pod is connected.
    pub(crate) fn is_attached(&self, pod: &str) -> bool {
        self.attached.lock().contains(pod)
    }

    /// The addresses that the pod holds.
    pub(crate) fn held(&self, pod: &str) -> Option<PodAddresses> {
        self.ipam.lock().get(pod)
    }
}

#[async_trait]
impl PodNetwork for Fake {
    async fn start(&self, _: DualStack, _: &[Held]) -> Result<(), NetworkError> {
        Ok(())
    }

    async fn reconcile(&self) -> Result<(), NetworkError> {
        self.reconciled.fetch_add(1, Ordering::Relaxed);
        self.unless_held("reconcile").await;
        if self.is_ready() { Ok(()) } else { Err(NetworkError::NotReady) }
    }

    async fn differences(&self, _: &NodeNetwork) -> Result<Vec<Difference>, NetworkError> {
        Ok(Vec::new())
    }

    fn is_ready(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    fn reserve(&self, pod: &str) -> Result<Option<PodAddresses>, NetworkError> {
        if self.late.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let address = self.ipam.lock().reserve(pod);
        address.filter(|_| self.is_ready()).ok_or(NetworkError::NotReady).map(Some)
    }

    async fn attach(&self, pod: &Attachment) -> Result<PodAddresses, NetworkError> {
        self.unless_held("attach").await;
        let uid = &pod.pod.uid;
        self.attached.lock().insert(uid.clone());
        self.ipam.lock().reserve(uid).ok_or(NetworkError::NotReady)
    }

    fn addresses(&self, pod: &str) -> Option<PodAddresses> {
        self.held(pod)
    }

    async fn detach(&self, pod: &str) -> Result<(), NetworkError> {
        self.unless_held("detach").await;
        self.attached.lock().remove(pod);
        Ok(())
    }

    fn release(&self, pod: &str) {
        self.ipam.lock().release(pod);
    }

    async fn host_ports(
        &self,
        _: &str,
        mut ports: Vec<PortMapping>,
    ) -> Result<Vec<PortMapping>, NetworkError> {
        self.unless_held("host ports").await;
        let unknown = ports.iter_mut().filter(|port| port.host_port == 0);
        unknown.for_each(|port| port.host_port = 40_000);
        Ok(ports)
    }
}
