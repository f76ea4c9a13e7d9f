//! `kubectl top nodes`.

use std::collections::BTreeMap;

use api_machinery::Quantity;
use clap::Args;
use serde_json::Value;

use super::{
    amounts::{Amounts, layout},
    order::Order,
    source::metrics,
};
use crate::{Failure, api::Call, commands::choice, object, session::Session};

const COLUMNS: [&str; 5] = ["NAME", "CPU(cores)", "CPU(%)", "MEMORY(bytes)", "MEMORY(%)"];

#[derive(Args, Debug)]
pub(super) struct Nodes {
    /// The node [default: all]
    name: Option<String>,
    /// Only nodes with these labels
    #[arg(short = 'l', long, default_value = "")]
    selector: String,
    #[command(flatten)]
    order: Order,
    /// Percentages of all that nodes have, not of what pods may use
    #[arg(long)]
    show_capacity: bool,
    /// Without the header line
    #[arg(long)]
    no_headers: bool,
}

impl Nodes {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        self.order.check()?;
        if self.name.is_some() && !self.selector.is_empty() {
            return Err(Failure::message("only one of NAME or --selector can be provided"));
        }
        choice::label_selector(&self.selector)?;
        let call = self.call("/apis/metrics.k8s.io/v1beta1/nodes");
        let mut used = metrics(session, call).await?;
        if used.is_empty() {
            return Err(Failure::message("metrics not available yet"));
        }
        let name = |node: &Value| object::name(node).to_owned();
        self.order.sort(&mut used, name, Amounts::of_metrics);
        let nodes = object::items(session.api().await?.call(self.call("/api/v1/nodes")).await?);
        let field = if self.show_capacity { "capacity" } else { "allocatable" };
        let available = |node: Value| (name(&node), node["status"][field].clone());
        let text = self.text(&used, nodes.into_iter().map(available).collect());
        Ok(session.io.raw(text.as_bytes())?)
    }

    fn call(&self, collection: &str) -> Call {
        match &self.name {
            Some(name) => Call::get(format!("{collection}/{name}")),
            None => Call::get(collection).query("labelSelector", &self.selector),
        }
    }

    fn text(&self, used: &[Value], mut available: BTreeMap<String, Value>) -> String {
        let mut lines = Vec::new();
        if !self.no_headers {
            lines.push(COLUMNS.map(str::to_owned).to_vec());
        }
        for node in used {
            let available = available.remove(object::name(node)).unwrap_or_default();
            lines.push(line(node, &available));
        }
        let unknown = |name: String| {
            let mut line = vec!["<unknown>".to_owned(); COLUMNS.len()];
            line[0] = name;
            line
        };
        lines.extend(available.into_keys().map(unknown));
        layout(&lines)
    }
}

fn line(node: &Value, available: &Value) -> Vec<String> {
    let used = Amounts::of_metrics(node);
    let [cpu, memory] = used.texts();
    let mut line = vec![object::name(node).to_owned(), cpu];
    line.extend(percentage(used.cpu, &available["cpu"]));
    line.push(memory);
    line.extend(percentage(used.memory, &available["memory"]));
    line
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "as stock counts; a percentage is no large number"
)]
fn percentage(used: Quantity, available: &Value) -> Option<String> {
    let available: Quantity = available.as_str()?.parse().ok()?;
    let fraction = used.milli_value() as f64 / available.milli_value() as f64 * 100.0;
    Some(format!("{}%", fraction as i64))
}
