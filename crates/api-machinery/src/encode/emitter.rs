//! Lines, their indentation, and where long ones go on in the next (`go.yaml.in/yaml/v2`: `emitterc.go`).

use std::slice;

use serde_json::{Map, Number, Value};

use super::{
    order,
    style::{Style, escape, is_break},
};
use crate::decode::float_text;

/// A long text is folded at the first space behind this column.
const BEST_WIDTH: usize = 80;

/// A longer key stands on lines of its own.
const LONGEST_KEY: usize = 128;

const STEP: usize = 2;

#[derive(Debug)]
pub(super) struct Emitter {
    text: String,
    column: usize,
    /// Whether what comes next needs no space before it.
    is_apart: bool,
    /// Whether there is nothing in the line yet but what makes its indentation.
    is_indented: bool,
}

impl Default for Emitter {
    fn default() -> Self {
        Self { text: String::new(), column: 0, is_apart: true, is_indented: true }
    }
}

impl Emitter {
    pub(super) fn document(mut self, value: &Value) -> String {
        self.node(value, None, false);
        self.begin_line(0);
        self.text
    }

    pub(super) fn item(mut self, item: &Value) -> String {
        self.list(slice::from_ref(item), 0);
        self.begin_line(0);
        self.text
    }

    /// A value within what is indented so far, if it is within something.
    fn node(&mut self, value: &Value, outer: Option<usize>, is_of_key: bool) {
        let inner = outer.map_or(0, |outer| outer + STEP);
        match value {
            Value::Object(fields) if !fields.is_empty() => self.map(fields, inner),
            // A list stays at its key's indentation.
            Value::Array(items) if !items.is_empty() => match outer {
                Some(outer) if is_of_key && !self.is_indented => self.list(items, outer),
                _ => self.list(items, inner),
            },
            Value::Object(_) => self.word("{}"),
            Value::Array(_) => self.word("[]"),
            Value::String(text) => self.scalar(text, Some(inner.max(STEP))),
            Value::Number(number) => self.word(&shown(number)),
            Value::Bool(_) | Value::Null => self.word(&value.to_string()),
        }
    }

    fn map(&mut self, fields: &Map<String, Value>, indent: usize) {
        for (key, value) in order::sorted(fields) {
            self.begin_line(indent);
            if key.len() <= LONGEST_KEY && !key.contains(is_break) {
                self.scalar(key, None);
                self.attach(":");
            } else {
                self.mark("?");
                self.scalar(key, Some(indent + STEP));
                self.begin_line(indent);
                self.mark(":");
            }
            self.node(value, Some(indent), true);
        }
    }

    fn list(&mut self, items: &[Value], indent: usize) {
        for item in items {
            self.begin_line(indent);
            self.mark("-");
            self.node(item, Some(indent), false);
        }
    }

    /// A text that may go on in lines of this indentation, if in any.
    fn scalar(&mut self, text: &str, indent: Option<usize>) {
        match (Style::of(text), indent) {
            (Style::Literal, Some(indent)) => return self.literal(text, indent),
            (Style::Plain, _) => {
                self.word("");
                self.folded(text, Style::Plain, indent);
            }
            (Style::Single, _) => {
                self.word("'");
                self.folded(text, Style::Single, indent);
                self.attach("'");
            }
            (Style::Literal | Style::Double, _) => {
                self.word("\"");
                self.folded(text, Style::Double, indent);
                self.attach("\"");
            }
        }
        (self.is_apart, self.is_indented) = (false, false);
    }

    /// What is within the quotes.
    fn folded(&mut self, text: &str, style: Style, indent: Option<usize>) {
        let mut chars = text.chars().peekable();
        let mut previous = None;
        while let Some(c) = chars.next() {
            let next = chars.peek().copied();
            let is_within = previous.is_some_and(|c| c != ' ') && next.is_some();
            let is_alone = style == Style::Double || next != Some(' ');
            let is_end = c == ' ' && is_within && is_alone && self.column > BEST_WIDTH;
            match (indent.filter(|_| is_end), style) {
                (Some(indent), _) => {
                    self.begin_line(indent);
                    // It would be taken for indentation.
                    self.put(if next == Some(' ') { "\\" } else { "" });
                }
                (None, Style::Single) if c == '\'' => self.put("''"),
                (None, Style::Double) if c != ' ' || text.starts_with('\u{feff}') => {
                    self.put(&escape(c, text));
                }
                (None, _) => self.put(c.encode_utf8(&mut [0; 4])),
            }
            self.is_indented &= is_end;
            previous = Some(c);
        }
    }

    /// A block of lines; what follows the `|` says whether it begins with a space and how many line breaks end it.
    fn literal(&mut self, text: &str, indent: usize) {
        self.word("|");
        if text.starts_with([' ', '\n']) {
            self.attach("2");
        }
        match text.strip_suffix('\n') {
            None => self.attach("-"),
            Some(rest) if rest.is_empty() || rest.ends_with('\n') => self.attach("+"),
            Some(_) => {}
        }
        self.end_line();
        for line in text.split_inclusive('\n') {
            let content = line.trim_end_matches('\n');
            if !content.is_empty() {
                self.begin_line(indent);
                self.put(content);
                self.is_indented = false;
            }
            if line.ends_with('\n') {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        self.text.push('\n');
        (self.column, self.is_apart, self.is_indented) = (0, true, true);
    }

    fn begin_line(&mut self, indent: usize) {
        let is_here =
            self.is_indented && (self.column < indent || (self.column == indent && self.is_apart));
        if !is_here {
            self.end_line();
        }
        let missing = indent.saturating_sub(self.column);
        self.put(&" ".repeat(missing));
        (self.is_apart, self.is_indented) = (true, true);
    }

    /// A sign after which a block may begin in the same line.
    fn mark(&mut self, sign: &str) {
        let is_indented = self.is_indented;
        self.word(sign);
        self.is_indented = is_indented;
    }

    /// What stands apart from what was before it.
    fn word(&mut self, word: &str) {
        if !self.is_apart {
            self.put(" ");
        }
        self.attach(word);
    }

    fn attach(&mut self, sign: &str) {
        self.put(sign);
        (self.is_apart, self.is_indented) = (false, false);
    }

    fn put(&mut self, text: &str) {
        self.text.push_str(text);
        self.column += text.chars().count();
    }
}

fn shown(number: &Number) -> String {
    match number.as_f64().filter(|_| number.is_f64()) {
        Some(float) => float_text(float),
        None => number.to_string(),
    }
}
