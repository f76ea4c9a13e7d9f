//! The Amazon States Language.

use std::{collections::BTreeMap, time::Duration};

use api_machinery::FieldPath;
use serde_json::Value;

use super::{
    Concurrency, Invocation, Kind, Machine, Map, Next, State, Text, Timeout, Until, choice::rule,
    fields::Fields, reach, retry,
};
use crate::{choice::timestamp, faults::Faults, intrinsic::Expression, path::Path};

const TYPES: [&str; 8] = ["Task", "Pass", "Choice", "Wait", "Succeed", "Fail", "Parallel", "Map"];
const WORDS: reach::Words = reach::Words {
    start: "StartAt",
    states: "States",
    next: "Next",
    choices: "Choices",
    default: "Default",
};
const JSON_PATH: &str = "JSONPath";

/// The whole document and how long a run may take.
pub(super) fn definition(
    value: &Value,
    path: &FieldPath,
    faults: &mut Faults,
) -> (Machine, Option<Duration>) {
    let Some(mut fields) = Fields::of(value, path, faults) else { return Default::default() };
    fields.value("Version");
    let timeout = fields.seconds("TimeoutSeconds", 1, faults);
    let machine = machine(&mut fields, faults);
    fields.end("a definition", faults);
    names_are_unique(&machine, path, faults);
    (machine, timeout)
}

/// Read from the object that has `StartAt` and `States`.
fn machine(fields: &mut Fields<'_>, faults: &mut Faults) -> Machine {
    comment(fields, faults);
    let start_at = fields.required_text("StartAt", faults).to_owned();
    let path = fields.at("States");
    let mut states = BTreeMap::new();
    match fields.value("States") {
        Some(Value::Object(object)) if !object.is_empty() => {
            for (name, value) in object {
                if let Some(state) = state(value, &path.key(name), faults) {
                    states.insert(name.clone(), state);
                }
            }
            let machine = Machine { start_at, states };
            reach::check(&machine, object, (&fields.path, &WORDS), faults);
            return machine;
        }
        None | Some(Value::Object(_)) => faults.errors.required(&path, ""),
        Some(other) => faults.invalid(&path, other, "must be an object"),
    }
    Machine { start_at, states }
}

fn comment(fields: &mut Fields<'_>, faults: &mut Faults) {
    fields.text("Comment", faults);
    if let Some(language) = fields.text("QueryLanguage", faults).filter(|l| *l != JSON_PATH) {
        let path = fields.at("QueryLanguage");
        faults.errors.not_supported(&path, language, &[JSON_PATH]);
    }
}

fn state(value: &Value, path: &FieldPath, faults: &mut Faults) -> Option<State> {
    let mut fields = Fields::of(value, path, faults)?;
    comment(&mut fields, faults);
    let type_ = fields.required_text("Type", faults);
    let kind = match type_ {
        "Task" => task(&mut fields, faults),
        "Pass" => Kind::Pass { result: fields.value("Result").cloned() },
        "Choice" => choice(&mut fields, faults),
        "Wait" => Kind::Wait(wait(&mut fields, faults)?),
        "Succeed" => Kind::Succeed,
        "Fail" => fail(&mut fields, faults),
        "Parallel" => parallel(&mut fields, faults),
        "Map" => map(&mut fields, faults)?,
        "" => return None,
        other => {
            faults.errors.not_supported(&fields.at("Type"), other, &TYPES);
            return None;
        }
    };
    let state = data_flow(kind, &mut fields, faults);
    fields.end(&format!("a {type_} state"), faults);
    Some(state)
}

/// What states have in common, as far as the kind has it.
fn data_flow(kind: Kind, fields: &mut Fields<'_>, faults: &mut Faults) -> State {
    let chooses = matches!(kind, Kind::Choice { .. } | Kind::Succeed | Kind::Fail { .. });
    let next = if chooses { Next::End } else { next(fields, faults) };
    let mut state = State::new(kind, next);
    if matches!(state.kind, Kind::Fail { .. }) {
        return state;
    }
    state.input = fields.selection("InputPath", faults);
    state.output = fields.selection("OutputPath", faults);
    if chooses || matches!(state.kind, Kind::Wait(_)) {
        return state;
    }
    if !matches!(state.kind, Kind::Map(_)) {
        state.parameters = fields.template("Parameters", faults);
    }
    state.result = retry::result_path(fields, faults);
    if !matches!(state.kind, Kind::Pass { .. }) {
        state.selector = fields.template("ResultSelector", faults);
        state.retry = retry::retriers(fields, faults);
        state.catch = retry::catchers(fields, faults);
    }
    invoked(&state, fields, faults);
    state
}

fn next(fields: &mut Fields<'_>, faults: &mut Faults) -> Next {
    let ends = fields.flag("End", faults).unwrap_or(false);
    if ends {
        fields.at_most_one(&["End", "Next"], faults);
        fields.value("Next");
        return Next::End;
    }
    if !fields.has("Next") {
        fields.value("Next");
        faults.errors.required(&fields.at("Next"), "must have `Next` or `End`");
        return Next::End;
    }
    Next::State(fields.required_text("Next", faults).to_owned())
}

/// The resource that invokes a function is told which.
fn invoked(state: &State, fields: &Fields<'_>, faults: &mut Faults) {
    let Kind::Task { function: Invocation::Invoke, .. } = &state.kind else { return };
    if !state.parameters.as_ref().is_some_and(|parameters| parameters.has("FunctionName")) {
        let path = fields.at("Parameters").child("FunctionName");
        faults.errors.required(&path, "");
    }
}

fn task(fields: &mut Fields<'_>, faults: &mut Faults) -> Kind {
    let resource = fields.required_text("Resource", faults);
    let function = Invocation::parse(resource).unwrap_or_else(|why| {
        if !resource.is_empty() {
            faults.errors.invalid(&fields.at("Resource"), resource, &why);
        }
        Invocation::Function(String::new())
    });
    fields.at_most_one(&["TimeoutSeconds", "TimeoutSecondsPath"], faults);
    let timeout = fields.seconds("TimeoutSeconds", 1, faults).map(Timeout::Fixed);
    let path = fields.path("TimeoutSecondsPath", faults).map(Timeout::Path);
    let timeout = timeout.or(path);
    for name in ["HeartbeatSeconds", "HeartbeatSecondsPath", "Credentials"] {
        if fields.value(name).is_some() {
            faults.warn(
                &fields.at(name),
                "has no effect: a function sends no heartbeats and has its own identity",
            );
        }
    }
    Kind::Task { function, timeout }
}

fn choice(fields: &mut Fields<'_>, faults: &mut Faults) -> Kind {
    let path = fields.at("Choices");
    let rules = fields.required_list("Choices", faults).iter().enumerate();
    let rules = rules.filter_map(|(i, value)| rule(value, &path.index(i), faults)).collect();
    let default = fields.text("Default", faults).map(str::to_owned);
    if default.is_none() {
        faults.warn(&fields.path, "has no `Default`: data for which no rule holds ends the run with States.NoChoiceMatched");
    }
    Kind::Choice { rules, default }
}

fn wait(fields: &mut Fields<'_>, faults: &mut Faults) -> Option<Until> {
    const FORMS: [&str; 4] = ["Seconds", "Timestamp", "SecondsPath", "TimestampPath"];
    fields.at_most_one(&FORMS, faults);
    let seconds = fields.seconds("Seconds", 0, faults).map(Until::After);
    let time = at(fields, faults).map(Until::At);
    let seconds_path = fields.path("SecondsPath", faults).map(Until::AfterPath);
    let time_path = fields.path("TimestampPath", faults).map(Until::AtPath);
    if !FORMS.iter().any(|form| fields.has(form)) {
        faults.errors.required(&fields.path, &format!("must have one of {}", FORMS.join(", ")));
    }
    seconds.or(time).or(seconds_path).or(time_path)
}

fn at(fields: &mut Fields<'_>, faults: &mut Faults) -> Option<jiff::Timestamp> {
    let value = fields.value("Timestamp")?;
    let time = timestamp(value);
    if time.is_none() {
        let why = "must be a time, e.g. 2026-01-02T03:04:05Z";
        faults.invalid(&fields.at("Timestamp"), value, why);
    }
    time
}

fn fail(fields: &mut Fields<'_>, faults: &mut Faults) -> Kind {
    let error = fixed_or_path(fields, "Error", "ErrorPath", faults);
    let cause = fixed_or_path(fields, "Cause", "CausePath", faults);
    Kind::Fail { error, cause }
}

fn fixed_or_path(
    fields: &mut Fields<'_>,
    name: &'static str,
    with_path: &'static str,
    faults: &mut Faults,
) -> Option<Text> {
    if fields.has(name) && fields.has(with_path) {
        faults.errors.forbidden(&fields.at(with_path), &format!("may not be set with `{name}`"));
    }
    let fixed = fields.text(name, faults).map(|text| Text::Fixed(text.to_owned()));
    let text = fields.text(with_path, faults);
    let expression = text.and_then(|text| {
        let parsed = Expression::parse(text);
        parsed.map_err(|why| faults.errors.invalid(&fields.at(with_path), text, &why)).ok()
    });
    fixed.or(expression.map(Text::Expression))
}

fn parallel(fields: &mut Fields<'_>, faults: &mut Faults) -> Kind {
    let path = fields.at("Branches");
    let branches = fields.required_list("Branches", faults).iter().enumerate();
    let branches = branches.filter_map(|(i, value)| {
        let mut fields = Fields::of(value, &path.index(i), faults)?;
        let machine = machine(&mut fields, faults);
        fields.end("a branch", faults);
        Some(machine)
    });
    Kind::Parallel { branches: branches.collect() }
}

fn map(fields: &mut Fields<'_>, faults: &mut Faults) -> Option<Kind> {
    fields.at_most_one(&["ItemProcessor", "Iterator"], faults);
    fields.at_most_one(&["ItemSelector", "Parameters"], faults);
    fields.at_most_one(&["MaxConcurrency", "MaxConcurrencyPath"], faults);
    let items = fields.path("ItemsPath", faults);
    let older = fields.template("Parameters", faults);
    let selector = fields.template("ItemSelector", faults).or(older);
    let concurrency = concurrency(fields, faults);
    let machine = processor(fields, faults)?;
    let items = items.or_else(|| Path::parse("$").ok())?;
    Some(Kind::Map(Box::new(Map { items, selector, machine, concurrency })))
}

fn concurrency(fields: &mut Fields<'_>, faults: &mut Faults) -> Concurrency {
    let path = fields.path("MaxConcurrencyPath", faults).map(Concurrency::Path);
    let fixed = fields.count("MaxConcurrency", 0, faults).and_then(|n| usize::try_from(n).ok());
    path.unwrap_or(match fixed {
        None | Some(0) => Concurrency::Unlimited,
        Some(fixed) => Concurrency::Fixed(fixed),
    })
}

fn processor(fields: &mut Fields<'_>, faults: &mut Faults) -> Option<Machine> {
    let name = if fields.has("Iterator") { "Iterator" } else { "ItemProcessor" };
    let path = fields.at(name);
    let Some(value) = fields.value(name) else {
        faults.errors.required(&path, "");
        return None;
    };
    fields.value("Iterator");
    let mut inner = Fields::of(value, &path, faults)?;
    if let Some(config) = inner.value("ProcessorConfig")
        && config["Mode"].as_str().unwrap_or("INLINE") != "INLINE"
    {
        let path = inner.at("ProcessorConfig").child("Mode");
        faults.invalid(&path, &config["Mode"], "only INLINE is supported");
    }
    let machine = machine(&mut inner, faults);
    inner.end("a Map's states", faults);
    Some(machine)
}

/// History tells states by their names.
fn names_are_unique(machine: &Machine, path: &FieldPath, faults: &mut Faults) {
    let mut names = Vec::new();
    all_names(machine, &mut names);
    names.sort_unstable();
    let mut twice: Vec<_> = names.windows(2).filter(|w| w[0] == w[1]).map(|w| w[0]).collect();
    twice.dedup();
    for name in twice {
        faults.errors.duplicate(&path.child("States"), name);
    }
}

fn all_names<'a>(machine: &'a Machine, names: &mut Vec<&'a str>) {
    for (name, state) in &machine.states {
        names.push(name);
        state.machines().for_each(|machine| all_names(machine, names));
    }
}
