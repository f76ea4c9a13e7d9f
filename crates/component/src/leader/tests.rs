//! The election on a paused clock: hours pass in no time, and always the same way.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::{future::pending, sync::Arc, time::Duration};

use api_types::jiff::Timestamp;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::lock::{Lock, held_by};
use super::memory::{Memory, Way};
use super::*;

/// A replica that leads until it is told to stop.
fn replica(lock: &Memory, identity: &str, shutdown: &CancellationToken) -> JoinHandle<Option<()>> {
    let (candidate, shutdown) = (Candidate::new(lock.clone(), identity), shutdown.clone());
    tokio::spawn(
        async move { candidate.run(&shutdown, |_| shutdown.clone().cancelled_owned()).await },
    )
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

async fn until_held_by(lock: &Memory, identity: &str) -> Duration {
    let begun = Instant::now();
    while lock.holder() != identity {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    begun.elapsed()
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
async fn a_dead_leader_is_followed_within_5_seconds_whenever_it_dies() {
    for phase in 0..40 {
        let (lock, shutdown) = (Memory::default(), CancellationToken::new());
        let a = replica(&lock, "a", &shutdown);
        tokio::time::sleep(Duration::from_millis(730)).await;
        let way = Way { request: Duration::from_millis(20), ..Way::default() };
        let b = replica(&lock.over(way), "b", &shutdown);
        tokio::time::sleep(Duration::from_millis(5000 + 25 * phase)).await;
        a.abort();
        let followed = until_held_by(&lock, "b").await;
        assert!(followed < Duration::from_secs(5), "{followed:?}");
        assert!(followed >= LEASE_DURATION - RENEW_PERIOD, "{followed:?}");
        assert_eq!(lock.transitions(), Some(1));
        b.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_died_on_this_host_is_followed_at_the_next_look() {
    let (lock, shutdown) = (Memory::default(), CancellationToken::new());
    let dead = identity("host").replacen(&format!("_{}.", std::process::id()), "_1.9", 1);
    lock.put(&held_by(None, &dead, Timestamp::now())).await.unwrap();
    let _b = replica(&lock, "b", &shutdown);
    assert!(until_held_by(&lock, "b").await <= RETRY_PERIOD);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_stops_is_followed_at_once() {
    let lock = Memory::default();
    let (stop_a, stop_b) = (CancellationToken::new(), CancellationToken::new());
    let a = replica(&lock, "a", &stop_a);
    seconds(1).await;
    let _b = replica(&lock, "b", &stop_b);
    seconds(1).await;
    stop_a.cancel();
    assert_eq!(a.await.unwrap(), Some(()));
    assert!(until_held_by(&lock, "b").await <= RETRY_PERIOD);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_stops_while_it_renews_is_followed_at_once_too() {
    for phase in 0..40 {
        let lock = Memory::default();
        let (stop_a, stop_b) = (CancellationToken::new(), CancellationToken::new());
        let delay = Duration::from_millis(100);
        let slow = Way { request: delay, answer: delay, ..Way::default() };
        let a = replica(&lock.over(slow), "a", &stop_a);
        seconds(1).await;
        let b = replica(&lock, "b", &stop_b);
        tokio::time::sleep(Duration::from_millis(2000 + 35 * phase)).await;
        stop_a.cancel();
        assert_eq!(a.await.unwrap(), Some(()));
        assert!(until_held_by(&lock, "b").await <= RETRY_PERIOD, "stopped in phase {phase}");
        b.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_renew_stops_before_another_may_lead_and_waits_its_turn() {
    let (lock, shutdown) = (Memory::default(), CancellationToken::new());
    let terms = Arc::new(AtomicUsize::default());
    let (counter, candidate) = (terms.clone(), Candidate::new(lock.clone(), "a"));
    let token = shutdown.clone();
    let lead = move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        pending::<()>()
    };
    tokio::spawn(async move { candidate.run(&token, lead).await });
    seconds(1).await;
    let _b = replica(&lock.over(Way::default()), "b", &shutdown);
    seconds(1).await;
    lock.set_broken(true);
    seconds(3).await;
    assert_eq!(lock.holder(), "a", "b must wait for longer than a goes on");
    seconds(2).await;
    assert_eq!(lock.holder(), "b");
    lock.set_broken(false);
    seconds(60).await;
    assert_eq!((lock.holder().as_str(), terms.load(Ordering::Relaxed)), ("b", 1));
}

#[tokio::test(start_paused = true)]
async fn a_leader_leads_on_through_a_short_outage_and_for_as_long_as_it_renews() {
    let (lock, shutdown) = (Memory::default(), CancellationToken::new());
    let terms = Arc::new(AtomicUsize::default());
    let (counter, candidate) = (terms.clone(), Candidate::new(lock.clone(), "a"));
    let lead = move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        pending::<()>()
    };
    tokio::spawn(async move { candidate.run(&shutdown, lead).await });
    seconds(1).await;
    lock.set_broken(true);
    seconds(1).await;
    lock.set_broken(false);
    seconds(60).await;
    assert_eq!((lock.transitions(), terms.load(Ordering::Relaxed)), (Some(0), 1));
}

#[tokio::test(start_paused = true)]
async fn a_leader_alone_leads_again_after_a_long_outage() {
    let (lock, shutdown) = (Memory::default(), CancellationToken::new());
    let terms = Arc::new(AtomicUsize::default());
    let (counter, candidate) = (terms.clone(), Candidate::new(lock.clone(), "a"));
    let lead = move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        pending::<()>()
    };
    tokio::spawn(async move { candidate.run(&shutdown, lead).await });
    seconds(1).await;
    lock.set_broken(true);
    seconds(60).await;
    lock.set_broken(false);
    seconds(1).await;
    assert_eq!((lock.transitions(), terms.load(Ordering::Relaxed)), (Some(0), 2));
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_lease_was_taken_stops() {
    let (lock, shutdown) = (Memory::default(), CancellationToken::new());
    let candidate = Candidate::new(lock.clone(), "a");
    let fences = Arc::new(std::sync::Mutex::new(Vec::<Fence>::new()));
    let seen = fences.clone();
    let lead = move |fence| {
        seen.lock().unwrap().push(fence);
        pending::<()>()
    };
    tokio::spawn(async move { candidate.run(&shutdown, lead).await });
    seconds(1).await;
    let stolen = held_by(lock.get().await.unwrap(), "thief", Timestamp::now());
    lock.put(&stolen).await.unwrap();
    seconds(1).await;
    assert!(!fences.lock().unwrap()[0].is_open());
    assert_eq!(lock.holder(), "thief");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_lease_does_not_end_its_holders_time() {
    let (lock, shutdown) = (Memory::default(), CancellationToken::new());
    let a = replica(&lock, "a", &shutdown);
    seconds(1).await;
    let _b = replica(&lock, "b", &shutdown);
    seconds(1).await;
    a.abort();
    lock.delete();
    seconds(2).await;
    assert_eq!(lock.holder(), "");
    seconds(3).await;
    assert_eq!(lock.holder(), "b");
}

#[tokio::test(start_paused = true)]
async fn the_holders_clock_does_not_matter() {
    let (lock, shutdown) = (Memory::default(), CancellationToken::new());
    let past = held_by(None, "a", Timestamp::UNIX_EPOCH);
    lock.put(&past).await.unwrap();
    let _b = replica(&lock, "b", &shutdown);
    seconds(3).await;
    assert_eq!(lock.holder(), "a", "its time has to run out by b's clock");
    seconds(2).await;
    assert_eq!(lock.holder(), "b");
}

#[tokio::test(start_paused = true)]
async fn who_is_stopped_while_waiting_never_leads() {
    let (lock, shutdown) = (Memory::default(), CancellationToken::new());
    let _a = replica(&lock, "a", &CancellationToken::new());
    seconds(1).await;
    let b = replica(&lock, "b", &shutdown);
    seconds(5).await;
    shutdown.cancel();
    assert_eq!(b.await.unwrap(), None);
    assert_eq!(lock.holder(), "a");
}
