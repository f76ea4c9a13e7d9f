//! Never two leaders that act, in generated histories of pauses, partitions, slow networks and deaths.

use std::future::pending;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use proptest::prelude::*;
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::memory::{Memory, Way};
use super::{Candidate, Fence, LEASE_DURATION, RENEW_DEADLINE};

/// Clocks whose rates differ by half of each other are worse than any that keep time at all.
const _: () = assert!(RENEW_DEADLINE.as_millis() * 3 / 2 < LEASE_DURATION.as_millis());

/// For how long something goes wrong now and then, and for how long nothing does afterwards.
const TROUBLE: Duration = Duration::from_secs(60);
const CALM: Duration = Duration::from_secs(15);

type Span = (u64, u64);

/// What happens to one replica; all times in ms.
#[derive(Clone, Debug)]
struct Fate {
    starts: u64,
    dies: Option<u64>,
    /// When its process stands still, and for how long.
    pauses: Vec<Span>,
    /// When nothing gets through to the API server, and for how long.
    cuts: Vec<Span>,
    request: u64,
    answer: u64,
}

fn fate() -> impl Strategy<Value = Fate> {
    let spans = || prop::collection::vec((0..60_000u64, 1..9_000u64), 0..6);
    let dies = prop::option::weighted(0.3, 0..60_000u64);
    let delay = || prop_oneof![3 => 0..50u64, 1 => 0..3_000u64];
    (0..5_000u64, dies, spans(), spans(), delay(), delay()).prop_map(
        |(starts, dies, pauses, cuts, request, answer)| Fate {
            starts,
            dies,
            pauses,
            cuts,
            request,
            answer,
        },
    )
}

/// Who acted, in which of its terms, when.
#[derive(Clone, Copy, Debug)]
struct Act {
    replica: usize,
    term: usize,
    at: Instant,
}

type Acts = Arc<Mutex<Vec<Act>>>;

/// A process that stands still at times: whatever it waits for, it learns of it when it goes on.
struct Pausable<F> {
    process: Pin<Box<F>>,
    pauses: Vec<(Instant, Instant)>,
    wake: Pin<Box<Sleep>>,
}

impl<F> Pausable<F> {
    fn new(process: F, pauses: &[(Instant, Instant)]) -> Self {
        let wake = Box::pin(sleep(Duration::ZERO));
        Self { process: Box::pin(process), pauses: pauses.to_vec(), wake }
    }
}

impl<F: Future> Future for Pausable<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let now = Instant::now();
        let this = &mut *self;
        match this.pauses.iter().find(|(from, to)| (*from..*to).contains(&now)) {
            None => this.process.as_mut().poll(cx),
            Some((_, to)) => {
                this.wake.as_mut().reset(*to);
                match this.wake.poll_unpin(cx) {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(()) => this.process.as_mut().poll(cx),
                }
            }
        }
    }
}

fn spans(begin: Instant, spans: &[Span]) -> Vec<(Instant, Instant)> {
    let at = |ms: u64| begin + Duration::from_millis(ms);
    spans.iter().map(|(from, ms)| (at(*from), at(from + ms))).collect()
}

/// A task of a term that nobody stops: it acts as often as the fence lets it.
async fn act(replica: usize, term: usize, fence: Fence, acts: Acts) {
    loop {
        if fence.is_open() {
            acts.lock().unwrap().push(Act { replica, term, at: Instant::now() });
        }
        sleep(Duration::from_millis(50)).await;
    }
}

async fn live(replica: usize, fate: Fate, lock: Memory, acts: Acts, begin: Instant) {
    let way = Way {
        cuts: spans(begin, &fate.cuts),
        request: Duration::from_millis(fate.request),
        answer: Duration::from_millis(fate.answer),
        ..Way::default()
    };
    let candidate = Candidate::new(lock.over(way), &format!("replica-{replica}"));
    let (shutdown, mut term, mut tasks) = (CancellationToken::new(), 0, JoinSet::new());
    let pauses = spans(begin, &fate.pauses);
    let lead = |fence| {
        term += 1;
        tasks.spawn(Pausable::new(act(replica, term, fence, acts.clone()), &pauses));
        pending::<()>()
    };
    let process = Pausable::new(candidate.run(&shutdown, lead), &pauses);
    let death = async {
        match fate.dies {
            Some(ms) => sleep_until(begin + Duration::from_millis(ms)).await,
            None => pending().await,
        }
    };
    sleep(Duration::from_millis(fate.starts)).await;
    tokio::select! {
        _ = process => {}
        () = death => {}
    }
}

fn play(fates: &[Fate]) -> (Vec<Act>, Instant) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(async {
        let (lock, acts, begin) = (Memory::default(), Acts::default(), Instant::now());
        for (replica, fate) in fates.iter().cloned().enumerate() {
            tokio::spawn(live(replica, fate, lock.clone(), acts.clone(), begin));
        }
        sleep(TROUBLE + CALM).await;
        let acts = acts.lock().unwrap().clone();
        (acts, Instant::now())
    })
}

/// Once somebody else has acted, who acted before is not heard of again in the same term.
fn assert_one_at_a_time(acts: &[Act]) {
    let mut over = Vec::new();
    for (before, now) in acts.iter().zip(&acts[1.min(acts.len())..]) {
        let same = (before.replica, before.term) == (now.replica, now.term);
        if !same {
            over.push((before.replica, before.term));
        }
        assert!(!over.contains(&(now.replica, now.term)), "{before:?} and then {now:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn two_leaders_never_act_at_once(fates in prop::collection::vec(fate(), 1..4)) {
        let (acts, _) = play(&fates);
        assert_one_at_a_time(&acts);
    }

    #[test]
    fn somebody_who_lives_leads_when_all_is_calm(mut fates in prop::collection::vec(fate(), 1..4)) {
        for fate in &mut fates {
            (fate.request, fate.answer) = (fate.request % 50, fate.answer % 50);
        }
        fates[0].dies = None;
        let (acts, end) = play(&fates);
        let last = acts.last().map(|act| end - act.at);
        prop_assert!(last.is_some_and(|ago| ago < Duration::from_secs(1)), "{last:?}");
    }
}
