//! Events: what happened to an object, for people to read in `kubectl describe`.
//!
//! Recording never blocks and never fails the caller; events that cannot be written are dropped. The
//! same event again raises `count` and `lastTimestamp` of the first one; so does a later one of those that
//! [`Recorder::replace`] records, with its own message.

use std::{collections::HashMap, time::Duration};

use api_types::{
    api::core::v1::{Event, EventSource, ObjectReference},
    jiff::Timestamp,
    meta,
};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams, PostParams},
};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::Tasks;

/// Events waiting to be written.
const QUEUE: usize = 1024;
/// For how long an event counts as a repetition of an earlier one.
const REMEMBERED: Duration = Duration::from_secs(600);
/// How many events are remembered.
const CAPACITY: usize = 4096;

/// Whether an event is as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    /// It happens in the normal course.
    Normal,
    /// Somebody should look at it.
    Warning,
}

impl EventType {
    /// Kubernetes' word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Writes the events of one component. Clones share a queue.
#[derive(Clone, Debug)]
pub struct Recorder {
    queue: mpsc::Sender<Occurrence>,
}

impl Recorder {
    /// Starts the writer; needs a tokio runtime. `host` is the node it runs on, or empty.
    pub fn new(tasks: &Tasks, client: Client, component: &str, host: &str) -> Self {
        let (queue, occurrences) = mpsc::channel(QUEUE);
        let source = EventSource {
            component: Some(component.to_owned()),
            host: (!host.is_empty()).then(|| host.to_owned()),
        };
        let writer = Writer { client, source, written: HashMap::new() };
        tasks.spawn("writing events", writer.run(occurrences));
        Self { queue }
    }

    /// Records that something happened to the object.
    pub fn record(
        &self,
        object: &ObjectReference,
        type_: EventType,
        reason: &str,
        message: impl Into<String>,
    ) {
        self.send(Occurrence::new(object, type_, reason, message.into()));
    }

    /// [`Recorder::record`] where an object has one event for the reason, which says what was last.
    pub fn replace(
        &self,
        object: &ObjectReference,
        type_: EventType,
        reason: &str,
        message: impl Into<String>,
    ) {
        let occurrence = Occurrence::new(object, type_, reason, message.into());
        self.send(Occurrence { replaces: true, ..occurrence });
    }

    fn send(&self, occurrence: Occurrence) {
        if let Err(error) = self.queue.try_send(occurrence) {
            tracing::debug!(%error, "event dropped");
        }
    }

    /// [`Recorder::record`] of an object at hand.
    pub fn about<K>(&self, object: &K, type_: EventType, reason: &str, message: impl Into<String>)
    where
        K: Resource<DynamicType = ()>,
    {
        self.record(&object.object_ref(&()), type_, reason, message);
    }
}

#[derive(Debug)]
struct Occurrence {
    object: ObjectReference,
    type_: EventType,
    reason: String,
    message: String,
    /// Whether it is a repetition though its message is another.
    replaces: bool,
    at: Timestamp,
}

impl Occurrence {
    fn new(object: &ObjectReference, type_: EventType, reason: &str, message: String) -> Self {
        Occurrence {
            object: object.clone(),
            type_,
            reason: reason.to_owned(),
            message,
            replaces: false,
            at: Timestamp::now(),
        }
    }

    /// Events with the same key are repetitions.
    fn key(&self) -> String {
        let object = &self.object;
        let parts =
            [&object.kind, &object.namespace, &object.name, &object.uid, &object.field_path]
                .map(|part| part.as_deref().unwrap_or_default());
        let message = Some(&self.message).filter(|_| !self.replaces);
        format!("{}\n{:?}\n{}\n{message:?}", parts.join("\n"), self.type_, self.reason)
    }

    fn namespace(&self) -> &str {
        self.object.namespace.as_deref().unwrap_or("default")
    }
}

/// An event that is in the API server.
#[derive(Debug)]
struct Written {
    name: String,
    count: i32,
    last: Instant,
}

struct Writer {
    client: Client,
    source: EventSource,
    written: HashMap<String, Written>,
}

impl Writer {
    async fn run(mut self, mut occurrences: mpsc::Receiver<Occurrence>) {
        while let Some(occurrence) = occurrences.recv().await {
            self.forget_old();
            if let Err(error) = self.write(&occurrence).await {
                let reason = occurrence.reason;
                tracing::debug!(%error, reason, "event dropped");
            }
        }
    }

    fn forget_old(&mut self) {
        if self.written.len() >= CAPACITY {
            self.written.retain(|_, written| written.last.elapsed() < REMEMBERED);
        }
        if self.written.len() >= CAPACITY {
            self.written.clear();
        }
    }

    async fn write(&mut self, occurrence: &Occurrence) -> Result<(), kube::Error> {
        let key = occurrence.key();
        let known = self.written.remove(&key).filter(|w| w.last.elapsed() < REMEMBERED);
        let repeated = match known {
            Some(written) => self.repeat(occurrence, written).await?,
            None => None,
        };
        let written = match repeated {
            Some(written) => written,
            None => self.create(occurrence).await?,
        };
        self.written.insert(key, written);
        Ok(())
    }

    /// Counts a repetition; `None` if the event is gone.
    async fn repeat(
        &self,
        occurrence: &Occurrence,
        written: Written,
    ) -> Result<Option<Written>, kube::Error> {
        let count = written.count + 1;
        let Occurrence { at, message, .. } = occurrence;
        let patch = serde_json::json!({ "count": count, "lastTimestamp": at, "message": message });
        let api = self.api(occurrence);
        match api.patch(&written.name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(_) => Ok(Some(Written { count, last: Instant::now(), ..written })),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn create(&self, occurrence: &Occurrence) -> Result<Written, kube::Error> {
        let event = event(occurrence, &self.source);
        let created = self.api(occurrence).create(&PostParams::default(), &event).await?;
        let name = created.metadata.name.unwrap_or_default();
        Ok(Written { name, count: 1, last: Instant::now() })
    }

    fn api(&self, occurrence: &Occurrence) -> Api<Event> {
        Api::namespaced(self.client.clone(), occurrence.namespace())
    }
}

/// The object of a first occurrence. Its name is the object's, made unique by the time, as Kubernetes
/// does it.
fn event(occurrence: &Occurrence, source: &EventSource) -> Event {
    let object = occurrence.object.name.as_deref().unwrap_or("unknown");
    Event {
        metadata: meta::ObjectMeta {
            name: Some(format!("{object}.{:016x}", occurrence.at.as_nanosecond())),
            namespace: Some(occurrence.namespace().to_owned()),
            ..Default::default()
        },
        involved_object: occurrence.object.clone(),
        type_: Some(occurrence.type_.as_str().to_owned()),
        reason: Some(occurrence.reason.clone()),
        message: Some(occurrence.message.clone()),
        count: Some(1),
        first_timestamp: Some(meta::Time(occurrence.at)),
        last_timestamp: Some(meta::Time(occurrence.at)),
        reporting_component: source.component.clone(),
        reporting_instance: source.host.clone(),
        source: Some(source.clone()),
        ..Default::default()
    }
}
