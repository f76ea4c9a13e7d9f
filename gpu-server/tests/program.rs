//! The program itself: what it prints and how it ends.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::{Command, Output},
    time::Duration,
};

use api_types::minik8s::GpuJob;
use kube::{Api, api::PostParams};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use testkit::{ControlPlane, wait};

const JOB: &str = "
apiVersion: minik8s.io/v1
kind: GpuJob
metadata: {name: matrix}
spec: {numGpus: 2, runScripts: [./multiply], credentials: {secretRef: {name: login}}}
";

fn gpu_server(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gpu-server")).args(args).output().unwrap()
}

fn dry_run(job: &str) -> Output {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), job).unwrap();
    gpu_server(&["--dry-run", "--file", file.path().to_str().unwrap()])
}

#[test]
fn a_dry_run_prints_the_script_and_nothing_else() {
    let output = dry_run(JOB);
    assert!(output.status.success(), "{output:?}");
    let script = String::from_utf8(output.stdout).unwrap();
    assert!(script.starts_with("#!/bin/bash\n#SBATCH --job-name=default.matrix-0-0-"), "{script}");
    assert!(script.contains("#SBATCH --gres=gpu:2\n") && script.contains("\n./multiply\n"));
}

#[test]
fn what_cannot_be_in_a_script_is_told() {
    let output = dry_run(&JOB.replace("numGpus: 2", "partition: 'a b'"));
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("spec.partition"), "{message}");
}

#[test]
fn wrong_usage_ends_with_2() {
    assert_eq!(gpu_server(&[]).status.code(), Some(2));
    let output = gpu_server(&["--job=matrix"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("namespace/name"));
}

/// A connection that is kept, as probes and proxies keep theirs.
fn asking(port: u16) -> Option<TcpStream> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: server\r\n\r\n").unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
    Some(stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_when_it_is_told_to_whoever_is_connected() {
    let plane = ControlPlane::builder().listen().start().await;
    let api: Api<GpuJob> = Api::namespaced(plane.client(), "default");
    let job = serde_yaml::from_str(JOB).unwrap();
    let job = api.create(&PostParams::default(), &job).await.unwrap();
    let kubeconfig = plane.kubeconfig("test", &["system:masters"], &[]);
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let mut server = Command::new(env!("CARGO_BIN_EXE_gpu-server"))
        .args(["--job=default/matrix", "--results=/nowhere", "--credentials=/nowhere"])
        .args(["--ssh-host=127.0.0.1", &format!("--address={free}")])
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .arg(format!("--uid={}", job.metadata.uid.unwrap()))
        .spawn()
        .unwrap();
    let asks = async || asking(free.port()).ok_or("it does not listen yet");
    let _connected = wait::until("it answers", asks).await;
    kill(Pid::from_raw(server.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    let ended = async || server.try_wait().unwrap().ok_or("it goes on");
    assert!(wait::until("it has ended", ended).await.success());
}
