//! Watching a collection: a line per change, encoded once for all watchers.

use std::{sync::Arc, time::Duration};

use api_machinery::ApiError;
use axum::body::Body;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::StatusCode;
use serde_json::{Value, json};
use store::{
    Revision, StoreError,
    cache::{Change, Subscription},
};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    call::Call,
    catalogue::InForce,
    conversion::View,
    encoded::{CachedObject, Decoded, Encoded, EventType, readable},
    form::Presentation,
    metrics::Counted,
    negotiation::Media,
    query::{ListOptions, ReadAt, Selection},
    representation,
    respond::{self, Response},
    state::State,
    storage::{Storage, watch_error},
};

/// How often a quiet watcher is told up to where it has seen everything.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);

/// The shortest time a watch lives if the client doesn't say; up to as much again is added at random, so that
/// not all watchers come back at once (Kubernetes: `--min-request-timeout`).
const MIN_LIFETIME: u64 = 1800;

/// How many changes that are there already are sent together.
const BURST: usize = 64;

/// How many of the objects that are there already are looked at together.
const INITIAL: usize = 500;

/// A change, or why there will be no more.
type Outcome = Result<Arc<Change<Decoded>>, StoreError>;

/// What a watcher gets to see.
#[derive(Debug)]
struct Watcher {
    view: View,
    selection: Selection,
    presentation: Presentation,
    bookmarks: bool,
    lifetime: Duration,
    catalogue: InForce,
    shutdown: CancellationToken,
    _counted: Counted,
}

/// What is told of an object.
#[derive(Debug)]
enum Event<'a> {
    Added(&'a Encoded),
    Modified(&'a Encoded),
    /// With the revision of that.
    Deleted(&'a Encoded, Revision),
}

/// Where a watch begins.
#[derive(Debug)]
struct Beginning {
    /// What is shown first, as if it had just been created.
    initial: Vec<CachedObject>,
    /// Whether the end of the initial objects is marked.
    marked: bool,
    after: Revision,
}

/// Watches a collection.
///
/// *Flow*: objects that are there, if asked for → changes → bookmarks in between → end after the timeout, or when the kind
/// is no longer served as it was.
/// *Errors*: a version that is too old is answered, as by Kubernetes, with an `ERROR` event of code 410.
pub(super) async fn watch(state: &State, call: &Call) -> Result<Response, ApiError> {
    let options = ListOptions::of_watch(&call.query, &call.info.def)?;
    let prefix = call.info.def.prefix(call.info.namespace.as_deref());
    let beginning = beginning(&state.storage, &prefix, &options).await?;
    let (def, media) = (&call.info.def, call.presentation.media);
    // Another version's trigger may be a field that the stored one doesn't have.
    let value = options.selection.fields.requires(&def.trigger).filter(|_| def.is_stored());
    let subscription = match state.storage.subscribe(&prefix, value, beginning.after).await {
        Ok(subscription) => subscription,
        Err(error) if error.code() == StatusCode::GONE.as_u16() => {
            return Ok(respond::of_type(media.of_events(), failure(media, &error)));
        }
        Err(error) => return Err(error),
    };
    let watcher = Watcher {
        view: state.storage.view(&call.info.def),
        selection: options.selection,
        presentation: call.presentation,
        bookmarks: options.bookmarks,
        lifetime: lifetime(options.timeout_seconds),
        catalogue: state.catalogue.clone(),
        shutdown: state.shutdown.clone(),
        _counted: state.metrics.watching(&call.info),
    };
    let lines = lines(watcher, beginning, subscription).map(Ok::<_, std::convert::Infallible>);
    Ok(respond::streamed(media.of_events(), Body::from_stream(lines)))
}

/// Kubernetes' table: <https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-watch>
async fn beginning(
    storage: &Storage,
    prefix: &str,
    options: &ListOptions,
) -> Result<Beginning, ApiError> {
    let from_state = match options.initial_events {
        Some(wanted) => wanted,
        None => matches!(options.at, ReadAt::MostRecent | ReadAt::Any),
    };
    if let (false, ReadAt::NotOlderThan(after) | ReadAt::Exact(after)) = (from_state, options.at) {
        return Ok(Beginning { initial: Vec::new(), marked: false, after });
    }
    let snapshot = storage.list(prefix, options.at).await?;
    let initial: Vec<_> = snapshot.items.iter().filter(|_| from_state).cloned().collect();
    initial.iter().try_for_each(|item| readable(item).map(drop))?;
    let marked = options.initial_events == Some(true) && options.bookmarks;
    Ok(Beginning { initial, marked, after: snapshot.revision })
}

fn lifetime(seconds: Option<u64>) -> Duration {
    let random = u64::from(Uuid::new_v4().as_bytes()[0]) * MIN_LIFETIME / 256;
    Duration::from_secs(seconds.filter(|&s| s > 0).unwrap_or(MIN_LIFETIME + random))
}

fn lines(
    watcher: Watcher,
    beginning: Beginning,
    subscription: Subscription<Decoded>,
) -> impl Stream<Item = Bytes> + Send {
    async_stream::stream! {
        let mut first = true;
        for together in beginning.initial.chunks(INITIAL) {
            let prepared = tokio::select! {
                () = watcher.shutdown.cancelled() => return,
                prepared = watcher.view.prepare(together.iter().filter_map(of_item)) => prepared,
            };
            if let Err(error) = prepared {
                yield watcher.failure(&error);
                return;
            }
            for object in together.iter().filter_map(of_item) {
                match watcher.appearance(object, &mut first) {
                    Ok(line) => if let Some(line) = line { yield line },
                    Err(error) => {
                        yield watcher.failure(&error);
                        return;
                    }
                }
            }
        }
        if beginning.marked {
            yield watcher.bookmark(beginning.after, true);
        }
        drop(beginning);
        let mut changes = subscription.ready_chunks(BURST);
        let stop = watcher.shutdown.clone().cancelled_owned();
        let swapped = watcher.catalogue.clone().ended(watcher.view.def.clone());
        let end = sleep(watcher.lifetime);
        tokio::pin!(stop, swapped, end);
        let mut tick = interval_at(Instant::now() + BOOKMARK_INTERVAL, BOOKMARK_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => break,
                () = &mut swapped => break,
                () = &mut end => break,
                burst = changes.next() => {
                    let (burst, reached) = (burst.unwrap_or_default(), changes.get_mut().revision());
                    // Others may be asked, and not answer: this watcher alone waits. What it has not been told of by the
                    // end it is not told to have seen either.
                    let (lines, goes_on) = tokio::select! {
                        biased;
                        () = &mut stop => return,
                        told = watcher.told(burst, reached, &mut first) => told,
                    };
                    if let Some(lines) = lines {
                        yield lines;
                    }
                    if !goes_on {
                        return;
                    }
                }
                _ = tick.tick(), if watcher.bookmarks => {
                    yield watcher.bookmark(changes.get_mut().revision(), false);
                }
            }
        }
        if watcher.bookmarks {
            yield watcher.bookmark(changes.get_mut().revision(), false);
        }
    }
}

/// What a change is to somebody who sees only what the selectors select. What can't be read or shown ends the watch:
/// nobody knows whether it is still selected.
fn event<'a>(
    change: &'a Change<Decoded>,
    view: &View,
    selection: &Selection,
) -> Result<Option<Event<'a>>, ApiError> {
    let old = change.old.as_ref().and_then(of_item);
    let new = change.new.as_ref().map(readable).transpose()?;
    let selects = |object: Option<&Encoded>| match object {
        Some(object) => view.selects(selection, object),
        None => Ok(false),
    };
    let (was, is) = (selects(old)?, selects(new)?);
    Ok(match (old, new) {
        (_, Some(new)) if is && !was => Some(Event::Added(new)),
        (_, Some(new)) if is => Some(Event::Modified(new)),
        (Some(old), _) if was => Some(Event::Deleted(old, change.revision)),
        _ => None,
    })
}

impl Event<'_> {
    fn type_(&self) -> EventType {
        match self {
            Self::Added(_) => EventType::Added,
            Self::Modified(_) => EventType::Modified,
            Self::Deleted(..) => EventType::Deleted,
        }
    }

    fn object(&self) -> &Encoded {
        match self {
            Self::Added(object) | Self::Modified(object) | Self::Deleted(object, _) => object,
        }
    }

    /// In the version that is stored, if that is the one.
    fn shared(&self, view: &View, media: Media) -> Option<Result<Bytes, ApiError>> {
        view.is_of(self.object()).then(|| match (media, self) {
            (Media::Json, Self::Added(object)) => Ok(object.added()),
            (Media::Json, Self::Modified(object)) => Ok(object.modified()),
            (Media::Json, Self::Deleted(object, gone)) => Ok(object.deleted(*gone)),
            (media, event) => event.object().event(media, event.type_(), || {
                representation::event(media, event.type_().name(), &event.value(view)?)
            }),
        })
    }

    fn value(&self, view: &View) -> Result<Value, ApiError> {
        match self {
            Self::Added(object) | Self::Modified(object) => view.value(object),
            Self::Deleted(object, gone) => view.gone(object, *gone),
        }
    }
}

/// The object of an item that can be read.
fn of_item(item: &CachedObject) -> Option<&Encoded> {
    item.object.as_ref().ok()
}

impl Watcher {
    /// The lines of changes that have come together, to be sent together, and whether more will follow.
    async fn told(
        &self,
        burst: Vec<Outcome>,
        reached: Revision,
        first: &mut bool,
    ) -> (Option<Bytes>, bool) {
        let changes = burst.iter().filter_map(|change| change.as_ref().ok());
        let seen = changes.flat_map(|change| self.seen(change));
        if let Err(error) = self.view.prepare(seen).await {
            return (Some(self.failure(&anew(&error))), false);
        }
        let mut lines = Vec::new();
        let mut goes_on = !burst.is_empty();
        for change in burst {
            let change = change.map_err(|error| watch_error(error, reached));
            match change.and_then(|change| self.change(&change, first)) {
                Ok(line) => lines.extend(line),
                Err(error) => {
                    lines.push(self.failure(&error));
                    goes_on = false;
                    break;
                }
            }
        }
        (together(lines), goes_on)
    }

    /// A change's line, if the watcher is told of it.
    fn change(
        &self,
        change: &Change<Decoded>,
        first: &mut bool,
    ) -> Result<Option<Bytes>, ApiError> {
        let event = event(change, &self.view, &self.selection);
        let line = event.and_then(|event| event.map(|event| self.shown(&event, first)).transpose());
        line.map_err(|error| anew(&error))
    }

    /// What is looked at of a change.
    fn seen<'a>(&self, change: &'a Change<Decoded>) -> impl Iterator<Item = &'a Encoded> {
        let is_old_seen = change.new.is_none() || !self.selection.is_everything();
        let old = change.old.as_ref().filter(|_| is_old_seen);
        old.into_iter().chain(&change.new).filter_map(of_item)
    }

    /// An event's line in the form that the watcher asked for.
    fn shown(&self, event: &Event<'_>, first: &mut bool) -> Result<Bytes, ApiError> {
        let media = self.presentation.media;
        if self.presentation.is_plain()
            && let Some(shared) = event.shared(&self.view, media)
        {
            return shared;
        }
        let (object, header) = (event.value(&self.view)?, std::mem::take(first));
        let object = self.presentation.show(&self.view.def, &object, header)?;
        Ok(representation::event(media, event.type_().name(), &object)?.into())
    }

    /// The line of an object that is there at the beginning, if it is selected.
    fn appearance(&self, object: &Encoded, first: &mut bool) -> Result<Option<Bytes>, ApiError> {
        let is_selected = self.view.selects(&self.selection, object)?;
        is_selected.then(|| self.shown(&Event::Added(object), first)).transpose()
    }

    fn bookmark(&self, revision: Revision, initial_end: bool) -> Bytes {
        let mut metadata =
            json!({ "resourceVersion": revision.to_string(), "creationTimestamp": null });
        if initial_end {
            metadata["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
        }
        let object = self.presentation.bookmark(&self.view.def, &metadata);
        let event = representation::event(self.presentation.media, "BOOKMARK", &object);
        event.map_or_else(|error| self.failure(&error), Bytes::from)
    }

    fn failure(&self, error: &ApiError) -> Bytes {
        failure(self.presentation.media, error)
    }
}

/// One piece of all lines, if there are any.
fn together(mut lines: Vec<Bytes>) -> Option<Bytes> {
    if lines.len() > 1 {
        return Some(lines.concat().into());
    }
    lines.pop()
}

/// Who goes on from before would meet what can't be shown for ever, mended or not: they are to list anew.
fn anew(error: &ApiError) -> ApiError {
    ApiError::expired(error.to_string())
}

fn failure(media: Media, error: &ApiError) -> Bytes {
    let event = representation::event(media, "ERROR", &json!(error.status()));
    event.expect("a Status has a form in every encoding").into()
}
