//! Kubernetes' protobuf: the typed clients of `kubectl` (`kubectl create configmap`) and of Go's programs send it, and would
//! rather be answered in it.
//!
//! A body is `k8s\0` and a `runtime.Unknown`, which names the kind and holds its message. The messages are described in
//! `messages.txt`: a line per message, below it a line per field with its number, its name in JSON (`-`: its fields are
//! the message's own; `=`: the message is this field's value), and its type (`*` optional even if zero, `[]` list, `{}` map
//! of strings). The table was made of the Go types of k8s.io/api v0.37.2 by `golden/main.go`, which also writes objects with every field of every
//! message as Kubernetes itself encodes them: the tests read and write those. A list is no message of the table: all of them
//! have their metadata and their items under the same numbers.

mod decode;
mod encode;
mod fields;
mod schema;
pub(crate) mod wire;

pub(crate) use self::{
    decode::decode,
    encode::{List, encode, event, first_length},
    schema::is_known,
};

/// The content type.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

#[cfg(test)]
mod tests;
