//! The table that is printed: a row for each measurement, and of the columns those that it needs. Each row is said on stderr
//! as soon as it is measured: what comes later may fail.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use tabled::{builder::Builder, settings::Style};

use crate::{load::Measured, usage::Usage};

/// What a row may say, from left to right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Column {
    Requests,
    Rate,
    Throughput,
    /// The rate as a multiple of that without what is measured.
    ToBare,
    FirstByte,
    P50,
    P90,
    P99,
    Max,
    Size,
    ClientCpu,
    ServerCpu,
    ServerMemory,
    Growth,
    Anonymous,
    StoreCpu,
    StoreMemory,
}

impl Column {
    fn title(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Rate => "per second",
            Self::Throughput => "MiB per second",
            Self::ToBare => "to bare",
            Self::FirstByte => "first byte ms",
            Self::P50 => "p50 ms",
            Self::P90 => "p90 ms",
            Self::P99 => "p99 ms",
            Self::Max => "max ms",
            Self::Size => "KiB",
            Self::ClientCpu => "client CPU s",
            Self::ServerCpu => "server CPU s",
            Self::ServerMemory => "MiB",
            Self::Growth => "grown by MiB",
            Self::Anonymous => "anonymous MiB",
            Self::StoreCpu => "etcd CPU s",
            Self::StoreMemory => "etcd MiB",
        }
    }
}

/// One measurement.
#[derive(Debug)]
pub(crate) struct Row {
    what: String,
    cells: BTreeMap<Column, String>,
    rate: Option<f64>,
}

impl Row {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), cells: BTreeMap::new(), rate: None }
    }

    pub(crate) fn cell(mut self, column: Column, text: String) -> Self {
        self.cells.insert(column, text);
        self
    }

    pub(crate) fn time(self, column: Column, time: Duration) -> Self {
        self.cell(column, format!("{:.2}", time.as_secs_f64() * 1000.0))
    }

    /// The memory that a process has, or takes.
    pub(crate) fn memory(self, column: Column, bytes: u64) -> Self {
        self.cell(column, (bytes >> 20).to_string())
    }

    /// The time that a process was at work.
    pub(crate) fn cpu(self, column: Column, time: Duration) -> Self {
        self.cell(column, format!("{:.2}", time.as_secs_f64()))
    }

    /// How many requests, how fast, and how long each took.
    pub(crate) fn load(mut self, measured: &Measured) -> Self {
        self.rate = Some(measured.rate());
        let each = &measured.each;
        let quantiles = [(Column::P50, 0.5), (Column::P90, 0.9), (Column::P99, 0.99)];
        let at = |quantile| Duration::from_micros(each.value_at_quantile(quantile));
        quantiles
            .into_iter()
            .fold(self, |row, (column, quantile)| row.time(column, at(quantile)))
            .time(Column::Max, Duration::from_micros(each.max()))
            .cell(Column::Requests, each.len().to_string())
            .cell(Column::Rate, format!("{:.0}", measured.rate()))
    }

    /// How fast so many MiB went by.
    #[expect(clippy::cast_precision_loss, reason = "a count far below 2^52")]
    pub(crate) fn throughput(mut self, mebibytes: usize, time: Duration) -> Self {
        let rate = mebibytes as f64 / time.as_secs_f64();
        self.rate = Some(rate);
        self.cell(Column::Throughput, format!("{rate:.0}"))
    }

    /// What the processes took for it.
    pub(crate) fn usage(self, usage: &Usage) -> Self {
        let mut row = self.cpu(Column::ClientCpu, usage.client);
        if let Some((cpu, memory)) = usage.server {
            row = row.cpu(Column::ServerCpu, cpu).memory(Column::ServerMemory, memory);
        }
        if let Some((cpu, memory)) = usage.store {
            row = row.cpu(Column::StoreCpu, cpu).memory(Column::StoreMemory, memory);
        }
        row
    }
}

/// As a line of its own.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        self.cells.iter().try_for_each(|(column, cell)| write!(f, " | {} {cell}", column.title()))
    }
}

/// What was measured of one thing.
#[derive(Debug)]
pub(crate) struct Report {
    title: String,
    rows: Vec<Row>,
    notes: Vec<String>,
    failed: Vec<String>,
    bar: ProgressBar,
}

impl Report {
    pub(crate) fn new(title: impl Into<String>) -> Self {
        let title = title.into();
        let style = ProgressStyle::with_template("{spinner} {prefix}: {msg} {elapsed}");
        let bar = ProgressBar::new_spinner().with_style(style.expect("a valid template"));
        bar.set_prefix(title.clone());
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { title, rows: Vec::new(), notes: Vec::new(), failed: Vec::new(), bar }
    }

    /// Says what is under way.
    pub(crate) fn step(&self, what: impl Into<String>) {
        self.bar.set_message(what.into());
    }

    /// Does a part of it. One that fails is named in the end, and the others are done all the same.
    pub(crate) async fn part(
        &mut self,
        what: &str,
        part: impl AsyncFnOnce(&mut Self) -> anyhow::Result<()>,
    ) {
        self.step(what.to_owned());
        if let Err(error) = part(self).await {
            let failed = format!("{what}: {error:#}");
            self.say(&failed);
            self.failed.push(failed);
        }
    }

    pub(crate) fn add(&mut self, row: Row) {
        self.say(&row.to_string());
        self.rows.push(row);
    }

    /// Adds a row with its rate beside that of an earlier one, of which this is the name.
    pub(crate) fn add_beside(&mut self, bare: &str, row: Row) {
        let floor = self.rows.iter().find(|row| row.what == bare).and_then(|row| row.rate);
        let ratio = row.rate.zip(floor).map(|(rate, floor)| format!("{:.2}", rate / floor));
        self.add(row.cell(Column::ToBare, ratio.unwrap_or_default()));
    }

    pub(crate) fn note(&mut self, note: String) {
        self.say(&note);
        self.notes.push(note);
    }

    fn say(&self, line: &str) {
        self.bar.suspend(|| eprintln!("{line}"));
    }

    /// Errors: parts that failed.
    #[expect(clippy::print_stdout, reason = "the program's output")]
    pub(crate) fn print(&self) -> anyhow::Result<()> {
        self.bar.finish_and_clear();
        let columns: BTreeSet<_> = self.rows.iter().flat_map(|row| row.cells.keys()).collect();
        let mut table = Builder::default();
        table.push_record(["what"].into_iter().chain(columns.iter().map(|it| it.title())));
        for row in &self.rows {
            let cells = columns.iter().map(|it| row.cells.get(it).map_or("", String::as_str));
            table.push_record([row.what.as_str()].into_iter().chain(cells));
        }
        println!("\n{}\n{}", self.title, table.build().with(Style::psql()));
        for note in &self.notes {
            println!("{note}");
        }
        anyhow::ensure!(self.failed.is_empty(), "{}", self.failed.join("\n"));
        Ok(())
    }
}
