//! Requests for certificates, and the certificates that come of them: PKCS #10 and X.509 as PEM. What they are to say of
//! kubelets is here too, for who asks and who signs; files, clocks and the API are their owners' matter.

mod certificate;
mod key;
mod key_pair;
pub mod kubelet;
mod request;
mod signer;
mod usage;

pub use certificate::{Validity, are_certificates, is_signed_by, names, public_key_hash, validity};
pub use key::{KeyError, new_key, new_request};
pub use key_pair::fault_of_pair;
pub use request::{ParseError, Request};
pub use signer::{SignError, Signer};
pub use usage::USAGES;
