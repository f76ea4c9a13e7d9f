//! An object as it leaves the server: encoded once per revision, with what selectors need beside it.

mod texts;
mod written;

use std::{
    convert::Infallible,
    fmt,
    sync::{Arc, OnceLock, Weak},
};

use api_machinery::ApiError;
use bytes::Bytes;
use parking_lot::Mutex;
use registry::ResourceDef;
use serde_json::{Value, value::RawValue};
use store::{
    Entry, Revision,
    cache::{Item, Object},
};

use self::texts::Texts;
use crate::{catalogue::Catalogue, encryption, negotiation::Media};

pub(crate) use self::written::{Written, versioned, with_version};

/// An object of the cache.
pub(crate) type CachedObject = Arc<Item<Decoded>>;

/// One revision of an object, or why it can't be read.
pub(crate) type Decoded = Result<Encoded, Unreadable>;

/// What is stored is no object. Whoever comes across it fails: left out, it would pass for deleted, and whoever runs
/// what it describes would stop it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} at revision {revision}: {why}")]
pub(crate) struct Unreadable {
    key: Arc<str>,
    revision: Revision,
    why: String,
}

impl Unreadable {
    fn new(entry: &Entry, why: &dyn fmt::Display) -> Self {
        Self { key: entry.key.clone(), revision: entry.revision, why: why.to_string() }
    }
}

impl From<&Unreadable> for ApiError {
    fn from(unreadable: &Unreadable) -> Self {
        Self::store_read(unreadable)
    }
}

/// The object of an item.
pub(crate) fn readable(item: &CachedObject) -> Result<&Encoded, ApiError> {
    item.object.as_ref().map_err(ApiError::from)
}

/// How many definitions of a version have their conversion remembered.
const CONVERSIONS: usize = 2;
const ADDED: &[u8] = br#"{"type":"ADDED","object":"#;
const DELETED: &[u8] = br#"{"type":"DELETED","object":"#;
const END: &[u8] = b"}\n";

/// What a change does to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventType {
    Added,
    Modified,
    Deleted,
}

impl EventType {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// One revision of an object.
#[derive(Debug)]
pub(crate) struct Encoded {
    /// `{"type":"ADDED","object":…}` and a newline; the object by itself is a slice of it.
    added: Bytes,
    modified: Shared,
    deleted: Shared,
    /// Its events in other encodings, once somebody has asked for one.
    others: OnceLock<Box<Others>>,
    texts: Texts,
    /// Of the version that was stored when it was decoded; absent if its kind was not known, or others convert it.
    def: Option<Arc<ResourceDef>>,
    /// What it was converted to by others, once for all who read it: the latest of each version, in their order.
    conversions: Mutex<Vec<(Arc<ResourceDef>, Bytes)>>,
}

/// Another form of an object: made once for all who want it at the same time, and kept for as long as one of
/// them has it. Many states of an object are kept for late watchers; each of them once.
#[derive(Debug, Default)]
struct Shared(Mutex<Weak<Vec<u8>>>);

/// The events of an object in encodings other than JSON.
#[derive(Debug, Default)]
struct Others {
    protobuf: [Shared; 3],
    cbor: [Shared; 3],
}

impl Shared {
    fn get_or_make(&self, make: impl FnOnce() -> Vec<u8>) -> Bytes {
        let Ok(form) = self.get_or_try::<Infallible>(|| Ok(make()));
        form
    }

    fn get_or_try<E>(&self, make: impl FnOnce() -> Result<Vec<u8>, E>) -> Result<Bytes, E> {
        let mut known = self.0.lock();
        let form = known.upgrade().map_or_else(|| make().map(Arc::new), Ok)?;
        *known = Arc::downgrade(&form);
        Ok(Bytes::from_owner(Form(form)))
    }
}

struct Form(Arc<Vec<u8>>);

impl AsRef<[u8]> for Form {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Object for Encoded {
    fn weight(&self) -> usize {
        const REST: usize = 1024;
        self.added.len() + REST
    }

    fn labels(&self) -> Option<impl Iterator<Item = (&str, &str)>> {
        let labels = 0..(self.texts.len() - self.field_names().len()) / 2;
        Some(labels.map(|label| (self.texts.get(2 * label), self.texts.get(2 * label + 1))))
    }

    fn trigger(&self) -> Option<&str> {
        self.field(&self.def.as_ref()?.trigger)
    }
}

impl Encoded {
    /// An object that this server has written itself, as it comes back from the store.
    pub(crate) fn of_written(written: Written, revision: Revision) -> Decoded {
        let Written { def, json, texts } = written;
        Ok(Self::new(with_version(ADDED, &json, revision, END).into(), texts, Some(def)))
    }

    /// Decodes an entry of the store and encodes it with its version.
    pub(crate) fn of_entry(catalogue: &Catalogue, entry: &Entry) -> Decoded {
        let def = catalogue.of_key(&entry.key);
        match def.and_then(|def| Written::stored(def, &entry.value)) {
            Some(written) => Self::of_written(written, entry.revision),
            None => Self::anew(catalogue, def, entry),
        }
    }

    fn anew(catalogue: &Catalogue, def: Option<&Arc<ResourceDef>>, entry: &Entry) -> Decoded {
        let object = decode(entry).inspect_err(|error| tracing::error!("cannot read {error}"))?;
        // The versions of a kind may come and go while this is kept: what can't be converted now may be when it is read.
        // Nor is anything waited for here: all others would wait, too.
        let def = def.filter(|def| !catalogue.is_to_be_sent(&object, def));
        let converted = def.map(|def| catalogue.converted(object.clone(), def));
        let (object, def) = match converted {
            Some(Ok(converted)) => (converted, def),
            Some(Err(error)) => {
                tracing::warn!(%error, key = &*entry.key, "kept as it is stored");
                (object, None)
            }
            None => (object, None),
        };
        let fields = def.map(|def| def.stored_field_values(&object)).unwrap_or_default();
        let added = line(ADDED, object.to_string().as_bytes());
        Ok(Self::new(added.into(), Texts::new(labels(&object), &fields), def.cloned()))
    }

    fn new(added: Bytes, texts: Texts, def: Option<Arc<ResourceDef>>) -> Self {
        let (modified, deleted) = (Shared::default(), Shared::default());
        let (others, conversions) = (OnceLock::new(), Mutex::default());
        Self { added, modified, deleted, others, texts, def, conversions }
    }

    /// Whether it is in the version of this very definition as it is.
    pub(crate) fn is_of(&self, def: &ResourceDef) -> bool {
        self.def.as_ref().is_some_and(|own| std::ptr::eq(&**own, def))
    }

    /// What others made of it for this definition, if they did.
    pub(crate) fn converted_to(&self, def: &ResourceDef) -> Option<Bytes> {
        let conversions = self.conversions.lock();
        let known = conversions.iter().find(|(known, _)| std::ptr::eq(&**known, def));
        known.map(|(_, json)| json.clone())
    }

    /// Remembers what others made of it. While a definition changes, who goes by the old one and who goes by the new one do
    /// not take it from each other.
    pub(crate) fn remember(&self, def: &Arc<ResourceDef>, json: Bytes) {
        let mut conversions = self.conversions.lock();
        conversions.retain(|(known, _)| !Arc::ptr_eq(known, def));
        let is_of_version = |at: &usize| conversions[*at].0.names.version == def.names.version;
        let places: Vec<usize> = (0..conversions.len()).filter(is_of_version).collect();
        if places.len() >= CONVERSIONS {
            conversions.remove(places[0]);
        }
        conversions.push((def.clone(), json));
    }

    /// The object's JSON.
    pub(crate) fn json(&self) -> Bytes {
        self.added.slice(ADDED.len()..self.added.len() - END.len())
    }

    /// The object as a value, for the few readers that want another form of it.
    pub(crate) fn value(&self) -> Value {
        serde_json::from_slice(&self.json()).expect("it was encoded here")
    }

    /// Whether the object has a field of this name anywhere, or speaks of one: a look that costs less than decoding it.
    pub(crate) fn says(&self, field: &str) -> bool {
        let json = self.json();
        std::str::from_utf8(&json).is_ok_and(|json| json.contains(&format!("\"{field}\"")))
    }

    /// The watch event of the object's appearance.
    pub(crate) fn added(&self) -> Bytes {
        self.added.clone()
    }

    /// The watch event of the change to this revision.
    pub(crate) fn modified(&self) -> Bytes {
        self.modified.get_or_make(|| line(br#"{"type":"MODIFIED","object":"#, &self.json()))
    }

    /// The watch event of the object's disappearance, this being its last state before `gone`. An object
    /// has one successor at most, so that all watchers get the same.
    pub(crate) fn deleted(&self, gone: Revision) -> Bytes {
        let encode = || {
            let mut object = self.value();
            set_version(&mut object, gone);
            line(DELETED, object.to_string().as_bytes())
        };
        self.deleted.get_or_make(encode)
    }

    /// One of these events in another encoding than JSON.
    pub(crate) fn event<E>(
        &self,
        media: Media,
        type_: EventType,
        make: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<Bytes, E> {
        let others = || self.others.get_or_init(Box::default);
        let events = match media {
            Media::Json | Media::Yaml => return make().map(Bytes::from),
            Media::Protobuf => &others().protobuf,
            Media::Cbor => &others().cbor,
        };
        events[type_ as usize].get_or_try(make)
    }

    /// The object of that event by itself.
    pub(crate) fn deleted_json(&self, gone: Revision) -> Bytes {
        let line = self.deleted(gone);
        line.slice(DELETED.len()..line.len() - END.len())
    }

    /// A field that field selectors can name.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let names = self.field_names();
        let index = names.iter().position(|field| field == name)?;
        Some(self.texts.get(self.texts.len() - names.len() + index))
    }

    fn field_names(&self) -> &[String] {
        self.def.as_ref().map_or(&[], |def| &def.fields)
    }

    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        self.labels()?.find(|(label, _)| *label == name).map(|(_, value)| value)
    }
}

/// The object of an entry, with its version.
pub(crate) fn decode(entry: &Entry) -> Result<Value, Unreadable> {
    let mut object: Value = serde_json::from_slice(&entry.value).map_err(|error| {
        let refusal = encryption::refusal(&entry.value);
        Unreadable::new(entry, &refusal.unwrap_or_else(|| error.to_string()))
    })?;
    if !object.is_object() {
        return Err(Unreadable::new(entry, &"not an object"));
    }
    set_version(&mut object, entry.revision);
    Ok(object)
}

/// An object that is encoded, as a value again, and what it says of who manages its fields if that need not be read.
pub(crate) fn parted(json: &[u8]) -> Result<(Value, Option<Box<RawValue>>), ApiError> {
    match registry::without_managed_fields(json) {
        Some((bare, managed_fields)) => Ok((value(&bare)?, Some(managed_fields))),
        None => Ok((value(json)?, None)),
    }
}

/// An object that is encoded, as a value again: for the few readers that want another form of it.
pub(crate) fn value(json: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(json).map_err(ApiError::internal)
}

/// Sets `metadata.resourceVersion`.
pub(crate) fn set_version(object: &mut Value, revision: Revision) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("resourceVersion".to_owned(), revision.to_string().into());
    }
}

fn line(start: &[u8], object: &[u8]) -> Vec<u8> {
    [start, object, END].concat()
}

/// The labels, which a value has in the order of their names.
fn labels(object: &Value) -> impl Iterator<Item = (&str, &str)> {
    let labels = object.pointer("/metadata/labels").and_then(Value::as_object);
    let labels = labels.into_iter().flatten();
    labels.filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(size: usize) -> Encoded {
        let catalogue = Catalogue::built_in();
        let object =
            serde_json::json!({"metadata": {"name": "a"}, "data": {"x": "x".repeat(size)}});
        let entry = Entry {
            key: "/registry/core/configmaps/default/a".into(),
            value: object.to_string().into(),
            revision: Revision(7),
        };
        Encoded::of_entry(&catalogue, &entry).unwrap()
    }

    #[test]
    fn watchers_at_the_same_time_share_an_event_and_nobody_keeps_it() {
        let object = encoded(1000);
        let (first, second) = (object.modified(), object.modified());
        assert_eq!(first.as_ptr(), second.as_ptr());
        assert!(first.starts_with(br#"{"type":"MODIFIED","object":{"#) && first.ends_with(b"}\n"));
        drop((first, second));
        assert_eq!(object.modified.0.lock().strong_count(), 0);
        let gone = object.deleted(Revision(9));
        assert!(gone.starts_with(br#"{"type":"DELETED","object":{"#));
        drop(gone);
        assert_eq!(object.deleted.0.lock().strong_count(), 0);
    }

    #[test]
    fn each_of_several_labels_is_found() {
        let labels = serde_json::json!({"m": "1", "a": "2", "z": "3", "b": true});
        let object = serde_json::json!({"metadata": {"name": "a", "labels": labels}});
        let key = "/registry/core/configmaps/default/a".into();
        let entry = Entry { key, value: object.to_string().into(), revision: Revision(7) };
        let object = Encoded::of_entry(&Catalogue::built_in(), &entry).unwrap();
        let found = ["a", "b", "m", "y", "z"].map(|name| object.label(name));
        assert_eq!(found, [Some("2"), None, Some("1"), None, Some("3")]);
    }

    /// Whether what is stored is taken as it is; what comes of it has to be what comes of encoding it anew.
    fn check(stored: &str, is_as_written: bool) {
        let key = "/registry/core/pods/default/a".into();
        let entry = Entry { key, value: stored.to_owned().into(), revision: Revision(7) };
        let catalogue = Catalogue::built_in();
        let def = catalogue.of_key(&entry.key).unwrap();
        assert_eq!(Written::stored(def, &entry.value).is_some(), is_as_written, "{stored}");
        let object = Encoded::of_entry(&catalogue, &entry).unwrap();
        let anew = Encoded::anew(&catalogue, Some(def), &entry).unwrap();
        assert_eq!((object.value(), &object.texts), (anew.value(), &anew.texts));
        assert_eq!(object.value()["metadata"]["resourceVersion"], "7");
        assert_eq!(object.added().iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(object.json().windows(15).filter(|w| w == b"resourceVersion").count(), 1);
        assert_eq!(object.field("spec.nodeName"), Some("n1"));
        assert_eq!(object.field("metadata.name"), Some("a"));
        assert_eq!(["a", "b", "c"].map(|name| object.label(name)), [Some("1"), Some("é"), None]);
    }

    #[test]
    fn what_is_stored_is_not_encoded_again_if_it_is_as_this_server_writes_it() {
        let labels = r#""labels":{"a":"1","b":"é"},"name":"a""#;
        let start = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"#;
        let end = r#"},"spec":{"containers":[],"nodeName":"n1"}}"#;
        let annotation = r#""annotations":{"x":"\"metadata\":{"},"#;
        check(&format!("{start}{annotation}{labels}{end}"), true);
        check(&format!("{start}{labels},\"resourceVersion\":\"3\"{end}"), false);
        check(&format!("{start}{labels},\"resourceVersion\":null{end}"), false);
        check(&format!("{start}\n{labels}{end}"), false);
        check(&format!("{start}{labels}{end}").replace("\"kind\":\"Pod\",", ""), false);
        check(&format!("{start}{labels}{end}").replace("[]", "7"), false);
    }

    #[test]
    fn the_latest_two_definitions_of_a_version_have_what_it_was_converted_to() {
        let object = encoded(1);
        let catalogues = [(); 3].map(|()| Catalogue::built_in());
        let defs = catalogues.each_ref().map(|it| it.of_key("/registry/core/pods/a/a").unwrap());
        for def in [defs[0], defs[1], defs[1], defs[2]] {
            object.remember(def, Bytes::from_static(b"{}"));
        }
        let known = defs.map(|def| object.converted_to(def).is_some());
        assert_eq!(known, [false, true, true]);
    }

    #[test]
    fn an_object_weighs_at_least_its_json() {
        let difference = encoded(100_000).weight() - encoded(0).weight();
        assert_eq!(difference, 100_000);
    }
}
