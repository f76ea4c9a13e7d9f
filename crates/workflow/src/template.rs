//! `Parameters`, `ItemSelector` and `ResultSelector`: JSON in which a member whose name ends with `.$` is a path or an
//! intrinsic function.

use api_machinery::FieldPath;
use serde_json::{Map, Value};

use crate::{error::RunError, faults::Faults, intrinsic::Expression, source::Source};

/// A template, understood once.
#[derive(Clone, Debug)]
pub(crate) enum Template {
    Literal(Value),
    Expression(Expression),
    Object(Vec<(String, Template)>),
    List(Vec<Template>),
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
