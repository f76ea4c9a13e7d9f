//! The table that is printed.

use tabled::{builder::Builder, settings::Style};

use crate::load::Measured;

/// The last column is the rate as a multiple of that without what is measured.
const HEADER: [&str; 8] =
    ["what", "requests", "per second", "p50 ms", "p90 ms", "p99 ms", "max ms", "to bare"];

/// What was measured on one store.
#[derive(Debug)]
pub(crate) struct Report {
    title: String,
    rows: Vec<[String; 8]>,
    floors: Vec<(String, f64)>,
    notes: Vec<String>,
}

impl Report {
    pub(crate) fn new(title: String) -> Self {
        Self { title, rows: Vec::new(), floors: Vec::new(), notes: Vec::new() }
    }

    /// Adds a measurement of the bare store or engine, to which the same work by our programs is compared.
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
        let rate = format!("{:.0}", measured.rate());
        let (p50, p90, p99) = (at(0.5), at(0.9), at(0.99));
        self.rows.push([what, each.len().to_string(), rate, p50, p90, p99, ms(each.max()), ratio]);
    }

    #[expect(clippy::print_stdout, reason = "the program's output")]
    pub(crate) fn print(&self) {
        let mut table = Builder::from_iter(&self.rows);
        table.insert_record(0, HEADER);
        println!("\n{}\n{}", self.title, table.build().with(Style::psql()));
        for note in &self.notes {
            println!("{note}");
        }
    }
}
