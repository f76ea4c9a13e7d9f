//! A function of which the only instance is on a host that is lost while it is called.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::rig::{Call, Rig, condition};
use crate::harness::containers;

const SLEEPS: &str = "import time\ndef main(p):\n    time.sleep(p)\n    return p\n";

/// A pod that is ready, and does not end.
#[derive(Debug, PartialEq, Eq)]
struct Instance {
    uid: String,
    node: String,
}

fn lone() -> Value {
    json!({"apiVersion": "minik8s.io/v1", "kind": "Function", "metadata": {"name": "lone"}, "spec": {
        "source": {"files": {"lone.py": SLEEPS}},
        "minScale": 1, "maxScale": 1, "timeoutSeconds": 6}})
}

fn instances(rig: &Rig) -> Vec<Instance> {
    let pods = rig.list("pods", "minik8s.io/function=lone");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let serves = pods.iter().filter(|pod| {
        condition(pod, "Ready") == "True" && pod["metadata"]["deletionTimestamp"].is_null()
    });
    serves
        .map(|pod| Instance {
            uid: text(&pod["metadata"]["uid"]),
            node: text(&pod["spec"]["nodeName"]),
        })
        .collect()
}

/// The only instance, when it is not on that node.
async fn until_one(rig: &Rig, elsewhere: &str) -> Instance {
    rig.until("one instance", |rig| match <[_; 1]>::try_from(instances(rig)) {
        Ok([one]) if one.node != elsewhere => Ok(one),
        other => Err(format!("{other:?}")),
    })
    .await
}

/// Calls begin one after the other until the function has an instance elsewhere; that one, and the calls.
async fn called_until_moved(rig: &Rig, gateway: usize, lost: &str) -> (Instance, Vec<Call>) {
    let (mut calls, mut ticks) = (Vec::new(), tokio::time::interval(Duration::from_secs(1)));
    // What an instance that answered a moment ago gets is lost with its host.
    ticks.tick().await;
    let begun = Instant::now();
    loop {
        ticks.tick().await;
        calls.push(rig.call(gateway, "lone", "0.1"));
        if let Some(moved) = instances(rig).into_iter().find(|instance| instance.node != lost) {
            return (moved, calls);
        }
        assert!(begun.elapsed() < Duration::from_secs(50), "it has no other instance");
    }
}

#[tokio::test]
async fn calls_are_answered_elsewhere_when_the_host_of_the_only_instance_is_lost() {
    let mut rig = Rig::start(3).await;
    rig.apply(&lone());
    let before = until_one(&rig, "").await;
    let lost = (0..3).find(|node| rig.node(*node) == before.node).unwrap();
    let gateway = (lost + 1) % 3;
    rig.start_gateway(gateway);
    rig.until("the gateway is there", |rig| {
        let counted = rig.counted(gateway);
        if counted.contains("function_calls") { Ok(()) } else { Err(counted) }
    })
    .await;
    assert_eq!(rig.call(gateway, "lone", "0").end().await.expect_ok(), "0\n");

    let in_hand: Vec<_> = (0..3).map(|_| rig.call(gateway, "lone", "5")).collect();
    rig.until("calls in hand", |rig| {
        let counted = rig.counted(gateway);
        let three = r#"function_calls_in_flight{namespace="default",function="lone"} 3"#;
        if counted.contains(three) { Ok(()) } else { Err(counted) }
    })
    .await;
    rig.plug(lost, false);
    let (moved, calls) = called_until_moved(&rig, gateway, &before.node).await;
    for call in in_hand {
        let done = call.end().await;
        let lost = ["(502)", "(504)"].iter().any(|code| done.stderr.contains(code));
        assert!(!done.ok && lost, "{}", done.stderr);
    }
    for call in calls {
        assert_eq!(call.end().await.expect_ok(), "0.1\n");
    }

    // The host comes back, and its kubelet ends what has been replaced.
    rig.plug(lost, true);
    rig.until("the old instance is gone", |rig| {
        let pods = rig.list("pods", "minik8s.io/function=lone").len();
        let left = containers(&[&format!("io.kubernetes.pod.uid={}", before.uid)]).len();
        if (pods, left) == (1, 0) { Ok(()) } else { Err(format!("{pods} pods, {left} containers")) }
    })
    .await;
    assert_eq!(rig.call(gateway, "lone", "0").end().await.expect_ok(), "0\n");
    assert_eq!(instances(&rig), [moved]);
    rig.kubectl(&["func", "rm", "lone"]).expect_ok();
    rig.until("no function", |rig| match rig.list("functions", "").len() {
        0 => Ok(()),
        count => Err(count.to_string()),
    })
    .await;
}
