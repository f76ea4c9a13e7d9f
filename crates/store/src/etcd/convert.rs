//! Between etcd's messages and ours.

use std::sync::Arc;

use bytes::Bytes;
use etcd_client::{Error, EventType, KeyValue, ResponseHeader, WatchResponse};

use crate::{Entry, Event, Revision, StoreError};

/// etcd counts in `i64`, from 1 up.
pub(super) fn revision(number: i64) -> Revision {
    Revision(u64::try_from(number).unwrap_or_default())
}

/// The other way; what does not fit is in a future that never comes.
pub(super) fn number(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}

pub(super) fn header_revision(header: Option<&ResponseHeader>) -> Result<Revision, StoreError> {
    header.map(|header| revision(header.revision())).ok_or_else(|| lacks("header"))
}

pub(super) fn lacks(part: &str) -> StoreError {
    StoreError::Unavailable(format!("etcd's answer lacks its {part}"))
}

/// Keys that are not UTF-8 are not ours; they stay recognisable as such.
fn key(kv: &KeyValue) -> Arc<str> {
    String::from_utf8_lossy(kv.key()).into()
}

pub(super) fn entry(kv: KeyValue) -> Entry {
    let (key, revision) = (key(&kv), revision(kv.mod_revision()));
    Entry { key, value: Bytes::from(kv.into_key_value().1), revision }
}

pub(super) fn event(event: &etcd_client::Event) -> Result<Event, StoreError> {
    let kv = event.kv().ok_or_else(|| lacks("key"))?;
    let (key, revision) = (key(kv), revision(kv.mod_revision()));
    Ok(match event.event_type() {
        EventType::Put => {
            Event::Put(Entry { key, value: Bytes::copy_from_slice(kv.value()), revision })
        }
        EventType::Delete => Event::Delete { key, revision },
    })
}

/// Fails if etcd says that the watch is over.
pub(super) fn check_watch(response: &WatchResponse) -> Result<(), StoreError> {
    if response.compact_revision() > 0 {
        return Err(StoreError::Compacted { oldest: revision(response.compact_revision()) });
    }
    if response.canceled() {
        let reason = response.cancel_reason();
        return Err(StoreError::Unavailable(format!("etcd cancelled the watch: {reason}")));
    }
    Ok(())
}

/// The end of the range of all keys with a prefix. `\0` stands for "no end".
pub(super) fn prefix_end(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    match end.last_mut() {
        // UTF-8 has no byte 255, so this does not overflow.
        Some(last) => *last += 1,
        None => end.push(0),
    }
    end
}

/// Our error for etcd's. etcd does not say which revision is the oldest: the caller has to ask.
pub(super) fn failure(error: &Error, asked: Revision) -> StoreError {
    let Error::GRpcStatus(status) = error else {
        return StoreError::Unavailable(format!("etcd: {error}"));
    };
    match status.message() {
        message if message.contains("revision has been compacted") => {
            StoreError::Compacted { oldest: Revision(0) }
        }
        message if message.contains("is a future revision") => {
            StoreError::Future { revision: asked }
        }
        // By etcd's own limit, or beyond that by the one of its transport.
        message
            if message.contains("request is too large")
                || message.contains("received message larger than max") =>
        {
            StoreError::TooLarge(message.to_owned())
        }
        message => StoreError::Unavailable(format!("etcd: {:?}: {message}", status.code())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_its_last_byte_is_one_greater() {
        assert_eq!(prefix_end("/a/n1/"), b"/a/n10");
        assert_eq!(prefix_end(""), [0]);
        assert_eq!(prefix_end("é"), [0xc3, 0xaa]);
    }
}
