//! Many definitions with many objects: how long until their kinds are served, what they take of the server's memory, and how
//! long lists and a restart take.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::wait;

use crate::{
    Args,
    client::Client,
    load::{Measured, measure, timed},
    report::{Column, Report, Row},
    server::{Backing, Server},
};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
/// How many requests are under way at once.
const AT_ONCE: usize = 32;
/// How often each list is asked for.
const LISTS: usize = 20;

pub(crate) async fn run(args: &Args, backing: Backing) -> anyhow::Result<Report> {
    let &Args { definitions, custom_objects: objects, .. } = args;
    let mut report =
        Report::new(format!("{definitions} definitions, {objects} objects, {backing:?}"));
    let mut server = Server::start(backing).await?;
    let idle = server.memory();

    report.step("defining");
    let begin = Instant::now();
    let define = async |client: &mut Client, index: usize| {
        client.post(DEFINITIONS, definition(index).to_string()).await
    };
    let meter = server.meter();
    let defined = measure(definitions, &mut server.clients(AT_ONCE).await?, define).await?;
    let usage = meter.read();
    report.add(Row::new("defined").load(&defined).usage(&usage));
    for index in 0..definitions {
        let ask = async || server.connect().await?.get(&path(index)).await;
        wait::until("a kind is served", ask).await;
    }
    report.note(format!(
        "all were served {} ms after the first request",
        begin.elapsed().as_millis()
    ));
    let with_kinds = server.memory();
    let each = |memory: u64, before: u64, count: usize| {
        memory.saturating_sub(before) / 1024 / u64::try_from(count.max(1)).unwrap_or(1)
    };
    report.note(format!("memory of a definition: {} KiB", each(with_kinds, idle, definitions)));

    report.step("creating objects");
    let create = async |client: &mut Client, index: usize| {
        client
            .post(&path(index % definitions), object(index, index % definitions).to_string())
            .await
    };
    let meter = server.meter();
    let created = measure(objects, &mut server.clients(AT_ONCE).await?, create).await?;
    report.add(Row::new("created").load(&created).usage(&meter.read()));
    let memory = server.memory();
    report.note(format!("memory of an object: {} KiB", each(memory, with_kinds, objects)));
    for (what, query) in [("list of a kind", ""), ("list of 1 of its objects", "?limit=1")] {
        report.add(list(&server, what, query).await?);
    }
    if backing == Backing::Embedded {
        report.add(again(&mut server, definitions).await?);
    }
    Ok(report)
}

async fn list(server: &Server, what: &str, query: &str) -> anyhow::Result<Row> {
    let (mut client, meter) = (server.connect().await?, server.meter());
    let mut times = Vec::with_capacity(LISTS);
    for _ in 0..LISTS {
        let list = async { client.get(&format!("{}{query}", path(0))).await.map(drop) };
        times.push(timed(list).await?);
    }
    Ok(Row::new(what).load(&Measured::in_turn(&times)).usage(&meter.read()))
}

/// Until the last of the kinds is served again.
async fn again(server: &mut Server, definitions: usize) -> anyhow::Result<Row> {
    server.program.end();
    let begin = Instant::now();
    server.program.restart().await;
    let last = path(definitions.saturating_sub(1));
    let ask = async || server.connect().await?.get(&last).await;
    wait::until("the last kind is served", ask).await;
    let time: Duration = begin.elapsed();
    Ok(Row::new("served after a restart")
        .load(&Measured::in_turn(&[time]))
        .cpu(Column::ServerCpu, server.cpu())
        .memory(Column::ServerMemory, server.memory()))
}

fn plural(index: usize) -> String {
    format!("widget{index:04}s")
}

fn path(index: usize) -> String {
    format!("/apis/bench.example.com/v1/namespaces/default/{}", plural(index))
}

/// A definition like those that operators bring: a spec of two dozen fields, defaults, a status, columns.
fn definition(index: usize) -> Value {
    let kind = format!("Widget{index:04}");
    let fields: serde_json::Map<String, Value> = (0..24)
        .map(|field| {
            let schema = match field % 4 {
                0 => json!({"type": "string", "maxLength": 100, "pattern": "^[a-z0-9-]*$"}),
                1 => json!({"type": "integer", "minimum": 0, "default": field}),
                2 => json!({"type": "array", "items": {"type": "string"}}),
                _ => json!({"type": "object", "additionalProperties": {"type": "string"}}),
            };
            (format!("field{field}"), schema)
        })
        .collect();
    let status = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let properties = json!({"spec": {"type": "object", "properties": fields}, "status": status});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{}.bench.example.com", plural(index))},
        "spec": {
            "group": "bench.example.com", "scope": "Namespaced",
            "names": {"plural": plural(index), "kind": kind},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": properties}},
                "additionalPrinterColumns": [
                    {"name": "One", "type": "integer", "jsonPath": ".spec.field1"},
                ],
            }],
        },
    })
}

fn object(index: usize, of: usize) -> Value {
    json!({
        "apiVersion": "bench.example.com/v1", "kind": format!("Widget{of:04}"),
        "metadata": {"name": format!("widget-{index:06}"), "labels": {"app": "bench"}},
        "spec": {
            "field0": "some-text", "field2": ["one", "two", "three"],
            "field3": {"a": "b", "c": "d"}, "field4": "other-text", "field7": {"e": "f"},
        },
    })
}
