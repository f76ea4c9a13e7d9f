//! What is told of a rollout while it is waited for.

/// How far a rollout is.
pub(super) enum Progress {
    Going(String),
    Done(String),
}
