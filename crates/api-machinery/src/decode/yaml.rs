//! YAML: the parser's events put together to a value, with aliases and merges (`<<`) resolved.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use granit_parser::{Event, Options, Parser, ScalarStyle, Span, StrInput, Tag};
use serde_json::{Map, Value};

use super::{
    decoded::{Decoded, Duplicates, LONGEST_PATH, MOST_TOLD},
    scalar::Scalar,
};
use crate::extent::weight;

/// How deep values may be nested: as deep as `serde_json` reads.
const MAX_DEPTH: usize = 127;
/// How much may be copied for aliases in all, in bytes of text and 16 for each value: else a short text with aliases of
/// aliases would fill the memory.
const MAX_COPIED: usize = 4 << 20;

/// Why a text can't be read as YAML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("yaml: line {line}: {what}")]
pub struct YamlError {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// What is wrong there.
    pub what: String,
}

impl YamlError {
    fn at(span: Span, what: impl Into<String>) -> Self {
        Self { line: span.start.line(), column: span.start.col() + 1, what: what.into() }
    }
}

pub(super) fn decode(text: &str) -> Result<Decoded, YamlError> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    let mut builder = Builder {
        parser: Parser::new_from_str_with_options(text, options),
        anchors: HashMap::new(),
        copied: 0,
        duplicates: Duplicates::default(),
        repeated_keys: Vec::new(),
    };
    let value = builder.document()?;
    let Builder { duplicates, repeated_keys, .. } = builder;
    Ok(Decoded { value, duplicates: duplicates.0, repeated_keys })
}

struct Builder<'t> {
    parser: Parser<'t, StrInput<'t>>,
    /// Anchored values by the parser's numbers; one that is still being read isn't among them.
    anchors: HashMap<usize, Value>,
    copied: usize,
    duplicates: Duplicates,
    repeated_keys: Vec<String>,
}

type Spanned<'t> = (Event<'t>, Span);

impl<'t> Builder<'t> {
    fn document(&mut self) -> Result<Value, YamlError> {
        loop {
            match self.next()? {
                None | Some((Event::StreamEnd, _)) => return Ok(Value::Null),
                Some((Event::StreamStart | Event::DocumentStart(..), _)) => {}
                Some(first) => return self.node(first, 0),
            }
        }
    }

    fn next(&mut self) -> Result<Option<Spanned<'t>>, YamlError> {
        self.parser.next_event().transpose().map_err(|error| {
            let at = error.marker();
            YamlError { line: at.line(), column: at.col() + 1, what: error.info() }
        })
    }

    /// The next event inside a collection.
    fn inner(&mut self, start: Span) -> Result<Spanned<'t>, YamlError> {
        self.next()?.ok_or_else(|| YamlError::at(start, "did not find the end of the collection"))
    }

    /// The value that begins with this event.
    fn node(&mut self, (event, span): Spanned<'t>, depth: usize) -> Result<Value, YamlError> {
        if depth > MAX_DEPTH {
            return Err(YamlError::at(span, "exceeded max depth"));
        }
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let scalar = meaning(&text, style, tag.as_deref(), span)?;
                let value = scalar.value();
                let value = value.ok_or_else(|| {
                    YamlError::at(span, format!("json: unsupported value: {text}"))
                })?;
                self.anchored(anchor, value, span)
            }
            Event::SequenceStart(_, anchor, _) => {
                let list = self.sequence(span, depth)?;
                self.anchored(anchor, list, span)
            }
            Event::MappingStart(_, anchor, _) => {
                let object = self.mapping(span, depth)?;
                self.anchored(anchor, object, span)
            }
            Event::Alias(anchor) => self.alias(anchor, span),
            _ => Err(YamlError::at(span, "did not find expected node content")),
        }
    }

    fn sequence(&mut self, start: Span, depth: usize) -> Result<Value, YamlError> {
        let mut list = Vec::new();
        loop {
            match self.inner(start)? {
                (Event::SequenceEnd, _) => return Ok(Value::Array(list)),
                next => {
                    let mark = self.duplicates.mark();
                    let element = self.node(next, depth + 1)?;
                    self.duplicates.below_index(list.len(), mark);
                    list.push(element);
                }
            }
        }
    }

    /// Entries in their order; a later one, merged ones too, replaces an earlier one.
    fn mapping(&mut self, start: Span, depth: usize) -> Result<Value, YamlError> {
        let mut object = Map::new();
        // What a merge brought may be given anew.
        let mut merged = BTreeSet::new();
        let first = self.duplicates.mark();
        loop {
            let (event, at) = match self.inner(start)? {
                (Event::MappingEnd, _) => return Ok(Value::Object(object)),
                key => key,
            };
            let key = self.key(event, at)?;
            let (event, value_at) = self.inner(start)?;
            let mark = self.duplicates.mark();
            let value = self.node((event, value_at), depth + 1)?;
            let Key::Field(key, shown) = key else {
                merge(&mut object, &mut merged, value, value_at)?;
                continue;
            };
            self.duplicates.below_key(&key, mark);
            if object.contains_key(&key) && !merged.remove(&key) {
                self.duplicates.found(&key, first);
                self.repeated(&shown, value_at);
            }
            object.insert(key, value);
        }
    }

    fn repeated(&mut self, key: &str, value_at: Span) {
        if self.repeated_keys.len() < MOST_TOLD && key.len() <= LONGEST_PATH {
            let line = value_at.start.line();
            self.repeated_keys.push(format!("line {line}: key {key} already set in map"));
        }
    }

    fn key(&mut self, event: Event<'t>, span: Span) -> Result<Key, YamlError> {
        let scalar = match event {
            Event::Scalar(text, style, anchor, tag) => {
                if is_merge(&text, style, tag.as_deref()) {
                    return Ok(Key::Merge);
                }
                let scalar = meaning(&text, style, tag.as_deref(), span)?;
                if let (true, Some(value)) = (anchor > 0, scalar.clone().value()) {
                    self.anchored(anchor, value, span)?;
                }
                scalar
            }
            Event::Alias(anchor) => match self.alias(anchor, span)? {
                Value::String(text) => Scalar::Text(text),
                Value::Number(number) => Scalar::Text(number.to_string()),
                Value::Bool(value) => Scalar::Bool(value),
                _ => return Err(YamlError::at(span, "invalid map key")),
            },
            _ => return Err(YamlError::at(span, "invalid map key")),
        };
        let key = scalar.key().ok_or_else(|| YamlError::at(span, "unsupported map key"))?;
        let shown = match scalar {
            Scalar::Text(text) => format!("{text:?}"),
            _ => key.clone(),
        };
        Ok(Key::Field(key, shown))
    }

    /// Keeps an anchored value for its aliases.
    fn anchored(&mut self, anchor: usize, value: Value, span: Span) -> Result<Value, YamlError> {
        if anchor > 0 {
            self.copy(&value, span)?;
            self.anchors.insert(anchor, value.clone());
        }
        Ok(value)
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<Value, YamlError> {
        let Some(value) = self.anchors.get(&anchor).cloned() else {
            return Err(YamlError::at(span, "anchor value contains itself"));
        };
        self.copy(&value, span)?;
        Ok(value)
    }

    fn copy(&mut self, value: &Value, span: Span) -> Result<(), YamlError> {
        self.copied += weight(value);
        if self.copied > MAX_COPIED {
            return Err(YamlError::at(span, "document contains excessive aliasing"));
        }
        Ok(())
    }
}

/// What stands before a mapping's colon.
enum Key {
    /// With how it is told of.
    Field(String, String),
    /// `<<`: the entries of the value are taken over.
    Merge,
}

fn is_merge(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> bool {
    let tagged = tag.map(tag_name);
    text == "<<"
        && (style == ScalarStyle::Plain && tag.is_none() || tagged.as_deref() == Some("merge"))
}

/// Takes over the entries of one mapping or of several, of which the first has the last word.
fn merge(
    object: &mut Map<String, Value>,
    merged: &mut BTreeSet<String>,
    value: Value,
    span: Span,
) -> Result<(), YamlError> {
    let sources = match value {
        Value::Array(sources) => sources,
        source => vec![source],
    };
    for source in sources.into_iter().rev() {
        let Value::Object(entries) = source else {
            let what = "map merge requires map or sequence of maps as the value";
            return Err(YamlError::at(span, what));
        };
        merged.extend(entries.keys().cloned());
        object.extend(entries);
    }
    Ok(())
}

/// `int` for `!!int`; other tags in full.
fn tag_name(tag: &Tag) -> Cow<'_, str> {
    tag.suffix_in_namespace("tag:yaml.org,2002:").unwrap_or_else(|| Cow::Owned(tag.original()))
}

/// The meaning of a scalar: by its tag if it has one that is known, else text if it is quoted.
fn meaning(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    span: Span,
) -> Result<Scalar, YamlError> {
    let Some(tag) = tag.map(tag_name) else {
        let is_plain = style == ScalarStyle::Plain;
        return Ok(if is_plain { Scalar::plain(text) } else { Scalar::Text(text.to_owned()) });
    };
    let scalar = Scalar::plain(text);
    Ok(match (tag.as_ref(), scalar) {
        ("int", scalar @ (Scalar::Int(_) | Scalar::Uint(_)))
        | ("float", scalar @ Scalar::Float(_))
        | ("bool", scalar @ Scalar::Bool(_))
        | ("null", scalar @ Scalar::Null) => scalar,
        #[allow(clippy::cast_precision_loss, reason = "a float was asked for")]
        ("float", Scalar::Int(number)) => Scalar::Float(number as f64),
        ("int" | "float" | "bool" | "null", _) => {
            return Err(YamlError::at(span, format!("cannot decode !!str `{text}` as a !!{tag}")));
        }
        ("binary", _) => binary(text, span)?,
        _ => Scalar::Text(text.to_owned()),
    })
}

/// The bytes that a text has in base64; JSON can have them only as far as they are text.
fn binary(text: &str, span: Span) -> Result<Scalar, YamlError> {
    let base64 = text.split_ascii_whitespace().collect::<String>();
    let refused = |_| YamlError::at(span, "!!binary value contains invalid base64 data");
    let bytes = BASE64.decode(base64).map_err(refused)?;
    Ok(Scalar::Text(String::from_utf8_lossy(&bytes).into_owned()))
}
