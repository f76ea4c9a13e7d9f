//! From JSON to protobuf, to the byte as Kubernetes' own types are written: objects, lists and events, in their envelopes.

use bytes::Bytes;
use serde::Deserializer;
use serde_json::Value;

use super::{
    fields::{Misfit, Written, message},
    schema::{MESSAGES, Message, message_of},
    wire::{MAGIC, put_bytes, put_length, put_nested, put_whole},
};

/// The fields of a `runtime.Unknown`, and of its type.
const TYPE_META: u64 = 1;
const RAW: u64 = 2;
const CONTENT_ENCODING: u64 = 3;
const CONTENT_TYPE: u64 = 4;

/// The length that comes before an event.
const FRAME_HEAD: usize = 4;

/// The numbers of a list's metadata and of its items, which come in this order whatever they are. Lists of metadata had
/// none of their own at first (Kubernetes: `apimachinery/pkg/apis/meta/v1beta1/types.go`).
fn list_fields(api_version: &str) -> (u64, u64) {
    if api_version == "meta.k8s.io/v1beta1" { (2, 1) } else { (1, 2) }
}

/// An object, or a list, in its envelope.
pub(crate) fn encode(object: &Value) -> Result<Vec<u8>, Misfit> {
    let mut out = Vec::new();
    put_enveloped(&mut out, object)?;
    Ok(out)
}

/// The frame of a watch's event: its length, and a `WatchEvent` without an envelope that has the object in one.
pub(crate) fn event(kind: &str, object: &Value) -> Result<Vec<u8>, Misfit> {
    let mut out = vec![0; FRAME_HEAD];
    put_bytes(&mut out, 1, kind.as_bytes());
    put_nested(&mut out, 2, |out| put_nested(out, 1, |out| put_enveloped(out, object)))?;
    let length =
        u32::try_from(out.len() - FRAME_HEAD).map_err(|_| Misfit::of("so long an event"))?;
    out[..FRAME_HEAD].copy_from_slice(&length.to_be_bytes());
    Ok(out)
}

/// How long the first of the frames is, if it is there as a whole, and how much of that is its head.
pub(crate) fn first_length(frames: &[u8]) -> Option<(usize, usize)> {
    let (head, rest) = frames.split_first_chunk::<FRAME_HEAD>()?;
    let length = usize::try_from(u32::from_be_bytes(*head)).ok()?;
    (length <= rest.len()).then_some((FRAME_HEAD + length, FRAME_HEAD))
}

/// A list, put together of its items, which are written one by one.
#[derive(Debug)]
pub(crate) struct List<'a> {
    api_version: &'a str,
    kind: String,
    metadata: &'a Value,
    item: &'static Message,
}

impl<'a> List<'a> {
    /// One of items of this kind.
    pub(crate) fn new(
        api_version: &'a str,
        item: &str,
        metadata: &'a Value,
    ) -> Result<Self, Misfit> {
        let kind = format!("{item}List");
        let item = message_of(api_version, item).ok_or_else(|| Misfit::of(&kind))?;
        Ok(Self { api_version, kind, metadata, item })
    }

    /// An item, as it is among the others.
    pub(crate) fn item<'de>(&self, object: impl Deserializer<'de>) -> Result<Bytes, Misfit> {
        let mut out = Vec::new();
        put_item(&mut out, self.api_version, self.item, object)?;
        Ok(out.into())
    }

    /// The pieces of the list.
    pub(crate) fn pieces(&self, items: Vec<Bytes>) -> Result<Vec<Bytes>, Misfit> {
        let mut metadata = Vec::new();
        put_list_metadata(&mut metadata, self.api_version, self.metadata)?;
        let length = metadata.len() + items.iter().map(Bytes::len).sum::<usize>();
        let mut head = begin(self.api_version, &self.kind);
        put_length(&mut head, RAW, length);
        head.extend(metadata);
        let mut tail = Vec::new();
        end(&mut tail);
        let items = items.into_iter();
        Ok([head.into()].into_iter().chain(items).chain([tail.into()]).collect())
    }
}

fn begin(api_version: &str, kind: &str) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    put_whole(&mut out, TYPE_META, |out| {
        put_bytes(out, 1, api_version.as_bytes());
        put_bytes(out, 2, kind.as_bytes());
    });
    out
}

fn end(out: &mut Vec<u8>) {
    put_bytes(out, CONTENT_ENCODING, b"");
    put_bytes(out, CONTENT_TYPE, b"");
}

fn put_enveloped(out: &mut Vec<u8>, object: &Value) -> Written {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    out.extend(begin(api_version, kind));
    put_nested(out, RAW, |out| match message_of(api_version, kind) {
        Some(known) => message(out, known, object),
        None => list(out, api_version, kind, object),
    })?;
    end(out);
    Ok(())
}

fn list(out: &mut Vec<u8>, api_version: &str, kind: &str, object: &Value) -> Written {
    let item = kind.strip_suffix("List").and_then(|item| message_of(api_version, item));
    let (Some(item), Some(items)) = (item, object["items"].as_array()) else {
        return Err(Misfit::of(format!("{api_version} {kind}")));
    };
    put_list_metadata(out, api_version, &object["metadata"])?;
    items.iter().try_for_each(|object| put_item(out, api_version, item, object))
}

fn put_list_metadata(out: &mut Vec<u8>, api_version: &str, metadata: &Value) -> Written {
    let known = MESSAGES.named("meta/v1.ListMeta").ok_or_else(|| Misfit::of("a list"))?;
    let (number, _) = list_fields(api_version);
    put_nested(out, number, |out| message(out, known, metadata))
}

fn put_item<'de>(
    out: &mut Vec<u8>,
    api_version: &str,
    item: &'static Message,
    object: impl Deserializer<'de>,
) -> Written {
    let (_, number) = list_fields(api_version);
    put_nested(out, number, |out| message(out, item, object))
}
