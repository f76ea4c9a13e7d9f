//! An object of whatever kind: what a write is between its decoding and its encoding. Who knows the kind looks inside.

use std::{any::Any, fmt};

use api_machinery::ApiError;
use api_types::meta::ObjectMeta;
use serde::Serialize;
use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};

use crate::{metadata_json, object::Object};

/// How many bytes of JSON most objects are shorter than.
const USUAL_SIZE: usize = 4096;

/// See the module.
pub struct AnyObject {
    object: Box<dyn Erased>,
    /// `metadata.managedFields`, unless the object itself has them.
    managed_fields: Option<Box<RawValue>>,
}

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
        Self { object: Box::new(object), managed_fields: None }
    }

    /// The object, if it is of this type.
    #[must_use]
    pub fn get<K: 'static>(&self) -> Option<&K> {
        let object: &dyn Any = &*self.object;
        object.downcast_ref()
    }

    /// The object, if it is of this type.
    pub fn get_mut<K: 'static>(&mut self) -> Option<&mut K> {
        let object: &mut dyn Any = &mut *self.object;
        object.downcast_mut()
    }

    /// The object's metadata.
    #[must_use]
    pub fn metadata(&self) -> &ObjectMeta {
        self.object.metadata()
    }

    /// The object's metadata.
    pub fn metadata_mut(&mut self) -> &mut ObjectMeta {
        self.object.metadata_mut()
    }

    /// What the object says of who manages its fields.
    #[must_use]
    pub fn managed_fields(&self) -> Option<Box<RawValue>> {
        let own = || to_raw_value(self.metadata().managed_fields.as_ref()?).ok();
        self.managed_fields.clone().or_else(own)
    }

    /// Takes that away.
    pub fn take_managed_fields(&mut self) -> Option<Box<RawValue>> {
        let own = self.metadata_mut().managed_fields.take();
        self.managed_fields.take().or_else(|| to_raw_value(&own?).ok())
    }

    /// Has it say this of who manages its fields.
    pub fn set_managed_fields(&mut self, managed_fields: Option<Box<RawValue>>) {
        self.metadata_mut().managed_fields = None;
        self.managed_fields = managed_fields;
    }

    /// The object's JSON, encoded.
    ///
    /// # Errors
    /// 500 if it has no form in JSON.
    pub fn to_json(&self) -> Result<Vec<u8>, ApiError> {
        let json = self.object.to_json().map_err(ApiError::internal)?;
        Ok(match &self.managed_fields {
            Some(managed_fields) => metadata_json::with_managed_fields(json, managed_fields),
            None => json,
        })
    }

    /// The object's JSON.
    ///
    /// # Errors
    /// 500 if it has no form in JSON.
    pub fn to_value(&self) -> Result<Value, ApiError> {
        let mut value = self.object.to_value().map_err(ApiError::internal)?;
        if let Some(managed_fields) = &self.managed_fields {
            let managed_fields = serde_json::from_str(managed_fields.get());
            value["metadata"]["managedFields"] = managed_fields.map_err(ApiError::internal)?;
        }
        Ok(value)
    }
}

impl Clone for AnyObject {
    fn clone(&self) -> Self {
        Self { managed_fields: self.managed_fields.clone(), ..self.object.copy() }
    }
}

impl PartialEq for AnyObject {
    fn eq(&self, other: &Self) -> bool {
        let text = |object: &Self| object.managed_fields.as_ref().map(|it| it.get().to_owned());
        self.object.equals(other) && text(self) == text(other)
    }
}

impl fmt::Debug for AnyObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.metadata().name.as_deref().unwrap_or_default();
        f.debug_tuple("AnyObject").field(&self.object.kind()).field(&name).finish()
    }
}
