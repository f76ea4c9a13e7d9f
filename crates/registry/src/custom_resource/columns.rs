//! The columns of a custom resource's table: its name, and what paths lead to
//! (Kubernetes: `apiextensions-apiserver/pkg/registry/customresource/tableconvertor`).

use api_machinery::table::age;
use api_types::jiff::Timestamp;
use jsonpath_rust::{
    parser::{model::JpQuery, parse_json_path},
    query::js_path_process,
};
use serde_json::{Value, json};

use crate::description::Column;

const LONGEST_PATH: usize = 1000;
const MOST_PARENTHESES: usize = 8;
const MOST_BRACKETS: usize = 16;
const MOST_COMMAS: usize = 4;

/// A column after the name.
#[derive(Debug)]
pub(super) struct Cell {
    type_: String,
    path: JpQuery,
}

impl Cell {
    /// Of a column whose field is at this path; none if that is none.
    pub(super) fn new(column: &Column, path: &str) -> Option<Self> {
        if !is_bounded(path) {
            return None;
        }
        let path = standard(path);
        if !is_quick(&path) {
            return None;
        }
        let path = parse_json_path(&path).ok()?;
        Some(Self { type_: column.type_.clone(), path })
    }

    /// What it shows of an object: of several values the first, and nothing where the value is not of the column's type.
    pub(super) fn of(&self, object: &Value, now: Timestamp) -> Value {
        let found = js_path_process(&self.path, object).unwrap_or_default();
        let Some(value) = found.first().map(|found| found.val) else { return Value::Null };
        match (self.type_.as_str(), value) {
            ("string", Value::String(_)) | ("boolean", Value::Bool(_)) => value.clone(),
            ("string", Value::Null) => json!("<nil>"),
            ("string", other) => other.to_string().into(),
            ("number", Value::Number(_)) => value.clone(),
            ("integer", Value::Number(number)) => whole(number),
            ("date", Value::String(time)) => match time.parse::<Timestamp>() {
                Ok(time) => age(Some(time), now).into(),
                Err(_) => json!("<invalid>"),
            },
            _ => Value::Null,
        }
    }
}

/// Whether a column's path can be followed.
pub(crate) fn is_path(path: &str) -> bool {
    Cell::new(&Column::default(), path).is_some()
}

fn whole(number: &serde_json::Number) -> Value {
    match number.as_f64().filter(|_| number.is_f64()) {
        #[expect(clippy::cast_possible_truncation, reason = "as Kubernetes does")]
        Some(fraction) => json!(fraction.trunc() as i64),
        None => number.clone().into(),
    }
}

/// Whether the parser gets through it, which calls itself for what is nested, and for arguments of functions several times.
fn is_bounded(path: &str) -> bool {
    let count = |opening| path.matches(opening).count();
    path.len() <= LONGEST_PATH && count('(') <= MOST_PARENTHESES && count('[') <= MOST_BRACKETS
}

/// Whether it is followed in about one walk through the object: each further `..` would multiply what there is to look at,
/// and so would a filter that begins at the root or looks at everything below, and alternatives after alternatives.
fn is_quick(standard: &str) -> bool {
    let (way, filters) = standard.split_once('?').unwrap_or((standard, ""));
    way.matches("..").count() <= 1
        && !filters.contains("..")
        && !filters.contains('$')
        && standard.matches(',').count() <= MOST_COMMAS
}

/// Kubernetes' `.metadata.annotations.a\.b/c` as the standard has it: `$['metadata']['annotations']['a.b/c']`. What is in
/// brackets is alike in both.
fn standard(path: &str) -> String {
    let (mut standard, mut rest) = ("$".to_owned(), path);
    loop {
        if let Some(named) = rest.strip_prefix('.') {
            let (name, after) = named.split_at(end_of_name(named));
            match name {
                "*" => standard.push_str(".*"),
                name => standard.push_str(&format!("['{}']", name.replace("\\.", "."))),
            }
            rest = after;
        } else if rest.starts_with('[') {
            let (brackets, after) = rest.split_at(end_of_brackets(rest));
            standard.push_str(brackets);
            rest = after;
        } else {
            return standard + rest;
        }
    }
}

fn end_of_name(text: &str) -> usize {
    let is_end = |at: usize| !text[..at].ends_with('\\');
    text.match_indices(['.', '[']).map(|(at, _)| at).find(|at| is_end(*at)).unwrap_or(text.len())
}

fn end_of_brackets(text: &str) -> usize {
    let mut depth = 0;
    for (at, bracket) in text.match_indices(['[', ']']) {
        depth += if bracket == "[" { 1 } else { -1 };
        if depth == 0 {
            return at + 1;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, type_: &str, expected: &Value) {
        let object = json!({
            "metadata": {"annotations": {"a.b/c-d": "x"}, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"replicas": 3, "share": 2.7, "paused": true, "list": [1, 2], "none": null},
            "status": {"conditions": [
                {"type": "Old", "status": "False"}, {"type": "Ready", "status": "True"},
            ]},
        });
        let column = Column { type_: type_.to_owned(), ..Column::default() };
        let cell =
            Cell::new(&column, path).unwrap().of(&object, "2026-01-01T01:00:00Z".parse().unwrap());
        assert_eq!(cell, *expected, "{path} as {type_}");
    }

    #[test]
    fn a_cell_is_what_its_path_leads_to_if_it_is_of_its_type() {
        check(".spec.replicas", "integer", &json!(3));
        check(".spec.share", "integer", &json!(2));
        check(".spec.share", "number", &json!(2.7));
        check(".spec.replicas", "string", &json!("3"));
        check(".spec.replicas", "boolean", &Value::Null);
        check(".spec.paused", "boolean", &json!(true));
        check(".spec.list", "string", &json!("[1,2]"));
        check(".spec.list[1]", "integer", &json!(2));
        check(".spec.list[*]", "integer", &json!(1));
        check(".spec.none", "string", &json!("<nil>"));
        check(".spec.missing", "string", &Value::Null);
        check(".metadata.creationTimestamp", "date", &json!("60m"));
        check(".spec.replicas", "date", &Value::Null);
        check(r".metadata.annotations.a\.b/c-d", "date", &json!("<invalid>"));
        check(r".metadata.annotations['a.b/c-d']", "string", &json!("x"));
        check(r#".status.conditions[?(@.type=="Ready")].status"#, "string", &json!("True"));
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for path in ["spec", ".spec[", ".spec.list[?]", "{.spec}"] {
            assert!(Cell::new(&Column::default(), path).is_none(), "{path}");
        }
    }

    #[test]
    fn what_the_parser_would_not_get_through_is_refused() {
        let is_taken = |path: &str| Cell::new(&Column::default(), path).is_some();
        let grouped = |depth| format!(".a[?{}@.b==1{}]", "(".repeat(depth), ")".repeat(depth));
        assert!(is_taken(&grouped(MOST_PARENTHESES)));
        assert!(!is_taken(&grouped(MOST_PARENTHESES + 1)));
        let indexed = |count| format!(".a{}", "[0]".repeat(count));
        assert!(is_taken(&indexed(MOST_BRACKETS)));
        assert!(!is_taken(&indexed(MOST_BRACKETS + 1)));
        let named = |length| format!(".{}", "a".repeat(length));
        assert!(is_taken(&named(LONGEST_PATH - 1)));
        assert!(!is_taken(&named(LONGEST_PATH)));
    }

    #[test]
    fn what_would_be_looked_for_in_more_than_one_walk_is_refused() {
        for path in ["$['a']['b'] ..c", "$['a'][?(@.b==1)]['c']", "$['a'][0,1][2,3]"] {
            assert!(is_quick(path), "{path}");
        }
        for path in [
            "$['a']['b'] ..c..d",
            "$['a'][?@..b]",
            "$['a'][?$.a[?$.a]]",
            "$['a'][0,0,0][0,0,0][0,0,0]",
        ] {
            assert!(!is_quick(path), "{path}");
        }
        assert!(Cell::new(&Column::default(), ".a[0,0,0][0,0,0][0,0,0]").is_none());
    }
}
