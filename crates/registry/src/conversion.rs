//! A kind in several versions, of which one is stored.

use std::fmt;

use api_machinery::ApiError;
use api_types::api::admissionregistration::v1::WebhookClientConfig;
use serde_json::Value;

/// How objects of a version come from the version that is stored, and become it again (`apiVersion` apart). By default
/// the versions have the same fields (Kubernetes: a `CustomResourceDefinition` whose conversion strategy is `None`).
pub trait Conversion: fmt::Debug + Send + Sync + 'static {
    /// An object of this version.
    ///
    /// # Errors
    /// If the object is such that this version can't show it.
    fn to_served(&self, object: Value) -> Result<Value, ApiError> {
        Ok(object)
    }

    /// An object as it is to be stored.
    ///
    /// # Errors
    /// If the object is such that the stored version can't show it.
    fn to_stored(&self, object: Value) -> Result<Value, ApiError> {
        Ok(object)
    }
}

/// The conversion between versions that have the same fields.
#[derive(Clone, Copy, Debug)]
pub struct SameFields;

impl Conversion for SameFields {}

/// Another server that converts objects between the versions of a kind (Kubernetes: the conversion strategy `Webhook`).
#[derive(Clone, Debug, PartialEq)]
pub struct ConversionWebhook {
    /// Where it is.
    pub client_config: WebhookClientConfig,
    /// Of the reviews that it is sent: `v1` or `v1beta1`.
    pub review_version: String,
}
