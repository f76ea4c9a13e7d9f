//! The conditions of a Choice.

use std::cmp::Ordering;

use jiff::Timestamp;
use serde_json::{Number, Value};

use crate::{context::Context, error::RunError, path::Path};

/// A condition and where it leads.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) condition: Condition,
    pub(crate) next: String,
}

#[derive(Clone, Debug)]
pub(crate) enum Condition {
    And(Vec<Condition>),
    Or(Vec<Condition>),
    Not(Box<Condition>),
    Test { variable: Path, test: Test },
}

/// What is asked of the variable's value.
#[derive(Clone, Debug)]
pub(crate) enum Test {
    /// There is, or is not, a value.
    Present(bool),
    /// It is, or is not, of the type.
    Is(Type, bool),
    /// It compares with the other as asked, both being of the sort. Nothing is converted: what is of another sort
    /// does not compare, whatever is asked.
    Compare(Sort, Comparison, Operand),
    /// It is a text like the pattern, in which `*` is any text.
    Matches(String),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Type {
    Null,
    Numeric,
    String,
    Boolean,
    Timestamp,
}

/// The sorts of values that compare.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sort {
    Numeric,
    String,
    Boolean,
    Timestamp,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Comparison {
    Equals,
    /// Only the graph has it.
    NotEquals,
    LessThan,
    LessThanEquals,
    GreaterThan,
    GreaterThanEquals,
}

/// What is compared with.
#[derive(Clone, Debug)]
pub(crate) enum Operand {
    Value(Value),
    Path(Path),
}

impl Condition {
    /// Whether it holds. `And` and `Or` look no further than they must, so that `IsPresent` can guard the rest.
    pub(crate) fn holds(&self, data: &Value, context: &Context<'_>) -> Result<bool, RunError> {
        match self {
            Condition::And(all) => {
                for condition in all {
                    if !condition.holds(data, context)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Condition::Or(any) => {
                for condition in any {
                    if condition.holds(data, context)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Condition::Not(condition) => Ok(!condition.holds(data, context)?),
            Condition::Test { variable, test: Test::Present(wanted) } => {
                Ok(variable.find(data, context).is_some() == *wanted)
            }
            Condition::Test { variable, test } => {
                test.holds(&variable.need(data, context)?, data, context)
            }
        }
    }
}

impl Test {
    fn holds(&self, value: &Value, data: &Value, context: &Context<'_>) -> Result<bool, RunError> {
        Ok(match self {
            Test::Present(wanted) => *wanted,
            Test::Is(type_, wanted) => type_.is_of(value) == *wanted,
            Test::Matches(pattern) => value.as_str().is_some_and(|text| matches(pattern, text)),
            Test::Compare(sort, comparison, Operand::Value(other)) => {
                sort.order(value, other).is_some_and(|order| comparison.holds(order))
            }
            Test::Compare(sort, comparison, Operand::Path(path)) => {
                let other = path.need(data, context)?;
                sort.order(value, &other).is_some_and(|order| comparison.holds(order))
            }
        })
    }
}

impl Type {
    fn is_of(self, value: &Value) -> bool {
        match self {
            Type::Null => value.is_null(),
            Type::Numeric => value.is_number(),
            Type::String => value.is_string(),
            Type::Boolean => value.is_boolean(),
            Type::Timestamp => timestamp(value).is_some(),
        }
    }
}

impl Sort {
    /// How the values compare, if both are of the sort.
    fn order(self, a: &Value, b: &Value) -> Option<Ordering> {
        match self {
            Sort::Numeric => match (a, b) {
                (Value::Number(a), Value::Number(b)) => numbers(a, b),
                _ => None,
            },
            Sort::String => Some(a.as_str()?.cmp(b.as_str()?)),
            Sort::Boolean => Some(a.as_bool()?.cmp(&b.as_bool()?)),
            Sort::Timestamp => Some(timestamp(a)?.cmp(&timestamp(b)?)),
        }
    }
}

impl Comparison {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Comparison::Equals => order.is_eq(),
            Comparison::NotEquals => order.is_ne(),
            Comparison::LessThan => order.is_lt(),
            Comparison::LessThanEquals => order.is_le(),
            Comparison::GreaterThan => order.is_gt(),
            Comparison::GreaterThanEquals => order.is_ge(),
        }
    }
}

/// RFC 3339 with `T` and `Z` in capitals.
pub(crate) fn timestamp(value: &Value) -> Option<Timestamp> {
    let text = value.as_str().filter(|text| text.get(10..11) == Some("T"))?;
    if text.ends_with('z') { None } else { text.parse().ok() }
}

/// Exactly, also where an integer has more digits than a float can tell.
fn numbers(a: &Number, b: &Number) -> Option<Ordering> {
    match (a.as_i128(), b.as_i128()) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        (Some(a), None) => Some(integer_and_float(a, b.as_f64()?)),
        (None, Some(b)) => Some(integer_and_float(b, a.as_f64()?).reverse()),
        (None, None) => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

/// The float's whole part is an integer that is told exactly; beyond that, any fraction decides.
#[allow(
    clippy::cast_possible_truncation,
    reason = "a float beyond the range becomes its end, which compares alike"
)]
fn integer_and_float(integer: i128, float: f64) -> Ordering {
    let whole = float.trunc() as i128;
    integer.cmp(&whole).then_with(|| 0.0_f64.total_cmp(&(float.fract() + 0.0)))
}

/// `*` is any text; `\*` and `\\` are the characters themselves.
fn matches(pattern: &str, text: &str) -> bool {
    let mut pieces = vec![String::new()];
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match (c, pieces.last_mut()) {
            ('*', _) => pieces.push(String::new()),
            ('\\', Some(piece)) => piece.extend(chars.next()),
            (c, Some(piece)) => piece.push(c),
            (_, None) => {}
        }
    }
    let Some((first, later)) = pieces.split_first() else { return false };
    let Some((last, middle)) = later.split_last() else { return text == first };
    let Some(mut rest) = text.strip_prefix(first.as_str()) else { return false };
    for piece in middle {
        let Some(at) = rest.find(piece.as_str()) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_exactly_whatever_their_types() {
        let order = |a: &str, b: &str| {
            numbers(&serde_json::from_str(a).unwrap(), &serde_json::from_str(b).unwrap()).unwrap()
        };
        assert_eq!(order("1", "1.0"), Ordering::Equal);
        assert_eq!(order("-0.0", "0"), Ordering::Equal);
        assert_eq!(order("-1.5", "-1"), Ordering::Less);
        assert_eq!(order("9007199254740993", "9007199254740992.0"), Ordering::Greater);
        assert_eq!(order("9223372036854775807", "9223372036854775808"), Ordering::Less);
        assert_eq!(order("18446744073709551615", "1e300"), Ordering::Less);
        assert_eq!(order("0.1", "0.1"), Ordering::Equal);
    }

    #[test]
    fn a_star_is_any_text_unless_it_is_escaped() {
        for (pattern, text, expected) in [
            ("log-*.txt", "log-2026.txt", true),
            ("log-*.txt", "log-.txt.gz", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "ba", false),
            ("aa*aa", "aaa", false),
            (r"a\*b", "a*b", true),
            (r"a\*b", "axb", false),
            (r"a\\*", r"a\c", true),
            ("plain", "plain", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
