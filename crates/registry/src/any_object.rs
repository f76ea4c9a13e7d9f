//! An object of whatever kind: what a write is between its decoding and its encoding. Who knows the kind looks inside.

use std::{any::Any, fmt};

use api_machinery::ApiError;
use api_types::meta::ObjectMeta;
use serde::Serialize;
use serde_json::Value;

use crate::object::Object;

/// How many bytes of JSON most objects are shorter than.
const USUAL_SIZE: usize = 4096;

/// See the module.
pub struct AnyObject(Box<dyn Erased>);

/// What is known of an object of whatever type.
pub(crate) trait Described {
    fn kind(&self) -> &str;
    fn metadata(&self) -> &ObjectMeta;
    fn metadata_mut(&mut self) -> &mut ObjectMeta;
}

impl<K: Object> Described for K {
    fn kind(&self) -> &str {
        K::KIND
    }

    fn metadata(&self) -> &ObjectMeta {
        K::metadata(self)
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        K::metadata_mut(self)
    }
}

/// What an object can do whose type is forgotten.
pub(crate) trait Erased: Described + Any + Send + Sync {
    fn to_value(&self) -> serde_json::Result<Value>;
    fn to_json(&self) -> serde_json::Result<Vec<u8>>;
    fn equals(&self, other: &AnyObject) -> bool;
    fn copy(&self) -> AnyObject;
}

impl<T: Described + Serialize + Clone + PartialEq + Send + Sync + 'static> Erased for T {
    fn to_value(&self) -> serde_json::Result<Value> {
        serde_json::to_value(self)
    }

    fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        let mut json = Vec::with_capacity(USUAL_SIZE);
        serde_json::to_writer(&mut json, self)?;
        Ok(json)
    }

    fn equals(&self, other: &AnyObject) -> bool {
        other.get() == Some(self)
    }

    fn copy(&self) -> AnyObject {
        AnyObject::erased(self.clone())
    }
}

impl AnyObject {
    /// An object whose type is forgotten.
    pub fn new<K: Object>(object: K) -> Self {
        Self::erased(object)
    }

    pub(crate) fn erased(object: impl Erased) -> Self {
        Self(Box::new(object))
    }

    /// The object, if it is of this type.
    #[must_use]
    pub fn get<K: 'static>(&self) -> Option<&K> {
        let object: &dyn Any = &*self.0;
        object.downcast_ref()
    }

    /// The object, if it is of this type.
    pub fn get_mut<K: 'static>(&mut self) -> Option<&mut K> {
        let object: &mut dyn Any = &mut *self.0;
        object.downcast_mut()
    }

    /// The object's metadata.
    #[must_use]
    pub fn metadata(&self) -> &ObjectMeta {
        self.0.metadata()
    }

    /// The object's metadata.
    pub fn metadata_mut(&mut self) -> &mut ObjectMeta {
        self.0.metadata_mut()
    }

    /// The object's JSON, encoded.
    ///
    /// # Errors
    /// 500 if it has no form in JSON.
    pub fn to_json(&self) -> Result<Vec<u8>, ApiError> {
        self.0.to_json().map_err(ApiError::internal)
    }

    /// The object's JSON.
    ///
    /// # Errors
    /// 500 if it has no form in JSON.
    pub fn to_value(&self) -> Result<Value, ApiError> {
        self.0.to_value().map_err(ApiError::internal)
    }
}

impl Clone for AnyObject {
    fn clone(&self) -> Self {
        self.0.copy()
    }
}

impl PartialEq for AnyObject {
    fn eq(&self, other: &Self) -> bool {
        self.0.equals(other)
    }
}

impl fmt::Debug for AnyObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.metadata().name.as_deref().unwrap_or_default();
        f.debug_tuple("AnyObject").field(&self.0.kind()).field(&name).finish()
    }
}
