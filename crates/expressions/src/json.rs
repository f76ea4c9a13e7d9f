//! Values from JSON and back.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Number, Value as Json};

use crate::{
    budget::{Budget, EvaluationError},
    time,
    types::Type,
    value::{Key, Value},
};

impl From<&Json> for Value {
    fn from(json: &Json) -> Self {
        Self::typed(json, &Type::Dyn)
    }
}

impl Value {
    /// What a schema's type says that JSON is: moments, spans of time and octets are text there, and numbers may look whole.
    /// Without one, and where it does not fit, the JSON is taken for what it looks like.
    #[must_use]
    pub fn typed(json: &Json, type_: &Type) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(it) => Self::Bool(*it),
            Json::Number(it) => number(it, type_),
            Json::String(it) => text(it, type_),
            Json::Array(items) => {
                let of = if let Type::List(of) = type_ { of } else { &Type::Dyn };
                Self::list(items.iter().map(|item| Self::typed(item, of)).collect())
            }
            Json::Object(fields) => {
                let of = |name: &str| match type_ {
                    Type::Object(object) => object.fields.get(name).unwrap_or(&Type::Dyn),
                    Type::Map(_, value) => value,
                    _ => &Type::Dyn,
                };
                let fields = fields.iter();
                let fields = fields.map(|(name, it)| (Key::text(name), Self::typed(it, of(name))));
                Self::Map(Arc::new(fields.collect()))
            }
        }
    }

    /// As JSON, if it can be.
    ///
    /// # Errors
    ///
    /// A value that JSON has not, or one that is too large.
    pub fn to_json(&self, budget: &mut Budget) -> Result<Json, EvaluationError> {
        budget.spend(1)?;
        Ok(match self {
            Self::Null => Json::Null,
            Self::Bool(it) => Json::Bool(*it),
            Self::Int(it) => Json::from(*it),
            Self::Uint(it) => Json::from(*it),
            Self::Double(it) => Json::from(*it),
            Self::String(it) => {
                budget.spend_on_text(it.len())?;
                Json::from(&**it)
            }
            Self::Bytes(it) => {
                budget.spend_on_text(it.len())?;
                Json::from(STANDARD.encode(it))
            }
            Self::List(items) => {
                Json::Array(items.iter().map(|it| it.to_json(budget)).collect::<Result<_, _>>()?)
            }
            Self::Map(entries) | Self::Struct(_, entries) => {
                let mut fields = Map::new();
                for (key, value) in entries.iter() {
                    key.pay(budget)?;
                    fields.insert(key.to_string(), value.to_json(budget)?);
                }
                Json::Object(fields)
            }
            Self::Timestamp(it) => Json::from(it.to_string()),
            Self::Duration(it) => Json::from(time::format_duration(*it)),
            Self::Optional(Some(it)) => it.to_json(budget)?,
            Self::Optional(None) => Json::Null,
            Self::Type(_) | Self::Opaque(_) => {
                let why = format!("a value of type '{}' is no JSON", self.type_name());
                return Err(EvaluationError::new(why));
            }
        })
    }
}

fn number(number: &Number, type_: &Type) -> Value {
    let double = || Value::Double(number.as_f64().unwrap_or(f64::NAN));
    match type_ {
        Type::Double => double(),
        _ => match (number.as_i64(), number.as_u64()) {
            (Some(it), _) => Value::Int(it),
            (None, Some(it)) => Value::Uint(it),
            (None, None) => double(),
        },
    }
}

fn text(text: &str, type_: &Type) -> Value {
    let read = match type_ {
        Type::Timestamp => {
            let read = time::parse_timestamp(text).or_else(|| time::parse_date(text));
            read.map(Value::Timestamp)
        }
        Type::Duration => time::parse_duration(text).map(Value::Duration),
        Type::Bytes => STANDARD.decode(text).ok().map(|it| Value::Bytes(Arc::from(it))),
        _ => None,
    };
    read.unwrap_or_else(|| Value::text(text))
}
