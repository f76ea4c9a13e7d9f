//! The store in one file.
use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Entry, Events, Expect, Page, Query, Revision, Store, StoreError};

/// How much history to keep.
#[derive(Clone, Debug)]
pub struct Options {
    /// So many of the latest revisions stay readable.
    pub keep_revisions: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { keep_revisions: 10_000 }
    }
}

/// The store in one file, for a cluster with one API server.
#[derive(Debug)]
pub struct Embedded {}

impl Embedded {
    /// Opens the file, or creates it.
    pub fn open(_path: impl AsRef<Path>, _options: Options) -> Result<Self, StoreError> {
        unimplemented!()
    }
}

#[async_trait]
impl Store for Embedded {
    async fn revision(&self) -> Result<Revision, StoreError> {
        unimplemented!()
    }
    async fn get(&self, _key: &str) -> Result<Option<Entry>, StoreError> {
        unimplemented!()
    }
    async fn list(&self, _prefix: &str, _query: Query) -> Result<Page, StoreError> {
        unimplemented!()
    }
    async fn put(
        &self,
        _key: &str,
        _value: Bytes,
        _expect: Option<Expect>,
    ) -> Result<Revision, StoreError> {
        unimplemented!()
    }
    async fn delete(&self, _key: &str, _expect: Option<Revision>) -> Result<Revision, StoreError> {
        unimplemented!()
    }
    async fn watch(&self, _after: Revision) -> Result<Events, StoreError> {
        unimplemented!()
    }
    async fn compact(&self, _before: Revision) -> Result<(), StoreError> {
        unimplemented!()
    }
}
