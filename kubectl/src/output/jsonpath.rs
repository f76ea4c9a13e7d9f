//! JSONPath templates as kubectl has them: `{.items[*].metadata.name}`, `{range …}…{end}`, filters.

use std::fmt::Write;

use serde_json::Value;

use crate::{Failure, object::scalar};

/// A parsed template.
#[derive(Clone, Debug, PartialEq)]
pub struct Template(Vec<Node>);

#[derive(Clone, Debug, PartialEq)]
enum Node {
    Text(String),
    Path(Path),
    Range(Path, Vec<Node>),
}

/// Steps from the current object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Path(Vec<Step>);

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    Slice(Option<i64>, Option<i64>),
    All,
    Recursive(String),
    Filter { path: Path, test: Option<(String, Value)> },
}

impl Template {
    /// Reads a template.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let text = if text.contains('{') { text.to_owned() } else { format!("{{{text}}}") };
        let mut rest = text.as_str();
        let nodes = nodes(&mut rest, false).map_err(|why| fault(&text, &why))?;
        Ok(Self(nodes))
    }

    /// The template's text for this object.
    #[must_use]
    pub fn render(&self, object: &Value) -> String {
        let mut text = String::new();
        render(&self.0, object, &mut text);
        text
    }
}

impl Path {
    /// Reads a single path, with or without braces and leading dot, as `--sort-by` and custom columns take it.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let inner = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')).unwrap_or(text);
        let dotted = if inner.starts_with(['.', '[', '$', '@']) {
            inner.to_owned()
        } else {
            format!(".{inner}")
        };
        steps(&dotted).map_err(|why| fault(text, &why))
    }

    /// All values at the path.
    #[must_use]
    pub fn find<'a>(&self, object: &'a Value) -> Vec<&'a Value> {
        self.0.iter().fold(vec![object], |found, step| {
            found.into_iter().flat_map(|value| step.apply(value)).collect()
        })
    }
}

fn fault(text: &str, why: &str) -> Failure {
    Failure::message(format!("error parsing jsonpath {text}, {why}"))
}

fn render(nodes: &[Node], current: &Value, text: &mut String) {
    for node in nodes {
        match node {
            Node::Text(literal) => text.push_str(literal),
            Node::Path(path) => {
                let found: Vec<_> = path.find(current).into_iter().map(scalar).collect();
                let _ = write!(text, "{}", found.join(" "));
            }
            Node::Range(path, inner) => {
                path.find(current).into_iter().for_each(|item| render(inner, item, text));
            }
        }
    }
}

/// Reads up to the end, or up to `{end}` within a range.
fn nodes(rest: &mut &str, in_range: bool) -> Result<Vec<Node>, String> {
    let mut found = Vec::new();
    while let Some(open) = rest.find('{') {
        if open > 0 {
            found.push(Node::Text(rest[..open].to_owned()));
        }
        let close = closing(&rest[open..]).ok_or("unclosed action")? + open;
        let action = rest[open + 1..close].trim();
        *rest = &rest[close + 1..];
        match action.strip_prefix("range") {
            _ if action == "end" && in_range => return Ok(found),
            _ if action == "end" => return Err("not in range, nothing to end".to_owned()),
            Some(path) if path.starts_with([' ', '.']) => {
                found.push(Node::Range(steps(path.trim())?, nodes(rest, true)?));
            }
            _ => found.extend(expression(action)?),
        }
    }
    if in_range {
        return Err("unclosed range".to_owned());
    }
    if !rest.is_empty() {
        found.push(Node::Text((*rest).to_owned()));
    }
    *rest = "";
    Ok(found)
}

/// Where the brace opened at the start closes, outside of quotes.
fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    for (index, c) in text.char_indices() {
        match (quote, c) {
            (None, '}') => return Some(index),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), _) if c == open => quote = None,
            _ => {}
        }
    }
    None
}

fn expression(action: &str) -> Result<Vec<Node>, String> {
    if let Some(text) = unquoted(action) {
        return Ok(vec![Node::Text(text)]);
    }
    action
        .split_whitespace()
        .map(|path| steps(path).map(Node::Path))
        .collect::<Result<_, _>>()
        .or_else(|_| steps(action).map(|path| vec![Node::Path(path)]))
}

fn unquoted(text: &str) -> Option<String> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
    Some(inner.replace("\\n", "\n").replace("\\t", "\t").replace("\\\"", "\""))
}

fn steps(text: &str) -> Result<Path, String> {
    let mut rest = text.strip_prefix(['$', '@']).unwrap_or(text);
    let mut found = Vec::new();
    while !rest.is_empty() {
        rest = if let Some(after) = rest.strip_prefix("..") {
            let (name, after) = identifier(after);
            found.push(Step::Recursive(name));
            after
        } else if let Some(after) = rest.strip_prefix('[') {
            let end = bracket_end(after).ok_or("unterminated array")?;
            found.push(bracket(after[..end].trim())?);
            &after[end + 1..]
        } else if let Some(after) = rest.strip_prefix('.') {
            let (name, after) = identifier(after);
            match name.as_str() {
                "" => {}
                "*" => found.push(Step::All),
                _ => found.push(Step::Field(name)),
            }
            after
        } else {
            return Err(format!("unrecognized identifier {rest}"));
        };
    }
    Ok(Path(found))
}

/// A name up to the next dot or bracket; `\.` is a dot within it.
fn identifier(text: &str) -> (String, &str) {
    let (mut name, mut escaped) = (String::new(), false);
    for (index, c) in text.char_indices() {
        match c {
            '\\' if !escaped => escaped = true,
            '.' | '[' if !escaped => return (name, &text[index..]),
            _ => {
                escaped = false;
                name.push(c);
            }
        }
    }
    (name, "")
}

fn bracket_end(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0, None);
    for (index, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return Some(index),
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    None
}

fn bracket(inside: &str) -> Result<Step, String> {
    if inside == "*" {
        return Ok(Step::All);
    }
    if let Some(name) = unquoted(inside) {
        return Ok(Step::Field(name));
    }
    if let Some(filter) = inside.strip_prefix("?(").and_then(|f| f.strip_suffix(')')) {
        return self::filter(filter.trim());
    }
    let number =
        |t: &str| t.trim().parse::<i64>().map_err(|_| format!("invalid array index {inside}"));
    match inside.split_once(':') {
        None => number(inside).map(Step::Index),
        Some((from, to)) => {
            let bound = |t: &str| if t.trim().is_empty() { Ok(None) } else { number(t).map(Some) };
            Ok(Step::Slice(bound(from)?, bound(to)?))
        }
    }
}

fn filter(text: &str) -> Result<Step, String> {
    for operator in ["==", "!=", "<=", ">=", "<", ">"] {
        if let Some((left, right)) = text.split_once(operator) {
            let test = Some((operator.to_owned(), literal(right.trim())?));
            return Ok(Step::Filter { path: steps(left.trim())?, test });
        }
    }
    Ok(Step::Filter { path: steps(text)?, test: None })
}

fn literal(text: &str) -> Result<Value, String> {
    match unquoted(text) {
        Some(text) => Ok(Value::String(text)),
        None => serde_json::from_str(text).map_err(|_| format!("unrecognized value {text}")),
    }
}

impl Step {
    fn apply<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        match self {
            Self::Field(name) => value.get(name).into_iter().collect(),
            Self::Index(index) => at(value, *index).into_iter().collect(),
            Self::Slice(from, to) => slice(value, *from, *to),
            Self::All => children(value),
            Self::Recursive(name) => {
                let mut found = Vec::new();
                descend(value, name, &mut found);
                found
            }
            Self::Filter { path, test } => children(value)
                .into_iter()
                .filter(|item| passes(item, path, test.as_ref()))
                .collect(),
        }
    }
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(list) => list.iter().collect(),
        Value::Object(map) => map.values().collect(),
        _ => Vec::new(),
    }
}

fn position(index: i64, length: usize) -> Option<usize> {
    let length = i64::try_from(length).ok()?;
    usize::try_from(if index < 0 { index + length } else { index }).ok()
}

fn at(value: &Value, index: i64) -> Option<&Value> {
    let list = value.as_array()?;
    list.get(position(index, list.len())?)
}

fn slice(value: &Value, from: Option<i64>, to: Option<i64>) -> Vec<&Value> {
    let Some(list) = value.as_array() else { return Vec::new() };
    let bound =
        |b: Option<i64>, other| b.map_or(Some(other), |b| position(b, list.len())).unwrap_or(0);
    let (from, to) = (bound(from, 0), bound(to, list.len()).min(list.len()));
    list.get(from..to).map(|part| part.iter().collect()).unwrap_or_default()
}

fn descend<'a>(value: &'a Value, name: &str, found: &mut Vec<&'a Value>) {
    found.extend(value.get(name));
    children(value).into_iter().for_each(|child| descend(child, name, found));
}

fn passes(item: &Value, path: &Path, test: Option<&(String, Value)>) -> bool {
    let found = path.find(item);
    let Some((operator, wanted)) = test else { return !found.is_empty() };
    found.into_iter().any(|value| {
        let order = match (value.as_f64(), wanted.as_f64()) {
            (Some(a), Some(b)) => a.partial_cmp(&b),
            _ => Some(scalar(value).cmp(&scalar(wanted))),
        };
        order.is_some_and(|order| match operator.as_str() {
            "==" => order.is_eq(),
            "!=" => order.is_ne(),
            "<" => order.is_lt(),
            "<=" => order.is_le(),
            ">" => order.is_gt(),
            _ => order.is_ge(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(template: &str, expected: &str) {
        let object = json!({"items": [
            {"metadata": {"name": "a", "labels": {"x.y/z": "1"}}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}},
            {"metadata": {"name": "b"}, "n": 2}]});
        assert_eq!(Template::parse(template).unwrap().render(&object), expected);
    }

    #[test]
    fn paths_ranges_and_filters_are_understood() {
        check("{.items[*].metadata.name}", "a b");
        check(".items[0].metadata.name", "a");
        check("{.items[-1].metadata.name}!", "b!");
        check("{.items[0:1].metadata.name}", "a");
        check("{..name}", "a b");
        check("{.items[0].metadata.labels.x\\.y/z}", "1");
        check("{.items[0].metadata.labels['x.y/z']}", "1");
        check("{range .items[*]}{.metadata.name}{\"\\n\"}{end}", "a\nb\n");
        check("{.items[0].status.conditions[?(@.type==\"Ready\")].status}", "True");
        check("{.items[?(@.n>1)].metadata.name}", "b");
        check("{.items[0].status.conditions[0]}", r#"{"status":"True","type":"Ready"}"#);
        check("{.nothing}", "");
    }

    #[test]
    fn faults_are_told() {
        for bad in ["{.a", "{end}", "{range .a}", "{.a[x]}", "{foo}"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }
}
