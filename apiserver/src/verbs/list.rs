//! GET of a collection. The answer is put together from objects that are encoded already.

use std::time::Duration;

use api_machinery::ApiError;
use api_types::jiff::Timestamp;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{Entry, Query as StoreQuery, Revision, StoreError, cache::Snapshot};
use tokio::time::timeout;

use crate::{
    call::Call,
    conversion::View,
    encoded::{self, CachedObject, Decoded, Encoded, readable},
    negotiation::Media,
    query::{ListOptions, ReadAt, Selection},
    representation::Listing,
    respond::{self, Response},
    storage::{self, Storage},
};

/// How many entries are read from the history at once while looking for those that selectors select.
const PAGE: usize = 500;

/// Where a list goes on: at this key's successor, as of this revision.
#[derive(Debug, Serialize, Deserialize)]
struct Continuation {
    /// Below zero: of whatever is there by then.
    rv: i64,
    start: String,
}

/// Of a list whose beginning nobody remembers.
const INCONSISTENT: i64 = -1;

/// What a list answers with.
#[derive(Debug)]
pub(super) struct Listed {
    revision: Revision,
    pub(super) items: Vec<Bytes>,
    continuation: Option<String>,
    remaining: Option<usize>,
}

impl Listed {
    /// The list's own metadata.
    pub(super) fn metadata(&self) -> Value {
        let mut metadata = json!({ "resourceVersion": self.revision.to_string() });
        if let Some(continuation) = &self.continuation {
            metadata["continue"] = continuation.as_str().into();
        }
        if let Some(remaining) = self.remaining {
            metadata["remainingItemCount"] = remaining.into();
        }
        metadata
    }
}

/// Lists a collection.
pub(super) async fn list(storage: &Storage, call: &Call) -> Result<Response, ApiError> {
    let options = ListOptions::of_list(&call.query, &call.info.def)?;
    let listed = select(storage, call, &options);
    let listed = match options.timeout_seconds.filter(|&seconds| seconds > 0) {
        None => listed.await,
        Some(seconds) => timeout(Duration::from_secs(seconds), listed).await.unwrap_or_else(|_| {
            Err(ApiError::timeout("request did not complete within the allotted timeout"))
        }),
    };
    list_response(call, listed?)
}

/// The objects of a collection that the options select.
///
/// *Guarantees*: without `resourceVersion` all writes acknowledged before the request are seen; the pages of a
/// limited list are all as of the first one's revision. *Errors*: 410 if that revision is compacted.
pub(super) async fn select(
    storage: &Storage,
    call: &Call,
    options: &ListOptions,
) -> Result<Listed, ApiError> {
    let prefix = call.info.def.prefix(call.info.namespace.as_deref());
    let from = Source { storage, view: storage.view(&call.info.def), prefix, options };
    match (&options.continuation, options.at) {
        (Some(token), _) => {
            let Continuation { rv, start } = decode(token)?;
            let Ok(rv) = u64::try_from(rv) else { return from.rest(start).await };
            let begin = History { revision: Revision(rv), after: Some(start.clone()) };
            let listed = from.past(begin, CONTINUE_TOO_OLD).await;
            listed.map_err(|error| match error.reason() {
                "Expired" => error.continuing(encode(INCONSISTENT, &start)),
                _ => error,
            })
        }
        (None, ReadAt::Exact(revision)) => {
            storage.wait_for(revision).await?;
            from.past(History { revision, after: None }, TOO_OLD).await
        }
        (None, at) => from.cache(at).await,
    }
}

/// What is listed, and how.
#[derive(Debug)]
struct Source<'a> {
    storage: &'a Storage,
    view: View,
    prefix: String,
    options: &'a ListOptions,
}

const CONTINUE_TOO_OLD: &str = "The provided continue parameter is too old to display a consistent list \
    result. You can start a new list without the continue parameter, or use the continue token in this response to \
    retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects \
    that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";
const TOO_OLD: &str = "The resourceVersion for the provided list is too old.";

impl Source<'_> {
    async fn cache(&self, at: ReadAt) -> Result<Listed, ApiError> {
        let Self { storage, prefix, options, .. } = self;
        storage.reach(at).await?;
        storage.read_again(prefix).await?;
        // A webhook may change labels: what is found by those that are stored would not be all.
        if self.view.def.webhook.is_some() {
            return self.of(storage.cache().list(prefix)).await;
        }
        let required = options.selection.labels.required();
        self.of(storage.cache().list_having(prefix, required)).await
    }

    /// What there is after a key by now.
    async fn rest(&self, start: String) -> Result<Listed, ApiError> {
        self.storage.reach(ReadAt::MostRecent).await?;
        let revision = self.storage.cache().list(&self.prefix).revision;
        self.past(History { revision, after: Some(start) }, TOO_OLD).await
    }

    /// The list as it was: the cache's, if that goes back so far, for as long as the store does.
    async fn past(&self, from: History, too_old: &str) -> Result<Listed, ApiError> {
        let Self { storage, prefix, .. } = self;
        let after = from.after.as_deref().unwrap_or_default();
        let Some(snapshot) = storage.cache().list_at(prefix, after, from.revision) else {
            return self.history(from, too_old).await;
        };
        storage.remembers(from.revision).await.map_err(|e| expired(e, too_old))?;
        self.of(snapshot).await
    }

    async fn of(&self, snapshot: Snapshot<Decoded>) -> Result<Listed, ApiError> {
        let Self { view, options, .. } = self;
        let (selection, Snapshot { revision, items: all }) = (&options.selection, snapshot);
        let limit = options.limit.unwrap_or(usize::MAX);
        let (mut items, mut last, mut more) = (Vec::new(), None, false);
        let mut rest = all.iter().peekable();
        while !more && rest.peek().is_some() {
            let together: Vec<&CachedObject> = rest.by_ref().take(PAGE).collect();
            view.prepare(together.iter().filter_map(|item| item.object.as_ref().ok())).await?;
            for item in together {
                let object = readable(item)?;
                if view.selects(selection, object)? {
                    more = items.len() == limit;
                    if more {
                        break;
                    }
                    items.push(view.json(object)?);
                    last = Some(&item.key);
                }
            }
        }
        Ok(Listed {
            revision,
            continuation: last.filter(|_| more).map(|key| encode(as_signed(revision), key)),
            remaining: remaining(all.len() - items.len(), selection),
            items,
        })
    }

    /// Entries as they are looked at, converted as far as that takes others.
    async fn encodings(
        &self,
        entries: impl Iterator<Item = &Entry>,
    ) -> Result<std::vec::IntoIter<Encoding>, ApiError> {
        let encodings: Vec<_> = entries.map(|entry| encoding(self.storage, entry)).collect();
        self.view.prepare(encodings.iter().filter_map(|it| it.readable().ok())).await?;
        Ok(encodings.into_iter())
    }

    async fn history(&self, mut from: History, too_old: &str) -> Result<Listed, ApiError> {
        let Self { storage, view, prefix, options } = self;
        let limit = options.limit.unwrap_or(usize::MAX);
        let mut items = Vec::new();
        loop {
            // Without selectors a page of the store is a page of the list.
            let wanted = if options.selection.is_everything() { limit - items.len() } else { PAGE };
            let query = StoreQuery {
                after: from.after.take(),
                limit: (wanted < usize::MAX).then_some(wanted),
                at: Some(from.revision),
            };
            let page = storage.page(prefix, query).await.map_err(|e| expired(e, too_old))?;
            let mut ahead = Vec::new().into_iter();
            for (index, entry) in page.entries.iter().enumerate() {
                if index.is_multiple_of(PAGE) {
                    ahead = self.encodings(page.entries[index..].iter().take(PAGE)).await?;
                }
                let Some(encoding) = ahead.next() else { break };
                let encoded = encoding.readable()?;
                if !view.selects(&options.selection, encoded)? {
                    continue;
                }
                items.push(view.json(encoded)?);
                let here = page.entries.len() - index - 1;
                if items.len() == limit && (page.more || here > 0) {
                    let continuation = Some(encode(as_signed(from.revision), &entry.key));
                    let more = page.remaining.map(|beyond| beyond + here);
                    let remaining = more.and_then(|more| remaining(more, &options.selection));
                    return Ok(Listed { revision: from.revision, items, continuation, remaining });
                }
            }
            match page.entries.last() {
                Some(last) if page.more => from.after = Some(last.key.to_string()),
                _ => {
                    let revision = from.revision;
                    return Ok(Listed { revision, items, continuation: None, remaining: None });
                }
            }
        }
    }
}

/// A place in the store's history.
#[derive(Debug)]
struct History {
    revision: Revision,
    after: Option<String>,
}

/// The encoding of an entry: the cache's if it has the same revision.
fn encoding(storage: &Storage, entry: &Entry) -> Encoding {
    match storage.cache().get(&entry.key) {
        Some(cached) if cached.revision == entry.revision => Encoding::Cached(cached),
        _ => Encoding::Own(Box::new(storage.decode(entry))),
    }
}

#[derive(Debug)]
enum Encoding {
    Cached(CachedObject),
    Own(Box<Decoded>),
}

impl Encoding {
    fn readable(&self) -> Result<&Encoded, ApiError> {
        match self {
            Self::Cached(item) => readable(item),
            Self::Own(decoded) => decoded.as_ref().as_ref().map_err(ApiError::from),
        }
    }
}

/// Kubernetes tells how many are left only where it knows without looking at them.
fn remaining(more: usize, selection: &Selection) -> Option<usize> {
    (more > 0 && selection.is_everything()).then_some(more)
}

fn list_response(call: &Call, listed: Listed) -> Result<Response, ApiError> {
    let (def, presentation, metadata) = (&call.info.def, call.presentation, listed.metadata());
    if presentation.media == Media::Json {
        return json_response(call, listed, &metadata);
    }
    let (def, items) = (def.clone(), listed.items.clone());
    let mut response = json_response(call, listed, &metadata)?;
    response.extensions_mut().insert(Listing { def, presentation, metadata, items });
    Ok(response)
}

fn json_response(call: &Call, listed: Listed, metadata: &Value) -> Result<Response, ApiError> {
    let def = &call.info.def;
    if !call.presentation.is_plain() {
        let (head, tail) = call.presentation.frame(def, metadata)?;
        let (def, presentation, now) = (def.clone(), call.presentation, Timestamp::now());
        let shown = listed.items.into_iter().map(move |item| {
            Ok(presentation.element(&def, &encoded::value(&item)?, now)?.to_string())
        });
        return respond::elements(head, shown, tail);
    }
    let (kind, version) = (&def.names.list_kind, def.api_version());
    let head =
        format!(r#"{{"kind":"{kind}","apiVersion":"{version}","metadata":{metadata},"items":["#);
    let mut pieces = Vec::with_capacity(2 * listed.items.len() + 2);
    pieces.push(head.into());
    for (index, item) in listed.items.into_iter().enumerate() {
        if index > 0 {
            pieces.push(Bytes::from_static(b","));
        }
        pieces.push(item);
    }
    pieces.push(Bytes::from_static(b"]}"));
    Ok(respond::pieces(pieces))
}

/// Revisions count up from one.
fn as_signed(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}

fn encode(rv: i64, key: &str) -> String {
    let token = Continuation { rv, start: key.to_owned() };
    BASE64.encode(serde_json::to_vec(&token).expect("a number and a text have a JSON form"))
}

fn decode(token: &str) -> Result<Continuation, ApiError> {
    let json = BASE64.decode(token).ok();
    json.and_then(|json| serde_json::from_slice(&json).ok())
        .ok_or_else(|| ApiError::bad_request("continue key is not valid"))
}

fn expired(error: StoreError, message: &str) -> ApiError {
    match error {
        StoreError::Compacted { .. } => ApiError::expired(message),
        other => storage::api_error(other),
    }
}
