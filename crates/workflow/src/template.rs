//! `Parameters`, `ItemSelector` and `ResultSelector`: JSON in which a member whose name ends with `.$` is a path or an
//! intrinsic function.

use api_machinery::FieldPath;
use serde_json::{Map, Value};

use crate::{
    context::Context,
    definition::Faults,
    error::RunError,
    intrinsic::Expression,
    limits::{MAX_PAYLOAD, length},
    path::Path,
    random::Random,
};

/// The most that filling a template may copy and compute, in bytes of JSON: what is passed on is shorter by far.
const MAX_FILLING: usize = 16 * MAX_PAYLOAD;

/// A template, understood once.
#[derive(Clone, Debug)]
pub(crate) enum Template {
    Literal(Value),
    Expression(Expression),
    Object(Vec<(String, Template)>),
    List(Vec<Template>),
}

/// What a template is filled from.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    pub(crate) data: &'a Value,
    pub(crate) context: Context<'a>,
    pub(crate) random: &'a mut Random,
    room: usize,
}

impl Template {
    pub(crate) fn parse(value: &Value, path: &FieldPath, faults: &mut Faults) -> Self {
        match value {
            Value::Object(object) => Self::object(object, path, faults),
            Value::Array(list) => {
                let element = |(i, v)| Self::parse(v, &path.index(i), faults);
                Template::List(list.iter().enumerate().map(element).collect())
            }
            other => Template::Literal(other.clone()),
        }
    }

    fn object(object: &Map<String, Value>, path: &FieldPath, faults: &mut Faults) -> Self {
        let members = object.iter().map(|(name, value)| {
            let path = path.child(name);
            match name.strip_suffix(".$") {
                None => (name.clone(), Self::parse(value, &path, faults)),
                Some(plain) => {
                    if object.contains_key(plain) {
                        faults.errors.duplicate(&path, plain);
                    }
                    (plain.to_owned(), Self::expression(value, &path, faults))
                }
            }
        });
        Template::Object(members.collect())
    }

    fn expression(value: &Value, path: &FieldPath, faults: &mut Faults) -> Self {
        let Value::String(text) = value else {
            faults.invalid(path, value, "must be a path or an intrinsic function");
            return Template::Literal(Value::Null);
        };
        match Expression::parse(text) {
            Ok(expression) => Template::Expression(expression),
            Err(why) => {
                faults.errors.invalid(path, text, &why);
                Template::Literal(Value::Null)
            }
        }
    }

    pub(crate) fn fill(&self, source: &mut Source<'_>) -> Result<Value, RunError> {
        Ok(match self {
            Template::Literal(value) => value.clone(),
            Template::Expression(expression) => expression.evaluate(source)?,
            Template::List(list) => {
                Value::Array(list.iter().map(|t| t.fill(source)).collect::<Result<_, _>>()?)
            }
            Template::Object(members) => {
                let filled = members.iter().map(|(name, t)| Ok((name.clone(), t.fill(source)?)));
                Value::Object(filled.collect::<Result<_, RunError>>()?)
            }
        })
    }

    /// The member of an object template, if it says the same for every run.
    pub(crate) fn fixed(&self, name: &str) -> Option<&Value> {
        let Template::Object(members) = self else { return None };
        match members.iter().find(|(member, _)| member == name)? {
            (_, Template::Literal(value)) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        matches!(self, Template::Object(members) if members.iter().any(|(m, _)| m == name))
    }
}

impl<'a> Source<'a> {
    pub(crate) fn new(data: &'a Value, context: Context<'a>, random: &'a mut Random) -> Self {
        Self { data, context, random, room: MAX_FILLING }
    }

    pub(crate) fn get(&mut self, path: &Path) -> Result<Value, RunError> {
        let value = path.get(self.data, &self.context)?;
        self.take(value)
    }

    /// Counts a value that was copied or computed.
    pub(crate) fn take(&mut self, value: Value) -> Result<Value, RunError> {
        let left = self.room.checked_sub(length(&value));
        self.room = left.ok_or_else(|| {
            RunError::data_limit(format!("a template takes more than {MAX_FILLING} bytes"))
        })?;
        Ok(value)
    }
}
