//! A reader of changes: a cursor in a collection's log.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures::{Stream, StreamExt};
use tokio_stream::wrappers::WatchStream;

use super::{
    collection::{Collection, Reader, Recalled},
    feed::Fed,
    object::{Change, Object},
};
use crate::{Revision, StoreError};

/// How many changes are taken from the log at once.
const BATCH: usize = 64;

/// The changes below a prefix, as a stream. It costs its cursor and a small batch, however many changes
/// wait in the log. A reader that falls behind the log's window, or behind a gap in the store's watch,
/// gets `Compacted` and then the end: it has to list anew.
pub struct Subscription<T> {
    fed: Fed<T>,
    collection: Arc<Collection<T>>,
    prefix: Box<str>,
    /// Everything up to here has been delivered, or was known before.
    delivered: Revision,
    reader: Reader,
    batch: VecDeque<Arc<Change<T>>>,
    wakes: WatchStream<()>,
    expired: bool,
}

impl<T: Object + Send + Sync + 'static> Subscription<T> {
    pub(super) fn new(
        fed: Fed<T>,
        collection: Arc<Collection<T>>,
        prefix: &str,
        value: Option<&str>,
        after: Revision,
    ) -> Result<Self, StoreError> {
        let (reader, wakes) = collection.follow(value, after)?;
        Ok(Self {
            reader,
            fed,
            collection,
            prefix: prefix.into(),
            delivered: after,
            batch: VecDeque::new(),
            wakes: WatchStream::from_changes(wakes),
            expired: false,
        })
    }

    /// The changes after a revision, or as far back as they are known: then from which on that is. What is known is
    /// held, so that it can't be forgotten while it is read.
    pub(super) fn recall(
        fed: Fed<T>,
        collection: Arc<Collection<T>>,
        after: Revision,
    ) -> (Revision, Self) {
        let Recalled { since, known, reader, wakes } = collection.recall(after);
        let this = Self {
            fed,
            collection,
            prefix: "".into(),
            delivered: since,
            reader,
            batch: known,
            wakes: WatchStream::from_changes(wakes),
            expired: false,
        };
        (since, this)
    }

    /// The revision up to which every change was delivered: what a bookmark may say. It never goes back.
    pub fn revision(&mut self) -> Revision {
        // Before the look at the log: a change up to this revision is in the log by now.
        let reached = self.fed.shared.revision();
        let idle = self.batch.is_empty() && !self.expired;
        if idle && self.collection.is_read_by(&self.reader) {
            self.delivered = self.delivered.max(reached);
        }
        self.delivered
    }

    fn fill(&mut self) -> Result<(), StoreError> {
        let (prefix, known) = (&*self.prefix, self.delivered);
        let wanted =
            |change: &Change<T>| change.revision > known && change.key().starts_with(prefix);
        self.collection.read(&mut self.reader, BATCH, wanted, &mut self.batch)
    }

    fn deliver(&mut self) -> Option<Arc<Change<T>>> {
        let change = self.batch.pop_front()?;
        self.delivered = change.revision;
        Some(change)
    }
}

impl<T: Object + Send + Sync + 'static> Stream for Subscription<T> {
    type Item = Result<Arc<Change<T>>, StoreError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(change) = self.deliver() {
                return Poll::Ready(Some(Ok(change)));
            }
            if self.expired {
                return Poll::Ready(None);
            }
            if let Err(error) = self.fill() {
                self.expired = true;
                return Poll::Ready(Some(Err(error)));
            }
            if self.batch.is_empty() {
                // Never ends: the cache holds the other end.
                ready!(self.wakes.poll_next_unpin(cx));
            }
        }
    }
}

impl<T> fmt::Debug for Subscription<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("prefix", &self.prefix)
            .field("delivered", &self.delivered)
            .finish_non_exhaustive()
    }
}
