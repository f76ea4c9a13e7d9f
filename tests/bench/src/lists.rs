//! Lists of many pods, in each form and encoding, plain and compressed: the time to the first byte and to the last, beside
//! that of all pods in JSON, and the memory that the server takes for one.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;

use crate::{
    Args,
    client::JSON,
    load::Measured,
    objects::{PODS, fill},
    report::{Column, Report, Row},
    server::{Backing, Server},
};

/// How often each list is asked for.
const TIMES: usize = 5;

pub(crate) const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
const YAML: &str = "application/yaml";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const CBOR: &str = "application/cbor";

pub(crate) async fn run(args: &Args, backing: Backing) -> anyhow::Result<Report> {
    let mut report = Report::new(format!("Lists, {backing:?}"));
    for &pods in &args.listed {
        of(pods, backing, &mut report).await?;
    }
    Ok(report)
}

async fn of(pods: usize, backing: Backing, report: &mut Report) -> anyhow::Result<()> {
    report.step(format!("creating {pods} pods"));
    let server = Server::start(backing).await?;
    fill(&server, pods).await?;
    let first_page = format!("{PODS}?limit=500");
    let middle = middle(&server, pods).await?;
    let lists = [
        ("all", PODS, JSON),
        ("all in protobuf", PODS, PROTOBUF),
        ("all in CBOR", PODS, CBOR),
        ("all in YAML", PODS, YAML),
        ("all as a table", PODS, TABLE),
        ("1 % by label", &*format!("{PODS}?labelSelector=rare%3Dyes"), JSON),
        ("first page of 500", &first_page, JSON),
        ("page of 500 in the middle", &middle, JSON),
    ];
    for (what, path, accept) in lists {
        for (coding, how) in [("identity", ""), ("gzip", ", gzip")] {
            let (all, what) =
                (format!("{pods} pods: all{how}"), format!("{pods} pods: {what}{how}"));
            report.step(&what);
            let list = List { path, accept, coding };
            report.add_beside(&all, list.measure(&server, what).await?);
        }
    }
    Ok(())
}

/// The path of a page that begins at half of the pods.
async fn middle(server: &Server, pods: usize) -> anyhow::Result<String> {
    let path = format!("{PODS}?limit={}", pods / 2);
    let list: serde_json::Value =
        serde_json::from_slice(&server.connect().await?.get(&path).await?)?;
    let token = list["metadata"]["continue"].as_str().unwrap_or_default();
    Ok(format!("{PODS}?limit=500&continue={token}"))
}

/// What is asked for.
pub(crate) struct List<'a> {
    pub(crate) path: &'a str,
    pub(crate) accept: &'a str,
    pub(crate) coding: &'a str,
}

/// One, read to its end.
struct Read {
    bytes: usize,
    first: Duration,
    whole: Duration,
    memory: u64,
}

impl List<'_> {
    pub(crate) async fn measure(&self, server: &Server, what: String) -> anyhow::Result<Row> {
        let (meter, mut reads) = (server.meter(), Vec::with_capacity(TIMES));
        for _ in 0..TIMES {
            reads.push(self.read(server).await?);
        }
        let usage = meter.read();
        let wholes: Vec<_> = reads.iter().map(|read| read.whole).collect();
        let mut firsts: Vec<_> = reads.iter().map(|read| read.first).collect();
        firsts.sort();
        let most = reads.iter().map(|read| read.memory).max().unwrap_or_default();
        Ok(Row::new(what)
            .load(&Measured::in_turn(&wholes))
            .time(Column::FirstByte, firsts[TIMES / 2])
            .cell(Column::Size, (reads[0].bytes / 1024).to_string())
            .memory(Column::Growth, most)
            .usage(&usage))
    }

    /// What it adds to the server's memory at most is measured along.
    async fn read(&self, server: &Server) -> anyhow::Result<Read> {
        let mut client = server.connect().await?;
        let before = server.memory();
        server.forget_peak();
        let begin = Instant::now();
        let request = Request::get(self.path).header("accept", self.accept);
        let mut body =
            client.start(request.header("accept-encoding", self.coding), Bytes::new()).await?;
        let (mut bytes, mut first) = (0, None);
        while let Some(frame) = body.frame().await {
            first.get_or_insert_with(|| begin.elapsed());
            bytes += frame?.data_ref().map_or(0, Bytes::len);
        }
        let (whole, memory) = (begin.elapsed(), server.peak().saturating_sub(before));
        Ok(Read { bytes, first: first.unwrap_or(whole), whole, memory })
    }
}
