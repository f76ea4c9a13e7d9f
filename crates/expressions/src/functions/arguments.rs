//! Arguments of functions, which the table has chosen by their kinds.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};

use crate::{
    budget::EvaluationError,
    value::{Key, Opaque, Value},
};

type Of<T> = Result<T, EvaluationError>;

pub(super) fn no_overload() -> EvaluationError {
    EvaluationError::new("no such overload")
}

pub(super) fn value(args: &[Value], i: usize) -> Of<&Value> {
    args.get(i).ok_or_else(no_overload)
}

pub(super) fn text(args: &[Value], i: usize) -> Of<&Arc<str>> {
    if let Some(Value::String(it)) = args.get(i) { Ok(it) } else { Err(no_overload()) }
}

pub(super) fn bytes(args: &[Value], i: usize) -> Of<&Arc<[u8]>> {
    if let Some(Value::Bytes(it)) = args.get(i) { Ok(it) } else { Err(no_overload()) }
}

pub(super) fn int(args: &[Value], i: usize) -> Of<i64> {
    if let Some(Value::Int(it)) = args.get(i) { Ok(*it) } else { Err(no_overload()) }
}

pub(super) fn uint(args: &[Value], i: usize) -> Of<u64> {
    if let Some(Value::Uint(it)) = args.get(i) { Ok(*it) } else { Err(no_overload()) }
}

pub(super) fn double(args: &[Value], i: usize) -> Of<f64> {
    if let Some(Value::Double(it)) = args.get(i) { Ok(*it) } else { Err(no_overload()) }
}

pub(super) fn boolean(args: &[Value], i: usize) -> Of<bool> {
    if let Some(Value::Bool(it)) = args.get(i) { Ok(*it) } else { Err(no_overload()) }
}

pub(super) fn list(args: &[Value], i: usize) -> Of<&Arc<Vec<Value>>> {
    if let Some(Value::List(it)) = args.get(i) { Ok(it) } else { Err(no_overload()) }
}

pub(super) fn map(args: &[Value], i: usize) -> Of<&Arc<BTreeMap<Key, Value>>> {
    if let Some(Value::Map(it)) = args.get(i) { Ok(it) } else { Err(no_overload()) }
}

pub(super) fn timestamp(args: &[Value], i: usize) -> Of<Timestamp> {
    if let Some(Value::Timestamp(it)) = args.get(i) { Ok(*it) } else { Err(no_overload()) }
}

pub(super) fn duration(args: &[Value], i: usize) -> Of<SignedDuration> {
    if let Some(Value::Duration(it)) = args.get(i) { Ok(*it) } else { Err(no_overload()) }
}

pub(super) fn optional(args: &[Value], i: usize) -> Of<Option<&Arc<Value>>> {
    if let Some(Value::Optional(it)) = args.get(i) { Ok(it.as_ref()) } else { Err(no_overload()) }
}

pub(super) fn opaque<T: Opaque>(args: &[Value], i: usize) -> Of<&T> {
    match args.get(i) {
        Some(Value::Opaque(it)) => it.downcast().ok_or_else(no_overload),
        _ => Err(no_overload()),
    }
}

/// A place in a list or a text.
pub(super) fn place(args: &[Value], i: usize) -> Of<usize> {
    let given = int(args, i)?;
    usize::try_from(given)
        .map_err(|_| EvaluationError::new(format_args!("index out of range: {given}")))
}

/// How many there are of something.
pub(super) fn count(number: usize) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}
