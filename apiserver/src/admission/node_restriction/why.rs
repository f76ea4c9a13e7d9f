//! Why something is not allowed.

use crate::admission::Operation;

/// In Kubernetes' words.
pub(super) type Why = String;

/// Fails unless it holds.
pub(super) fn ensure(holds: bool, why: impl FnOnce() -> Why) -> Result<(), Why> {
    if holds { Ok(()) } else { Err(why()) }
}

/// That this is not done to such an object.
pub(super) fn unexpected(operation: Operation) -> Why {
    format!("unexpected operation {:?}", name(operation))
}

fn name(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
        Operation::Connect => "CONNECT",
    }
}
