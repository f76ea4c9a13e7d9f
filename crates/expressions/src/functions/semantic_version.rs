//! Versions (Kubernetes: `cel/library/semverlib.go`).

use std::cmp::Ordering;

use semver::Version;

use super::{
    arguments::{boolean, opaque, text},
    signature::Row,
};
use crate::{
    budget::EvaluationError,
    value::{Opaque, Value},
};

/// As long as one may be.
const LENGTH: usize = 256;

pub(super) const ROWS: &[Row] = &[
    ("semver(string): kubernetes.Semver", |_, a| parsed(text(a, 0)?, false)),
    ("semver(string, bool): kubernetes.Semver", |_, a| parsed(text(a, 0)?, boolean(a, 1)?)),
    ("isSemver(string): bool", |_, a| Ok(Value::Bool(parsed(text(a, 0)?, false).is_ok()))),
    ("isSemver(string, bool): bool", |_, a| {
        Ok(Value::Bool(parsed(text(a, 0)?, boolean(a, 1)?).is_ok()))
    }),
    ("(kubernetes.Semver).major(): int", |_, a| number(version(a, 0)?.major)),
    ("(kubernetes.Semver).minor(): int", |_, a| number(version(a, 0)?.minor)),
    ("(kubernetes.Semver).patch(): int", |_, a| number(version(a, 0)?.patch)),
    ("(kubernetes.Semver).isLessThan(kubernetes.Semver): bool", |_, a| {
        Ok(Value::Bool(order(a)?.is_lt()))
    }),
    ("(kubernetes.Semver).isGreaterThan(kubernetes.Semver): bool", |_, a| {
        Ok(Value::Bool(order(a)?.is_gt()))
    }),
    ("(kubernetes.Semver).compareTo(kubernetes.Semver): int", |_, a| {
        Ok(Value::Int(i64::from(order(a)? as i8)))
    }),
];

#[derive(Debug)]
pub(crate) struct Semver(Version);

impl Opaque for Semver {
    fn type_name(&self) -> &str {
        "kubernetes.Semver"
    }

    fn equals(&self, other: &dyn Opaque) -> bool {
        other.downcast::<Self>().is_some_and(|other| self.0.cmp_precedence(&other.0).is_eq())
    }
}

/// What is normalised may begin with `v`, lack parts, and have zeros before its numbers.
fn parsed(text: &str, is_normalized: bool) -> Result<Value, EvaluationError> {
    let fault = || EvaluationError::new("Invalid Semantic Version");
    if text.len() > LENGTH {
        return Err(fault());
    }
    let text = if is_normalized { normalized(text) } else { text.to_owned() };
    Version::parse(&text).map(|it| Value::opaque(Semver(it))).map_err(|_| fault())
}

fn normalized(text: &str) -> String {
    let text = text.trim().trim_start_matches('v');
    let end = text.find(['-', '+']).unwrap_or(text.len());
    let (numbers, rest) = text.split_at(end);
    let mut parts: Vec<&str> = numbers
        .split('.')
        .map(|part| match part.trim_start_matches('0') {
            "" if !part.is_empty() => "0",
            part => part,
        })
        .collect();
    while parts.len() < 3 {
        parts.push("0");
    }
    format!("{}{rest}", parts.join("."))
}

fn version(args: &[Value], i: usize) -> Result<&Version, EvaluationError> {
    opaque::<Semver>(args, i).map(|it| &it.0)
}

fn number(number: u64) -> Result<Value, EvaluationError> {
    Ok(i64::try_from(number).map_or(Value::Uint(number), Value::Int))
}

fn order(args: &[Value]) -> Result<Ordering, EvaluationError> {
    Ok(version(args, 0)?.cmp_precedence(version(args, 1)?))
}
