//! What is special about subresources. `status` isn't: it is a strategy of its kind.

pub(crate) mod binding;
pub(crate) mod connection;
pub(crate) mod eviction;
pub(crate) mod kubelet;
pub(crate) mod log;
pub(crate) mod proxy;
pub(crate) mod token;
