//! A pod network for tests that only gives addresses.

use std::net::Ipv4Addr;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{Cidr, HostPort, NetworkError, PodNetwork, ipam::Ipam};

/// The network.
#[derive(Debug)]
pub(crate) struct Fake {
    ipam: Mutex<Ipam>,
}

impl Fake {
    /// Ready, with addresses of 10.244.1.0/24.
    pub(crate) fn ready() -> Self {
        let cidr = "10.244.1.0/24".parse().expect("a network");
        Self { ipam: Mutex::new(Ipam::new(cidr, &[])) }
    }

    /// The address that the pod holds.
    pub(crate) fn held(&self, pod: &str) -> Option<Ipv4Addr> {
        self.ipam.lock().get(pod)
    }
}

#[async_trait]
impl PodNetwork for Fake {
    async fn start(&self, _: Cidr, _: &[(String, Ipv4Addr)]) -> Result<(), NetworkError> {
        Ok(())
    }

    fn is_ready(&self) -> bool {
        true
    }

    fn reserve(&self, pod: &str) -> Result<Ipv4Addr, NetworkError> {
        self.ipam.lock().reserve(pod).ok_or(NetworkError::NotReady)
    }

    async fn attach(&self, _: &str, _: Ipv4Addr, _: i32) -> Result<(), NetworkError> {
        Ok(())
    }

    async fn detach(&self, _: &str) -> Result<(), NetworkError> {
        Ok(())
    }

    fn release(&self, pod: &str) {
        self.ipam.lock().release(pod);
    }

    async fn host_ports(&self, _: &str, _: Vec<HostPort>) -> Result<(), NetworkError> {
        Ok(())
    }
}
