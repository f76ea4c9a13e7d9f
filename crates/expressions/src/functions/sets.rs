//! Lists as sets (CEL: `ext.Sets`).

use super::{
    arguments::list,
    signature::{Answer, Row},
};
use crate::{
    budget::{Budget, EvaluationError},
    value::Value,
};

pub(super) const ROWS: &[Row] = &[
    ("sets.contains(list(A), list(A)): bool", |b, a| {
        Ok(Value::Bool(has_all(b, list(a, 0)?, list(a, 1)?)?))
    }),
    ("sets.equivalent(list(A), list(A)): bool", |b, a| {
        let (one, other) = (list(a, 0)?, list(a, 1)?);
        Ok(Value::Bool(has_all(b, one, other)? && has_all(b, other, one)?))
    }),
    ("sets.intersects(list(A), list(A)): bool", intersects),
];

fn has(budget: &mut Budget, items: &[Value], wanted: &Value) -> Result<bool, EvaluationError> {
    for item in items {
        if item.equals(wanted, budget)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn has_all(
    budget: &mut Budget,
    items: &[Value],
    wanted: &[Value],
) -> Result<bool, EvaluationError> {
    for one in wanted {
        if !has(budget, items, one)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn intersects(budget: &mut Budget, args: &[Value]) -> Answer {
    for item in list(args, 1)?.iter() {
        if has(budget, list(args, 0)?, item)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}
