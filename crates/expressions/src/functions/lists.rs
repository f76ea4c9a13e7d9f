//! Lists (Kubernetes: `cel/library/lists.go`; CEL: `ext.Lists`, version 3).

use std::cmp::Ordering;

use super::{
    arguments::{count, int, list, place, value},
    operators,
    signature::{Answer, Row},
};
use crate::{
    budget::{Budget, EvaluationError},
    value::Value,
};

/// As many numbers as a range may have.
const RANGE: i64 = 100_000;

pub(super) const ROWS: &[Row] = &[
    ("(list(A)).isSorted(): bool", is_sorted),
    ("(list(int)).sum(): int", |b, a| sum(b, a, Value::Int(0))),
    ("(list(uint)).sum(): uint", |b, a| sum(b, a, Value::Uint(0))),
    ("(list(double)).sum(): double", |b, a| sum(b, a, Value::Double(0.0))),
    ("(list(duration)).sum(): duration", |b, a| {
        sum(b, a, Value::Duration(jiff::SignedDuration::ZERO))
    }),
    ("(list(A)).min(): A", |b, a| extreme(b, a, "min", Ordering::Less)),
    ("(list(A)).max(): A", |b, a| extreme(b, a, "max", Ordering::Greater)),
    ("(list(A)).indexOf(A): int", |b, a| index_of(b, a, false)),
    ("(list(A)).lastIndexOf(A): int", |b, a| index_of(b, a, true)),
    ("(list(A)).slice(int, int): list(A)", slice),
    ("(list(A)).flatten(): list(dyn)", |b, a| flatten(b, a, 1)),
    ("(list(A)).flatten(int): list(dyn)", |b, a| flatten(b, a, int(a, 1)?)),
    ("(list(A)).distinct(): list(A)", distinct),
    ("(list(A)).reverse(): list(A)", |b, a| {
        b.spend_on(list(a, 0)?.len())?;
        Ok(Value::list(list(a, 0)?.iter().rev().cloned().collect()))
    }),
    ("(list(A)).sort(): list(A)", |b, a| {
        let keys = list(a, 0)?;
        sort(b, keys, keys)
    }),
    ("(list(A)).@sortBy(list(B)): list(A)", |b, a| sort(b, list(a, 0)?, list(a, 1)?)),
    ("lists.range(int): list(int)", range),
];

fn is_sorted(budget: &mut Budget, args: &[Value]) -> Answer {
    for pair in list(args, 0)?.windows(2) {
        if pair[0].compare(&pair[1], budget)? == Some(Ordering::Greater) {
            return Ok(Value::Bool(false));
        }
    }
    Ok(Value::Bool(true))
}

/// Of an empty list it is the first row's nothing, as its kind can't be seen.
fn sum(budget: &mut Budget, args: &[Value], zero: Value) -> Answer {
    let items = list(args, 0)?;
    budget.spend_on(items.len())?;
    let Some((first, rest)) = items.split_first() else { return Ok(zero) };
    rest.iter().try_fold(operators::nothing_plus(first)?, |sum, item| operators::add(&sum, item))
}

fn extreme(budget: &mut Budget, args: &[Value], name: &str, wanted: Ordering) -> Answer {
    let mut items = list(args, 0)?.iter();
    let Some(mut found) = items.next() else {
        return Err(EvaluationError::new(format_args!("{name} called on empty list")));
    };
    // Also fails for a single one that can't be compared.
    found.compare(found, budget)?;
    for item in items {
        if item.compare(found, budget)? == Some(wanted) {
            found = item;
        }
    }
    Ok(found.clone())
}

fn index_of(budget: &mut Budget, args: &[Value], is_last: bool) -> Answer {
    let (items, wanted) = (list(args, 0)?, value(args, 1)?);
    let mut found = Value::Int(-1);
    for (i, item) in items.iter().enumerate() {
        if item.equals(wanted, budget)? {
            found = count(i);
            if !is_last {
                break;
            }
        }
    }
    Ok(found)
}

fn slice(budget: &mut Budget, args: &[Value]) -> Answer {
    let (items, start, end) = (list(args, 0)?, place(args, 1)?, place(args, 2)?);
    let part = items.get(start..end).ok_or_else(|| {
        let size = items.len();
        EvaluationError::new(format_args!("cannot slice({start}, {end}), list is length {size}"))
    })?;
    budget.spend_on(part.len())?;
    Ok(Value::list(part.to_vec()))
}

fn flatten(budget: &mut Budget, args: &[Value], depth: i64) -> Answer {
    if depth < 0 {
        return Err(EvaluationError::new("level must be non-negative"));
    }
    let mut flat = Vec::new();
    flatten_into(budget, &mut flat, list(args, 0)?, depth)?;
    Ok(Value::list(flat))
}

/// No deeper than values nest, whatever is asked for.
fn flatten_into(
    budget: &mut Budget,
    flat: &mut Vec<Value>,
    items: &[Value],
    depth: i64,
) -> Result<(), EvaluationError> {
    for item in items {
        budget.spend(1)?;
        match item {
            Value::List(inner) if depth > 0 => flatten_into(budget, flat, inner, depth - 1)?,
            other => flat.push(other.clone()),
        }
    }
    Ok(())
}

fn distinct(budget: &mut Budget, args: &[Value]) -> Answer {
    let mut kept: Vec<Value> = Vec::new();
    'items: for item in list(args, 0)?.iter() {
        budget.spend(1)?;
        for other in &kept {
            if other.equals(item, budget)? {
                continue 'items;
            }
        }
        kept.push(item.clone());
    }
    Ok(Value::list(kept))
}

/// By keys, one for each. A sort that can't go on leaves off comparing.
fn sort(budget: &mut Budget, items: &[Value], keys: &[Value]) -> Answer {
    if let [first, ..] = keys
        && keys.iter().any(|key| key.type_name() != first.type_name())
    {
        return Err(EvaluationError::new("list elements must have the same type"));
    }
    budget.spend_on(items.len())?;
    let mut order: Vec<usize> = (0..items.len().min(keys.len())).collect();
    let mut fault = None;
    if let [one] = keys {
        one.compare(one, budget)?;
    }
    order.sort_by(|a, b| {
        if fault.is_some() {
            return Ordering::Equal;
        }
        keys[*a].compare(&keys[*b], budget).map_or_else(
            |error| {
                fault = Some(error);
                Ordering::Equal
            },
            |order| order.unwrap_or(Ordering::Equal),
        )
    });
    match fault {
        Some(fault) => Err(fault),
        None => Ok(Value::list(order.into_iter().map(|i| items[i].clone()).collect())),
    }
}

fn range(budget: &mut Budget, args: &[Value]) -> Answer {
    let size = int(args, 0)?;
    if size > RANGE {
        return Err(EvaluationError::new(format_args!("size exceeds {RANGE}")));
    }
    budget.spend_on(usize::try_from(size).unwrap_or_default())?;
    Ok(Value::list((0..size).map(Value::Int).collect()))
}
