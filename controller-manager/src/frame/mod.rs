//! What all controllers stand on: shared stores that follow the API server, work queues of keys, and
//! workers that reconcile one key at a time.

mod controller;
mod error;
mod expectations;
mod index;
mod informer;
mod metrics;
mod object_key;
mod work_queue;
mod working;

pub use controller::{Controller, Ended, Next, Registered, begun, ended, work};
pub use error::{Error, Fault, Step, code, is_terminating, reason};
pub use expectations::Expectations;
pub use index::{Label, Term};
pub use informer::{Change, Informer, Mark, Synced, View, Watched};
pub use metrics::Metrics;
pub use object_key::ObjectKey;
pub use work_queue::WorkQueue;
