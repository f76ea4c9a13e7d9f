//! Carries out what was planned for the EndpointSlices of a Service.

use api_types::api::discovery::v1::EndpointSlice;
use futures::future::try_join_all;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};

use super::wanted_slices::Plan;
use crate::frame::{Error, Expectations, ObjectKey, Step};
use crate::informers::Informers;

pub(super) struct SliceWriter {
    client: Client,
    informers: Informers,
    expectations: Expectations,
}

impl SliceWriter {
    pub(super) fn new(client: Client, informers: Informers) -> Self {
        Self { client, informers, expectations: Expectations::default() }
    }

    /// Whether all that was written for the Service has been seen.
    pub(super) fn has_seen(&self, key: &ObjectKey) -> bool {
        self.expectations.are_met(key, &self.informers.endpoint_slices)
    }

    /// Nothing more is written for the Service.
    pub(super) fn forget(&self, key: &ObjectKey) {
        self.expectations.forget(key);
    }

    /// New addresses are announced before old ones go.
    pub(super) async fn carry_out(&self, key: &ObjectKey, plan: &Plan) -> Result<(), Error> {
        try_join_all(plan.replace.iter().map(|slice| self.replace(key, slice))).await?;
        try_join_all(plan.create.iter().map(|slice| self.create(key, slice))).await?;
        try_join_all(plan.delete.iter().map(|slice| self.delete(key, slice))).await?;
        Ok(())
    }

    fn api(&self, key: &ObjectKey) -> Api<EndpointSlice> {
        Api::namespaced(self.client.clone(), &key.namespace)
    }

    async fn replace(&self, key: &ObjectKey, slice: &EndpointSlice) -> Result<(), Error> {
        let name = slice.metadata.name.as_deref().unwrap_or_default();
        let replaced = self.api(key).replace(name, &PostParams::default(), slice).await;
        let replaced = replaced.step("replacing an endpoint slice")?;
        self.expectations.written(key, self.informers.endpoint_slices.mark(&replaced));
        Ok(())
    }

    async fn create(&self, key: &ObjectKey, slice: &EndpointSlice) -> Result<(), Error> {
        let created = self.api(key).create(&PostParams::default(), slice).await;
        let created = created.step("creating an endpoint slice")?;
        self.expectations.written(key, self.informers.endpoint_slices.mark(&created));
        Ok(())
    }

    async fn delete(&self, key: &ObjectKey, slice: &EndpointSlice) -> Result<(), Error> {
        let name = slice.metadata.name.as_deref().unwrap_or_default();
        let deleted = self.api(key).delete(name, &DeleteParams::default()).await;
        deleted.unless_gone("deleting an endpoint slice")?;
        let uid = slice.metadata.uid.clone().unwrap_or_default();
        self.expectations.deleted(key, ObjectKey::of(&slice.metadata), uid);
        Ok(())
    }
}
