//! The store in etcd.
use async_trait::async_trait;
use bytes::Bytes;

use crate::{Entry, Events, Expect, Page, Query, Revision, Store, StoreError};

/// The store in etcd.
#[derive(Debug)]
pub struct Etcd {}

impl Etcd {
    /// Connects to a cluster by its client URLs.
    pub async fn connect(_endpoints: &[String]) -> Result<Self, StoreError> {
        unimplemented!()
    }
}

#[async_trait]
impl Store for Etcd {
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
