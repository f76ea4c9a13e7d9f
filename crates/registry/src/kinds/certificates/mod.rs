//! The kinds of the group.

pub(super) mod certificate_signing_request;
