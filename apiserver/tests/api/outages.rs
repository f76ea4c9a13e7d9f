//! Writes whose outcome is lost on the way: by the store that goes away, by the client that does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Request, header};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    faulty::{Fate, Faulty, Op},
    harness::{Answer, Api, CONFIG_MAPS, JSON, names, version},
};

const SERVICES: &str = "/api/v1/namespaces/default/services";
const SERVICE_KEYS: &str = "/registry/core/services/";
const CLAIMS: &str = "/registry/ranges/serviceips/";

fn service(name: &str, ip: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"clusterIP": ip, "ports": [{"port": 80}]}})
}

fn claim(ip: &str) -> String {
    format!("{CLAIMS}{ip}")
}

/// An answer is lost once.
fn lose_once(faulty: &Faulty, op: Op, prefix: &'static str) {
    let lost = AtomicBool::new(false);
    faulty.rule(move |what, key| {
        let is_it = what == op && key.starts_with(prefix);
        if is_it && !lost.swap(true, Ordering::SeqCst) { Fate::Lose } else { Fate::Pass }
    });
}

/// An answer is lost, and then the store is away for these keys. Time runs ahead then.
fn lose_and_go_away(faulty: &Faulty, op: Op, prefix: &'static str) {
    let (away, paused) = (AtomicBool::new(false), AtomicBool::new(false));
    faulty.rule(move |what, key| {
        let is_it = key.starts_with(prefix);
        if is_it && away.load(Ordering::SeqCst) {
            if !paused.swap(true, Ordering::SeqCst) {
                tokio::time::pause();
            }
            return Fate::Fail;
        }
        let lost = is_it && what == op;
        away.fetch_or(lost, Ordering::SeqCst);
        if lost { Fate::Lose } else { Fate::Pass }
    });
}

fn come_back(faulty: &Faulty) {
    faulty.rule(|_, _| Fate::Pass);
    tokio::time::resume();
}

fn retry_after(answer: &Answer) -> Option<&str> {
    answer.headers.get(header::RETRY_AFTER).map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_found_to_be_done() {
    let (api, faulty) = Api::faulty().await;
    lose_once(&faulty, Op::Put, SERVICE_KEYS);
    let created = api.post(SERVICES, &service("a", "10.96.0.9")).await.ok();
    assert_eq!(api.get(&format!("{SERVICES}/a")).await.ok(), created);
    lose_once(&faulty, Op::Put, SERVICE_KEYS);
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    let patched = api.patch(&format!("{SERVICES}/a"), "merge-patch", &label).await.ok();
    assert_eq!(api.get(&format!("{SERVICES}/a")).await.ok(), patched);
    lose_once(&faulty, Op::Delete, SERVICE_KEYS);
    api.delete(&format!("{SERVICES}/a")).await.ok();
    api.get(&format!("{SERVICES}/a")).await.fails(404, "NotFound");
    assert_eq!(api.store.get(&claim("10.96.0.9")).await.unwrap(), None);
}

#[tokio::test]
async fn an_address_stays_claimed_while_nobody_knows_whether_its_service_was_stored() {
    let (api, faulty) = Api::faulty().await;
    lose_and_go_away(&faulty, Op::Put, SERVICE_KEYS);
    let answer = api.post(SERVICES, &service("a", "10.96.0.9")).await;
    come_back(&faulty);
    let message = answer.fails(503, "ServiceUnavailable");
    assert!(message.contains("it is not known whether the change was made"), "{message}");
    // A client that repeats it would be told that it failed.
    assert_eq!(retry_after(&answer), None);
    api.get(&format!("{SERVICES}/a")).await.ok();
    let taken = api.post(SERVICES, &service("b", "10.96.0.9")).await.fails(422, "Invalid");
    assert!(taken.contains("provided IP is already allocated"), "{taken}");
}

#[tokio::test]
async fn a_change_that_may_have_been_made_is_not_made_again() {
    let (api, faulty) = Api::faulty().await;
    api.config_map("a", json!({})).await;
    let path = format!("{CONFIG_MAPS}/a");
    let object = json!({"metadata": {"finalizers": ["example.com/first"]}});
    api.patch(&path, "merge-patch", &object).await.ok();
    lose_and_go_away(&faulty, Op::Put, "/registry/core/configmaps/");
    let append =
        json!([{"op": "add", "path": "/metadata/finalizers/-", "value": "example.com/next"}]);
    let answer = api.patch(&path, "json-patch", &append).await;
    come_back(&faulty);
    answer.fails(503, "ServiceUnavailable");
    let found = api.get(&path).await.ok();
    assert_eq!(found["metadata"]["finalizers"], json!(["example.com/first", "example.com/next"]));
}

#[tokio::test]
async fn a_deletion_whose_answer_is_lost_does_not_meet_what_is_made_after_it() {
    let (api, faulty) = Api::faulty().await;
    let path = format!("{CONFIG_MAPS}/a");
    api.config_map("a", json!({})).await;
    let tries = AtomicUsize::new(0);
    faulty.rule(move |op, _| match op {
        Op::Delete if tries.fetch_add(1, Ordering::SeqCst) == 0 => Fate::Lose,
        Op::Delete => Fate::Hold,
        _ => Fate::Pass,
    });
    let make_again = async {
        faulty.holds().await;
        let made = api.config_map("a", json!({})).await;
        faulty.release();
        made
    };
    let (answer, made) = tokio::join!(api.delete(&path), make_again);
    answer.fails(503, "ServiceUnavailable");
    assert_eq!(api.get(&path).await.ok(), made);
}

/// How often an object is read for a write that is refused.
async fn reads(faulty: &Faulty, key: &'static str, write: impl Future<Output = Answer>) -> usize {
    let reads = Arc::new(AtomicUsize::new(0));
    let counted = reads.clone();
    faulty.rule(move |op, of| {
        counted.fetch_add(usize::from(op == Op::Get && of == key), Ordering::SeqCst);
        Fate::Pass
    });
    write.await.fails(409, "Conflict");
    reads.load(Ordering::SeqCst)
}

#[tokio::test]
async fn a_write_to_an_object_that_is_another_by_now_is_refused_at_once() {
    let (api, faulty) = Api::faulty().await;
    let (path, key) = (format!("{CONFIG_MAPS}/a"), "/registry/core/configmaps/default/a");
    let mut object = api.config_map("a", json!({})).await;
    let options = json!({"preconditions": {"uid": "another"}}).to_string();
    let delete = api.send("DELETE", &path, (JSON, JSON), options);
    assert_eq!(reads(&faulty, key, delete).await, 1);
    object["metadata"]["uid"] = "another".into();
    assert_eq!(reads(&faulty, key, api.put(&path, &object)).await, 1);
    api.get(&path).await.ok();
}

#[tokio::test]
async fn what_is_more_than_the_store_takes_is_tried_again_only_without_its_managers() {
    let (api, faulty) = Api::faulty().await;
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = tries.clone();
    faulty.rule(move |op, key| match (op, key.starts_with(SERVICE_KEYS)) {
        (Op::Put, true) => {
            counted.fetch_add(1, Ordering::SeqCst);
            Fate::Refuse
        }
        _ => Fate::Pass,
    });
    let answer = api.post(SERVICES, &service("a", "10.96.0.9")).await;
    let message = answer.fails(413, "RequestEntityTooLarge");
    assert_eq!(message, "Request entity too large: etcdserver: request is too large");
    assert_eq!(tries.load(Ordering::SeqCst), 2);
    assert_eq!(api.store.get(&claim("10.96.0.9")).await.unwrap(), None);
}

#[tokio::test]
async fn what_only_its_managers_make_too_large_is_stored_without_them() {
    let (api, faulty) = Api::faulty().await;
    let refuse_once = || {
        let refused = AtomicBool::new(false);
        faulty.rule(move |op, key| match (op, key.ends_with("/configmaps/default/m")) {
            (Op::Put, true) if !refused.swap(true, Ordering::SeqCst) => Fate::Refuse,
            _ => Fate::Pass,
        });
    };
    refuse_once();
    let created = api.config_map("m", json!({})).await;
    assert_eq!(created["metadata"]["managedFields"], Value::Null);
    let path = format!("{CONFIG_MAPS}/m");
    api.delete(&path).await.ok();
    let whole = api.config_map("m", json!({})).await;
    assert!(whole["metadata"]["managedFields"].is_array(), "{whole}");
    refuse_once();
    let changed = api.patch(&path, "merge-patch", &json!({"data": {"more": "x"}})).await.ok();
    assert_eq!(changed["metadata"]["managedFields"], Value::Null);
    assert_eq!(api.get(&path).await.ok(), changed);
}

/// Its revision alone the store may know without looking at the disk.
#[tokio::test]
async fn a_store_that_can_not_be_written_is_not_well() {
    let (api, faulty) = Api::faulty().await;
    faulty.rule(|op, _| if op == Op::Check { Fate::Fail } else { Fate::Pass });
    for endpoint in ["healthz", "livez", "readyz"] {
        let answer = api.get(&format!("/{endpoint}")).await;
        let failed = "[-]etcd failed: reason withheld\n";
        assert!(answer.code == 500 && answer.text.contains(failed), "{endpoint}: {}", answer.text);
    }
}

#[tokio::test]
async fn names_that_are_taken_again_and_again_can_be_asked_for_later() {
    let (api, faulty) = Api::faulty().await;
    faulty.rule(|op, _| if op == Op::Put { Fate::Conflict } else { Fate::Pass });
    let generated = api.post(CONFIG_MAPS, &json!({"metadata": {"generateName": "a-"}})).await;
    generated.fails(409, "AlreadyExists");
    assert_eq!(retry_after(&generated), Some("1"));
    let named = api.post(CONFIG_MAPS, &json!({"metadata": {"name": "a"}})).await;
    named.fails(409, "AlreadyExists");
    assert_eq!(retry_after(&named), None);
}

#[tokio::test]
async fn who_asks_in_vain_is_told_when_to_ask_again() {
    let (api, faulty) = Api::faulty().await;
    faulty.rule(|op, _| if op == Op::Get { Fate::Fail } else { Fate::Pass });
    let paths =
        [format!("{CONFIG_MAPS}/a"), CONFIG_MAPS.to_owned(), format!("{CONFIG_MAPS}?watch=1")];
    for path in paths {
        let answer = api.get(&path).await;
        answer.fails(503, "ServiceUnavailable");
        assert_eq!(retry_after(&answer), Some("1"), "{path}");
        assert_eq!(answer.json()["details"]["retryAfterSeconds"], 1);
    }
    // Whether a namespace is there that the cache doesn't know is asked of the store.
    let elsewhere = "/api/v1/namespaces/elsewhere/configmaps";
    let answer = api.post(elsewhere, &json!({"metadata": {"name": "a"}})).await;
    answer.fails(503, "ServiceUnavailable");
    assert_eq!(retry_after(&answer), Some("1"));
}

#[tokio::test]
async fn a_claim_that_is_another_service_s_by_now_is_left_alone() {
    let (api, _) = Api::faulty().await;
    api.post(SERVICES, &service("a", "10.96.0.9")).await.ok();
    let theirs = json!({"namespace": "default", "name": "b", "uid": "another"}).to_string();
    let key = claim("10.96.0.9");
    api.store.put(&key, theirs.clone().into(), None).await.unwrap();
    api.delete(&format!("{SERVICES}/a")).await.ok();
    assert_eq!(api.store.get(&key).await.unwrap().unwrap().value, theirs);
}

#[tokio::test]
async fn an_address_that_is_given_up_is_free() {
    let (api, _) = Api::faulty().await;
    api.post(SERVICES, &service("a", "10.96.0.9")).await.ok();
    let external = json!({"spec": {"type": "ExternalName", "externalName": "example.com"}});
    api.patch(&format!("{SERVICES}/a"), "merge-patch", &external).await.ok();
    api.post(SERVICES, &service("b", "10.96.0.9")).await.ok();
}

/// Has two requests claim the same address. The first claim is not done, and nobody says so; before it is tried again
/// the second request is done.
async fn claim_both(
    faulty: &Faulty,
    first: impl Future<Output = Answer>,
    second: impl Future<Output = Answer>,
) -> (Answer, Answer) {
    let (tries, seen) = watch::channel(0);
    faulty.rule(move |op, key| {
        if op != Op::Put || !key.starts_with(CLAIMS) {
            return Fate::Pass;
        }
        tries.send_modify(|count| *count += 1);
        match *tries.borrow() {
            1 => Fate::Fail,
            2 => Fate::Pass,
            _ => Fate::Hold,
        }
    });
    let second = async {
        seen.clone().wait_for(|count| *count > 0).await.unwrap();
        let answer = second.await;
        faulty.release();
        answer
    };
    tokio::join!(first, second)
}

#[tokio::test]
async fn of_two_services_that_claim_an_address_at_the_same_time_one_gets_it() {
    let (api, faulty) = Api::faulty().await;
    let (a, b) = (service("a", "10.96.0.9"), service("b", "10.96.0.9"));
    let (a, b) = claim_both(&faulty, api.post(SERVICES, &a), api.post(SERVICES, &b)).await;
    b.ok();
    let message = a.fails(422, "Invalid");
    assert!(message.contains("provided IP is already allocated"), "{message}");
    assert!(api.store.get(&claim("10.96.0.9")).await.unwrap().is_some());
}

#[tokio::test]
async fn of_two_changes_that_claim_an_address_the_one_that_fails_leaves_it_claimed() {
    let (api, faulty) = Api::faulty().await;
    let external = json!({"type": "ExternalName", "externalName": "example.com"});
    api.post(SERVICES, &json!({"metadata": {"name": "a"}, "spec": external})).await.ok();
    // The cache has it after that.
    api.get(SERVICES).await.ok();
    let path = format!("{SERVICES}/a");
    let spec = json!({"type": "ClusterIP", "clusterIP": "10.96.0.9", "ports": [{"port": 80}]});
    let change = json!({ "spec": spec });
    let patch = async || api.patch(&path, "merge-patch", &change).await;
    let (first, second) = claim_both(&faulty, patch(), patch()).await;
    second.ok();
    assert_eq!(first.ok()["spec"]["clusterIP"], "10.96.0.9");
    assert!(api.store.get(&claim("10.96.0.9")).await.unwrap().is_some());
}

/// Sends a request and drops it while the store is at it.
async fn abandon(api: &Api, faulty: &Faulty, method: &str, path: &str, object: &Value) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::CONTENT_TYPE, JSON)
        .body(object.to_string().into())
        .unwrap();
    tokio::select! {
        response = api.request(request) => panic!("answered: {response:?}"),
        () = faulty.holds() => {}
    }
}

#[tokio::test]
async fn a_client_that_goes_away_does_not_cut_a_write_in_half() {
    let (api, faulty) = Api::faulty().await;
    let path = format!("{SERVICES}/a");
    faulty.rule(|op, key| match (op, key.starts_with(SERVICE_KEYS)) {
        (Op::Put, true) => Fate::Hold,
        _ => Fate::Pass,
    });
    abandon(&api, &faulty, "POST", SERVICES, &service("a", "10.96.0.9")).await;
    faulty.release();
    api.until(&path, 200).await;
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_no_claim_of_what_it_deleted() {
    let (api, faulty) = Api::faulty().await;
    api.post(SERVICES, &service("a", "10.96.0.9")).await.ok();
    faulty.rule(|op, key| match (op, key.starts_with(CLAIMS)) {
        (Op::Delete, true) => Fate::Hold,
        _ => Fate::Pass,
    });
    abandon(&api, &faulty, "DELETE", &format!("{SERVICES}/a"), &json!({})).await;
    faulty.release();
    api.until_gone(&claim("10.96.0.9")).await;
}

#[tokio::test]
async fn a_page_costs_the_store_no_look_at_the_collection() {
    let (api, faulty) = Api::faulty().await;
    for name in ["a", "b", "c", "d"] {
        api.config_map(name, json!({})).await;
    }
    let first = api.get(&format!("{CONFIG_MAPS}?limit=1")).await.ok();
    let change = json!({"metadata": {"labels": {"changed": "yes"}}});
    api.patch(&format!("{CONFIG_MAPS}/b"), "merge-patch", &change).await.ok();
    api.delete(&format!("{CONFIG_MAPS}/c")).await.ok();
    faulty.rule(|op, key| match op == Op::List && key.starts_with("/registry/") {
        true => Fate::Fail,
        false => Fate::Pass,
    });
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = api.get(&format!("{CONFIG_MAPS}?limit=2&continue={token}")).await.ok();
    assert_eq!(names(&second), ["b", "c"]);
    assert_eq!(second["items"][0]["metadata"]["labels"], json!({}));
    assert_eq!(second["metadata"]["remainingItemCount"], 1);
    let token = second["metadata"]["continue"].as_str().unwrap();
    let last = api.get(&format!("{CONFIG_MAPS}?limit=2&continue={token}")).await.ok();
    assert_eq!((names(&last), version(&last)), (vec!["d"], version(&first)));
}

#[tokio::test]
async fn a_list_can_be_read_on_for_as_long_as_history_is_compacted_apart() {
    let (api, faulty) = Api::faulty().await;
    for name in ["a", "b"] {
        api.config_map(name, json!({})).await;
    }
    let first = api.get(&format!("{CONFIG_MAPS}?limit=1")).await.ok();
    let token = first["metadata"]["continue"].as_str().unwrap();
    api.config_map("c", json!({})).await;
    let next = async || api.get(&format!("{CONFIG_MAPS}?continue={token}")).await;
    tokio::time::pause();
    faulty.compacted(1).await;
    assert_eq!(names(&next().await.ok()), ["b"]);
    faulty.compacted(2).await;
    next().await.fails(410, "Expired");
}

#[tokio::test]
async fn no_duty_waits_for_another_and_a_stop_for_none() {
    let (api, faulty) = Api::faulty().await;
    let events = "/api/v1/namespaces/default/events";
    for name in ["old", "older"] {
        let event = json!({
            "metadata": {"name": name}, "involvedObject": {"namespace": "default"},
            "reason": "Tested", "type": "Normal", "lastTimestamp": "2020-01-01T00:00:00Z",
        });
        api.post(events, &event).await.ok();
    }
    faulty.rule(|op, key| match (op, key.starts_with("/registry/core/events/")) {
        (Op::Delete, true) => Fate::Hold,
        _ => Fate::Pass,
    });
    tokio::time::pause();
    faulty.holds_at_once(2).await;
    faulty.compacted(2).await;
    let stopping = tokio::time::Instant::now();
    api.server.stop().await;
    assert!(stopping.elapsed() < Duration::from_secs(1), "{:?}", stopping.elapsed());
}
