//! Lists of many pods, in each form, plain and compressed: the time to the first byte and to the last, and the memory
//! that the server takes for one.

use std::{
    future::poll_fn,
    pin::pin,
    time::{Duration, Instant},
};

use futures::AsyncBufRead;
use tabled::{builder::Builder, settings::Style};

use crate::{
    load,
    phases::{self, PODS},
    server::{Backing, Server},
};

const HEADER: [&str; 6] = ["what", "coding", "KiB", "first byte ms", "whole ms", "memory MiB"];

/// How many creations are under way at once.
const AT_ONCE: usize = 64;

/// How often each list is asked for; the median counts.
const TIMES: usize = 5;

const JSON: &str = "application/json";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

/// Creates pods, one in a hundred with the label `rare=yes`.
async fn fill(server: &Server, count: usize) -> anyhow::Result<()> {
    let client = &server.client().await;
    let create = async |i: usize| {
        let mut pod = phases::pod(&format!("pod-{i:06}"));
        pod["metadata"]["labels"]["rare"] = if i.is_multiple_of(100) { "yes" } else { "no" }.into();
        let request = http::Request::post(PODS).header("content-type", JSON);
        client.request_text(request.body(pod.to_string().into())?).await?;
        Ok(())
    };
    load::measure(count, AT_ONCE, create).await.map(drop)
}

/// One list, read to its end.
struct Read {
    bytes: usize,
    first: Duration,
    whole: Duration,
    memory: u64,
}

/// Measures all lists of so many pods, and prints them.
#[expect(clippy::print_stdout, reason = "the program's output")]
pub(crate) async fn measure(backing: Backing, count: usize) -> anyhow::Result<()> {
    let server = Server::start(backing).await?;
    fill(&server, count).await?;
    let loaded = server.memory() >> 20;
    let first_page = format!("{PODS}?limit=500");
    let middle = middle(&server, count).await?;
    let lists = [
        ("all", PODS, JSON),
        ("all as a table", PODS, TABLE),
        ("1 % by label", &*format!("{PODS}?labelSelector=rare%3Dyes"), JSON),
        ("first page of 500", &first_page, JSON),
        ("page of 500 in the middle", &middle, JSON),
    ];
    let mut table = Builder::default();
    table.push_record(HEADER);
    for (what, path, accept) in lists {
        for coding in ["identity", "gzip"] {
            let mut reads = Vec::with_capacity(TIMES);
            for _ in 0..TIMES {
                reads.push(read(&server, path, accept, coding).await?);
            }
            reads.sort_by_key(|read| read.whole);
            table.push_record(row(what, coding, &reads));
        }
    }
    println!("\n{count} pods, {backing:?}, {loaded} MiB\n{}", table.build().with(Style::psql()));
    Ok(())
}

fn row(what: &str, coding: &str, reads: &[Read]) -> [String; 6] {
    let ms = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1000.0);
    let median = &reads[reads.len() / 2];
    let mut firsts: Vec<_> = reads.iter().map(|read| read.first).collect();
    firsts.sort();
    let memory = reads.iter().map(|read| read.memory).max().unwrap_or_default();
    let size = (median.bytes / 1024).to_string();
    let first = ms(firsts[firsts.len() / 2]);
    [what.to_owned(), coding.to_owned(), size, first, ms(median.whole), memory.to_string()]
}

/// The path of a page that begins at half of the pods.
async fn middle(server: &Server, count: usize) -> anyhow::Result<String> {
    let path = format!("{PODS}?limit={}", count / 2);
    let request = http::Request::get(path).body(Vec::new())?;
    let list: serde_json::Value = server.client().await.request(request).await?;
    let token = list["metadata"]["continue"].as_str().unwrap_or_default();
    Ok(format!("{PODS}?limit=500&continue={token}"))
}

/// What a list adds to the server's memory at most is measured along.
async fn read(server: &Server, path: &str, accept: &str, coding: &str) -> anyhow::Result<Read> {
    let client = server.client().await;
    // Opens the connection.
    client.apiserver_version().await?;
    let before = server.memory();
    server.forget_peak();
    let begin = Instant::now();
    let request = http::Request::get(path).header("accept", accept);
    let request = request.header("accept-encoding", coding).body(Vec::new())?;
    let mut body = pin!(client.request_stream(request).await?);
    let (mut bytes, mut first) = (0, None);
    loop {
        let count =
            poll_fn(|cx| body.as_mut().poll_fill_buf(cx).map(|read| read.map(<[u8]>::len))).await?;
        first.get_or_insert_with(|| begin.elapsed());
        if count == 0 {
            break;
        }
        body.as_mut().consume(count);
        bytes += count;
    }
    let (whole, memory) = (begin.elapsed(), server.peak().saturating_sub(before) >> 20);
    Ok(Read { bytes, first: first.unwrap_or(whole), whole, memory })
}
