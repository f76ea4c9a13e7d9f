//! `+`, `<` and the like.

use std::{cmp::Ordering, sync::Arc};

use super::{
    arguments::{
        boolean, bytes, double, duration, int, list, map, no_overload, text, timestamp, uint, value,
    },
    signature::{Answer, Row},
};
use crate::{
    budget::{Budget, EvaluationError},
    time,
    value::Value,
};

pub(super) const ARITHMETIC: &[Row] = &[
    ("_+_(int, int): int", |_, a| ints(int(a, 0)?.checked_add(int(a, 1)?))),
    ("_+_(uint, uint): uint", |_, a| uints(uint(a, 0)?.checked_add(uint(a, 1)?))),
    ("_+_(double, double): double", |_, a| Ok(Value::Double(double(a, 0)? + double(a, 1)?))),
    ("_+_(string, string): string", add_texts),
    ("_+_(bytes, bytes): bytes", add_bytes),
    ("_+_(list(A), list(A)): list(A)", add_lists),
    ("_+_(duration, duration): duration", |_, a| {
        spans(duration(a, 0)?.as_nanos() + duration(a, 1)?.as_nanos())
    }),
    ("_+_(timestamp, duration): timestamp", |_, a| {
        moments(timestamp(a, 0)?.checked_add(duration(a, 1)?))
    }),
    ("_+_(duration, timestamp): timestamp", |_, a| {
        moments(timestamp(a, 1)?.checked_add(duration(a, 0)?))
    }),
    ("_-_(int, int): int", |_, a| ints(int(a, 0)?.checked_sub(int(a, 1)?))),
    ("_-_(uint, uint): uint", |_, a| uints(uint(a, 0)?.checked_sub(uint(a, 1)?))),
    ("_-_(double, double): double", |_, a| Ok(Value::Double(double(a, 0)? - double(a, 1)?))),
    ("_-_(duration, duration): duration", |_, a| {
        spans(duration(a, 0)?.as_nanos() - duration(a, 1)?.as_nanos())
    }),
    ("_-_(timestamp, timestamp): duration", |_, a| {
        spans(timestamp(a, 0)?.as_nanosecond() - timestamp(a, 1)?.as_nanosecond())
    }),
    ("_-_(timestamp, duration): timestamp", |_, a| {
        moments(timestamp(a, 0)?.checked_sub(duration(a, 1)?))
    }),
    ("_*_(int, int): int", |_, a| ints(int(a, 0)?.checked_mul(int(a, 1)?))),
    ("_*_(uint, uint): uint", |_, a| uints(uint(a, 0)?.checked_mul(uint(a, 1)?))),
    ("_*_(double, double): double", |_, a| Ok(Value::Double(double(a, 0)? * double(a, 1)?))),
    ("_/_(int, int): int", |_, a| {
        by_zero(int(a, 1)? == 0, "division by zero")?;
        ints(int(a, 0)?.checked_div(int(a, 1)?))
    }),
    ("_/_(uint, uint): uint", |_, a| {
        by_zero(uint(a, 1)? == 0, "division by zero")?;
        uints(uint(a, 0)?.checked_div(uint(a, 1)?))
    }),
    ("_/_(double, double): double", |_, a| Ok(Value::Double(double(a, 0)? / double(a, 1)?))),
    ("_%_(int, int): int", |_, a| {
        by_zero(int(a, 1)? == 0, "modulus by zero")?;
        ints(int(a, 0)?.checked_rem(int(a, 1)?))
    }),
    ("_%_(uint, uint): uint", |_, a| {
        by_zero(uint(a, 1)? == 0, "modulus by zero")?;
        uints(uint(a, 0)?.checked_rem(uint(a, 1)?))
    }),
    ("-_(int): int", |_, a| ints(int(a, 0)?.checked_neg())),
    ("-_(double): double", |_, a| Ok(Value::Double(-double(a, 0)?))),
    ("!_(bool): bool", |_, a| Ok(Value::Bool(!boolean(a, 0)?))),
];

/// Numbers of different kinds can be compared, and nothing else that differs.
macro_rules! compared {
    ($($name:literal $is:expr),*) => {
        &[
            ("_==_(A, A): bool", |b, a| equal(b, a).map(Value::Bool)),
            ("_!=_(A, A): bool", |b, a| equal(b, a).map(|it| Value::Bool(!it))),
            ("@in(A, list(A)): bool", is_element),
            ("@in(A, map(A, B)): bool", is_key),
            $(
                compared!(@ $name "int, int" $is), compared!(@ $name "int, uint" $is),
                compared!(@ $name "int, double" $is), compared!(@ $name "uint, int" $is),
                compared!(@ $name "uint, uint" $is), compared!(@ $name "uint, double" $is),
                compared!(@ $name "double, int" $is), compared!(@ $name "double, uint" $is),
                compared!(@ $name "double, double" $is), compared!(@ $name "bool, bool" $is),
                compared!(@ $name "string, string" $is), compared!(@ $name "bytes, bytes" $is),
                compared!(@ $name "timestamp, timestamp" $is),
                compared!(@ $name "duration, duration" $is),
            )*
        ]
    };
    (@ $name:literal $types:literal $is:expr) => {
        (concat!($name, "(", $types, "): bool"), |b, a| {
            let order = value(a, 0)?.compare(value(a, 1)?, b)?;
            Ok(Value::Bool(order.is_some_and($is)))
        })
    };
}

pub(super) const RELATIONS: &[Row] = compared!(
    "_<_" Ordering::is_lt, "_<=_" Ordering::is_le, "_>_" Ordering::is_gt, "_>=_" Ordering::is_ge
);

fn by_zero(is_zero: bool, why: &str) -> Result<(), EvaluationError> {
    if is_zero { Err(EvaluationError::new(why)) } else { Ok(()) }
}

fn ints(number: Option<i64>) -> Answer {
    number.map(Value::Int).ok_or_else(|| EvaluationError::new("integer overflow"))
}

fn uints(number: Option<u64>) -> Answer {
    number.map(Value::Uint).ok_or_else(|| EvaluationError::new("unsigned integer overflow"))
}

fn spans(nanos: i128) -> Answer {
    let span = time::duration(nanos).map(Value::Duration);
    span.ok_or_else(|| EvaluationError::new("duration overflow"))
}

fn moments(moment: Result<jiff::Timestamp, jiff::Error>) -> Answer {
    moment.map(Value::Timestamp).map_err(|_| EvaluationError::new("timestamp overflow"))
}

fn equal(budget: &mut Budget, args: &[Value]) -> Result<bool, EvaluationError> {
    value(args, 0)?.equals(value(args, 1)?, budget)
}

fn is_element(budget: &mut Budget, args: &[Value]) -> Answer {
    let wanted = value(args, 0)?;
    for item in list(args, 1)?.iter() {
        if item.equals(wanted, budget)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn is_key(budget: &mut Budget, args: &[Value]) -> Answer {
    let key = value(args, 0)?.as_paid_key(budget)?;
    let map = map(args, 1)?;
    Ok(Value::Bool(key.is_some_and(|key| map.contains_key(&key))))
}

fn add_texts(budget: &mut Budget, args: &[Value]) -> Answer {
    let (a, b) = (text(args, 0)?, text(args, 1)?);
    budget.spend_on_text(a.len() + b.len())?;
    Ok(Value::text([&**a, &**b].concat()))
}

fn add_bytes(budget: &mut Budget, args: &[Value]) -> Answer {
    let (a, b) = (bytes(args, 0)?, bytes(args, 1)?);
    budget.spend_on_text(a.len() + b.len())?;
    Ok(Value::Bytes(Arc::from([&**a, &**b].concat())))
}

fn add_lists(budget: &mut Budget, args: &[Value]) -> Answer {
    let (a, b) = (list(args, 0)?, list(args, 1)?);
    budget.spend_on(a.len() + b.len())?;
    Ok(Value::list(a.iter().chain(b.iter()).cloned().collect()))
}

/// The sum of two, for who sums up lists.
pub(super) fn add(a: &Value, b: &Value) -> Answer {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => ints(a.checked_add(*b)),
        (Value::Uint(a), Value::Uint(b)) => uints(a.checked_add(*b)),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a + b)),
        (Value::Duration(a), Value::Duration(b)) => spans(a.as_nanos() + b.as_nanos()),
        _ => Err(no_overload()),
    }
}

/// A value that can be added up.
pub(super) fn nothing_plus(value: &Value) -> Answer {
    match value {
        Value::Int(_) | Value::Uint(_) | Value::Double(_) | Value::Duration(_) => Ok(value.clone()),
        _ => Err(no_overload()),
    }
}
