//! What is done about errors.

use std::time::Duration;

use serde_json::Value;

use super::fields::Fields;
use crate::{
    error::{ALL, RunError},
    faults::Faults,
    path::ReferencePath,
    random::Random,
};

/// Which errors are answered with another attempt, when and how often.
#[derive(Clone, Debug)]
pub(crate) struct Retrier {
    pub(crate) errors: Vec<String>,
    pub(crate) interval: Duration,
    pub(crate) max_attempts: u32,
    pub(crate) backoff: f64,
    pub(crate) max_delay: Option<Duration>,
    pub(crate) jitter: bool,
}

/// Which errors are answered by going on with another state.
#[derive(Clone, Debug)]
pub(crate) struct Catcher {
    errors: Vec<String>,
    pub(crate) next: String,
    /// Where the error is put in what the state was given; absent if it is dropped.
    pub(crate) result: Option<ReferencePath>,
}

impl Retrier {
    pub(crate) fn is_for(&self, error: &RunError, of_branches: bool) -> bool {
        self.errors.iter().any(|name| error.is(name, of_branches))
    }

    /// The pause before the next attempt, when there were `done` by this rule.
    pub(crate) fn delay(&self, done: u32, random: &mut Random) -> Duration {
        let longest = self.max_delay.unwrap_or(MAX_DELAY).min(MAX_DELAY).as_secs_f64();
        let factor = self.backoff.powi(i32::try_from(done).unwrap_or(i32::MAX));
        let delay = (self.interval.as_secs_f64() * factor).min(longest);
        let millis = Duration::from_secs_f64(delay).as_millis();
        let millis = u64::try_from(millis).unwrap_or(u64::MAX);
        Duration::from_millis(if self.jitter { random.below(millis + 1) } else { millis })
    }
}

/// As long as AWS allows.
const MAX_DELAY: Duration = Duration::from_secs(31_622_400);

impl Catcher {
    pub(crate) fn is_for(&self, error: &RunError, of_branches: bool) -> bool {
        self.errors.iter().any(|name| error.is(name, of_branches))
    }
}

pub(super) fn retriers(fields: &mut Fields<'_>, faults: &mut Faults) -> Vec<Retrier> {
    let path = fields.at("Retry");
    let rules = fields.list("Retry", faults);
    let last = rules.len().saturating_sub(1);
    let retriers = rules.iter().enumerate().filter_map(|(i, rule)| {
        let mut fields = Fields::of(rule, &path.index(i), faults)?;
        let retrier = retrier(&mut fields, i == last, faults);
        fields.end("a Retry", faults);
        Some(retrier)
    });
    retriers.collect()
}

fn retrier(fields: &mut Fields<'_>, is_last: bool, faults: &mut Faults) -> Retrier {
    fields.value("Comment");
    Retrier {
        errors: errors(fields, is_last, faults),
        interval: fields.seconds("IntervalSeconds", 1, faults).unwrap_or(Duration::from_secs(1)),
        max_attempts: attempts(fields, faults),
        backoff: backoff(fields, faults),
        max_delay: fields.seconds("MaxDelaySeconds", 1, faults),
        jitter: jitter(fields, faults),
    }
}

fn attempts(fields: &mut Fields<'_>, faults: &mut Faults) -> u32 {
    let attempts = fields.count("MaxAttempts", 0, faults).unwrap_or(3);
    u32::try_from(attempts).unwrap_or(u32::MAX)
}

fn backoff(fields: &mut Fields<'_>, faults: &mut Faults) -> f64 {
    let Some(value) = fields.value("BackoffRate") else { return 2.0 };
    value.as_f64().filter(|rate| *rate >= 1.0).unwrap_or_else(|| {
        faults.invalid(&fields.at("BackoffRate"), value, "must be a number of at least 1");
        1.0
    })
}

fn jitter(fields: &mut Fields<'_>, faults: &mut Faults) -> bool {
    match fields.text("JitterStrategy", faults) {
        Some("FULL") => true,
        None | Some("NONE") => false,
        Some(other) => {
            let path = fields.at("JitterStrategy");
            faults.errors.not_supported(&path, other, &["FULL", "NONE"]);
            false
        }
    }
}

pub(super) fn catchers(fields: &mut Fields<'_>, faults: &mut Faults) -> Vec<Catcher> {
    let path = fields.at("Catch");
    let rules = fields.list("Catch", faults);
    let last = rules.len().saturating_sub(1);
    let catchers = rules.iter().enumerate().filter_map(|(i, rule)| {
        let mut fields = Fields::of(rule, &path.index(i), faults)?;
        fields.value("Comment");
        let catcher = Catcher {
            errors: errors(&mut fields, i == last, faults),
            next: fields.required_text("Next", faults).to_owned(),
            result: result_path(&mut fields, faults),
        };
        fields.end("a Catch", faults);
        Some(catcher)
    });
    catchers.collect()
}

/// Where a result is put: over everything unless something else is said, nowhere if null is.
pub(super) fn result_path(fields: &mut Fields<'_>, faults: &mut Faults) -> Option<ReferencePath> {
    let text = match fields.value("ResultPath") {
        None => "$",
        Some(Value::Null) => return None,
        Some(_) => fields.text("ResultPath", faults)?,
    };
    let path = fields.at("ResultPath");
    ReferencePath::parse(text).map_err(|why| faults.errors.invalid(&path, text, &why)).ok()
}

fn errors(fields: &mut Fields<'_>, is_last: bool, faults: &mut Faults) -> Vec<String> {
    let path = fields.at("ErrorEquals");
    let given = fields.required_list("ErrorEquals", faults);
    let names = given.iter().enumerate().filter_map(|(i, name)| {
        let text = name.as_str().map(str::to_owned);
        if text.is_none() {
            faults.invalid(&path.index(i), name, "must be a string");
        }
        text
    });
    let names: Vec<_> = names.collect();
    if names.iter().any(|name| name == ALL) && (names.len() > 1 || !is_last) {
        let why = "`States.ALL` must be alone, and in the last rule";
        faults.errors.invalid(&path, &names, why);
    }
    names
}
