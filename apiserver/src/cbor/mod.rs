//! CBOR, as Kubernetes speaks it (`k8s.io/apimachinery/pkg/runtime/serializer/cbor`): what JSON says, in fewer bytes. A document
//! begins with the tag that says that it is CBOR; texts are written as byte strings, which saves others to check them, and
//! read in either form. Bytes are base64 in JSON and stay so, unless a sender marks them as such that are to become it. Of the
//! watch's events each is a document.

mod decode;
mod encode;

pub(crate) use self::{
    decode::{decode, first_length},
    encode::{encode, event, item, list},
};

/// The content type.
pub(crate) const MEDIA_TYPE: &str = "application/cbor";

/// The content type of one document after the other.
pub(crate) const SEQUENCE: &str = "application/cbor-seq";

#[cfg(test)]
mod tests;
