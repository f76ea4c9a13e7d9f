//! One replica: waits for the lease, leads, waits again.

use api_types::{api::coordination::v1::Lease, jiff::Timestamp};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::lock::{Lock, duration, held_by, holder, released};
use super::{
    Fence,
    holder::is_dead,
    timing::{RENEW_DEADLINE, RENEW_PERIOD, RETRY_PERIOD},
};

pub(super) struct Candidate<L> {
    lock: L,
    identity: String,
    /// The lease as last seen, and when it was first seen so.
    observed: Option<(Lease, Instant)>,
}

impl<L: Lock> Candidate<L> {
    pub(super) fn new(lock: L, identity: &str) -> Self {
        Self { lock, identity: identity.to_owned(), observed: None }
    }

    /// See [`super::elect`].
    pub(super) async fn run<F: Future>(
        mut self,
        shutdown: &CancellationToken,
        mut lead: impl FnMut(Fence) -> F,
    ) -> Option<F::Output> {
        while let Some(fence) = self.acquire(shutdown).await {
            tracing::info!(identity = self.identity, "leading");
            let output = tokio::select! {
                // Who wakes up late must learn first that its time is over.
                biased;
                () = self.keep(&fence) => None,
                output = lead(fence.clone()) => Some(output),
            };
            fence.close();
            if output.is_some() {
                self.release().await;
                return output;
            }
            tracing::warn!("lost the leader election lease; waiting for it again");
        }
        None
    }

    /// Tries until the lease is held; `None` if shutdown comes before. Shutdown does not interrupt a
    /// try: it might succeed unseen, and the lease would be held by nobody for its whole duration.
    async fn acquire(&mut self, shutdown: &CancellationToken) -> Option<Fence> {
        while !shutdown.is_cancelled() {
            // What is answered later than this holds the lease no longer.
            if let Ok(Some(until)) = timeout(RENEW_DEADLINE, self.attempt()).await {
                return Some(Fence::new(until));
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = sleep_until(self.next_look()) => {}
            }
        }
        None
    }

    fn next_look(&self) -> Instant {
        let next = Instant::now() + RETRY_PERIOD;
        let expiry = self.observed.as_ref().map(|(lease, since)| *since + duration(lease));
        expiry.filter(|expiry| *expiry > Instant::now()).map_or(next, |expiry| expiry.min(next))
    }

    /// Renews until that has failed for too long.
    async fn keep(&mut self, fence: &Fence) {
        let mut next = Instant::now() + RENEW_PERIOD;
        while let Some(until) = fence.until() {
            sleep_until(next.min(until)).await;
            if Instant::now() >= until {
                return;
            }
            match timeout_at(until, self.attempt()).await {
                Ok(Some(until)) => {
                    fence.extend(until);
                    next = Instant::now() + RENEW_PERIOD;
                }
                Ok(None) if !self.is_held_by_another() => next = Instant::now() + RETRY_PERIOD,
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// One try to take or renew the lease. Returns until when it is held.
    async fn attempt(&mut self) -> Option<Instant> {
        match self.try_hold().await {
            Ok(until) => until,
            Err(error) => {
                tracing::warn!(%error, "cannot take or renew the leader election lease");
                None
            }
        }
    }

    async fn try_hold(&mut self) -> Result<Option<Instant>, kube::Error> {
        let current = self.lock.get().await?;
        self.observe(current.as_ref());
        if !self.may_take(current.as_ref()) {
            return Ok(None);
        }
        // From before sending: others see the lease change after this, whenever the answer comes.
        let until = Instant::now() + RENEW_DEADLINE;
        match self.lock.put(&held_by(current, &self.identity, Timestamp::now())).await {
            Ok(lease) => {
                self.observe(Some(&lease));
                Ok(Some(until))
            }
            // Another replica was faster.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn observe(&mut self, lease: Option<&Lease>) {
        let seen = self.observed.as_ref().map(|(lease, _)| &lease.spec);
        if let Some(lease) = lease
            && seen != Some(&lease.spec)
        {
            self.observed = Some((lease.clone(), Instant::now()));
        }
    }

    /// Whoever deletes the lease does not end its holder's time.
    fn may_take(&self, current: Option<&Lease>) -> bool {
        let Some((seen, since)) = &self.observed else { return current.is_none() };
        let holder = holder(seen);
        holder.is_empty()
            || holder == self.identity
            || since.elapsed() >= duration(seen)
            || is_dead(holder)
    }

    fn is_held_by_another(&self) -> bool {
        let holder = self.observed.as_ref().map_or("", |(lease, _)| holder(lease));
        !holder.is_empty() && holder != self.identity
    }

    async fn release(&self) {
        match timeout(RENEW_DEADLINE, self.give_back()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "cannot release the leader election lease"),
            Err(_) => tracing::warn!("cannot release the leader election lease in time"),
        }
    }

    /// From the lease as it is: a renewal may have been under way when the work ended, and may still arrive.
    async fn give_back(&self) -> Result<(), kube::Error> {
        while let Some(lease) = self.lock.get().await? {
            if holder(&lease) != self.identity {
                break;
            }
            match self.lock.put(&released(lease)).await {
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                result => return result.map(|_| ()),
            }
        }
        Ok(())
    }
}
