//! A cache of the whole store.
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::Stream;

use crate::{Entry, Revision, Store, StoreError};

/// What the cache keeps.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many changes of each collection are kept for watchers.
    pub window: usize,
    /// Keys below this prefix are kept; changes of others only move the revision.
    pub root: String,
}

impl Default for Options {
    fn default() -> Self {
        Self { window: 4096, root: "/registry/".into() }
    }
}

/// An object in the form that the readers want, made once for each revision.
#[derive(Debug)]
pub struct Item<T> {
    /// Its key.
    pub key: Arc<str>,
    /// The revision that wrote it.
    pub revision: Revision,
    /// What `decode` made of its bytes.
    pub object: T,
}

/// A change of one object.
#[derive(Debug)]
pub struct Change<T> {
    /// The revision of the change.
    pub revision: Revision,
    /// The revision of the change before it in the same collection, or 0 if unknown.
    pub previous: Revision,
    /// The object before; absent if this created it.
    pub old: Option<Arc<Item<T>>>,
    /// The object after; absent if this deleted it.
    pub new: Option<Arc<Item<T>>>,
}

/// The objects below a prefix as of one revision, in key order.
#[derive(Debug)]
pub struct Snapshot<T> {
    /// The revision as of which the items are.
    pub revision: Revision,
    /// The items.
    pub items: Vec<Arc<Item<T>>>,
}

/// See the module.
#[derive(Debug)]
pub struct Cache<T> {
    _t: std::marker::PhantomData<T>,
}

impl<T: Send + Sync + 'static> Cache<T> {
    /// Loads the store and follows it.
    pub async fn start(
        _store: Arc<dyn Store>,
        _options: Options,
        _decode: impl Fn(&Entry) -> T + Send + Sync + 'static,
    ) -> Result<Arc<Self>, StoreError> {
        unimplemented!()
    }

    /// The revision up to which every change is in the cache.
    pub fn revision(&self) -> Revision {
        unimplemented!()
    }

    /// Waits until the cache has reached a revision.
    pub async fn wait_for(&self, _revision: Revision) -> Result<(), StoreError> {
        unimplemented!()
    }

    /// Waits until the cache has all that was acknowledged before the call.
    pub async fn catch_up(&self) -> Result<Revision, StoreError> {
        unimplemented!()
    }

    /// The object of a key.
    pub fn get(&self, _key: &str) -> Option<Arc<Item<T>>> {
        unimplemented!()
    }

    /// The objects below a prefix, which is a collection or a namespace in it.
    pub fn list(&self, _prefix: &str) -> Snapshot<T> {
        unimplemented!()
    }

    /// The changes below a prefix after a revision.
    pub fn watch(
        self: &Arc<Self>,
        _prefix: &str,
        _after: Revision,
    ) -> Result<Subscription<T>, StoreError> {
        unimplemented!()
    }

    /// The changes of all collections after a revision.
    pub fn subscribe_all(
        self: &Arc<Self>,
        _after: Revision,
    ) -> Result<Subscription<T>, StoreError> {
        unimplemented!()
    }
}

/// A stream of changes; ends with `Compacted` when the reader fell behind the window.
#[derive(Debug)]
pub struct Subscription<T> {
    _cache: Arc<Cache<T>>,
}

impl<T> Subscription<T> {
    /// The revision up to which every change was delivered: what a bookmark may say.
    pub fn revision(&self) -> Revision {
        unimplemented!()
    }
}

impl<T: Send + Sync + 'static> Stream for Subscription<T> {
    type Item = Result<Arc<Change<T>>, StoreError>;

    fn poll_next(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        unimplemented!()
    }
}
