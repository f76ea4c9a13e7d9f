//! Paths into the data: JSONPath, into the context object too, the graph's dotted paths, and the paths of `ResultPath`,
//! at which something is put.

use std::num::NonZeroUsize;

use jsonpath_rust::{
    parser::{
        model::{JpQuery, Segment, Selector},
        parse_json_path,
    },
    query::js_path_process,
};
use serde_json::{Map, Value};

use crate::{context::Context, error::RunError, limits::MAX_DEPTH};

/// The most brackets within one another in a path.
const MAX_NESTING: usize = 16;
/// The most rules that the parser tries for a path: of nested functions it tries each again and again.
const MAX_CALLS: NonZeroUsize = NonZeroUsize::new(100_000).expect("not zero");

/// Where something is read.
#[derive(Clone, Debug)]
pub(crate) enum Path {
    /// `$…`
    Data(Query),
    /// `$$…`
    Context(Query),
    /// `order.items.0`
    Dotted(Vec<String>),
}

/// A JSONPath.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    text: String,
    parsed: JpQuery,
}

/// Where a result is put: names and indexes only.
#[derive(Clone, Debug)]
pub(crate) struct ReferencePath(Vec<Place>);

#[derive(Clone, Debug)]
enum Place {
    Name(String),
    Index(usize),
}

// === impl Path ===

impl Path {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text.strip_prefix("$$") {
            Some(rest) => Query::parse(&format!("${rest}")).map(Path::Context),
            None => Query::parse(text).map(Path::Data),
        }
    }

    /// A path as the graph's choices have it; a JSONPath is one too.
    pub(crate) fn parse_dotted(text: &str) -> Result<Self, String> {
        if text.starts_with('$') {
            return Self::parse(text);
        }
        if let Some(odd) = text.chars().find(|c| "#*?|@\\".contains(*c)) {
            return Err(format!("must be names with dots between them, or a JSONPath: {odd:?}"));
        }
        Ok(Path::Dotted(text.split('.').map(str::to_owned).collect()))
    }

    /// What is there: nothing, one value, or, if the path may lead to several, the list of them.
    pub(crate) fn find(&self, data: &Value, context: &Context<'_>) -> Option<Value> {
        match self {
            Path::Data(query) => query.find(data),
            Path::Context(query) => query.find(&context.value()),
            Path::Dotted(names) => names.iter().try_fold(data, step).cloned(),
        }
    }

    /// What is there; nothing is an error.
    pub(crate) fn get(&self, data: &Value, context: &Context<'_>) -> Result<Value, RunError> {
        self.find(data, context).ok_or_else(|| {
            RunError::parameter_path(format!("the path {self} leads to nothing in the data"))
        })
    }

    /// As `get`, where nothing is no fault that could be caught.
    pub(crate) fn need(&self, data: &Value, context: &Context<'_>) -> Result<Value, RunError> {
        self.find(data, context).ok_or_else(|| {
            RunError::runtime(format!("the path {self} leads to nothing in the data"))
        })
    }
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Path::Data(query) => f.write_str(&query.text),
            Path::Context(query) => write!(f, "${}", query.text),
            Path::Dotted(names) => f.write_str(&names.join(".")),
        }
    }
}

fn step<'a>(value: &'a Value, name: &String) -> Option<&'a Value> {
    match value {
        Value::Array(list) => list.get(name.parse::<usize>().ok()?),
        other => other.get(name),
    }
}

// === impl Query ===

impl Query {
    fn parse(text: &str) -> Result<Self, String> {
        if !text.starts_with('$') {
            return Err("must begin with `$`".to_owned());
        }
        if nesting(text) > MAX_NESTING {
            return Err(format!("has brackets in more than {MAX_NESTING} others"));
        }
        // For all texts of the process: it is looked at whenever one is begun.
        pest::set_call_limit(Some(MAX_CALLS));
        match parse_json_path(&quoted(text)) {
            Ok(parsed) => Ok(Self { text: text.to_owned(), parsed }),
            Err(_) => Err("is no JSONPath".to_owned()),
        }
    }

    fn find(&self, data: &Value) -> Option<Value> {
        let found = js_path_process(&self.parsed, data).ok()?;
        if self.leads_to_one() {
            return found.first().map(|found| found.val.clone());
        }
        Some(found.into_iter().map(|found| found.val.clone()).collect())
    }

    fn leads_to_one(&self) -> bool {
        let one = |segment: &Segment| {
            matches!(segment, Segment::Selector(Selector::Name(_) | Selector::Index(_)))
        };
        self.parsed.segments.iter().all(one)
    }

    /// The names and indexes, if it has nothing else.
    fn places(&self) -> Option<Vec<Place>> {
        let places = self.parsed.segments.iter().map(|segment| match segment {
            Segment::Selector(Selector::Name(name)) => Some(Place::Name(unquoted(name))),
            Segment::Selector(Selector::Index(index)) => {
                usize::try_from(*index).ok().map(Place::Index)
            }
            _ => None,
        });
        places.collect()
    }
}

/// `.a-b` becomes `['a-b']`: RFC 9535 takes less after a dot than what the Amazon States Language is written with.
fn quoted(text: &str) -> String {
    let mut quoted = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['.', '[']) {
        quoted.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with('[') {
            let end = end_of_brackets(rest);
            quoted.push_str(&rest[..end]);
            rest = &rest[end..];
            continue;
        }
        let dots = if rest.starts_with("..") { 2 } else { 1 };
        let end = rest[dots..].find(['.', '[']).map_or(rest.len(), |end| end + dots);
        let name = &rest[dots..end];
        let plain =
            name == "*" || name.is_empty() || name.chars().all(|c| c.is_alphanumeric() || c == '_');
        if plain && !name.starts_with(|c: char| c.is_ascii_digit()) {
            quoted.push_str(&rest[..end]);
        } else if name.contains(['\'', '(', ')', '*', ' ', '?', '@', '$']) {
            quoted.push_str(&rest[..end]); // for the parser to refuse
        } else {
            quoted.push_str(&rest[..dots - 1]);
            quoted.push_str(if dots == 2 { ".['" } else { "['" });
            quoted.push_str(name);
            quoted.push_str("']");
        }
        rest = &rest[end..];
    }
    quoted + rest
}

/// How many brackets are open at a time: the parser calls itself for each.
fn nesting(text: &str) -> usize {
    let (mut open, mut most) = (0_usize, 0);
    for (_, c) in unquoted_chars(text) {
        match c {
            '[' | '(' => open += 1,
            ']' | ')' => open = open.saturating_sub(1),
            _ => {}
        }
        most = most.max(open);
    }
    most
}

/// Where the brackets end that the text begins with.
fn end_of_brackets(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in unquoted_chars(text) {
        match c {
            '[' => depth += 1,
            ']' if depth == 1 => return at + 1,
            ']' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

/// The characters outside quotes, with their places.
fn unquoted_chars(text: &str) -> impl Iterator<Item = (usize, char)> {
    let (mut quote, mut escaped) = (None, false);
    text.char_indices().filter(move |(_, c)| {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), c) if open == *c => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(*c),
            (None, _) => return true,
        }
        false
    })
}

/// The parser leaves the quotes, and escapes within them, to whoever looks for the name.
fn unquoted(name: &str) -> String {
    let quote = name.chars().next().filter(|c| matches!(c, '\'' | '"'));
    let inner = quote.and_then(|q| name.strip_prefix(q)?.strip_suffix(q));
    let Some(inner) = inner else { return name.to_owned() };
    let mut plain = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        plain.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    plain
}

// === impl ReferencePath ===

impl ReferencePath {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with("$$") {
            return Err("must not lead into the context object".to_owned());
        }
        let places = Query::parse(text)?.places();
        let places = places.ok_or_else(|| "must have names and indexes only".to_owned())?;
        if places.len() > MAX_DEPTH {
            return Err(format!("must not lead deeper than {MAX_DEPTH} levels"));
        }
        Ok(Self(places))
    }

    /// The data with the result at the path; objects are made on the way, elements of lists must be there.
    pub(crate) fn put(&self, mut data: Value, result: Value) -> Result<Value, RunError> {
        let mut at = &mut data;
        for place in &self.0 {
            at = match place {
                Place::Name(name) => member(at, name)?,
                Place::Index(index) => at.get_mut(*index).ok_or_else(|| {
                    RunError::result_path(format!(
                        "there is no element {index} to put the result at"
                    ))
                })?,
            };
        }
        *at = result;
        Ok(data)
    }
}

fn member<'a>(value: &'a mut Value, name: &str) -> Result<&'a mut Value, RunError> {
    if value.is_null() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(object) => Ok(object.entry(name).or_insert(Value::Null)),
        _ => Err(RunError::result_path(format!("{name:?} cannot be put into what is no object"))),
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn names_with_dashes_are_quoted_and_nothing_else_is() {
        for (given, expected) in [
            ("$", "$"),
            ("$.a.b_1", "$.a.b_1"),
            ("$.a-b.c", "$['a-b'].c"),
            ("$..a-b", "$..['a-b']"),
            ("$.a[?(@.x-y == 'a.b-c]')].d-e", "$.a[?(@.x-y == 'a.b-c]')]['d-e']"),
            ("$['a.b']['c-d'][0].*", "$['a.b']['c-d'][0].*"),
            ("$.0a", "$['0a']"),
        ] {
            assert_eq!(quoted(given), expected);
        }
    }
}
