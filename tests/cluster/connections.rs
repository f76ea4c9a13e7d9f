//! Commands in containers, their own processes and their ports, by our kubectl and by the one that everybody has.

use std::fs;

use api_types::{
    IntOrString,
    api::core::v1::{HTTPGetAction, Pod, Probe, Service},
};
use kube::{Api, api::PostParams};
use testkit::{pod, service, wait};

use crate::harness::{Backing, Beside, Cluster, fetch, kubectls, until};

const BUSYBOX: &str = "minik8s/busybox:0.1";

/// Runs a pod.
async fn run(cluster: &Cluster, pod: Pod) {
    let pods: Api<Pod> = Api::default_namespaced(cluster.client());
    let name = pod.metadata.name.clone().unwrap();
    pods.create(&PostParams::default(), &pod).await.unwrap();
    let runs = |pod: &Pod| pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Running");
    wait::until_is(&pods, &name, "runs", runs).await;
}

#[tokio::test]
async fn commands_run_in_containers_with_input_output_and_terminal() {
    let cluster = Cluster::start(Backing::Embedded).await;
    let sleeper = pod("sleeper").image(BUSYBOX).command(&["sleep", "1000000"]);
    run(&cluster, sleeper.build()).await;

    // More than fits into any buffer on the way, back and forth.
    let text = "0123456789abcde\n".repeat(1 << 16);
    let file = cluster.folder().join("input");
    fs::write(&file, &text).unwrap();
    for kubectl in kubectls() {
        let script = "echo out; cat; echo err >&2; exit 3";
        let command = ["exec", "sleeper", "--", "sh", "-c", script];
        let done = cluster.reading(&kubectl, &file, &command);
        assert_eq!((done.code, done.stdout.as_str()), (Some(3), "out\n"), "{}", done.stderr);
        // The stock one of 1.32 may meet the empty message with which a connection begins before it has made its streams.
        let said = done
            .stderr
            .lines()
            .filter(|line| !line.ends_with("Unknown stream id 1, discarding message"));
        assert_eq!(said.collect::<Vec<_>>(), ["err", "command terminated with exit code 3"]);
        let echoed = cluster.reading(&kubectl, &file, &["exec", "-i", "sleeper", "--", "cat"]);
        assert!(echoed.expect_ok() == text);
    }

    // The size comes after the command has begun; until then there is none to tell, which is no failure to stty.
    let size = "'until stty size | grep .; do sleep 0.1; done'";
    let size = ["exec", "-it", "sleeper", "--", "sh", "-c", size];
    for kubectl in kubectls() {
        let shown = cluster.at_terminal(&kubectl, &size).expect_ok();
        assert!(shown.contains("31 97"), "{shown}");
    }

    let refused = cluster.stock_kubectl(&["exec", "sleeper", "-c", "other", "--", "id"]);
    assert!(refused.stderr.contains("container other is not valid for pod sleeper"), "{refused:?}");
}

#[tokio::test]
async fn ports_are_forwarded_and_processes_attached_to() {
    let cluster = Cluster::start(Backing::Embedded).await;
    let serve = "mkdir /w; yes 0123456789abcde | head -c 4194304 > /w/index.html; httpd -f -h /w";
    let web = pod("web").label("app", "web").image(BUSYBOX).command(&["sh", "-c", serve]);
    let web = web.with(|pod| {
        let get = HTTPGetAction { port: IntOrString::Int(80), ..HTTPGetAction::default() };
        let probe = Probe { http_get: Some(get), period_seconds: Some(1), ..Probe::default() };
        pod.spec.as_mut().unwrap().containers[0].readiness_probe = Some(probe);
    });
    run(&cluster, web.build()).await;
    let pods: Api<Pod> = Api::default_namespaced(cluster.client());
    wait::until_is(&pods, "web", "is ready", is_ready).await;
    let services: Api<Service> = Api::default_namespaced(cluster.client());
    let front = service("web").port(8080, 80).build();
    services.create(&PostParams::default(), &front).await.unwrap();
    let page = "0123456789abcde\n".repeat(1 << 18);

    for (kubectl, is_ours) in kubectls().into_iter().zip([true, false]) {
        for (target, port) in [("pod/web", ":80"), ("svc/web", ":8080")] {
            let forward = cluster.beside(&kubectl, &["port-forward", target, port]);
            let local = local_ports(&forward, 1).await[0];
            let (one, two) = tokio::join!(fetch("127.0.0.1", local), fetch("127.0.0.1", local));
            assert!(one.unwrap() == page && two.unwrap() == page, "{target}");
        }
        let forward = cluster.beside(&kubectl, &["port-forward", "pod/web", ":81", ":80"]);
        let local = local_ports(&forward, 2).await;
        assert!(fetch("127.0.0.1", local[0]).await.is_err());
        prints(&forward, "inside the namespace: Connection refused").await;
        if is_ours {
            assert!(fetch("127.0.0.1", local[1]).await.unwrap() == page);
        } else {
            // It gives up, whatever it was connected to.
            prints(&forward, "error: lost connection to pod").await;
        }
    }

    let reader =
        pod("reader").image(BUSYBOX).command(&["sh", "-c", "cat; echo over"]).with(|pod| {
            let container = &mut pod.spec.as_mut().unwrap().containers[0];
            (container.stdin, container.stdin_once) = (Some(true), Some(true));
        });
    run(&cluster, reader.build()).await;
    let file = cluster.folder().join("input");
    fs::write(&file, "this\n").unwrap();
    for (restarts, kubectl) in kubectls().iter().enumerate() {
        wait::until_is(&pods, "reader", "runs", |pod| runs_after(pod, restarts)).await;
        let attached = cluster.reading(kubectl, &file, &["attach", "-i", "reader"]);
        assert_eq!(attached.expect_ok(), "this\nover\n");
    }
}

#[tokio::test]
async fn a_pod_is_run_attached_to_and_removed() {
    let cluster = Cluster::start(Backing::Embedded).await;
    let file = cluster.folder().join("input");
    fs::write(&file, "this\n").unwrap();
    let image = format!("--image={BUSYBOX}");
    let run = ["run", "once", "-i", "--rm", "--restart=Never", &image, "--command", "--"];
    for (kubectl, is_ours) in kubectls().iter().zip([true, false]) {
        let ends =
            |script| cluster.reading(kubectl, &file, &[&run[..], &["sh", "-c", script]].concat());
        let done = ends("cat; echo over");
        let said = done.expect_ok();
        assert!(said.starts_with("this\nover\npod \"once\" deleted"), "{said}");
        let failed = ends("read line; exit 3");
        assert_eq!(failed.code, Some(3), "{failed:?}");
        assert!(failed.stdout.starts_with("pod \"once\" deleted"), "{failed:?}");
        if is_ours {
            let quick = ends("echo before anybody came");
            assert!(quick.stdout.contains("pod \"once\" deleted"), "{quick:?}");
        }
        // Stock's says another one first, so that what runs there draws itself.
        let size = [
            "run",
            "once",
            "-it",
            "--rm",
            "--restart=Never",
            &image,
            "--command",
            "--",
            "sh",
            "-c",
            "'until stty size | grep \"31 97\"; do sleep 0.1; done'",
        ];
        let shown = cluster.at_terminal(kubectl, &size).expect_ok();
        assert!(shown.contains("31 97"), "{shown}");
        assert!(cluster.kubectl(&["get", "pods", "-o", "name"]).expect_ok().is_empty());
    }
}

async fn prints(kubectl: &Beside, wanted: &str) {
    until(wanted, async || {
        let printed = kubectl.printed();
        if printed.contains(wanted) { Ok(()) } else { Err(printed) }
    })
    .await;
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True")
}

fn runs_after(pod: &Pod, restarts: usize) -> bool {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    let status = statuses.and_then(|statuses| statuses.first());
    status.is_some_and(|status| {
        let runs = status.state.as_ref().is_some_and(|state| state.running.is_some());
        runs && usize::try_from(status.restart_count) == Ok(restarts)
    })
}

/// The ports that a port-forward has taken.
async fn local_ports(forward: &Beside, count: usize) -> Vec<u16> {
    until("it forwards", async || {
        let printed = forward.printed();
        let from =
            printed.lines().filter_map(|line| line.strip_prefix("Forwarding from 127.0.0.1:"));
        let ports: Vec<_> = from.filter_map(|rest| rest.split_once(' ')?.0.parse().ok()).collect();
        if ports.len() == count { Ok(ports) } else { Err(printed) }
    })
    .await
}
