//! Regular expressions (Kubernetes: `cel/library/regex.go`).

use super::{
    arguments::{int, text},
    signature::{Answer, Row},
};
use crate::{budget::Budget, value::Value};

/// As much of what is left costs as a look at a few letters.
const REST: usize = 100;

pub(super) const ROWS: &[Row] = &[
    ("matches(string, string): bool", matches),
    ("(string).matches(string): bool", matches),
    ("(string).find(string): string", |b, a| {
        let (text, pattern) = (text(a, 0)?, text(a, 1)?);
        let found = b.pattern(pattern, text)?.regex.find(text).map_or("", |found| found.as_str());
        b.spend_on_text(found.len())?;
        Ok(Value::text(found))
    }),
    ("(string).findAll(string): list(string)", |b, a| find_all(b, a, -1)),
    ("(string).findAll(string, int): list(string)", |b, a| find_all(b, a, int(a, 2)?)),
];

fn matches(budget: &mut Budget, args: &[Value]) -> Answer {
    let (text, pattern) = (text(args, 0)?, text(args, 1)?);
    Ok(Value::Bool(budget.pattern(pattern, text)?.regex.is_match(text)))
}

fn find_all(budget: &mut Budget, args: &[Value], limit: i64) -> Answer {
    let (text, pattern) = (text(args, 0)?, text(args, 1)?);
    let pattern = budget.pattern(pattern, text)?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut all = Vec::new();
    for found in pattern.regex.find_iter(text).take(limit) {
        // Each search may look at all that is left.
        let rest = ((text.len() - found.start()) / REST) as u64;
        budget.spend(pattern.price.saturating_mul(rest).saturating_add(1))?;
        budget.spend_on_text(found.len())?;
        all.push(Value::text(found.as_str()));
    }
    Ok(Value::list(all))
}
