//! Quantities (Kubernetes: `cel/library/quantity.go`).

use std::cmp::Ordering;

use api_machinery::Quantity;

use super::{
    arguments::{int, opaque, text},
    signature::{Answer, Row},
};
use crate::{
    budget::EvaluationError,
    value::{Opaque, Value},
};

const TYPE: &str = "kubernetes.Quantity";
/// As long as one may be written.
const LENGTH: usize = 256;

pub(super) const ROWS: &[Row] = &[
    ("quantity(string): kubernetes.Quantity", |_, a| {
        let read = read(text(a, 0)?).map(|it| Value::opaque(Amount(it)));
        read.map_err(EvaluationError::new)
    }),
    ("isQuantity(string): bool", |_, a| Ok(Value::Bool(read(text(a, 0)?).is_ok()))),
    ("sign(kubernetes.Quantity): int", sign),
    ("(kubernetes.Quantity).sign(): int", sign),
    ("(kubernetes.Quantity).isInteger(): bool", |_, a| Ok(Value::Bool(is_integer(amount(a, 0)?)))),
    ("(kubernetes.Quantity).asInteger(): int", |_, a| {
        let it = amount(a, 0)?;
        if is_integer(it) {
            Ok(Value::Int(it.value()))
        } else {
            Err(EvaluationError::new("cannot convert value to integer"))
        }
    }),
    ("(kubernetes.Quantity).asApproximateFloat(): double", |_, a| {
        Ok(Value::Double(amount(a, 0)?.to_f64()))
    }),
    ("(kubernetes.Quantity).isGreaterThan(kubernetes.Quantity): bool", |_, a| {
        Ok(Value::Bool(order(a)?.is_gt()))
    }),
    ("(kubernetes.Quantity).isLessThan(kubernetes.Quantity): bool", |_, a| {
        Ok(Value::Bool(order(a)?.is_lt()))
    }),
    ("(kubernetes.Quantity).compareTo(kubernetes.Quantity): int", |_, a| {
        Ok(Value::Int(i64::from(order(a)? as i8)))
    }),
    ("(kubernetes.Quantity).add(kubernetes.Quantity): kubernetes.Quantity", |_, a| {
        Ok(Value::opaque(Amount(amount(a, 0)? + amount(a, 1)?)))
    }),
    ("(kubernetes.Quantity).add(int): kubernetes.Quantity", |_, a| {
        Ok(Value::opaque(Amount(amount(a, 0)? + Quantity::from_units(int(a, 1)?))))
    }),
    ("(kubernetes.Quantity).sub(kubernetes.Quantity): kubernetes.Quantity", |_, a| {
        Ok(Value::opaque(Amount(amount(a, 0)? - amount(a, 1)?)))
    }),
    ("(kubernetes.Quantity).sub(int): kubernetes.Quantity", |_, a| {
        Ok(Value::opaque(Amount(amount(a, 0)? - Quantity::from_units(int(a, 1)?))))
    }),
];

#[derive(Debug)]
pub(crate) struct Amount(pub(crate) Quantity);

impl Opaque for Amount {
    fn type_name(&self) -> &str {
        TYPE
    }

    fn equals(&self, other: &dyn Opaque) -> bool {
        other.downcast::<Self>().is_some_and(|other| self.0.compare(other.0).is_eq())
    }
}

fn read(text: &str) -> Result<Quantity, String> {
    if text.len() > LENGTH {
        return Err("unable to parse quantity's suffix".to_owned());
    }
    text.parse().map_err(|error: api_machinery::QuantityError| error.to_string())
}

fn amount(args: &[Value], i: usize) -> Result<Quantity, EvaluationError> {
    opaque::<Amount>(args, i).map(|it| it.0)
}

fn is_integer(quantity: Quantity) -> bool {
    quantity.is_whole() && quantity.compare(Quantity::from_units(quantity.value())).is_eq()
}

fn sign(_: &mut crate::budget::Budget, args: &[Value]) -> Answer {
    Ok(Value::Int(i64::from(amount(args, 0)?.compare(Quantity::from_units(0)) as i8)))
}

fn order(args: &[Value]) -> Result<Ordering, EvaluationError> {
    Ok(amount(args, 0)?.compare(amount(args, 1)?))
}
