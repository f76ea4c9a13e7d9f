//! A lease in memory, with the API server's rule for versions, and a way to it that may be slow or cut.

use std::{
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use api_types::api::coordination::v1::Lease;
use kube::core::Status;
use tokio::time::{Instant, sleep};

use super::lock::{Lock, holder};

#[derive(Clone, Default)]
pub(super) struct Memory {
    lease: Arc<Mutex<Option<Lease>>>,
    way: Arc<Mutex<Way>>,
}

/// How requests get to the server.
#[derive(Clone, Debug, Default)]
pub(super) struct Way {
    /// Requests are answered with an error.
    pub(super) broken: bool,
    /// In these times, nothing gets through, in neither direction, and nobody is told.
    pub(super) cuts: Vec<(Instant, Instant)>,
    pub(super) request: Duration,
    pub(super) answer: Duration,
}

impl Memory {
    /// The same lease over another way.
    pub(super) fn over(&self, way: Way) -> Self {
        Self { lease: self.lease.clone(), way: Arc::new(Mutex::new(way)) }
    }

    pub(super) fn set_broken(&self, broken: bool) {
        self.way.lock().unwrap().broken = broken;
    }

    pub(super) fn holder(&self) -> String {
        let lease = self.lease.lock().unwrap();
        lease.as_ref().map(holder).unwrap_or_default().to_owned()
    }

    pub(super) fn transitions(&self) -> Option<i32> {
        self.lease.lock().unwrap().clone().unwrap().spec.unwrap().lease_transitions
    }

    pub(super) fn delete(&self) {
        self.lease.lock().unwrap().take();
    }

    async fn pass(&self, time: Duration) -> Result<(), kube::Error> {
        let way = self.way.lock().unwrap().clone();
        let begun = Instant::now();
        sleep(time).await;
        if way.cuts.iter().any(|(from, to)| begun < *to && Instant::now() >= *from) {
            pending::<()>().await;
        }
        if way.broken { Err(api_error(503)) } else { Ok(()) }
    }

    fn swap(&self, lease: &Lease) -> Result<Lease, kube::Error> {
        let mut current = self.lease.lock().unwrap();
        let version = current.as_ref().and_then(|c| c.metadata.resource_version.clone());
        if version != lease.metadata.resource_version {
            return Err(api_error(409));
        }
        let next = version.map_or(1, |v| v.parse::<u64>().unwrap() + 1);
        let mut lease = lease.clone();
        lease.metadata.resource_version = Some(next.to_string());
        *current = Some(lease.clone());
        Ok(lease)
    }
}

impl Lock for Memory {
    async fn get(&self) -> Result<Option<Lease>, kube::Error> {
        let way = self.way.lock().unwrap().clone();
        self.pass(way.request).await?;
        let lease = self.lease.lock().unwrap().clone();
        self.pass(way.answer).await?;
        Ok(lease)
    }

    async fn put(&self, lease: &Lease) -> Result<Lease, kube::Error> {
        let way = self.way.lock().unwrap().clone();
        self.pass(way.request).await?;
        let swapped = self.swap(lease);
        self.pass(way.answer).await?;
        swapped
    }
}

fn api_error(code: u16) -> kube::Error {
    kube::Error::Api(Box::new(Status { code, ..Status::default() }))
}
