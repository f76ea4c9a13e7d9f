//! From one type to another, and the type of a value.

use std::sync::Arc;

use jiff::Timestamp;

use super::{
    arguments::{boolean, bytes, double, duration, int, opaque, text, timestamp, uint, value},
    ip::{Address, Network},
    quantity::Amount,
    signature::{Answer, Row},
    string_format::double_text,
};
use crate::{
    budget::{Budget, EvaluationError},
    time,
    value::{Value, whole},
};

pub(super) const ROWS: &[Row] = &[
    ("dyn(A): dyn", |_, a| value(a, 0).cloned()),
    ("type(A): type", |_, a| Ok(Value::Type(Arc::from(value(a, 0)?.type_name())))),
    ("int(int): int", |_, a| value(a, 0).cloned()),
    ("int(uint): int", |_, a| in_range(i64::try_from(uint(a, 0)?).ok())),
    ("int(double): int", |_, a| in_range(whole(double(a, 0)?.trunc()))),
    ("int(string): int", |b, a| read(b, text(a, 0)?, "int", Value::Int)),
    ("int(timestamp): int", |_, a| Ok(Value::Int(timestamp(a, 0)?.as_second()))),
    ("int(duration): int", |_, a| in_range(i64::try_from(duration(a, 0)?.as_nanos()).ok())),
    ("uint(uint): uint", |_, a| value(a, 0).cloned()),
    ("uint(int): uint", |_, a| unsigned(u64::try_from(int(a, 0)?).ok())),
    ("uint(double): uint", |_, a| unsigned(whole_unsigned(double(a, 0)?.trunc()))),
    ("uint(string): uint", |b, a| read(b, text(a, 0)?, "uint", Value::Uint)),
    ("double(double): double", |_, a| value(a, 0).cloned()),
    ("double(int): double", |_, a| Ok(Value::Double(of_int(int(a, 0)?)))),
    ("double(uint): double", |_, a| Ok(Value::Double(of_uint(uint(a, 0)?)))),
    ("double(string): double", |b, a| read(b, text(a, 0)?, "double", Value::Double)),
    ("bool(bool): bool", |_, a| value(a, 0).cloned()),
    ("bool(string): bool", to_bool),
    ("bytes(bytes): bytes", |_, a| value(a, 0).cloned()),
    ("bytes(string): bytes", |b, a| {
        b.spend_on_text(text(a, 0)?.len())?;
        Ok(Value::Bytes(Arc::from(text(a, 0)?.as_bytes())))
    }),
    ("string(string): string", |_, a| value(a, 0).cloned()),
    ("string(bool): string", |_, a| Ok(Value::text(boolean(a, 0)?.to_string()))),
    ("string(int): string", |_, a| Ok(Value::text(int(a, 0)?.to_string()))),
    ("string(uint): string", |_, a| Ok(Value::text(uint(a, 0)?.to_string()))),
    ("string(double): string", |_, a| Ok(Value::text(double_text(double(a, 0)?)))),
    ("string(bytes): string", from_bytes),
    ("string(timestamp): string", |_, a| Ok(Value::text(timestamp(a, 0)?.to_string()))),
    ("string(duration): string", |_, a| Ok(Value::text(time::format_duration(duration(a, 0)?)))),
    ("string(net.IP): string", |_, a| Ok(Value::text(opaque::<Address>(a, 0)?.0.to_string()))),
    ("string(net.CIDR): string", |_, a| Ok(Value::text(opaque::<Network>(a, 0)?.0.to_string()))),
    ("string(kubernetes.Quantity): string", |_, a| {
        Ok(Value::text(opaque::<Amount>(a, 0)?.0.to_string()))
    }),
    ("timestamp(timestamp): timestamp", |_, a| value(a, 0).cloned()),
    ("timestamp(string): timestamp", to_timestamp),
    ("timestamp(int): timestamp", |_, a| {
        let moment = Timestamp::from_second(int(a, 0)?).map(Value::Timestamp);
        moment.map_err(|_| EvaluationError::new("timestamp overflow"))
    }),
    ("duration(duration): duration", |_, a| value(a, 0).cloned()),
    ("duration(string): duration", to_duration),
    ("duration(int): duration", |_, a| {
        let span = time::duration(i128::from(int(a, 0)?)).map(Value::Duration);
        span.ok_or_else(|| EvaluationError::new("duration overflow"))
    }),
];

fn in_range(number: Option<i64>) -> Answer {
    number.map(Value::Int).ok_or_else(|| EvaluationError::new("integer overflow"))
}

fn unsigned(number: Option<u64>) -> Answer {
    number.map(Value::Uint).ok_or_else(|| EvaluationError::new("unsigned integer overflow"))
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "within the bounds it is exact"
)]
fn whole_unsigned(number: f64) -> Option<u64> {
    (0.0..18_446_744_073_709_551_616.0).contains(&number).then_some(number as u64)
}

#[allow(clippy::cast_precision_loss, reason = "as everywhere")]
fn of_int(number: i64) -> f64 {
    number as f64
}

#[allow(clippy::cast_precision_loss, reason = "as everywhere")]
fn of_uint(number: u64) -> f64 {
    number as f64
}

fn read<T: std::str::FromStr>(
    budget: &mut Budget,
    text: &str,
    what: &str,
    of: fn(T) -> Value,
) -> Answer {
    budget.spend_on_text(text.len())?;
    text.parse().map(of).map_err(|_| {
        EvaluationError::new(format_args!("type conversion error from 'string' to '{what}'"))
    })
}

fn to_bool(_: &mut Budget, args: &[Value]) -> Answer {
    match &**text(args, 0)? {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
        _ => Err(EvaluationError::new("type conversion error from 'string' to 'bool'")),
    }
}

fn from_bytes(budget: &mut Budget, args: &[Value]) -> Answer {
    let bytes = bytes(args, 0)?;
    budget.spend_on_text(bytes.len())?;
    let text = std::str::from_utf8(bytes);
    text.map(Value::text)
        .map_err(|_| EvaluationError::new("invalid UTF-8 in bytes, cannot convert to string"))
}

fn to_timestamp(budget: &mut Budget, args: &[Value]) -> Answer {
    let text = text(args, 0)?;
    budget.spend_on_text(text.len())?;
    let moment = time::parse_timestamp(text).map(Value::Timestamp);
    moment.ok_or_else(|| EvaluationError::new(format_args!("invalid timestamp {:?}", clip(text))))
}

fn to_duration(budget: &mut Budget, args: &[Value]) -> Answer {
    let text = text(args, 0)?;
    budget.spend_on_text(text.len())?;
    let span = time::parse_duration(text).map(Value::Duration);
    span.ok_or_else(|| EvaluationError::new(format_args!("invalid duration {:?}", clip(text))))
}

/// As much of a text as an error shows.
fn clip(text: &str) -> String {
    text.chars().take(100).collect()
}
