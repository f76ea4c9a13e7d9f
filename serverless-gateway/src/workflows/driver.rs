//! Drives one run: takes it, does what it waits for, stores what comes of that.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use api_machinery::FieldPath;
use api_types::{
    jiff::Timestamp,
    meta::Time,
    minik8s::{Workflow, WorkflowRun, WorkflowRunStatus},
};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};
use workflow::{
    Action, Ahead, Definition, Engine, Event, Execution, Facts, Record, RunError, StepId,
};

use super::{
    call::{self, CallFunction, FunctionCall},
    lease,
    metrics::{Metrics, Running, steps},
    news::News,
    status,
    write::{Written, write},
};

/// How soon a run that is somebody else's, or that cannot be begun, is looked at again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a gateway that stops waits for the functions that its runs have called.
const GRACE: Duration = Duration::from_secs(10);
/// When it stops although it could not store what came of them: its leases end by themselves.
pub(super) const LIMIT: Duration = GRACE.saturating_add(lease::RENEWAL);

/// What driving a run takes.
#[derive(Clone)]
pub(super) struct Driver {
    pub(super) client: Client,
    pub(super) functions: Arc<dyn CallFunction>,
    /// Unlike any other gateway's, and another one after each start.
    pub(super) identity: Arc<str>,
    pub(super) metrics: Metrics,
    pub(super) shutdown: CancellationToken,
}

/// A run that is ours.
struct Held {
    run: WorkflowRun,
    engine: Engine,
    execution: Execution,
    written: Instant,
    /// The functions that were woken since a step ended.
    woken: HashSet<String>,
    _running: Running,
}

/// What is being done for the run, by step and attempt.
#[derive(Default)]
struct Doing {
    tasks: JoinSet<((StepId, u32), Event)>,
    begun: HashMap<(StepId, u32), AbortHandle>,
}

impl Driver {
    /// Drives the run for as long as it has not ended, whenever nobody else does. `news` is the run as it is known.
    pub(super) async fn drive(self, mut news: watch::Receiver<Arc<News>>) {
        let mut run = news.borrow_and_update().clone();
        let mut lease = lease::Watched::default();
        while !run.has_ended() && !self.shutdown.is_cancelled() {
            let wait = match lease.held_by_another(&run.status, &self.identity, Instant::now()) {
                Some(left) => left,
                None => {
                    let left = match self.take(&run).await {
                        Ok(held) => self.go_on(held, &mut news).await,
                        Err(left) => left,
                    };
                    match left {
                        Left::Ended => return,
                        // News of it may have come before.
                        Left::ToOthers(there) => run = Arc::from(there),
                    }
                    AGAIN
                }
            };
            tokio::select! {
                changed = news.changed() => match changed {
                    Ok(()) => run = news.borrow_and_update().clone(),
                    Err(_) => return,
                },
                () = sleep(wait) => {}
                () = self.shutdown.cancelled() => {}
            }
        }
    }

    fn runs(&self, run: &impl kube::Resource) -> Api<WorkflowRun> {
        let namespace = run.meta().namespace.as_deref().unwrap_or_default();
        Api::namespaced(self.client.clone(), namespace)
    }

    /// The whole run, if it is still as the news have it.
    async fn whole(&self, news: &News) -> Result<WorkflowRun, Left> {
        if let Some(run) = news.not_begun() {
            return Ok(run);
        }
        match self.runs(news).get_opt(&news.name_any()).await {
            Ok(Some(run)) if run.metadata.resource_version == news.metadata.resource_version => {
                Ok(run)
            }
            Ok(Some(run)) => Err(Left::ToOthers(Box::new(run.into()))),
            Ok(None) => Err(Left::Ended),
            Err(error) => {
                debug!(%error, "reading a run");
                Err(Left::ToOthers(Box::new(news.clone())))
            }
        }
    }

    /// Takes the run, and begins it if it has not begun.
    async fn take(&self, news: &News) -> Result<Held, Left> {
        let run = self.whole(news).await?;
        let now = Timestamp::now();
        let mut status = run.status.clone().unwrap_or_default();
        lease::hold(&mut status, &self.identity, now);
        let begun = match self.resume(&run, &mut status, now).await {
            Ok(begun) => begun,
            Err(Stop::Fail(error)) => {
                status::fail(&mut status, &error, now);
                None
            }
            Err(Stop::Later) => return Err(Left::ToOthers(Box::new(run.into()))),
        };
        let written = Instant::now();
        match (self.write(run, status).await, begun) {
            (Written::Lost(there), _) => Err(Left::ToOthers(there)),
            (Written::Stored(run), Some((engine, execution))) if !has_ended(&run) => {
                let _running = self.metrics.running();
                let woken = HashSet::new();
                let mut held = Held { run: *run, engine, execution, written, woken, _running };
                self.wake(&mut held, Engine::ahead);
                Ok(held)
            }
            (Written::Stored(_) | Written::Gone, _) => Err(Left::Ended),
        }
    }

    /// Writes the status, and counts what of it is new.
    async fn write(&self, run: WorkflowRun, status: WorkflowRunStatus) -> Written {
        let before = run.status.as_ref().map(steps).unwrap_or_default();
        let written = write(&self.client, run, status).await;
        if let Written::Stored(run) = &written {
            run.status.iter().for_each(|status| self.metrics.stored(status, before));
        }
        written
    }

    /// What the run may be about to call is better awake by then. What a Choice may pass by is woken once: it would stay
    /// awake for as long as what is before the Choice takes.
    fn wake(&self, held: &mut Held, look: fn(&Engine, &Execution, Timestamp) -> Vec<Ahead>) {
        let namespace = held.run.namespace().unwrap_or_default();
        for Ahead { function, is_certain } in look(&held.engine, &held.execution, Timestamp::now())
        {
            if !held.woken.contains(&function) || is_certain {
                self.functions.expect(&namespace, &function);
                held.woken.insert(function);
            }
        }
    }

    /// The run's engine and where it is; `status` takes in what begins by that. Nothing if there is no more to do.
    async fn resume(
        &self,
        run: &WorkflowRun,
        status: &mut WorkflowRunStatus,
        now: Timestamp,
    ) -> Result<Option<(Engine, Execution)>, Stop> {
        if status.definition.is_none() {
            let workflow = self.workflow(run).await?;
            status.definition = Some(workflow.spec.document());
            status.start_time = Some(Time(now));
            let input = run.spec.input.clone().or(workflow.spec.params);
            status.input = Some(input.unwrap_or_else(|| json!({})));
        }
        let engine = engine(run, status)?;
        let execution = match &status.execution {
            Some(stored) => serde_json::from_value(stored.clone())
                .map_err(|error| Stop::Fail(RunError::new("States.Runtime", error.to_string())))?,
            None => {
                let (execution, records) = engine.start(rand::random());
                take(status, &execution, records, now)?;
                execution
            }
        };
        Ok(execution.outcome().is_none().then_some((engine, execution)))
    }

    async fn workflow(&self, run: &WorkflowRun) -> Result<Workflow, Stop> {
        let namespace = run.namespace().unwrap_or_default();
        let workflows: Api<Workflow> = Api::namespaced(self.client.clone(), &namespace);
        match workflows.get_opt(&run.spec.workflow).await {
            Ok(Some(workflow)) => Ok(workflow),
            Ok(None) => {
                let why = format!("workflows.minik8s.io {:?} not found", run.spec.workflow);
                Err(Stop::Fail(RunError::new("Workflow.NotFound", why)))
            }
            Err(error) => {
                debug!(%error, "reading a workflow");
                Err(Stop::Later)
            }
        }
    }

    /// Until the run has ended, or is no longer ours.
    async fn go_on(&self, mut held: Held, news: &mut watch::Receiver<Arc<News>>) -> Left {
        let mut doing = Doing::default();
        loop {
            let events = if held.run.spec.cancel || news.borrow().spec.cancel {
                vec![Event::Cancelled]
            } else {
                doing.set(self, &held);
                tokio::select! {
                    events = doing.next() => events,
                    () = sleep_until(held.written + lease::RENEWAL) => Vec::new(),
                    changed = news.changed() => match changed {
                        Ok(()) => continue,
                        // It was deleted.
                        Err(_) => return Left::Ended,
                    },
                    () = self.shutdown.cancelled() => return self.hand_over(held, doing).await,
                }
            };
            match self.store(held, events).await {
                Ok(next) => held = next,
                Err(left) => return left,
            }
        }
    }

    /// Stores what has happened, and the lease.
    async fn store(&self, mut held: Held, events: Vec<Event>) -> Result<Held, Left> {
        let now = Timestamp::now();
        let mut status = held.run.status.clone().unwrap_or_default();
        lease::hold(&mut status, &self.identity, now);
        let cancelled = held.run.spec.cancel.then_some(Event::Cancelled);
        let mut records = Vec::new();
        for event in events.into_iter().chain(cancelled) {
            records.extend(held.engine.apply(&mut held.execution, event, now));
        }
        if !records.is_empty() {
            held.woken.clear();
        }
        if let Err(Stop::Fail(error)) = take(&mut status, &held.execution, records, now) {
            status::fail(&mut status, &error, now);
        }
        let written = Instant::now();
        match self.write(held.run, status).await {
            Written::Stored(run) if !has_ended(&run) => {
                let mut held = Held { run: *run, written, ..held };
                self.wake(&mut held, Engine::next);
                Ok(held)
            }
            Written::Stored(_) | Written::Gone => Err(Left::Ended),
            Written::Lost(there) => {
                info!("a run was taken over");
                Err(Left::ToOthers(there))
            }
        }
    }

    /// Lets another gateway go on. What has been called is waited for, since it would be called again there.
    async fn hand_over(&self, mut held: Held, mut doing: Doing) -> Left {
        let end = Instant::now() + GRACE;
        while doing.calls(&held) {
            let events = tokio::select! {
                biased;
                events = doing.next() => events,
                () = sleep_until(end) => break,
                () = sleep_until(held.written + lease::RENEWAL) => Vec::new(),
            };
            match self.store(held, events).await {
                Ok(next) => held = next,
                Err(left) => return left,
            }
        }
        let mut status = held.run.status.clone().unwrap_or_default();
        lease::release(&mut status);
        write(&self.client, held.run, status).await;
        Left::Ended
    }
}

/// Why a run is no longer ours.
enum Left {
    /// It is of no interest any longer. What is known of it may still say otherwise for a moment.
    Ended,
    /// The run as it is now.
    ToOthers(Box<News>),
}

fn has_ended(run: &WorkflowRun) -> bool {
    run.status.as_ref().is_some_and(|status| status.phase.has_ended())
}

/// Why a run cannot be begun.
enum Stop {
    Fail(RunError),
    Later,
}

fn take(
    status: &mut WorkflowRunStatus,
    execution: &Execution,
    records: Vec<Record>,
    now: Timestamp,
) -> Result<(), Stop> {
    status::take(status, execution, records, now)
        .map_err(|error| Stop::Fail(RunError::new("States.Runtime", error.to_string())))
}

fn engine(run: &WorkflowRun, status: &WorkflowRunStatus) -> Result<Engine, Stop> {
    let document = status.definition.clone().unwrap_or_default();
    let definition = Definition::parse(&document, &FieldPath::default())
        .map_err(|faults| Stop::Fail(RunError::new("Workflow.Invalid", faults.to_string())))?;
    let facts = Facts {
        id: run.uid().unwrap_or_default(),
        name: run.name_any(),
        workflow: run.spec.workflow.clone(),
        started: status.start_time.as_ref().map(|time| time.0).unwrap_or_default(),
        input: Arc::new(status.input.clone().unwrap_or_default()),
    };
    Ok(Engine::new(definition, facts))
}

// === impl Doing ===

impl Doing {
    /// Begins what is to be done anew, and drops what is of no interest any longer.
    fn set(&mut self, driver: &Driver, held: &Held) {
        let pending = held.engine.pending(&held.execution);
        let keys: Vec<_> = pending.iter().map(key).collect();
        self.keep(&keys);
        for (key, action) in keys.into_iter().zip(pending) {
            if !self.begun.contains_key(&key) {
                let event = perform(driver, &held.run, action);
                let task = self.tasks.spawn(async move { (key, event.await) });
                self.begun.insert(key, task);
            }
        }
    }

    fn keep(&mut self, wanted: &[(StepId, u32)]) {
        self.begun.retain(|key, task| {
            let wanted = wanted.contains(key);
            if !wanted {
                task.abort();
            }
            wanted
        });
    }

    /// Whether functions are being called for the run. Nothing else is gone on with.
    fn calls(&mut self, held: &Held) -> bool {
        let pending = held.engine.pending(&held.execution);
        let calls = pending.iter().filter(|action| matches!(action, Action::Call(_)));
        self.keep(&calls.map(key).collect::<Vec<_>>());
        !self.begun.is_empty()
    }

    /// Waits for what happens next; what has happened meanwhile comes with it.
    async fn next(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while events.is_empty() {
            match self.tasks.join_next().await {
                None => std::future::pending().await,
                Some(done) => self.done(done, &mut events),
            }
            while let Some(done) = self.tasks.try_join_next() {
                self.done(done, &mut events);
            }
        }
        events
    }

    fn done(
        &mut self,
        done: Result<((StepId, u32), Event), tokio::task::JoinError>,
        events: &mut Vec<Event>,
    ) {
        // One that was dropped tells nothing.
        if let Ok((key, event)) = done
            && self.begun.remove(&key).is_some()
        {
            events.push(event);
        }
    }
}

/// A pause is told from the attempts around it by having none.
fn key(action: &Action) -> (StepId, u32) {
    match action {
        Action::Call(call) => (call.step, call.attempt),
        Action::Wait { step, .. } => (*step, 0),
    }
}

fn perform(
    driver: &Driver,
    run: &WorkflowRun,
    action: Action,
) -> impl Future<Output = Event> + Send + 'static {
    let functions = driver.functions.clone();
    let (namespace, uid) = (run.namespace().unwrap_or_default(), run.uid().unwrap_or_default());
    async move {
        match action {
            Action::Call(step) => {
                let sent = FunctionCall::new(&namespace, &uid, &step);
                let result = match step.timeout {
                    Some(limit) => tokio::time::timeout(limit, call::result(&*functions, sent))
                        .await
                        .unwrap_or_else(|_| Err(too_long(&step.function, limit))),
                    None => call::result(&*functions, sent).await,
                };
                match result {
                    Ok(output) => Event::Returned { step: step.step, output },
                    Err(error) => Event::Failed { step: step.step, error },
                }
            }
            Action::Wait { step, until } => {
                let left = until.duration_since(Timestamp::now());
                sleep(Duration::try_from(left).unwrap_or_default()).await;
                Event::Elapsed { step }
            }
        }
    }
}

fn too_long(function: &str, limit: Duration) -> RunError {
    let seconds = limit.as_secs();
    RunError::timeout(format!("function {function} did not return within {seconds} s"))
}
