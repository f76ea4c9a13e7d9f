//! Files that show what the API server has (ConfigMaps, Secrets, tokens, the pod's own fields), brought up to date
//! while the pod runs, beside its worker.

use std::{future::pending, sync::Arc, time::Duration};

use api_types::api::core::v1::Pod;
use component::events::EventType;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::start::Shared;
use crate::{context::Context, describe::describe, spec, volumes};

/// When the files of one pod are looked at next.
#[derive(Debug, Default)]
pub(super) struct Refresh {
    /// The pod's address, while it runs and has such files.
    pod_ip: Option<String>,
    frequency: Duration,
    next: Option<Instant>,
    tasks: JoinSet<()>,
}

impl Refresh {
    /// The pod runs at this address, or does not run.
    pub(super) fn follow(&mut self, pod: &Pod, pod_ip: Option<String>, frequency: Duration) {
        self.pod_ip = pod_ip.filter(|_| volumes::may_change(pod));
        self.frequency = frequency;
        match self.pod_ip {
            None => {
                self.next = None;
                // It holds the files that whoever ends the pod waits for.
                self.tasks.abort_all();
            }
            Some(_) => {
                self.next.get_or_insert_with(|| Instant::now() + frequency);
            }
        }
    }

    /// Ends when they are to be looked at.
    pub(super) async fn due(&self) {
        match self.next {
            Some(next) => sleep_until(next).await,
            None => pending().await,
        }
    }

    /// Looks at them, unless that is still going on.
    pub(super) fn begin(&mut self, context: Arc<Context>, pod: Arc<Pod>, shared: Arc<Shared>) {
        self.next = Some(Instant::now() + self.frequency);
        while self.tasks.try_join_next().is_some() {}
        if let Some(pod_ip) = self.pod_ip.clone().filter(|_| self.tasks.is_empty()) {
            self.tasks.spawn(refresh(context, pod, pod_ip, shared));
        }
    }
}

/// The pod's directory is removed by whoever has its turn later.
async fn refresh(context: Arc<Context>, pod: Arc<Pod>, pod_ip: String, shared: Arc<Shared>) {
    let _turn = shared.files.lock().await;
    let pod_dir = context.pod_dir(&spec::identity(&pod).uid);
    let allocatable = context.ledger.allocatable();
    let of_pod = context.of_pod(&pod, &pod_ip, &pod_dir, &allocatable);
    for error in volumes::refresh(of_pod).await {
        context.pod_event(&pod, EventType::Warning, "FailedMount", describe(&error));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_refresh_that_goes_on_ends_with_its_pod() {
        let mut refresh = Refresh::default();
        refresh.tasks.spawn(pending());
        refresh.follow(&Pod::default(), None, Duration::MAX);
        assert!(refresh.tasks.join_next().await.unwrap().unwrap_err().is_cancelled());
    }
}
