//! The election on a paused clock: hours pass in no time, and always the same way.

use std::{
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use kube::core::Status;
use tokio::task::JoinHandle;

use super::*;

/// A lease in memory, with the API server's rule for versions.
#[derive(Clone, Default)]
struct Memory {
    lease: Arc<Mutex<Option<Lease>>>,
    /// The way to this replica's server is broken.
    broken: Arc<AtomicBool>,
}

impl Memory {
    /// The same lease over another way.
    fn other_way(&self) -> Self {
        Self { lease: self.lease.clone(), broken: Arc::default() }
    }

    fn check(&self) -> Result<(), kube::Error> {
        if self.broken.load(Ordering::Relaxed) { Err(api_error(503)) } else { Ok(()) }
    }

    fn holder(&self) -> String {
        let lease = self.lease.lock().unwrap();
        lease.as_ref().map(holder).unwrap_or_default().to_owned()
    }

    fn transitions(&self) -> Option<i32> {
        self.lease.lock().unwrap().clone().unwrap().spec.unwrap().lease_transitions
    }
}

impl Lock for Memory {
    async fn get(&self) -> Result<Option<Lease>, kube::Error> {
        self.check()?;
        Ok(self.lease.lock().unwrap().clone())
    }

    async fn put(&self, lease: &Lease) -> Result<Lease, kube::Error> {
        self.check()?;
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

fn api_error(code: u16) -> kube::Error {
    kube::Error::Api(Box::new(Status { code, ..Status::default() }))
}

type Outcome = Result<Option<()>, Lost>;

/// A replica that leads until it is told to stop.
fn replica(lock: &Memory, identity: &str, shutdown: &CancellationToken) -> JoinHandle<Outcome> {
    let (candidate, token) = (Candidate::new(lock.clone(), identity), shutdown.clone());
    let lead = shutdown.clone().cancelled_owned();
    tokio::spawn(async move { candidate.run(&token, lead).await })
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn the_first_leads_and_the_second_waits() {
    let (lock, shutdown) = (Memory::default(), CancellationToken::new());
    let _a = replica(&lock, "a", &shutdown);
    seconds(1).await;
    let b = replica(&lock, "b", &shutdown);
    seconds(3600).await;
    assert_eq!(lock.holder(), "a");
    assert!(!b.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_dead_leader_is_followed_after_the_lease_has_not_changed_for_15_seconds() {
    let (lock, shutdown) = (Memory::default(), CancellationToken::new());
    let a = replica(&lock, "a", &shutdown);
    seconds(1).await;
    let _b = replica(&lock, "b", &shutdown);
    seconds(5).await;
    a.abort();
    seconds(12).await;
    assert_eq!(lock.holder(), "a");
    seconds(7).await;
    assert_eq!((lock.holder().as_str(), lock.transitions()), ("b", Some(1)));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_stops_is_followed_at_once() {
    let lock = Memory::default();
    let (stop_a, stop_b) = (CancellationToken::new(), CancellationToken::new());
    let a = replica(&lock, "a", &stop_a);
    seconds(1).await;
    let _b = replica(&lock, "b", &stop_b);
    stop_a.cancel();
    assert_eq!(a.await.unwrap(), Ok(Some(())));
    assert_eq!(lock.holder(), "");
    seconds(3).await;
    assert_eq!(lock.holder(), "b");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_renew_stops_before_another_may_lead() {
    let (lock, shutdown) = (Memory::default(), CancellationToken::new());
    let a = replica(&lock, "a", &shutdown);
    seconds(1).await;
    let _b = replica(&lock.other_way(), "b", &shutdown);
    seconds(1).await;
    lock.broken.store(true, Ordering::Relaxed);
    seconds(11).await;
    assert!(a.is_finished());
    assert_eq!(lock.holder(), "a", "b must wait for longer than a goes on");
    assert_eq!(a.await.unwrap(), Err(Lost));
    seconds(10).await;
    assert_eq!(lock.holder(), "b");
}

#[tokio::test(start_paused = true)]
async fn a_short_outage_does_not_end_leading() {
    let (lock, shutdown) = (Memory::default(), CancellationToken::new());
    let a = replica(&lock, "a", &shutdown);
    seconds(1).await;
    lock.broken.store(true, Ordering::Relaxed);
    seconds(7).await;
    lock.broken.store(false, Ordering::Relaxed);
    seconds(60).await;
    assert!(!a.is_finished());
    assert_eq!(lock.holder(), "a");
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_lease_was_taken_stops() {
    let (lock, shutdown) = (Memory::default(), CancellationToken::new());
    let a = replica(&lock, "a", &shutdown);
    seconds(1).await;
    let stolen = held_by(lock.get().await.unwrap(), "thief", Timestamp::now());
    lock.put(&stolen).await.unwrap();
    seconds(3).await;
    assert!(a.is_finished());
    assert_eq!(a.await.unwrap(), Err(Lost));
    assert_eq!(lock.holder(), "thief");
}

#[tokio::test(start_paused = true)]
async fn the_holders_clock_does_not_matter() {
    let (lock, shutdown) = (Memory::default(), CancellationToken::new());
    let past = held_by(None, "a", Timestamp::UNIX_EPOCH);
    lock.put(&past).await.unwrap();
    let _b = replica(&lock, "b", &shutdown);
    seconds(13).await;
    assert_eq!(lock.holder(), "a", "its time has to run out by b's clock");
    seconds(5).await;
    assert_eq!(lock.holder(), "b");
}

#[tokio::test(start_paused = true)]
async fn who_is_stopped_while_waiting_never_leads() {
    let (lock, shutdown) = (Memory::default(), CancellationToken::new());
    let _a = replica(&lock, "a", &CancellationToken::new());
    seconds(1).await;
    let candidate = Candidate::new(lock.clone(), "b");
    let token = shutdown.clone();
    let b = tokio::spawn(async move { candidate.run(&token, pending::<()>()).await });
    seconds(5).await;
    shutdown.cancel();
    assert_eq!(b.await.unwrap(), Ok(None));
    assert_eq!(lock.holder(), "a");
}
