//! The table that is printed.

use tabled::{Table, Tabled, settings::Style};

use crate::load::Measured;

#[derive(Debug, Tabled)]
struct Row {
    what: String,
    requests: u64,
    #[tabled(rename = "per second")]
    rate: String,
    #[tabled(rename = "p50 ms")]
    p50: String,
    #[tabled(rename = "p90 ms")]
    p90: String,
    #[tabled(rename = "p99 ms")]
    p99: String,
    #[tabled(rename = "max ms")]
    max: String,
    /// The rate as a multiple of the bare store's.
    #[tabled(rename = "to bare store")]
    ratio: String,
}

/// What was measured on one store.
#[derive(Debug)]
pub(crate) struct Report {
    title: String,
    rows: Vec<Row>,
    floors: Vec<(String, f64)>,
    notes: Vec<String>,
}

impl Report {
    pub(crate) fn new(title: String) -> Self {
        Self { title, rows: Vec::new(), floors: Vec::new(), notes: Vec::new() }
    }

    /// Adds a measurement of the bare store, to which the same work through the API is compared.
    pub(crate) fn floor(&mut self, what: &str, measured: &Measured) {
        self.floors.push((what.to_owned(), measured.rate()));
        self.row(format!("bare {what}"), measured, "1".to_owned());
    }

    pub(crate) fn add(&mut self, what: &str, measured: &Measured) {
        let floor = self.floors.iter().find(|(name, _)| name == what);
        let ratio = floor.map(|(_, rate)| format!("{:.2}", measured.rate() / rate));
        self.row(what.to_owned(), measured, ratio.unwrap_or_default());
    }

    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    fn row(&mut self, what: String, measured: &Measured, ratio: String) {
        let each = &measured.each;
        let ms = |micros: u64| format!("{}.{:03}", micros / 1000, micros % 1000);
        let at = |quantile| ms(each.value_at_quantile(quantile));
        self.rows.push(Row {
            what,
            requests: each.len(),
            rate: format!("{:.0}", measured.rate()),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            max: ms(each.max()),
            ratio,
        });
    }

    #[expect(clippy::print_stdout, reason = "the program's output")]
    pub(crate) fn print(&self) {
        println!("\n{}\n{}", self.title, Table::new(&self.rows).with(Style::psql()));
        for note in &self.notes {
            println!("{note}");
        }
    }
}
