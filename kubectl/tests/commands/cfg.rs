//! `kubectl cfg`.

use api_types::{api::core::v1::ConfigMap, minik8s::SCHEDULING_STRATEGIES};
use kube::{Api, api::PostParams};
use serde_json::json;

use crate::harness::Kubectl;

const CHOICES: &str =
    "choices: balanced, spread, round-robin, min-pods, max-pods, min-cpu, min-mem, random\n";

#[tokio::test]
async fn the_strategy_is_kept_in_the_api_and_shown() {
    let kubectl = Kubectl::new().await;
    let check = async |shown: &str| {
        assert_eq!(kubectl.ok("cfg").await, format!("sched={shown}\n{CHOICES}"));
    };
    let unset = "<not set> (what the scheduler was started with)";
    check(unset).await;
    assert_eq!(kubectl.ok("cfg sched-").await, "sched unset\n");
    for strategy in SCHEDULING_STRATEGIES {
        let line = format!("cfg sched={strategy}");
        assert_eq!(kubectl.ok(&line).await, format!("sched={strategy}\n"));
        check(strategy).await;
    }
    let get = "get configmap scheduler -n kube-system -o jsonpath={.data.strategy}";
    assert_eq!(kubectl.ok(get).await, "random");
    kubectl.ok("cfg sched-").await;
    check(unset).await;
}

#[tokio::test]
async fn what_is_no_setting_is_refused_and_changes_nothing() {
    let kubectl = Kubectl::new().await;
    kubectl.ok("cfg sched=min-cpu").await;
    for (line, why) in [
        ("cfg sched=fastest", "error: unknown strategy \"fastest\", expected one of: balanced, "),
        ("cfg sched=", "error: unknown strategy \"\", expected one of: balanced, "),
        ("cfg speed=high", "error: unknown setting \"speed\", expected: sched"),
        ("cfg sched", "error: expected KEY=VALUE or KEY-, such as sched=min-cpu"),
    ] {
        let refused = kubectl.fails(line, "").await;
        assert!(refused.starts_with(why), "{refused}");
    }
    assert!(kubectl.ok("cfg").await.starts_with("sched=min-cpu\n"));
}

#[tokio::test]
async fn whoever_else_writes_an_unknown_strategy_is_refused_too() {
    let kubectl = Kubectl::new().await;
    let maps = Api::<ConfigMap>::namespaced(kubectl.plane.client(), "kube-system");
    let map = |strategy: &str| {
        let map =
            json!({"metadata": {"name": "scheduler"}, "data": {"strategy": strategy, "x": ""}});
        serde_json::from_value(map).unwrap()
    };
    let refused = maps.create(&PostParams::default(), &map("fastest")).await.unwrap_err();
    let kube::Error::Api(status) = refused else { panic!("{refused}") };
    assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"));
    let why = "ConfigMap \"scheduler\" is invalid: data[strategy]: Unsupported value: \"fastest\": \
               supported values: \"balanced\", \"spread\", ";
    assert!(status.message.starts_with(why), "{}", status.message);
    maps.create(&PostParams::default(), &map("spread")).await.unwrap();
    let elsewhere = Api::<ConfigMap>::namespaced(kubectl.plane.client(), "default");
    elsewhere.create(&PostParams::default(), &map("fastest")).await.unwrap();
}
