//! Work that is taken up again after a panic: a fault that one pod meets must neither end the work on all
//! others nor go unseen.

use std::{any::Any, panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt;
use tokio::time::{Instant, sleep};

use crate::metrics::Metrics;

/// Until work that panicked is taken up again; twice as long after each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(60);

/// Does the work until it ends. `task` and `pod` say what it is, in the log and the metric; each `begin`
/// starts from what is there, as after a restart of the kubelet.
pub(crate) async fn persevere<F: Future>(
    task: &'static str,
    pod: &str,
    metrics: &Metrics,
    mut begin: impl FnMut() -> F,
) -> F::Output {
    let mut pause = FIRST_PAUSE;
    loop {
        let begun = Instant::now();
        let panic = match AssertUnwindSafe(begin()).catch_unwind().await {
            Ok(done) => return done,
            Err(panic) => panic,
        };
        tracing::error!(task, pod, panic = message(&*panic), "a task panicked and begins anew");
        metrics.lost_tasks(task).inc();
        if begun.elapsed() > LAST_PAUSE {
            pause = FIRST_PAUSE;
        }
        sleep(pause).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or_default()
}
