//! Whether other servers can be asked for what they serve, as the status of their APIServices tells
//! (Kubernetes: `kube-aggregator/pkg/controllers/status`).

use std::{collections::HashSet, sync::Arc, time::Duration};

use api_machinery::ApiError;
use api_types::{
    apiregistration::v1::{APIService, APIServiceCondition},
    jiff::Timestamp,
    meta::Time,
};
use http::Method;
use serde_json::json;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    PATH, PREFIX, all, documents,
    probe::{self, Verdict},
};
use crate::{changes::Changes, delegates::Delegate, internal, service::InProcess, state::State};

/// How often a server is asked that answers.
const PERIOD: Duration = Duration::from_secs(30);
/// After how long one is asked again that doesn't, at first; each time twice as long.
const AGAIN: Duration = Duration::from_millis(250);
const AVAILABLE: &str = "Available";

/// Has requests go by the APIServices that there are, and checks the servers, each in a task of its own: one that does not
/// answer keeps nobody waiting.
pub(crate) async fn follow(state: Arc<State>, api: InProcess) {
    let mut services = Changes::of(&state.storage, "/registry/core/services/").await;
    let mut slices =
        Changes::of(&state.storage, "/registry/discovery.k8s.io/endpointslices/").await;
    let mut own = Changes::of(&state.storage, PREFIX).await;
    let (told, _) = watch::channel(());
    let (mut running, mut tasks) = (HashSet::new(), JoinSet::new());
    loop {
        let there = all(&state);
        state.delegates.replace(&there);
        for delegate in state.delegates.all().iter() {
            if running.insert(delegate.name.clone()) {
                let (state, api, name) = (state.clone(), api.clone(), delegate.name.clone());
                tasks.spawn(checks(state, api, name, told.subscribe()));
            }
        }
        told.send_replace(());
        for service in &there {
            mend_local(&api, service).await;
        }
        tokio::select! {
            () = own.next(false) => {}
            () = services.next(false), if !running.is_empty() => {}
            () = slices.next(false), if !running.is_empty() => {}
            // One ends when its APIService does.
            Some(ended) = tasks.join_next() => {
                running.remove(&ended.expect("nobody aborts it, and it doesn't panic"));
            }
        }
    }
}

/// Checks one until it is gone, and gives its name.
async fn checks(
    state: Arc<State>,
    api: InProcess,
    name: String,
    mut told: watch::Receiver<()>,
) -> String {
    let (mut known, mut failures) = (None, 0_u32);
    let mut due = Instant::now();
    loop {
        told.borrow_and_update();
        let delegates = state.delegates.all();
        let Some(delegate) = delegates.iter().find(|it| it.name == name).cloned() else {
            return name;
        };
        let facts = probe::facts(&state, &delegate).await;
        if known.as_ref() != Some(&facts) || Instant::now() >= due {
            let verdict = probe::verdict(&state, &delegate, &facts).await;
            failures = if verdict.is_good() { 0 } else { failures + 1 };
            let patience = AGAIN * 2_u32.pow(failures.min(8));
            let pause = if failures == 0 { PERIOD } else { PERIOD.min(patience) };
            (due, known) = (Instant::now() + pause, Some(facts));
            if let Telling::Overtaken = settle(&state, &api, &delegate, verdict).await {
                due = due.min(Instant::now() + AGAIN);
            }
        }
        tokio::select! {
            () = sleep_until(due) => {}
            changed = told.changed() => if changed.is_err() { return name },
        }
    }
}

/// What became of a condition that was to be told.
enum Telling {
    Done,
    /// Somebody has written the APIService meanwhile, which may not have been heard of yet.
    Overtaken,
}

/// What a server serves is known before it is said to be available.
async fn settle(state: &State, api: &InProcess, delegate: &Delegate, verdict: Verdict) -> Telling {
    if let Verdict::Good { resources, address } = &verdict {
        documents::learn(state, delegate, resources.clone(), *address).await;
    }
    let Some(service) = all(state).into_iter().find(|it| is_called(it, &delegate.name)) else {
        return Telling::Done;
    };
    let (status, reason, message) = verdict.told();
    match tell(api, service, (status, &reason, &message)).await {
        Err(error) if error.code() == 409 => return Telling::Overtaken,
        Err(error) => {
            tracing::warn!(%error, name = delegate.name, "the status of an APIService can't be written yet");
        }
        Ok(()) => {}
    }
    Telling::Done
}

fn is_called(service: &APIService, name: &str) -> bool {
    service.metadata.name.as_deref() == Some(name)
}

/// Writes the condition, unless it says so already.
async fn tell(
    api: &InProcess,
    mut service: APIService,
    (status, reason, message): (&str, &str, &str),
) -> Result<(), ApiError> {
    let conditions = service.status.get_or_insert_default().conditions.get_or_insert_default();
    let before = conditions.iter().position(|told| told.type_ == AVAILABLE);
    let before = before.map(|at| conditions.remove(at));
    let is_same = |told: &APIServiceCondition| {
        told.status == status
            && told.reason.as_deref() == Some(reason)
            && told.message.as_deref() == Some(message)
    };
    if before.as_ref().is_some_and(is_same) {
        return Ok(());
    }
    let since = before.filter(|told| told.status == status).and_then(|it| it.last_transition_time);
    conditions.push(APIServiceCondition {
        last_transition_time: since.or_else(|| Some(Time(Timestamp::now()))),
        message: Some(message.to_owned()),
        reason: Some(reason.to_owned()),
        status: status.to_owned(),
        type_: AVAILABLE.to_owned(),
    });
    let name = service.metadata.name.as_deref().unwrap_or_default();
    let path = format!("{PATH}/{name}/status");
    match internal::request(api, Method::PUT, &path, &json!(service)).await {
        Err(error) if error.code() != 404 => Err(error),
        _ => Ok(()),
    }
}

/// One that named another server, and does so no longer.
async fn mend_local(api: &InProcess, service: &APIService) {
    let conditions = service.status.as_ref().and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    let is_available = conditions.any(|it| it.type_ == AVAILABLE && it.status == "True");
    if is_available || service.spec.as_ref().is_none_or(|spec| spec.service.is_some()) {
        return;
    }
    let local = ("True", "Local", "Local APIServices are always available");
    // What was faster is heard of.
    if let Err(error) = tell(api, service.clone(), local).await
        && error.code() != 409
    {
        tracing::warn!(%error, "the status of an APIService can't be written yet");
    }
}
