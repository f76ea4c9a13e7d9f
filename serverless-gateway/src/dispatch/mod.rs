//! Calls of one function meet its instances here: each is given one that has room, or waits for it.
//!
//! What is decided is in [`line`]; here are the waiting tasks, and the connections.

mod call;
mod endpoint;
mod line;
mod stream;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use api_types::jiff::Timestamp;
use listwatch::FunctionDemand;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, timeout_at},
};

use self::line::{Entry, Line, Ticket};

pub(crate) use self::{
    call::{InHand, SendError},
    endpoint::{Endpoint, Uid},
};

/// How long an instance that took no connection, or broke a call off, gets no calls, and how often it is then tried whether it takes
/// connections: no call waits for one that is gone while the API server does not know it yet.
const DISTRUST: Duration = Duration::from_millis(200);

/// How long an instance that has all the calls it may have, by other gateways, gets no more, if none of this one ends.
const FULL: Duration = Duration::from_millis(50);

/// Why a call gets no instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Too many wait already.
    Full,
    /// None had room in time, though there are some.
    Busy,
    /// None was ready in time.
    NoInstance,
    /// The function is no more.
    Gone,
}

/// The instances of a function and its queue.
#[derive(Debug)]
pub(crate) struct Dispatcher {
    inner: Mutex<Inner>,
    /// Since when calls are counted, in milliseconds of the Unix epoch.
    began: u64,
    /// The calls that were given a place, or were told to wait, or that too many wait; and, whatever became of them, those that have
    /// come and those that were about to.
    calls: AtomicU64,
    arrived: AtomicU64,
    /// Told when a call waits and there is no instance.
    wake: Arc<Notify>,
}

#[derive(Debug)]
struct Inner {
    line: Line<Uid>,
    in_hand: InHandTime,
    endpoints: BTreeMap<Uid, Arc<Endpoint>>,
    waiting: BTreeMap<Ticket, oneshot::Sender<Slot>>,
    /// Nobody waits, since there will be no instance.
    hopeless: bool,
    gone: bool,
}

/// For how long calls were in hand, all taken together.
#[derive(Debug)]
struct InHandTime {
    total: Duration,
    noted: Instant,
}

/// A place at an instance for one call, until it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    dispatcher: Arc<Dispatcher>,
    pub(crate) endpoint: Arc<Endpoint>,
    ticket: Ticket,
    /// Whether the call had to wait for an instance to become ready.
    pub(crate) cold: bool,
    /// Whether the call has left it already.
    left: bool,
}

enum Entered {
    Served(Slot),
    /// Whether there is no instance at all.
    Waits(Waiter, bool),
}

/// A call that waits, until it is dropped.
#[derive(Debug)]
struct Waiter {
    dispatcher: Arc<Dispatcher>,
    ticket: Ticket,
    granted: oneshot::Receiver<Slot>,
}

// === impl Dispatcher ===

impl Dispatcher {
    /// So many calls may wait. `wake` is told when one waits and there is no instance.
    pub(crate) fn new(queue_length: usize, wake: Arc<Notify>) -> Arc<Self> {
        let inner = Inner {
            line: Line::new(queue_length),
            in_hand: InHandTime::new(),
            endpoints: BTreeMap::new(),
            waiting: BTreeMap::new(),
            hopeless: false,
            gone: false,
        };
        let (calls, arrived) = (AtomicU64::new(0), AtomicU64::new(0));
        let began = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default();
        Arc::new(Dispatcher { inner: Mutex::new(inner), began, calls, arrived, wake })
    }

    /// A new call.
    pub(crate) fn arrived(&self) {
        self.arrived.fetch_add(1, Ordering::Relaxed);
    }

    /// A call is about to come: an instance is to be there by then. As far as its demand tells, it has come and gone.
    pub(crate) fn expect(&self) {
        self.arrived.fetch_add(1, Ordering::Relaxed);
        if !self.inner.lock().line.serves() {
            self.wake.notify_one();
        }
    }

    /// A place at an instance, when there is one. Waiting ends with the future.
    pub(crate) async fn acquire(self: &Arc<Self>, deadline: Instant) -> Result<Slot, Refusal> {
        let entered = self.enter();
        // What is refused since no instance starts must not have more of them started.
        if matches!(entered, Ok(_) | Err(Refusal::Full)) {
            self.calls.fetch_add(1, Ordering::Relaxed);
        }
        self.granted(entered?, deadline).await
    }

    /// [`Self::acquire`] for a call that has a place, at an instance that did not take it.
    pub(crate) async fn acquire_another(
        self: &Arc<Self>,
        left: Slot,
        deadline: Instant,
    ) -> Result<Slot, Refusal> {
        let entered = self.come_back(left)?;
        // It may have got a place already, and would do so again and again.
        if Instant::now() >= deadline {
            return Err(self.none_in_time());
        }
        self.granted(entered, deadline).await
    }

    async fn granted(&self, entered: Entered, deadline: Instant) -> Result<Slot, Refusal> {
        let (mut waiter, cold) = match entered {
            Entered::Served(slot) => return Ok(slot),
            Entered::Waits(waiter, cold) => (waiter, cold),
        };
        if cold {
            self.wake.notify_one();
        }
        match timeout_at(deadline, &mut waiter.granted).await {
            Ok(Ok(mut slot)) => {
                slot.cold = cold;
                Ok(slot)
            }
            Ok(Err(_)) if self.inner.lock().gone => Err(Refusal::Gone),
            Ok(Err(_)) => Err(Refusal::NoInstance),
            Err(_) => Err(self.none_in_time()),
        }
    }

    fn none_in_time(&self) -> Refusal {
        if self.inner.lock().line.serves() { Refusal::Busy } else { Refusal::NoInstance }
    }

    fn enter(self: &Arc<Self>) -> Result<Entered, Refusal> {
        let mut inner = self.inner.lock();
        inner.admit()?;
        inner.note_time();
        match inner.line.enter(below) {
            Entry::Taken(ticket, instance) => {
                Ok(Entered::Served(self.slot(&inner, &instance, ticket)))
            }
            Entry::Full => Err(Refusal::Full),
            Entry::Waits(ticket) => Ok(self.waits(&mut inner, ticket)),
        }
    }

    /// In one step: otherwise a call that came later would get the place that this one leaves.
    fn come_back(self: &Arc<Self>, mut slot: Slot) -> Result<Entered, Refusal> {
        let mut inner = self.inner.lock();
        inner.admit()?;
        inner.note_time();
        inner.line.come_back(slot.ticket, &slot.endpoint.uid);
        slot.left = true;
        let entered = self.waits(&mut inner, slot.ticket);
        self.grant(inner);
        Ok(entered)
    }

    fn waits(self: &Arc<Self>, inner: &mut Inner, ticket: Ticket) -> Entered {
        let (sender, granted) = oneshot::channel();
        inner.waiting.insert(ticket, sender);
        let waiter = Waiter { dispatcher: self.clone(), ticket, granted };
        Entered::Waits(waiter, !inner.line.serves())
    }

    /// These instances get calls, and no others, so many at a time; connections to others end with their calls. If it is
    /// `hopeless`, there will be no others to wait for.
    pub(crate) fn update(
        self: &Arc<Self>,
        serving: &[Arc<Endpoint>],
        most: Option<NonZeroU32>,
        hopeless: bool,
    ) {
        let mut inner = self.inner.lock();
        inner.hopeless = hopeless && serving.is_empty();
        if inner.hopeless {
            inner.waiting.clear();
        }
        let known = |fresh: &Arc<Endpoint>| {
            let known = inner.endpoints.get(&fresh.uid);
            known.filter(|known| known.address == fresh.address).unwrap_or(fresh).clone()
        };
        let endpoints: BTreeMap<Uid, Arc<Endpoint>> =
            serving.iter().map(|fresh| (fresh.uid.clone(), known(fresh))).collect();
        for (uid, endpoint) in &endpoints {
            if !inner.has(endpoint) {
                inner.line.trust(uid);
            }
        }
        inner.line.update(endpoints.keys(), most);
        let left = std::mem::replace(&mut inner.endpoints, endpoints);
        for endpoint in left.values() {
            if !inner.has(endpoint) {
                endpoint.close();
            }
        }
        self.grant(inner);
    }

    /// The function is no more: nobody waits for it any longer.
    pub(crate) fn close(&self) {
        let mut inner = self.inner.lock();
        inner.gone = true;
        inner.waiting.clear();
        inner.endpoints.values().for_each(|endpoint| endpoint.close());
    }

    /// An instance has taken no connection, or broken a call off: it gets no calls until it takes connections.
    pub(crate) fn distrust(self: &Arc<Self>, endpoint: &Arc<Endpoint>) {
        {
            let mut inner = self.inner.lock();
            if !inner.has(endpoint) || !inner.line.distrust(&endpoint.uid) {
                return;
            }
        }
        let (dispatcher, endpoint) = (Arc::downgrade(self), endpoint.clone());
        tokio::spawn(async move {
            let mut accepts = false;
            while !accepts {
                tokio::time::sleep(DISTRUST).await;
                if endpoint.is_closed() {
                    return;
                }
                accepts = endpoint.accepts().await;
            }
            if let Some(dispatcher) = dispatcher.upgrade() {
                dispatcher.trust(&endpoint);
            }
        });
    }

    fn is_full(self: &Arc<Self>, endpoint: &Arc<Endpoint>, told: Ticket) {
        {
            let mut inner = self.inner.lock();
            if !inner.has(endpoint) {
                return;
            }
            inner.line.is_full(&endpoint.uid, told);
        }
        let (dispatcher, uid) = (Arc::downgrade(self), endpoint.uid.clone());
        tokio::spawn(async move {
            tokio::time::sleep(FULL).await;
            if let Some(dispatcher) = dispatcher.upgrade() {
                let mut inner = dispatcher.inner.lock();
                inner.line.may_have_room(&uid, told);
                dispatcher.grant(inner);
            }
        });
    }

    fn trust(self: &Arc<Self>, endpoint: &Arc<Endpoint>) {
        let mut inner = self.inner.lock();
        if inner.has(endpoint) {
            inner.line.trust(&endpoint.uid);
            self.grant(inner);
        }
    }

    /// The calls in hand.
    pub(crate) fn demand(&self) -> FunctionDemand {
        let mut inner = self.inner.lock();
        inner.note_time();
        let arrived = self.arrived.load(Ordering::Relaxed);
        FunctionDemand {
            queued: u32::try_from(inner.line.queued()).unwrap_or(u32::MAX),
            in_flight: inner.line.in_flight(),
            // Of a function that was never called there is nothing to tell.
            began: if arrived > 0 { self.began } else { 0 },
            arrived,
            calls: self.calls.load(Ordering::Relaxed),
            in_hand_milliseconds: inner.in_hand.milliseconds(),
        }
    }

    fn finish(self: &Arc<Self>, uid: &Uid) {
        let mut inner = self.inner.lock();
        inner.note_time();
        inner.line.finish(uid);
        self.grant(inner);
    }

    /// Gives the places that there are to the calls that wait.
    fn grant(self: &Arc<Self>, mut inner: parking_lot::MutexGuard<'_, Inner>) {
        let mut given = Vec::new();
        while let Some((ticket, instance)) = inner.line.grant(below) {
            let slot = self.slot(&inner, &instance, ticket);
            given.push((inner.waiting.remove(&ticket), slot));
        }
        drop(inner);
        // A slot that nobody waits for any more comes back by being dropped, which takes the lock.
        for (waiting, slot) in given {
            drop(waiting.map(|waiting| waiting.send(slot)));
        }
    }

    fn slot(self: &Arc<Self>, inner: &Inner, uid: &Uid, ticket: Ticket) -> Slot {
        let endpoint = inner.endpoints[uid].clone();
        Slot { dispatcher: self.clone(), endpoint, ticket, cold: false, left: false }
    }
}

// === impl Inner ===

impl Inner {
    /// Whether calls may wait.
    fn admit(&self) -> Result<(), Refusal> {
        match self {
            Inner { gone: true, .. } => Err(Refusal::Gone),
            Inner { hopeless: true, .. } => Err(Refusal::NoInstance),
            _ => Ok(()),
        }
    }

    /// Whether an instance gets calls there. Its place may be another's by now: of the same pod, at another address or since it was
    /// not ready for a moment.
    fn has(&self, endpoint: &Arc<Endpoint>) -> bool {
        self.endpoints.get(&endpoint.uid).is_some_and(|known| Arc::ptr_eq(known, endpoint))
    }

    /// To be called before the number of calls in hand changes.
    fn note_time(&mut self) {
        let in_hand = u32::try_from(self.line.queued()).unwrap_or(u32::MAX);
        self.in_hand.note(Instant::now(), in_hand.saturating_add(self.line.in_flight()));
    }
}

// === impl InHandTime ===

impl InHandTime {
    fn new() -> Self {
        InHandTime { total: Duration::ZERO, noted: Instant::now() }
    }

    /// So many calls were in hand since the last time.
    fn note(&mut self, now: Instant, calls: u32) {
        self.total += now.saturating_duration_since(self.noted).saturating_mul(calls);
        self.noted = now;
    }

    fn milliseconds(&self) -> u64 {
        u64::try_from(self.total.as_millis()).unwrap_or(u64::MAX)
    }
}

fn below(count: usize) -> usize {
    rand::random_range(0..count)
}

// === impl Slot ===

impl Slot {
    /// The instance refuses connections, or breaks them off.
    pub(crate) fn distrust(&self) {
        self.dispatcher.distrust(&self.endpoint);
    }

    /// The instance has all the calls that it may have, by other gateways.
    fn is_full(&self) {
        self.dispatcher.is_full(&self.endpoint, self.ticket);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !self.left {
            self.dispatcher.finish(&self.endpoint.uid);
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut inner = self.dispatcher.inner.lock();
        inner.note_time();
        inner.line.leave(self.ticket);
        inner.waiting.remove(&self.ticket);
    }
}
