//! Calls, with the time of each.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use reqwest::Client;
use tabled::{builder::Builder, settings::Style};

/// The longest time that is told apart from longer ones: ten minutes, in microseconds.
const MOST: u64 = 600_000_000;

/// How calls went.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Of those that were answered with 200, in microseconds.
    pub(crate) times: Histogram<u64>,
    /// The others, by what came of them.
    pub(crate) failures: BTreeMap<String, u64>,
    pub(crate) all: Duration,
}

impl Outcome {
    pub(crate) fn new() -> Self {
        let times = Histogram::new_with_bounds(1, MOST, 3).expect("valid bounds and precision");
        Outcome { times, failures: BTreeMap::new(), all: Duration::ZERO }
    }

    pub(crate) fn note(&mut self, took: Duration, failure: Option<String>) {
        match failure {
            None => self.times.saturating_record(took.as_micros().try_into().unwrap_or(MOST)),
            Some(failure) => *self.failures.entry(failure).or_default() += 1,
        }
    }

    /// Calls, errors, calls per second, and the quantiles that are given, in milliseconds.
    pub(crate) fn cells(&self, quantiles: &[f64]) -> Vec<String> {
        let errors: u64 = self.failures.values().sum();
        let rate = self.times.len() as f64 / self.all.as_secs_f64().max(f64::EPSILON);
        let first = [self.times.len().to_string(), errors.to_string(), format!("{rate:.0}")];
        let ms = |micros: u64| format!("{:.2}", micros as f64 / 1000.0);
        let at = quantiles.iter().map(|quantile| ms(self.times.value_at_quantile(*quantile)));
        first.into_iter().chain(at).chain([ms(self.times.max())]).collect()
    }
}

/// One call; nothing if it was answered with 200.
pub(crate) async fn call(client: &Client, url: &str) -> Option<String> {
    let answer = client.post(url).body("{}").send().await;
    match answer {
        Err(error) => Some(format!("{error:?}")),
        Ok(answer) if answer.status() != 200 => {
            let status = answer.status();
            Some(format!("{status}: {}", answer.text().await.unwrap_or_default()))
        }
        Ok(answer) => answer.bytes().await.err().map(|error| format!("{error:?}")),
    }
}

/// So many callers, each of which calls again as soon as it was answered.
pub(crate) async fn in_turn(client: &Client, url: &str, callers: usize, calls: usize) -> Outcome {
    let outcome = Mutex::new(Outcome::new());
    let begin = Instant::now();
    let caller = async || {
        for _ in 0..calls / callers {
            let begin = Instant::now();
            let failure = call(client, url).await;
            outcome.lock().note(begin.elapsed(), failure);
        }
    };
    join_all((0..callers).map(|_| caller())).await;
    Outcome { all: begin.elapsed(), ..outcome.into_inner() }
}

/// So many calls per second, whether or not those before are answered. Their times count from when each was due.
pub(crate) async fn at_rate(client: &Client, url: &str, rate: u32, length: Duration) -> Outcome {
    let outcome = Arc::new(Mutex::new(Outcome::new()));
    let count = (length.as_secs_f64() * f64::from(rate)) as u32;
    let begin = tokio::time::Instant::now();
    let mut calls = Vec::new();
    for index in 0..count {
        let due = begin + length * index / count;
        tokio::time::sleep_until(due).await;
        let (client, url, outcome) = (client.clone(), url.to_owned(), outcome.clone());
        calls.push(tokio::spawn(async move {
            let failure = call(&client, &url).await;
            outcome.lock().note(due.elapsed(), failure);
        }));
    }
    join_all(calls).await;
    let mut outcome = outcome.lock();
    outcome.all = begin.elapsed();
    std::mem::replace(&mut *outcome, Outcome::new())
}

/// Shows what was measured. Calls that failed fail the program.
#[expect(clippy::print_stdout, reason = "the program's output")]
pub(crate) fn print(
    header: &[&str],
    rows: &[Vec<String>],
    failures: &BTreeMap<String, u64>,
) -> anyhow::Result<()> {
    let mut table = Builder::from_iter(rows);
    table.insert_record(0, header.iter().copied());
    println!("{}", table.build().with(Style::psql()));
    for (failure, times) in failures {
        println!("{times} × {failure}");
    }
    anyhow::ensure!(failures.is_empty(), "{} calls failed", failures.values().sum::<u64>());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_failed_fail_the_program() {
        print(&["calls"], &[], &BTreeMap::new()).unwrap();
        let failures = BTreeMap::from([("502".to_owned(), 2), ("no answer".to_owned(), 1)]);
        let error = print(&["calls"], &[], &failures).unwrap_err();
        assert_eq!(error.to_string(), "3 calls failed");
    }
}
