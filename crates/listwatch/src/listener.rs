//! One listener: a list, then changes from the topic, or from an HTTP watch while the topic cannot be
//! trusted.
//!
//! # Flow
//! 1. `Start`: subscribe to the topic. First, so that nothing falls between the list and the topic.
//! 2. `Listing`: list page by page.
//! 3. `Following`: take messages from the topic. On a hole, on a lost connection, on silence (each API
//!    server sends a bookmark each second; one that does not know what the listener knows doesn't count), or
//!    when only the name of a changed object is told → 4.
//! 4. `Watching`: an HTTP watch from the last version. Meanwhile each message of the topic is tried, and
//!    with the first that fits (it is known by the watch, or is the next one) → 3: from that message on, the
//!    topic tells either every change or that one is missing.
//!
//! When the server has forgotten the last version (410), or the topic tells of another history of the store than
//! the listener knows → 1. Without Redis it is 1, 2 and 4 only.

use std::{collections::VecDeque, fmt::Debug, time::Duration};

use futures::StreamExt;
use kube::{
    Resource, ResourceExt,
    api::WatchEvent,
    core::Status,
    runtime::watcher::{Error, Event},
};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use crate::{
    ChangeMessage, ChangeType,
    backoff::Backoff,
    bus::{Bus, Signal, Subscription},
    decision::{Decision, Position},
    message::Reference,
    source::{Events, Source},
};

/// After what time without a message a topic is not trusted: three bookmarks.
const SILENCE: Duration = Duration::from_secs(3);
/// A watch that ends sooner than this counts as a failure.
const SHORT: Duration = Duration::from_secs(1);

type Result<T> = std::result::Result<T, Error>;

/// The state of a listener.
pub(crate) struct Listener<K> {
    source: Source,
    bus: Option<Bus>,
    topic: String,
    subscription: Option<Subscription>,
    phase: Phase<K>,
    position: Position,
    /// Whether to list page by page, or all at once: after the pages could not be finished in time.
    paged: bool,
    backoff: Backoff,
    /// To wait before going on.
    pause: Option<Duration>,
}

enum Phase<K> {
    Start,
    Listing(Listing<K>),
    /// Without a stream, it has to be opened.
    Watching(Option<Watch<K>>),
    /// Since the topic showed last that all is well.
    Following(Instant),
}

struct Listing<K> {
    objects: VecDeque<K>,
    /// The version of the list, from its first page.
    version: Option<u64>,
    token: Option<String>,
    complete: bool,
    paged: bool,
}

struct Watch<K> {
    events: Events<K>,
    opened: Instant,
    /// The version it began at.
    since: u64,
}

/// Whether a message was taken.
enum Taken<K> {
    /// It was, or was known; perhaps there is something to tell.
    Yes(Option<Event<K>>),
    /// It shows nothing.
    Late,
    /// The topic alone does not lead on.
    No,
    /// What was told is no part of the store's history.
    Foreign,
}

impl<K> Listener<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    pub(crate) fn new(source: Source, bus: Option<Bus>, topic: String) -> Self {
        Self {
            source,
            bus,
            topic,
            subscription: None,
            phase: Phase::Start,
            position: Position::default(),
            paged: true,
            backoff: Backoff::default(),
            pause: None,
        }
    }

    /// The next event or error.
    pub(crate) async fn next(&mut self) -> Result<Event<K>> {
        loop {
            if let Some(pause) = self.pause.take() {
                tokio::time::sleep(pause).await;
            }
            let event = match &self.phase {
                Phase::Start => Some(self.start().await),
                Phase::Listing(_) => self.list().await?,
                Phase::Watching(None) => self.open_watch().await?,
                Phase::Watching(Some(_)) => self.watch().await?,
                Phase::Following(heard) => self.follow(*heard).await,
            };
            if let Some(event) = event {
                // Nobody asks, and they take as much as all the rest (as Kubernetes' own controllers do).
                return Ok(event.modify(|object| object.meta_mut().managed_fields = None));
            }
        }
    }

    async fn start(&mut self) -> Event<K> {
        if let Some(bus) = &self.bus {
            self.subscription = Some(bus.subscribe(&self.topic).await);
        }
        self.phase = Phase::Listing(Listing::new(self.paged));
        Event::Init
    }

    async fn list(&mut self) -> Result<Option<Event<K>>> {
        let Phase::Listing(listing) = &mut self.phase else { return Ok(None) };
        if let Some(object) = listing.objects.pop_front() {
            return Ok(Some(Event::InitApply(object)));
        }
        if listing.complete {
            self.position = Position::listed(listing.version.unwrap_or_default());
            let subscribed = self.subscription.as_ref().is_some_and(|s| s.confirmed);
            self.phase = match subscribed {
                true => Phase::Following(Instant::now()),
                false => Phase::Watching(None),
            };
            return Ok(Some(Event::InitDone));
        }
        match listing.fetch(&self.source).await {
            Ok(()) => {
                self.paged |= listing.complete;
                self.backoff.reset();
                Ok(None)
            }
            Err(error) => {
                self.paged = !is_expired(&error);
                Err(self.fail(Phase::Start, error))
            }
        }
    }

    async fn open_watch(&mut self) -> Result<Option<Event<K>>> {
        let since = self.position.last();
        match self.source.watch(since).await {
            Ok(events) => {
                self.position.join();
                self.phase = Phase::Watching(Some(Watch { events, opened: Instant::now(), since }));
                Ok(None)
            }
            Err(kube::Error::Api(status)) if status.code == 410 => self.begin_anew(),
            Err(error) => Err(self.fail(Phase::Watching(None), Error::WatchStartFailed(error))),
        }
    }

    async fn watch(&mut self) -> Result<Option<Event<K>>> {
        let Phase::Watching(Some(watch)) = &mut self.phase else { return Ok(None) };
        tokio::select! {
            event = watch.events.next() => self.take_event(event),
            signal = signal(self.subscription.as_mut()) => {
                let Signal::Message(payload) = signal else { return Ok(None) };
                let since = watch.since;
                let event = match self.take_message(&payload, since) {
                    Taken::Yes(event) => event,
                    Taken::Late | Taken::No => return Ok(None),
                    Taken::Foreign => return self.begin_anew(),
                };
                tracing::debug!(topic = self.topic, position = ?self.position, "following the topic");
                self.phase = Phase::Following(Instant::now());
                Ok(event)
            }
        }
    }

    fn take_event(
        &mut self,
        event: Option<kube::Result<WatchEvent<K>>>,
    ) -> Result<Option<Event<K>>> {
        match event {
            Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
                self.take_object(object, Event::Apply)
            }
            Some(Ok(WatchEvent::Deleted(object))) => self.take_object(object, Event::Delete),
            Some(Ok(WatchEvent::Bookmark(bookmark))) => {
                self.position.watched(version(Some(&bookmark.metadata.resource_version))?);
                Ok(None)
            }
            Some(Ok(WatchEvent::Error(status))) => self.take_failure(status),
            Some(Err(error)) => Err(self.fail(Phase::Watching(None), Error::WatchFailed(error))),
            None => {
                self.end_watch();
                Ok(None)
            }
        }
    }

    fn take_object(&mut self, object: K, event: fn(K) -> Event<K>) -> Result<Option<Event<K>>> {
        self.position.watched(version(object.resource_version().as_ref())?);
        self.backoff.reset();
        let in_scope = self.source.covers(object.meta().namespace.as_deref());
        Ok(in_scope.then(|| event(object)))
    }

    fn take_failure(&mut self, status: Box<Status>) -> Result<Option<Event<K>>> {
        match status.code {
            410 => self.begin_anew(),
            _ => Err(self.fail(Phase::Watching(None), Error::WatchError(status))),
        }
    }

    /// The server has ended the watch, as it does from time to time.
    fn end_watch(&mut self) {
        if let Phase::Watching(Some(watch)) = &self.phase
            && watch.opened.elapsed() < SHORT
        {
            self.pause = Some(self.backoff.next());
        }
        self.phase = Phase::Watching(None);
    }

    async fn follow(&mut self, heard: Instant) -> Option<Event<K>> {
        let signal = timeout_at(heard + SILENCE, signal(self.subscription.as_mut())).await;
        let why = match signal {
            Ok(Signal::Message(payload)) => {
                match self.take_message(&payload, self.position.last()) {
                    Taken::Yes(event) => {
                        self.phase = Phase::Following(Instant::now());
                        return event;
                    }
                    Taken::Late => return None,
                    Taken::No => "the topic does not tell all",
                    Taken::Foreign => {
                        tracing::info!(topic = self.topic, position = ?self.position, "the store was set back");
                        self.phase = Phase::Start;
                        return None;
                    }
                }
            }
            Ok(Signal::Lost) => "the connection to Redis is lost",
            Err(_) => "the topic is silent",
        };
        tracing::debug!(why, topic = self.topic, position = ?self.position, "watching over HTTP");
        self.phase = Phase::Watching(None);
        None
    }

    fn take_message(&mut self, payload: &[u8], since: u64) -> Taken<K> {
        let Ok(message) = serde_json::from_slice::<ChangeMessage>(payload) else {
            return Taken::No;
        };
        match self.position.decide(&message, since) {
            Decision::Late => Taken::Late,
            Decision::Known => Taken::Yes(None),
            Decision::Apply => self.apply(&message),
            Decision::Hole => Taken::No,
            Decision::Foreign => Taken::Foreign,
        }
    }

    fn apply(&mut self, message: &ChangeMessage) -> Taken<K> {
        let event = match &message.object {
            None => None,
            Some(object) => match self.decode(message, object.get()) {
                Some(event) => event,
                None => return Taken::No,
            },
        };
        self.position.applied(message.resource_version);
        Taken::Yes(event)
    }

    /// `None` if the message does not hold what is needed; `Some(None)` if it is of no concern here.
    fn decode(&self, message: &ChangeMessage, object: &str) -> Option<Option<Event<K>>> {
        if message.partial {
            let reference: Reference = serde_json::from_str(object).ok()?;
            let in_scope = self.source.covers(reference.metadata.namespace.as_deref());
            return (!in_scope).then_some(None);
        }
        let object: K = serde_json::from_str(object).ok()?;
        if !self.source.covers(object.meta().namespace.as_deref()) {
            return Some(None);
        }
        Some(match message.type_ {
            ChangeType::Added | ChangeType::Modified => Some(Event::Apply(object)),
            ChangeType::Deleted => Some(Event::Delete(object)),
            ChangeType::Bookmark => None,
        })
    }

    fn begin_anew(&mut self) -> Result<Option<Event<K>>> {
        tracing::debug!(
            topic = self.topic,
            version = self.position.last(),
            "version is too old: listing anew"
        );
        self.phase = Phase::Start;
        Ok(None)
    }

    fn fail(&mut self, next: Phase<K>, error: Error) -> Error {
        self.phase = next;
        self.pause = Some(self.backoff.next());
        error
    }
}

impl<K: Clone + DeserializeOwned + Debug> Listing<K> {
    fn new(paged: bool) -> Self {
        Self { objects: VecDeque::new(), version: None, token: None, complete: false, paged }
    }

    async fn fetch(&mut self, source: &Source) -> Result<()> {
        let page = source.page::<K>(self.token.as_deref(), self.paged).await;
        let page = page.map_err(Error::InitialListFailed)?;
        if self.version.is_none() {
            self.version = Some(version(page.metadata.resource_version.as_ref())?);
        }
        self.token = page.metadata.continue_.filter(|token| !token.is_empty());
        self.complete = self.token.is_none();
        self.objects.extend(page.items);
        Ok(())
    }
}

/// Whether the pages of a list took longer than the server remembers.
fn is_expired(error: &Error) -> bool {
    matches!(error, Error::InitialListFailed(kube::Error::Api(status)) if status.code == 410)
}

fn version(text: Option<&String>) -> Result<u64> {
    text.and_then(|text| text.parse().ok()).ok_or(Error::NoResourceVersion)
}

/// The next signal of the topic, if there is one.
async fn signal(subscription: Option<&mut Subscription>) -> Signal {
    match subscription {
        Some(subscription) => subscription.next().await,
        None => std::future::pending().await,
    }
}
