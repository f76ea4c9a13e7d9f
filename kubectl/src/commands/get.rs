//! `kubectl get`: tables made by the server, or objects as JSON, YAML, names, templates.

use std::cmp::Ordering;

use api_machinery::table::age;
use api_types::jiff::Timestamp;
use clap::Args;
use futures::TryStreamExt;
use serde_json::Value;

use super::{choice::Choice, published_ports, target::Target, usage};
use crate::{
    Failure,
    api::{Call, TABLE},
    failure::Failures,
    object,
    output::{
        self, Format,
        jsonpath::Path,
        table::{self, TableOptions, TablePrinter},
    },
    session::Session,
};

/// Display one or many resources
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl get pods                        # pods of the namespace\n  kubectl get pods -o wide -A             # with IP and node, of all namespaces\n  kubectl get pod web -o yaml\n  kubectl get pods,rs -l app=web\n  kubectl get pod default/web             # the seed's way to name a namespace\n  kubectl get nodes,rs --usage            # with what they use\n  kubectl get pods -w                     # and follow changes\n  kubectl get pods -o jsonpath='{.items[*].status.podIP}'"
)]
pub struct Get {
    /// TYPE, TYPE NAME…, TYPE/NAME… or TYPE,TYPE
    pub(super) words: Vec<String>,
    #[command(flatten)]
    pub(super) choice: Choice,
    /// json, yaml, name, wide, jsonpath=…, custom-columns=…
    #[arg(short, long)]
    output: Option<String>,
    // As of other commands, where it takes a value too.
    /// Follow changes after the list
    #[arg(short, long, num_args = 0..=1, default_value_t = false, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    watch: bool,
    /// Follow changes without showing the list
    #[arg(long)]
    watch_only: bool,
    /// A last column with all labels
    #[arg(long)]
    show_labels: bool,
    /// A column for each of these labels
    #[arg(short = 'L', long, value_delimiter = ',')]
    label_columns: Vec<String>,
    /// Without the header line
    #[arg(long)]
    no_headers: bool,
    /// With columns for what nodes and pods use, and what has pods
    #[arg(long)]
    usage: bool,
    /// Sort by this field, e.g. .metadata.creationTimestamp
    #[arg(long)]
    sort_by: Option<String>,
    /// Say nothing of objects that don't exist
    #[arg(long)]
    ignore_not_found: bool,
    /// Show metadata.managedFields too
    #[arg(long)]
    show_managed_fields: bool,
}

impl Get {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let format = Format::parse(self.output.as_deref())?;
        if self.usage && (self.watch || self.watch_only || !format.is_table()) {
            let why =
                "--usage adds columns to a table of this moment: use it without --watch and -o";
            return Err(Failure::message(why));
        }
        let mut failures = Failures::default();
        let targets = self.targets(session, &mut failures).await?;
        if self.watch || self.watch_only {
            if self.sort_by.is_some() {
                session
                    .io
                    .note("warning: --watch or --watch-only requested, --sort-by will be ignored");
            }
            return self.watch(session, &format, &targets).await;
        }
        match format {
            Format::Table { wide } => self.tables(session, &targets, wide, &mut failures).await?,
            _ => self.objects(session, &targets, &format, &mut failures).await?,
        }
        failures.finish(&session.io)
    }

    async fn targets(
        &self,
        session: &Session,
        failures: &mut Failures,
    ) -> Result<Vec<Target>, Failure> {
        if self.choice.is_empty(&self.words) {
            return Err(Failure::message(
                "Required resource not specified.\nUse \"kubectl api-resources\" for a complete list of supported resources.\nSee 'kubectl get -h' for help and examples",
            ));
        }
        self.choice.targets(session, &self.words, failures).await
    }

    // === tables ===

    async fn tables(
        &self,
        session: &Session,
        targets: &[Target],
        wide: bool,
        failures: &mut Failures,
    ) -> Result<(), Failure> {
        let many_kinds = targets.iter().any(|t| t.resource != targets[0].resource);
        let mut printed = false;
        for same_kind in targets.chunk_by(|a, b| a.resource == b.resource) {
            let mut printer = TablePrinter::new(self.options(&same_kind[0], wide, many_kinds));
            let mut text = String::new();
            let mut tables = self.tables_of(session, same_kind, failures).await?;
            if wide && same_kind[0].resource.plural == "pods" {
                published_ports::add_column(&mut tables);
            }
            tables.iter().for_each(|table| text += &printer.print(table));
            if printed && !text.is_empty() && !self.no_headers {
                session.io.line("")?;
            }
            printed |= !text.is_empty();
            session.io.raw(text.as_bytes())?;
        }
        if !printed && failures.is_empty() && !self.ignore_not_found {
            self.choice.nothing_found(session, targets).await?;
        }
        Ok(())
    }

    async fn tables_of(
        &self,
        session: &Session,
        targets: &[Target],
        failures: &mut Failures,
    ) -> Result<Vec<Value>, Failure> {
        let mut tables = Vec::new();
        for target in targets {
            let fetched = self.fetch_table(session, target).await;
            tables.extend(self.kept(fetched, failures)?);
        }
        if let Some(field) = &self.sort_by {
            sort_rows(&mut tables, &Path::parse(field)?);
        }
        Ok(tables)
    }

    async fn fetch_table(&self, session: &Session, target: &Target) -> Result<Value, Failure> {
        let whole = if self.sort_by.is_some() || self.usage { "Object" } else { "" };
        let call = self.choice.call(target).accept(TABLE).query("includeObject", whole);
        let mut table = as_table(session.api().await?.call(call).await?);
        if self.usage {
            usage::add_columns(session, target, &mut table).await?;
        }
        Ok(table)
    }

    fn kept(
        &self,
        fetched: Result<Value, Failure>,
        failures: &mut Failures,
    ) -> Result<Option<Value>, Failure> {
        match fetched {
            Err(failure) if failure.is_not_found() && self.ignore_not_found => Ok(None),
            other => failures.keep(other),
        }
    }

    fn options(&self, target: &Target, wide: bool, many_kinds: bool) -> TableOptions {
        TableOptions {
            wide,
            no_headers: self.no_headers,
            with_namespace: self.choice.all_namespaces && target.resource.namespaced,
            kind_prefix: many_kinds.then(|| target.resource.object_prefix()),
            show_labels: self.show_labels,
            label_columns: self.label_columns.clone(),
        }
    }

    // === objects ===

    async fn objects(
        &self,
        session: &Session,
        targets: &[Target],
        format: &Format,
        failures: &mut Failures,
    ) -> Result<(), Failure> {
        let mut found = Vec::new();
        for target in targets {
            let fetched = session.api().await?.call(self.choice.call(target)).await;
            if let Some(answer) = self.kept(fetched, failures)? {
                let objects = self.items(answer);
                found.extend(objects.into_iter().map(|object| (target, object)));
            }
        }
        if format == &Format::Name {
            for (target, object) in &found {
                session.io.line(output::object_name(Some(&target.resource), object))?;
            }
            return Ok(());
        }
        let single = targets.len() == 1 && targets[0].name.is_some();
        let mut objects: Vec<_> = found.into_iter().map(|(_, object)| object).collect();
        if let Some(field) = &self.sort_by {
            let path = Path::parse(field)?;
            objects.sort_by(|a, b| compare(&path, a, b));
        }
        let document = match objects.pop() {
            Some(object) if single => object,
            None if single || !failures.is_empty() => return Ok(()),
            last => output::as_list(objects.into_iter().chain(last).collect()),
        };
        self.show(session, format, &document)
    }

    fn items(&self, answer: Value) -> Vec<Value> {
        object::items(answer).into_iter().map(|object| self.shown(object)).collect()
    }

    fn shown(&self, mut object: Value) -> Value {
        if !self.show_managed_fields {
            output::hide_managed_fields(&mut object);
        }
        object
    }

    fn show(&self, session: &Session, format: &Format, document: &Value) -> Result<(), Failure> {
        let text = match format {
            Format::Columns(columns) => {
                let items = document["items"].as_array();
                let objects = items.map_or_else(|| vec![document], |items| items.iter().collect());
                output::custom_columns(columns, &objects, !self.no_headers)
            }
            _ => output::render(format, None, document),
        };
        Ok(session.io.raw(text.as_bytes())?)
    }

    // === watching ===

    async fn watch(
        &self,
        session: &Session,
        format: &Format,
        targets: &[Target],
    ) -> Result<(), Failure> {
        let [target] = targets else {
            return Err(Failure::message("you may only specify a single resource type to watch"));
        };
        let wide = format == &Format::Table { wide: true };
        let mut printer = TablePrinter::new(self.options(target, wide, false));
        let accept = if format.is_table() { TABLE } else { "application/json" };
        let first = session.api().await?.call(self.choice.call(target).accept(accept)).await?;
        let version = object::text(&first, "/metadata/resourceVersion").to_owned();
        if !self.watch_only {
            let documents = if format.is_table() { vec![first] } else { self.items(first) };
            for document in documents {
                self.show_change(session, format, target, &mut printer, document)?;
            }
        }
        let collection = Target { name: None, ..target.clone() };
        let call = match &target.name {
            Some(name) => {
                Call::get(collection.path()).query("fieldSelector", format!("metadata.name={name}"))
            }
            None => self.choice.call(&collection),
        };
        let call = call.accept(accept).query("resourceVersion", version);
        let mut events = std::pin::pin!(session.api().await?.watch(call).await?);
        while let Some(mut event) = events.try_next().await? {
            let object = event["object"].take();
            match object::text(&event, "/type") {
                "ERROR" => return Err(watch_failure(&object)),
                "BOOKMARK" => {}
                _ => self.show_change(session, format, target, &mut printer, object)?,
            }
        }
        Ok(())
    }

    fn show_change(
        &self,
        session: &Session,
        format: &Format,
        target: &Target,
        printer: &mut TablePrinter,
        document: Value,
    ) -> Result<(), Failure> {
        if format.is_table() {
            let text = printer.print(&as_table(document));
            return Ok(session.io.raw(text.as_bytes())?);
        }
        let document = self.shown(document);
        if format == &Format::Name {
            return Ok(session.io.line(output::object_name(Some(&target.resource), &document))?);
        }
        if format == &Format::Yaml {
            session.io.line("---")?;
        }
        self.show(session, format, &document)
    }
}

fn watch_failure(status: &Value) -> Failure {
    Failure::message(format!("unable to watch: {}", object::text(status, "/message")))
}

/// The answer, if it is a table; else a table of names and ages.
fn as_table(answer: Value) -> Value {
    if object::kind(&answer) == "Table" {
        return answer;
    }
    let now = Timestamp::now();
    let created = |o: &Value| object::text(o, "/metadata/creationTimestamp").parse().ok();
    let objects = match answer["items"].as_array() {
        Some(items) => items.clone(),
        None => vec![answer],
    };
    table::plain(&objects, |o| age(created(o), now))
}

/// Sorts the rows of all tables together; they end up in the first.
fn sort_rows(tables: &mut Vec<Value>, path: &Path) {
    let mut rows: Vec<Value> = Vec::new();
    for table in tables.iter_mut() {
        if let Value::Array(more) = table["rows"].take() {
            rows.extend(more);
        }
    }
    rows.sort_by(|a, b| compare(path, &a["object"], &b["object"]));
    tables.truncate(1);
    if let Some(first) = tables.first_mut() {
        first["rows"] = Value::Array(rows);
    }
}

/// Numbers by value, texts by letter, objects without the field first.
fn compare(path: &Path, a: &Value, b: &Value) -> Ordering {
    let key = |o| path.find(o).into_iter().next().cloned();
    match (key(a), key(b)) {
        (Some(a), Some(b)) => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => a.total_cmp(&b),
            _ => object::scalar(&a).cmp(&object::scalar(&b)),
        },
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_of_several_tables_are_sorted_together() {
        let row = |n: i64| json!({"cells": [n], "object": {"n": n}});
        let mut tables = vec![json!({"rows": [row(10), row(2)]}), json!({"rows": [row(7)]})];
        sort_rows(&mut tables, &Path::parse(".n").unwrap());
        let cells: Vec<_> =
            object::list(&tables[0], "/rows").iter().map(|r| r["cells"][0].clone()).collect();
        assert_eq!(cells, [json!(2), json!(7), json!(10)]);
        assert_eq!(tables.len(), 1);
    }

    #[test]
    fn a_server_without_tables_still_gets_names_and_ages() {
        let table = as_table(json!({"kind": "PodList", "items": [{"metadata": {"name": "x"}}]}));
        assert_eq!(table["rows"][0]["cells"], json!(["x", "<unknown>"]));
    }
}
