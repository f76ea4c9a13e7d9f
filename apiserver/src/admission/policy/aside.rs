//! Expressions over a large object may take a while: the other requests of the thread do not wait for them.

use api_machinery::extent;
use serde_json::Value;
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task,
};

/// An object of this weight is large.
const LARGE: usize = 256 << 10;

/// Does some work; if it is about a large object and there are other threads, these see to the others meanwhile.
pub(super) fn aside<T>(object: &Value, work: impl FnOnce() -> T) -> T {
    let has_threads = || {
        let runtime = Handle::try_current();
        runtime.is_ok_and(|it| it.runtime_flavor() == RuntimeFlavor::MultiThread)
    };
    match extent::weight(object) >= LARGE && has_threads() {
        true => task::block_in_place(work),
        false => work(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_about_a_large_object_is_done_where_there_is_one_thread() {
        let large = Value::String("x".repeat(LARGE));
        assert_eq!(aside(&large, || 1), 1);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn others_go_on_while_work_about_a_large_object_is_done() {
        let large = Value::String("x".repeat(LARGE));
        let done = tokio::spawn(async move {
            let (told, heard) = std::sync::mpsc::channel();
            tokio::spawn(async move { told.send(1) });
            aside(&large, || heard.recv())
        });
        assert_eq!(done.await.unwrap(), Ok(1));
    }
}
