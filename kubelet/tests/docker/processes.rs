//! Commands in containers, and containers' own processes, with their streams.

use std::time::Duration;

use futures::TryStreamExt;
use kubelet::runtime::{
    ContainerSpec, Runtime,
    command::run,
    process::{Command, Exec, Output, Size, Streams, Terminal},
};
use testkit::wait;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::{Node, container};

/// A container to run commands in, of a pod of its own.
async fn sleeper(cidr: &str) -> (Node, String) {
    let node = Node::start(cidr).await;
    let pod = node.pod("a");
    let (sandbox, _) = node.sandbox(&pod).await;
    let id = node.run(&pod, &sandbox, "sleep 1000").await;
    (node, id)
}

fn words(script: &str) -> Vec<String> {
    ["sh", "-c", script].map(str::to_owned).to_vec()
}

/// All that is still written to standard output, and to standard error.
async fn rest(streams: &mut Streams) -> (String, String) {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let read = async {
        while let Some(part) = streams.output.try_next().await.unwrap() {
            match part {
                Output::Stdout(bytes) => stdout.extend_from_slice(&bytes),
                Output::Stderr(bytes) => stderr.extend_from_slice(&bytes),
            }
        }
    };
    wait::within("the end of the output", read).await;
    (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// Reads until this is written.
async fn until_written(streams: &mut Streams, wanted: &str) {
    let mut text = String::new();
    let read = async {
        while !text.contains(wanted) {
            let Some(Output::Stdout(part) | Output::Stderr(part)) =
                streams.output.try_next().await.unwrap()
            else {
                panic!("ended before {wanted:?}: {text:?}")
            };
            text += std::str::from_utf8(&part).unwrap();
        }
    };
    wait::within(wanted, read).await;
}

#[tokio::test]
async fn a_command_run_to_its_end_gives_status_and_output() {
    let (node, id) = sleeper("10.219.7.0/24").await;
    let patience = Duration::from_secs(10);
    let script = words("echo here; echo there >&2; exit 4");
    let (code, output) = run(node.runtime.clone(), &id, &script, patience).await.unwrap();
    assert_eq!((code, output.len()), (4, "here\nthere\n".len()));
    // One that writes no more goes on.
    let script = words("exec >&- 2>&-; sleep 1; exit 5");
    assert_eq!(run(node.runtime.clone(), &id, &script, patience).await.unwrap().0, 5);
    let late = run(node.runtime.clone(), &id, &words("sleep 1000"), Duration::from_secs(1)).await;
    assert_eq!(late.unwrap_err().to_string(), "command timed out after 1s");
}

#[tokio::test]
async fn a_command_that_takes_too_long_or_is_not_waited_for_ends() {
    let (node, id) = sleeper("10.219.27.0/24").await;
    let (late, left) = (words("exec sleep 4321"), words("exec sleep 4322"));
    let late = run(node.runtime.clone(), &id, &late, Duration::from_secs(1));
    let left =
        timeout(Duration::from_secs(1), run(node.runtime.clone(), &id, &left, Duration::MAX));
    let (late, left) = tokio::join!(late, left);
    assert!(late.is_err() && left.is_err(), "{late:?} {left:?}");
    let others = words("ps -o args | grep '[s]leep'");
    let ended = wait::until("they end", async || {
        let patience = Duration::from_secs(10);
        let (_, running) = run(node.runtime.clone(), &id, &others, patience).await.unwrap();
        if running == "sleep 1000\n" { Ok(()) } else { Err(running) }
    });
    ended.await;
}

#[tokio::test]
async fn a_command_that_writes_without_end_fills_no_memory() {
    let (node, id) = sleeper("10.219.14.0/24").await;
    let script = words("yes | head -c 5000000; exit 4");
    let patience = Duration::from_secs(20);
    let (code, output) = run(node.runtime.clone(), &id, &script, patience).await.unwrap();
    assert_eq!((code, output.len()), (4, 10 << 10));
}

#[tokio::test]
async fn a_command_reads_its_input_to_the_end_and_keeps_output_and_error_apart() {
    let (node, id) = sleeper("10.219.20.0/24").await;
    let script = words("echo ready >&2; cat; echo over >&2; exit 3");
    let command = Command { words: script, stdin: true, tty: false };
    let Exec { id: exec, mut streams } = node.runtime.exec(&id, &command).await.unwrap();
    until_written(&mut streams, "ready").await;
    // More than fits into any buffer on the way.
    let text = "0123456789abcde\n".repeat(1 << 18);
    let Streams { input, output } = streams;
    let write = async {
        let mut input = input;
        input.write_all(text.as_bytes()).await.unwrap();
        input.shutdown().await.unwrap();
        input
    };
    let mut streams = Streams { input: Box::pin(tokio::io::sink()), output };
    let (_input, (stdout, stderr)) = tokio::join!(write, rest(&mut streams));
    assert!(stdout == text, "{} of {} bytes", stdout.len(), text.len());
    assert_eq!(stderr, "over\n");
    assert_eq!(node.runtime.exec_status(&exec).await.unwrap(), 3);
}

#[tokio::test]
async fn a_command_without_input_finds_none() {
    let (node, id) = sleeper("10.219.21.0/24").await;
    let command = Command { words: words("cat; echo over"), ..Command::default() };
    let mut exec = node.runtime.exec(&id, &command).await.unwrap();
    assert_eq!(rest(&mut exec.streams).await.0, "over\n");
}

#[tokio::test]
async fn a_terminal_has_the_size_that_it_is_given() {
    let (node, id) = sleeper("10.219.22.0/24").await;
    let script = words("trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.1; done");
    let command = Command { words: script, stdin: true, tty: true };
    let Exec { id: exec, mut streams } = node.runtime.exec(&id, &command).await.unwrap();
    until_written(&mut streams, "ready").await;
    let size = Size { width: 97, height: 31 };
    node.runtime.resize(&Terminal::Exec(exec.clone()), size).await.unwrap();
    until_written(&mut streams, "31 97\r\n").await;
    assert_eq!(node.runtime.exec_status(&exec).await.unwrap(), 0);
}

#[tokio::test]
async fn who_types_no_more_at_a_terminal_still_reads() {
    let (node, id) = sleeper("10.219.28.0/24").await;
    let script = words("read line; sleep 1; echo got $line; exit 3");
    let command = Command { words: script, stdin: true, tty: true };
    let Exec { id: exec, mut streams } = node.runtime.exec(&id, &command).await.unwrap();
    streams.input.write_all(b"this\n").await.unwrap();
    streams.input.shutdown().await.unwrap();
    until_written(&mut streams, "got this\r\n").await;
    assert_eq!(node.runtime.exec_status(&exec).await.unwrap(), 3);
}

#[tokio::test]
async fn the_usual_keys_for_leaving_a_terminal_reach_the_command() {
    let (node, id) = sleeper("10.219.23.0/24").await;
    let script = words("stty raw -echo; echo ready; head -c 4 | od -An -tx1");
    let command = Command { words: script, stdin: true, tty: true };
    let mut streams = node.runtime.exec(&id, &command).await.unwrap().streams;
    until_written(&mut streams, "ready").await;
    streams.input.write_all(b"\x10\x11.\0").await.unwrap();
    until_written(&mut streams, "10 11 2e 00").await;
}

#[tokio::test]
async fn a_containers_own_process_can_be_attached_to() {
    let node = Node::start("10.219.24.0/24").await;
    let pod = node.pod("a");
    let (sandbox, _) = node.sandbox(&pod).await;
    let script = "while read line; do echo got $line; stty size; done";
    let spec = ContainerSpec { stdin: true, tty: true, ..container(&pod, &sandbox, script) };
    let id = node.runtime.create(&spec).await.unwrap();
    node.runtime.start(&id).await.unwrap();
    let mut streams = node.runtime.attach(&id, true).await.unwrap();
    let size = Size { width: 97, height: 31 };
    node.runtime.resize(&Terminal::Container(id), size).await.unwrap();
    streams.input.write_all(b"this\n").await.unwrap();
    until_written(&mut streams, "got this\r\n31 97\r\n").await;
}

#[tokio::test]
async fn input_that_is_given_once_ends_with_the_client_that_gave_it() {
    let node = Node::start("10.219.26.0/24").await;
    let pod = node.pod("a");
    let (sandbox, _) = node.sandbox(&pod).await;
    let script = container(&pod, &sandbox, "cat; echo over");
    let spec = ContainerSpec { stdin: true, stdin_once: true, ..script };
    let id = node.runtime.create(&spec).await.unwrap();
    node.runtime.start(&id).await.unwrap();
    let mut streams = node.runtime.attach(&id, true).await.unwrap();
    streams.input.write_all(b"this\n").await.unwrap();
    streams.input.shutdown().await.unwrap();
    until_written(&mut streams, "this\nover\n").await;
}

#[tokio::test]
async fn servers_that_listen_at_a_pods_localhost_are_connected_to() {
    let node = Node::start("10.219.25.0/24").await;
    let pod = node.pod("a");
    let (sandbox, _) = node.sandbox(&pod).await;
    let script = "nc -l -p 8080 -e cat & sleep 1000";
    node.run(&pod, &sandbox, script).await;
    let connected =
        wait::until("the server listens", async || node.runtime.connect(&sandbox, 8080).await);
    let mut stream = connected.await;
    stream.write_all(b"there and back").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut back = String::new();
    stream.read_to_string(&mut back).await.unwrap();
    assert_eq!(back, "there and back");
    let refused = node.runtime.connect(&sandbox, 1).await.unwrap_err().to_string();
    assert!(refused.contains("localhost:1 inside the namespace: Connection refused"), "{refused}");
    node.runtime.remove(&sandbox).await.unwrap();
    let gone = node.runtime.connect(&sandbox, 8080).await.unwrap_err().to_string();
    assert!(gone.contains("is not running"), "{gone}");
}
