//! Goes from state to state until something has to be waited for.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Execution,
    history::{Record, add_failure, cut},
    step::Event,
    thread::{Branch, Fork, Progress, Thread},
};
use crate::{
    choice::timestamp,
    context::{Context, Facts},
    definition::{
        Concurrency, Invocation, Kind, Machine, Map, Next, Selection, State, Text, Timeout, Until,
    },
    error::RunError,
    limits::{MAX_DEPTH, MAX_EXECUTION, MAX_PAYLOAD, MAX_STEPS, MAX_STEPS_AT_ONCE, Size},
    path::Path,
    source::Source,
    template::Template,
};

/// Where a line of states has come to.
pub(super) enum Flow {
    Waits(Thread),
    Ended(Result<Value, RunError>),
}

/// What a visit to a state has come to.
enum Visit {
    Waits,
    /// The state has done what it does.
    Done(Value, Next),
    Failed(RunError),
}

/// The element of the Map around it.
type Item<'a> = Option<(usize, &'a Value)>;

/// What going on needs: the facts, the time, and what of the execution counts for all its lines.
pub(super) struct Interpreter<'a> {
    facts: &'a Facts,
    now: Timestamp,
    execution: &'a mut Execution,
    records: Vec<Record>,
    /// Steps that may still be begun before they are stored.
    left: u64,
}

impl<'a> Interpreter<'a> {
    pub(super) fn new(facts: &'a Facts, now: Timestamp, execution: &'a mut Execution) -> Self {
        Self { facts, now, execution, records: Vec::new(), left: MAX_STEPS_AT_ONCE }
    }

    pub(super) fn end(self) -> Vec<Record> {
        self.records
    }

    /// Begins the machine.
    pub(super) fn start(&mut self, machine: &Machine, input: Value) -> Flow {
        let thread = self.enter(&machine.start_at, input);
        self.go_on(machine, thread, None)
    }

    /// Gives the event to the step that it is for.
    pub(super) fn deliver(&mut self, machine: &Machine, thread: Thread, event: Event) -> Flow {
        if thread.holds(event.step()) {
            self.deliver_within(machine, thread, event, None)
        } else {
            Flow::Waits(thread)
        }
    }

    /// The first state's visit, or the next one's.
    fn enter(&mut self, state: &str, input: Value) -> Thread {
        self.execution.steps += 1;
        Thread {
            step: self.execution.steps,
            state: state.to_owned(),
            entered: self.now,
            input,
            attempts: 0,
            retries: Vec::new(),
            failures: Vec::new(),
            function: None,
            progress: Progress::Entered,
        }
    }

    /// From a state that is to be begun.
    fn go_on(&mut self, machine: &Machine, mut thread: Thread, item: Item<'_>) -> Flow {
        while let Some(left) = self.left.checked_sub(1) {
            self.left = left;
            let Some(state) = machine.states.get(&thread.state) else {
                let why = format!("the definition has no state {:?}", thread.state);
                return Flow::Ended(Err(RunError::runtime(why)));
            };
            let visit = self.begin(state, &mut thread, item);
            match self.leave(state, thread, visit, item) {
                Flow::Waits(next) if next.progress == Progress::Entered => thread = next,
                flow => return flow,
            }
        }
        Flow::Waits(thread)
    }

    fn deliver_within(
        &mut self,
        machine: &Machine,
        mut thread: Thread,
        event: Event,
        item: Item<'_>,
    ) -> Flow {
        let Some(state) = machine.states.get(&thread.state) else {
            return Flow::Waits(thread);
        };
        let visit = match (std::mem::replace(&mut thread.progress, Progress::Entered), event) {
            (Progress::Forked(fork), event) if event.step() != thread.step => {
                self.deliver_to_branch(state, &mut thread, fork, event, item)
            }
            (Progress::Calling { .. }, Event::Returned { output, .. }) => match &state.kind {
                Kind::Task { function, .. } => {
                    Visit::Done(function.result(output), state.next.clone())
                }
                _ => Visit::Failed(RunError::runtime("the state calls no function any more")),
            },
            (Progress::Calling { .. }, Event::Failed { error, .. }) => Visit::Failed(error),
            (Progress::Entered, Event::Elapsed { .. }) => {
                return self.go_on(machine, thread, item);
            }
            (Progress::Retrying(until), Event::Elapsed { .. }) if until <= self.now => {
                return self.go_on(machine, thread, item);
            }
            (Progress::Waiting(until), Event::Elapsed { .. }) if until <= self.now => {
                match self.select(&state.input, &thread, &thread.input, item) {
                    Ok(data) => Visit::Done(data, state.next.clone()),
                    Err(error) => Visit::Failed(error),
                }
            }
            (progress, _) => {
                thread.progress = progress;
                return Flow::Waits(thread);
            }
        };
        match self.leave(state, thread, visit, item) {
            Flow::Waits(next) if next.progress == Progress::Entered => {
                self.go_on(machine, next, item)
            }
            flow => flow,
        }
    }

    fn deliver_to_branch(
        &mut self,
        state: &State,
        thread: &mut Thread,
        mut fork: Fork,
        event: Event,
        item: Item<'_>,
    ) -> Visit {
        if let Some(at) = fork.position(event.step())
            && let Branch::Running(inner) =
                std::mem::replace(&mut fork.branches[at], Branch::Waiting)
        {
            let element = fork.items.get(at).map(|value| (at, value)).or(item);
            let flow = match branch_machine(state, at) {
                Some(machine) => self.deliver_within(machine, *inner, event, element),
                None => {
                    Flow::Ended(Err(RunError::runtime("the state has no such branch any more")))
                }
            };
            match branch(flow) {
                Ok(branch) => fork.branches[at] = branch,
                Err(error) => return Visit::Failed(error),
            }
        }
        self.fork_on(state, thread, fork, item)
    }

    /// Does what the state does, as far as that needs no waiting.
    fn begin(&mut self, state: &State, thread: &mut Thread, item: Item<'_>) -> Visit {
        if self.execution.steps > MAX_STEPS {
            return Visit::Failed(RunError::step_limit(MAX_STEPS));
        }
        thread.attempts += 1;
        self.try_begin(state, thread, item).unwrap_or_else(Visit::Failed)
    }

    fn try_begin(
        &mut self,
        state: &State,
        thread: &mut Thread,
        item: Item<'_>,
    ) -> Result<Visit, RunError> {
        let selected = self.select(&state.input, thread, &thread.input, item)?;
        let data = match &state.parameters {
            Some(template) => self.fill(template, thread, &selected, item)?,
            None => selected,
        };
        let next = state.next.clone();
        match &state.kind {
            Kind::Task { function, timeout } => {
                let timeout = timeout.as_ref();
                let timeout = timeout.map(|t| self.timeout(t, thread, item)).transpose()?;
                call(function, thread, data, timeout)
            }
            Kind::Pass { result } => Ok(Visit::Done(result.clone().unwrap_or(data), next)),
            Kind::Succeed => Ok(Visit::Done(data, Next::End)),
            Kind::Fail { error, cause } => Err(RunError {
                error: self.text(error.as_ref(), thread, &data, item)?,
                cause: self.text(cause.as_ref(), thread, &data, item)?,
            }),
            Kind::Choice { rules, default } => {
                let context = self.context(thread, item);
                for rule in rules {
                    if rule.condition.holds(&data, &context)? {
                        return Ok(Visit::Done(data, Next::State(rule.next.clone())));
                    }
                }
                let default = default.clone().ok_or_else(RunError::no_choice)?;
                Ok(Visit::Done(data, Next::State(default)))
            }
            Kind::Wait(until) => {
                let until = self.until(until, thread, &data, item)?;
                if until <= self.now {
                    return Ok(Visit::Done(data, next));
                }
                thread.progress = Progress::Waiting(until);
                Ok(Visit::Waits)
            }
            Kind::Parallel { branches } => self.fork(state, thread, &data, branches, item),
            Kind::Map(map) => self.map(state, thread, &data, map, item),
        }
    }

    /// Begins each branch with the data.
    fn fork(
        &mut self,
        state: &State,
        thread: &mut Thread,
        data: &Value,
        machines: &[Machine],
        item: Item<'_>,
    ) -> Result<Visit, RunError> {
        let (mut branches, mut total) = (Vec::new(), 0);
        for machine in machines {
            let inner = self.enter(&machine.start_at, data.clone());
            let branch = branch(self.go_on(machine, inner, item))?;
            total += Size::of(&branch).bytes;
            if total > MAX_EXECUTION {
                return Err(RunError::execution_limit());
            }
            branches.push(branch);
        }
        let fork = Fork { items: Vec::new(), limit: branches.len(), branches };
        Ok(self.fork_on(state, thread, fork, item))
    }

    fn map(
        &mut self,
        state: &State,
        thread: &mut Thread,
        data: &Value,
        map: &Map,
        item: Item<'_>,
    ) -> Result<Visit, RunError> {
        let context = self.context(thread, item);
        let Value::Array(items) = map.items.get(data, &context)? else {
            return Err(RunError::runtime(format!("{} of a Map leads to no list", map.items)));
        };
        let limit = match &map.concurrency {
            Concurrency::Unlimited => usize::MAX,
            Concurrency::Fixed(limit) => *limit,
            Concurrency::Path(path) => match whole(path, data, &context)? {
                0 => usize::MAX,
                limit => usize::try_from(limit).unwrap_or(usize::MAX),
            },
        };
        let branches = vec![Branch::Waiting; items.len()];
        Ok(self.fork_on(state, thread, Fork { items, limit, branches }, item))
    }

    /// Begins as many elements as may run, and looks whether all have returned.
    fn fork_on(
        &mut self,
        state: &State,
        thread: &mut Thread,
        mut fork: Fork,
        item: Item<'_>,
    ) -> Visit {
        if let Kind::Map(map) = &state.kind {
            let mut running = fork.running().count();
            for at in 0..fork.branches.len() {
                // One that is left to be gone on with goes on with the others too.
                if running >= fork.limit || (self.left == 0 && running > 0) {
                    break;
                }
                if fork.branches[at] != Branch::Waiting {
                    continue;
                }
                match self.begin_element(state, map, thread, (at, &fork.items[at]), item) {
                    Ok(branch) => {
                        running += usize::from(matches!(branch, Branch::Running(_)));
                        fork.branches[at] = branch;
                    }
                    Err(error) => return Visit::Failed(error),
                }
            }
        }
        match fork.results() {
            Some(results) => Visit::Done(Value::Array(results), state.next.clone()),
            None => {
                thread.progress = Progress::Forked(fork);
                Visit::Waits
            }
        }
    }

    fn begin_element(
        &mut self,
        state: &State,
        map: &Map,
        thread: &Thread,
        element: (usize, &Value),
        item: Item<'_>,
    ) -> Result<Branch, RunError> {
        let input = match &map.selector {
            None => element.1.clone(),
            Some(template) => {
                let data = self.select(&state.input, thread, &thread.input, item)?;
                self.fill(template, thread, &data, Some(element))?
            }
        };
        let inner = self.enter(&map.machine.start_at, input);
        branch(self.go_on(&map.machine, inner, Some(element)))
    }

    /// What comes of a visit: more waiting, the next state, or the end of the line.
    fn leave(&mut self, state: &State, thread: Thread, visit: Visit, item: Item<'_>) -> Flow {
        let (output, next) = match visit {
            Visit::Waits => return Flow::Waits(thread),
            Visit::Failed(error) => return self.fail(state, thread, error, item),
            Visit::Done(result, next) => match self.output(state, &thread, result, item) {
                Ok(output) => (output, next),
                Err(error) => return self.fail(state, thread, error, item),
            },
        };
        self.pass_on(thread, output, next, item)
    }

    fn pass_on(&mut self, thread: Thread, output: Value, next: Next, item: Item<'_>) -> Flow {
        self.record(thread, Some(output.clone()), None, item);
        match next {
            Next::State(name) => Flow::Waits(self.enter(&name, output)),
            Next::End => Flow::Ended(Ok(output)),
        }
    }

    /// Another attempt, another state, or the end.
    fn fail(&mut self, state: &State, mut thread: Thread, error: RunError, item: Item<'_>) -> Flow {
        let of_branches = matches!(state.kind, Kind::Parallel { .. } | Kind::Map(_));
        add_failure(&mut thread.failures, thread.attempts, self.now, &error);
        if let Some(until) = self.retry(state, &mut thread, &error, of_branches) {
            thread.progress = Progress::Retrying(until);
            return Flow::Waits(thread);
        }
        let catcher = state.catch.iter().find(|catcher| catcher.is_for(&error, of_branches));
        let Some(catcher) = catcher else {
            self.record(thread, None, Some(&error), item);
            return Flow::Ended(Err(error));
        };
        let caught = match &catcher.result {
            Some(path) => path.put(thread.input.clone(), error.output()),
            None => Ok(thread.input.clone()),
        };
        match caught.and_then(short) {
            Ok(output) => self.pass_on(thread, output, Next::State(catcher.next.clone()), item),
            Err(error) => {
                self.record(thread, None, Some(&error), item);
                Flow::Ended(Err(error))
            }
        }
    }

    /// When the next attempt is due, if there is one.
    fn retry(
        &mut self,
        state: &State,
        thread: &mut Thread,
        error: &RunError,
        of_branches: bool,
    ) -> Option<Timestamp> {
        let at = state.retry.iter().position(|retrier| retrier.is_for(error, of_branches))?;
        let retrier = &state.retry[at];
        thread.retries.resize(state.retry.len(), 0);
        let done = thread.retries[at];
        if done >= retrier.max_attempts {
            return None;
        }
        thread.retries[at] += 1;
        let delay = retrier.delay(done, &mut self.execution.random);
        self.now.checked_add(delay).ok()
    }

    fn record(
        &mut self,
        thread: Thread,
        output: Option<Value>,
        error: Option<&RunError>,
        item: Item<'_>,
    ) {
        let error = error.or(thread.failures.last().map(|failure| &failure.error)).cloned();
        self.records.push(Record {
            step: thread.step,
            state: thread.state,
            iteration: item.map(|(index, _)| index),
            function: thread.function,
            attempts: thread.attempts,
            started: thread.entered,
            ended: self.now,
            input: cut(thread.input),
            output: output.map(cut),
            error,
            failures: thread.failures,
        });
    }

    // === Data ===

    fn context<'c>(&'c self, thread: &'c Thread, item: Item<'c>) -> Context<'c> {
        Context {
            facts: self.facts,
            state: &thread.state,
            entered: thread.entered,
            retries: thread.attempts.saturating_sub(1),
            item,
        }
    }

    fn select(
        &self,
        selection: &Selection,
        thread: &Thread,
        data: &Value,
        item: Item<'_>,
    ) -> Result<Value, RunError> {
        match selection {
            Selection::All => Ok(data.clone()),
            Selection::Nothing => Ok(json!({})),
            Selection::Path(path) => path.get(data, &self.context(thread, item)),
        }
    }

    fn fill(
        &mut self,
        template: &Template,
        thread: &Thread,
        data: &Value,
        item: Item<'_>,
    ) -> Result<Value, RunError> {
        let mut random = self.execution.random.clone();
        let context = self.context(thread, item);
        let filled = template.fill(&mut Source::new(data, context, &mut random));
        self.execution.random = random;
        filled
    }

    /// The state's output: the result, as the state selects it, where the state puts it.
    fn output(
        &mut self,
        state: &State,
        thread: &Thread,
        result: Value,
        item: Item<'_>,
    ) -> Result<Value, RunError> {
        let result = match &state.selector {
            Some(template) => self.fill(template, thread, &result, item)?,
            None => result,
        };
        let whole = match &state.kind {
            Kind::Choice { .. } | Kind::Wait(_) | Kind::Succeed => result,
            _ => match &state.result {
                Some(path) => path.put(thread.input.clone(), result)?,
                None => thread.input.clone(),
            },
        };
        short(self.select(&state.output, thread, &whole, item)?)
    }

    fn text(
        &mut self,
        text: Option<&Text>,
        thread: &Thread,
        data: &Value,
        item: Item<'_>,
    ) -> Result<String, RunError> {
        match text {
            None => Ok(String::new()),
            Some(Text::Fixed(text)) => Ok(text.clone()),
            Some(Text::Expression(expression)) => {
                let template = Template::Expression(expression.clone());
                match self.fill(&template, thread, data, item)? {
                    Value::String(text) => Ok(text),
                    other => Err(RunError::runtime(format!("{other} is no text"))),
                }
            }
        }
    }

    fn until(
        &self,
        until: &Until,
        thread: &Thread,
        data: &Value,
        item: Item<'_>,
    ) -> Result<Timestamp, RunError> {
        let context = self.context(thread, item);
        match until {
            Until::At(time) => Ok(*time),
            Until::After(duration) => self.later(*duration),
            Until::AfterPath(path) => self.later(Duration::from_secs(whole(path, data, &context)?)),
            Until::AtPath(path) => {
                let value = path.need(data, &context)?;
                let why = || RunError::runtime(format!("{value} at {path} is no time"));
                timestamp(&value).ok_or_else(why)
            }
        }
    }

    fn later(&self, duration: Duration) -> Result<Timestamp, RunError> {
        let why = |_| RunError::runtime("the time to wait for is too far away");
        self.now.checked_add(duration).map_err(why)
    }

    fn timeout(
        &self,
        timeout: &Timeout,
        thread: &Thread,
        item: Item<'_>,
    ) -> Result<Duration, RunError> {
        match timeout {
            Timeout::Fixed(duration) => Ok(*duration),
            Timeout::Path(path) => {
                let seconds = whole(path, &thread.input, &self.context(thread, item))?;
                Ok(Duration::from_secs(seconds.max(1)))
            }
        }
    }
}

/// A whole number in the data.
fn whole(path: &Path, data: &Value, context: &Context<'_>) -> Result<u64, RunError> {
    let value = path.need(data, context)?;
    let why = || RunError::runtime(format!("{value} at {path} is no whole number"));
    value.as_u64().ok_or_else(why)
}

fn call(
    function: &Invocation,
    thread: &mut Thread,
    data: Value,
    timeout: Option<Duration>,
) -> Result<Visit, RunError> {
    let (name, input) = function.call(short(data)?)?;
    thread.function = Some(name);
    let input = Some(input).filter(|input| *input != thread.input);
    thread.progress = Progress::Calling { input, timeout };
    Ok(Visit::Waits)
}

fn short(data: Value) -> Result<Value, RunError> {
    let size = Size::of(&data);
    if size.bytes > MAX_PAYLOAD {
        let why = format!("a step's data is longer than {MAX_PAYLOAD} bytes");
        return Err(RunError::data_limit(why));
    }
    if size.depth > MAX_DEPTH {
        return Err(RunError::depth_limit());
    }
    Ok(data)
}

fn branch(flow: Flow) -> Result<Branch, RunError> {
    match flow {
        Flow::Waits(thread) => Ok(Branch::Running(Box::new(thread))),
        Flow::Ended(Ok(value)) => Ok(Branch::Done(value)),
        Flow::Ended(Err(error)) => Err(error),
    }
}

/// What the branch or the element at the index does.
fn branch_machine(state: &State, at: usize) -> Option<&Machine> {
    match &state.kind {
        Kind::Parallel { branches } => branches.get(at),
        Kind::Map(map) => Some(&map.machine),
        _ => None,
    }
}
