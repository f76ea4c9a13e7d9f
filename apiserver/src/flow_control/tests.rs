use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{rules::About, *};
use crate::identity::Identity;

const PATIENCE: Duration = Duration::from_secs(40);

/// Of the level `slow` with one seat are `jane` and `joe`; of `other`, the rest.
fn control(response: Value) -> Arc<FlowControl> {
    let level = |name: &str, response: Value| {
        let limited = json!({"nominalConcurrencyShares": 1, "limitResponse": response,
            "borrowingLimitPercent": 0});
        json!({"metadata": {"name": name}, "spec": {"type": "Limited", "limited": limited}})
    };
    let reject = json!({"type": "Reject"});
    let levels =
        [level("slow", response), level("other", reject.clone()), level("catch-all", reject)];
    let schema = |name: &str, precedence: i32, subjects: Value| {
        let rules = json!([{"subjects": subjects,
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]}]);
        json!({"metadata": {"name": name, "uid": format!("uid of {name}")}, "spec": {
            "matchingPrecedence": precedence, "distinguisherMethod": {"type": "ByUser"},
            "priorityLevelConfiguration": {"name": name}, "rules": rules}})
    };
    let user = |name: &str| json!({"kind": "User", "user": {"name": name}});
    let schemas = [
        schema("slow", 10, json!([user("jane"), user("joe")])),
        schema("other", 20, json!([user("*")])),
    ];
    let read = |all: &[Value]| serde_json::from_value(all.into()).unwrap();
    let counters = Counters::new(&mut Default::default());
    let control = FlowControl::new(3, counters);
    let references =
        control.configure(read(&levels), serde_json::from_value(schemas[..].into()).unwrap());
    assert!(references.iter().all(|it| it.is_found));
    Arc::new(control)
}

fn queues(longest: usize) -> Value {
    let queuing = json!({"queues": 4096, "handSize": 1, "queueLengthLimit": longest});
    json!({"type": "Queue", "queuing": queuing})
}

async fn admit(control: &FlowControl, user: &str) -> Result<Permit, ApiError> {
    let identity = Identity::new(user, &[]);
    let digest = Digest { identity: &identity, verb: "get", about: About::Path("/x") };
    let wish = Wish { seats: 1, is_watch: false, patience: PATIENCE };
    control.classify(&digest).admit(&digest, wish).await
}

fn waiting(control: &FlowControl) -> (u32, u32) {
    let dump = control.current.load().levels["slow"].dump();
    (dump.waiting, dump.executing)
}

/// One that has come to wait.
async fn in_queue(
    control: &Arc<FlowControl>,
    user: &'static str,
) -> JoinHandle<Result<Permit, ApiError>> {
    let before = waiting(control).0;
    let asking = tokio::spawn({
        let control = control.clone();
        async move { admit(&control, user).await }
    });
    while waiting(control).0 == before {
        tokio::task::yield_now().await;
    }
    asking
}

#[tokio::test(start_paused = true)]
async fn a_level_that_is_full_keeps_its_own_waiting_and_nobody_else() {
    let control = control(queues(50));
    let seat = admit(&control, "jane").await.unwrap();
    let second = in_queue(&control, "jane").await;
    let other = admit(&control, "ann").await.unwrap();
    let refused = admit(&control, "ann").await.err().unwrap();
    assert_eq!((refused.code(), refused.reason()), (429, "TooManyRequests"));
    assert_eq!(refused.retry_after_seconds(), Some(1));
    drop(other);
    drop(seat);
    let seat = second.await.unwrap().unwrap();
    assert_eq!(waiting(&control), (0, 1));
    drop(seat);
    assert_eq!(waiting(&control), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_is_refused_and_who_goes_leaves_no_gap() {
    let control = control(queues(50));
    let seat = admit(&control, "jane").await.unwrap();
    let gone = in_queue(&control, "jane").await;
    let late = in_queue(&control, "joe").await;
    gone.abort();
    assert!(gone.await.is_err_and(|error| error.is_cancelled()));
    let begun = Instant::now();
    assert_eq!(late.await.unwrap().err().unwrap().code(), 429);
    assert_eq!(begun.elapsed(), PATIENCE / 4);
    let dump = control.current.load().levels["slow"].dump();
    assert_eq!((dump.timed_out, dump.cancelled), (1, 1));
    assert_eq!(waiting(&control), (0, 1));
    drop(seat);
    drop(admit(&control, "joe").await.unwrap());
    assert_eq!(waiting(&control), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_seat_whose_taker_has_gone_goes_to_the_next() {
    let control = control(queues(50));
    let seat = admit(&control, "jane").await.unwrap();
    let (gone, next) = (in_queue(&control, "jane").await, in_queue(&control, "jane").await);
    // It has been given the seat, and does not come to take it.
    drop(seat);
    gone.abort();
    let _ = gone.await;
    drop(next.await.unwrap().unwrap());
    assert_eq!(waiting(&control), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_its_flow_and_no_other() {
    let control = control(queues(1));
    let seat = admit(&control, "jane").await.unwrap();
    let jane = in_queue(&control, "jane").await;
    assert_eq!(admit(&control, "jane").await.err().unwrap().code(), 429);
    // The hash of his name deals him another queue of so many.
    let joe = in_queue(&control, "joe").await;
    drop(seat);
    // Whoever is first lets the other one in: he, who has had none yet.
    drop(joe.await.unwrap().unwrap());
    drop(jane.await.unwrap().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_level_that_goes_serves_those_who_wait_in_it() {
    let control = control(queues(50));
    let seat = admit(&control, "jane").await.unwrap();
    let waiting = in_queue(&control, "jane").await;
    control.configure(Vec::new(), Vec::new());
    drop(seat);
    drop(waiting.await.unwrap().unwrap());
    let identity = Identity::new("jane", &[]);
    let digest = Digest { identity: &identity, verb: "get", about: About::Path("/x") };
    assert_eq!(control.classify(&digest).schema.name, "catch-all");
}

#[tokio::test(start_paused = true)]
async fn what_is_going_on_can_be_read() {
    let control = control(queues(50));
    let _seat = admit(&control, "jane").await.unwrap();
    let _waiting = in_queue(&control, "jane").await;
    let levels = control.dump_levels();
    assert!(
        levels.starts_with("PriorityLevelName, ActiveQueues, IsIdle, IsQuiescing,"),
        "{levels}"
    );
    assert!(levels.contains("\nslow, 1, false, false, 1, 1, 1, 0, 0, 0\n"), "{levels}");
    let queues = control.dump_queues();
    assert!(queues.contains("\nslow, "), "{queues}");
}
