//! Server-side tables (`metav1.Table`) as kubectl prints them. Rows may come piece by piece (`-w`): widths
//! are remembered and the header is printed once.

use serde_json::Value;

use crate::object::{self, list, text};

/// How tables are shown.
#[derive(Clone, Debug, Default)]
pub struct TableOptions {
    /// Columns of lower priority too.
    pub wide: bool,
    /// No header line.
    pub no_headers: bool,
    /// A NAMESPACE column first.
    pub with_namespace: bool,
    /// Names as `pod/x`; the text before the slash.
    pub kind_prefix: Option<String>,
    /// A LABELS column last.
    pub show_labels: bool,
    /// A column for each of these labels.
    pub label_columns: Vec<String>,
}

/// Prints the tables of one kind.
#[derive(Debug)]
pub struct TablePrinter {
    options: TableOptions,
    columns: Vec<Column>,
    widths: Vec<usize>,
    header_printed: bool,
}

#[derive(Clone, Debug)]
struct Column {
    title: String,
    cell: Cell,
}

#[derive(Clone, Debug)]
enum Cell {
    Namespace,
    Server(usize),
    Name(usize),
    Label(String),
    Labels,
}

impl TablePrinter {
    /// A printer that has printed nothing.
    #[must_use]
    pub fn new(options: TableOptions) -> Self {
        Self { options, columns: Vec::new(), widths: Vec::new(), header_printed: false }
    }

    /// The text of this table: the rows, with the header above the first ones.
    pub fn print(&mut self, table: &Value) -> String {
        let definitions = list(table, "/columnDefinitions");
        if !definitions.is_empty() {
            self.columns = self.columns_of(definitions);
        }
        let rows = list(table, "/rows");
        let mut lines: Vec<Vec<String>> = Vec::new();
        if !rows.is_empty() && !self.header_printed && !self.options.no_headers {
            self.header_printed = true;
            lines.push(self.columns.iter().map(|c| c.title.to_uppercase()).collect());
        }
        lines.extend(
            rows.iter().map(|row| self.columns.iter().map(|c| self.cell(c, row)).collect()),
        );
        self.layout(&lines)
    }

    fn columns_of(&self, definitions: &[Value]) -> Vec<Column> {
        let mut columns = Vec::new();
        let mut add = |title: &str, cell| columns.push(Column { title: title.to_owned(), cell });
        if self.options.with_namespace {
            add("Namespace", Cell::Namespace);
        }
        for (index, definition) in definitions.iter().enumerate() {
            if !self.options.wide && object::number(definition, "/priority").unwrap_or(0) != 0 {
                continue;
            }
            let is_name = text(definition, "/format") == "name";
            add(
                text(definition, "/name"),
                if is_name { Cell::Name(index) } else { Cell::Server(index) },
            );
        }
        for label in &self.options.label_columns {
            let short = label.rsplit('/').next().unwrap_or(label);
            add(short, Cell::Label(label.clone()));
        }
        if self.options.show_labels {
            add("Labels", Cell::Labels);
        }
        columns
    }

    fn cell(&self, column: &Column, row: &Value) -> String {
        match &column.cell {
            Cell::Namespace => text(row, "/object/metadata/namespace").to_owned(),
            Cell::Server(index) => one_line(&object::scalar(&row["cells"][*index])),
            Cell::Name(index) => {
                let name = one_line(&object::scalar(&row["cells"][*index]));
                match &self.options.kind_prefix {
                    Some(prefix) => format!("{prefix}/{name}"),
                    None => name,
                }
            }
            Cell::Label(label) => {
                let labels = object::map(row, "/object/metadata/labels");
                labels.get(label).cloned().unwrap_or_default()
            }
            Cell::Labels => object::joined(&object::map(row, "/object/metadata/labels")),
        }
    }

    /// Like Go's tabwriter with remembered widths: at least 6, padding 3, nothing after the last column.
    fn layout(&mut self, lines: &[Vec<String>]) -> String {
        self.widths.resize(self.columns.len(), 6);
        for line in lines {
            for (width, cell) in self.widths.iter_mut().zip(line) {
                *width = (*width).max(cell.chars().count() + 3);
            }
        }
        lines.iter().map(|line| self.line(line)).collect()
    }

    fn line(&self, cells: &[String]) -> String {
        let mut line = String::new();
        for (index, (cell, width)) in cells.iter().zip(&self.widths).enumerate() {
            line.push_str(cell);
            if index + 1 < cells.len() {
                line.extend(std::iter::repeat_n(' ', width - cell.chars().count()));
            }
        }
        line + "\n"
    }
}

/// Cut at the first line break, so that a message cannot break the table.
fn one_line(cell: &str) -> String {
    match cell.find(['\n', '\r', '\u{c}']) {
        Some(end) => format!("{}...", &cell[..end]),
        None => cell.to_owned(),
    }
}

/// A table of names and ages for servers that make none.
#[must_use]
pub fn plain(objects: &[Value], age: impl Fn(&Value) -> String) -> Value {
    let row = |o: &Value| serde_json::json!({"cells": [object::name(o), age(o)], "object": {"metadata": o["metadata"]}});
    serde_json::json!({
        "kind": "Table",
        "columnDefinitions": [{"name": "Name", "format": "name"}, {"name": "Age"}],
        "rows": objects.iter().map(row).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn table() -> Value {
        json!({"columnDefinitions": [
            {"name": "Name", "format": "name", "priority": 0}, {"name": "Ready", "priority": 0},
            {"name": "Age", "priority": 0}, {"name": "IP", "priority": 1}],
          "rows": [
            {"cells": ["web-1", "1/1", "5m", "10.0.0.1"], "object": {"metadata": {"namespace": "default", "labels": {"app": "web"}}}},
            {"cells": ["a-much-longer-name", "0/1", "3s\nx", null], "object": {"metadata": {"namespace": "kube-system"}}}]})
    }

    #[track_caller]
    fn check(options: TableOptions, expected: &str) {
        assert_eq!(TablePrinter::new(options).print(&table()), expected);
    }

    #[test]
    fn columns_are_three_spaces_apart_and_the_last_is_not_padded() {
        check(
            TableOptions::default(),
            "NAME                 READY   AGE\nweb-1                1/1     5m\na-much-longer-name   0/1     3s...\n",
        );
    }

    #[test]
    fn options_add_columns() {
        let options = TableOptions {
            wide: true,
            no_headers: true,
            with_namespace: true,
            kind_prefix: Some("pod".to_owned()),
            show_labels: true,
            label_columns: vec!["app".to_owned()],
        };
        check(
            options,
            "default       pod/web-1                1/1   5m      10.0.0.1   web   app=web\nkube-system   pod/a-much-longer-name   0/1   3s...                    <none>\n",
        );
    }

    #[test]
    fn later_rows_keep_the_columns_and_have_no_second_header() {
        let mut printer = TablePrinter::new(TableOptions::default());
        printer.print(&table());
        let more = json!({"rows": [{"cells": ["x", "1/1", "1s"]}]});
        assert_eq!(printer.print(&more), "x                    1/1     1s\n");
    }
}
