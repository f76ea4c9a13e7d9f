//! Values that may be missing (CEL: `OptionalTypes`).

use super::{
    arguments::{optional, value},
    signature::{Answer, Row},
};
use crate::{
    budget::{Budget, EvaluationError},
    value::Value,
};

pub(super) const ROWS: &[Row] = &[
    ("optional.of(A): optional(A)", |_, a| Ok(value(a, 0)?.clone().some())),
    ("optional.none(): optional(A)", |_, _| Ok(Value::Optional(None))),
    ("optional.ofNonZeroValue(A): optional(A)", of_non_zero),
    ("(optional(A)).hasValue(): bool", |_, a| Ok(Value::Bool(optional(a, 0)?.is_some()))),
    ("(optional(A)).value(): A", |_, a| {
        let value = optional(a, 0)?.map(|it| Value::clone(it));
        value.ok_or_else(|| EvaluationError::new("optional.none() dereference"))
    }),
    ("(optional(A)).or(optional(A)): optional(A)", |_, a| {
        value(a, usize::from(optional(a, 0)?.is_none())).cloned()
    }),
    ("(optional(A)).orValue(A): A", |_, a| {
        optional(a, 0)?.map_or_else(|| value(a, 1).cloned(), |it| Ok(Value::clone(it)))
    }),
];

fn of_non_zero(_: &mut Budget, args: &[Value]) -> Answer {
    let value = value(args, 0)?;
    let is_zero = match value {
        Value::Null => true,
        Value::Bool(it) => !it,
        Value::Int(it) => *it == 0,
        Value::Uint(it) => *it == 0,
        Value::Double(it) => *it == 0.0,
        Value::String(it) => it.is_empty(),
        Value::Bytes(it) => it.is_empty(),
        Value::List(it) => it.is_empty(),
        Value::Map(it) => it.is_empty(),
        Value::Duration(it) => it.is_zero(),
        Value::Optional(it) => it.is_none(),
        _ => false,
    };
    Ok(if is_zero { Value::Optional(None) } else { value.clone().some() })
}
