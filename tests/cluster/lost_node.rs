//! A function of which one instance is on a node that is lost under its calls: the kubelet is dead, and what is sent to the
//! pods there comes back from nowhere.

use std::time::Duration;

use api_types::api::core::v1::Pod;
use tokio::time::timeout;

use crate::{
    function_faults::{Functions, SLEEPS, assert_all_answered},
    harness::{Backing, Cluster, NODE, run, until},
};

/// No packet passes between this machine and an address. Dropping it lets them pass again.
struct Silence(String);

impl Silence {
    fn of(address: &str) -> Self {
        let silence = Self(address.to_owned());
        silence.rules("-I").into_iter().for_each(|rule| {
            run("iptables", &rule).expect_ok();
        });
        silence
    }

    fn rules<'a>(&'a self, change: &'a str) -> [Vec<&'a str>; 2] {
        let address = self.0.as_str();
        [["OUTPUT", "-d"], ["INPUT", "-s"]]
            .map(|[chain, way]| vec!["-w", change, chain, way, address, "-j", "DROP"])
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        self.rules("-D").into_iter().for_each(|rule| drop(run("iptables", &rule)));
    }
}

/// The addresses of the function's two instances, when both are ready, by node.
async fn instances(functions: &Functions, nodes: [&str; 2]) -> [String; 2] {
    until(&format!("instances on {nodes:?}"), async || {
        let mut pods = functions.pods("twin").await.items;
        pods.retain(|pod| pod.metadata.deletion_timestamp.is_none() && is_ready(pod));
        let mut addresses: Vec<_> = pods.iter().filter_map(place).collect();
        addresses.sort();
        match <[_; 2]>::try_from(addresses) {
            Ok(two) if two.each_ref().map(|(node, _)| node.as_str()) == nodes => {
                Ok(two.map(|(_, address)| address))
            }
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn place(pod: &Pod) -> Option<(String, String)> {
    let node = pod.spec.as_ref()?.node_name.clone()?;
    Some((node, pod.status.as_ref()?.pod_ip.clone()?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_goes_on_when_a_node_is_lost_under_its_calls() {
    let cluster = Cluster::start(Backing::Services).await;
    let up = cluster.up(&["--no-examples", "--nodes", "2"]);
    assert!(up.ok, "{}", up.stderr);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let functions = Functions { cluster, client };
    let other = format!("{NODE}-2");
    let flags = ["--concurrency=4", "--min-scale=2", "--max-scale=2", "--timeout=4"];
    functions.add("twin", SLEEPS, &flags).unwrap();
    let [_, lost] = instances(&functions, [NODE, &other]).await;

    let lose = async {
        functions
            .until_metric(r#"function_calls_in_flight{namespace="default",function="twin"} 8"#)
            .await;
        functions.cluster.kill(&[&format!("kubelet-{other}")]);
        Silence::of(&lost)
    };
    let in_flight =
        async { timeout(Duration::from_secs(20), functions.calls("twin", 8, 2.0)).await };
    let (answers, silence) = tokio::join!(in_flight, lose);
    let codes: Vec<u16> = answers.expect("calls end by their time").iter().map(|a| a.0).collect();
    let answered = codes.iter().filter(|code| **code == 200).count();
    assert_eq!(answered, 4, "those of the other instance: {codes:?}");
    assert!(codes.iter().all(|code| matches!(code, 200 | 502 | 504)), "{codes:?}");
    for _ in 0..10 {
        assert_all_answered(&functions.calls("twin", 4, 0.1).await);
    }

    // What an operator does who knows that the host is gone.
    functions.cluster.kubectl(&["delete", "node", &other]).expect_ok();
    instances(&functions, [NODE, NODE]).await;
    assert_all_answered(&functions.calls("twin", 8, 0.5).await);

    // The host comes back, and its kubelet ends what is no longer of its node.
    drop(silence);
    let up = functions.cluster.up(&["--no-examples", "--nodes", "2"]);
    assert!(up.ok, "{}", up.stderr);
    functions.remove("twin");
}
