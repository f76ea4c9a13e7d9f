//! The rules of a Choice, in both languages.

use api_machinery::FieldPath;
use serde_json::Value;

use super::fields::Fields;
use crate::{
    choice::{Comparison, Condition, Operand, Rule, Sort, Test, Type, timestamp},
    faults::Faults,
    path::Path,
};

/// Name, name of the form that has a path to compare with, sort, comparison.
macro_rules! comparisons {
    ($($name:literal $sort:ident $comparison:ident)*) => {
        [$(($name, concat!($name, "Path"), Sort::$sort, Comparison::$comparison)),*]
    };
}

const COMPARISONS: [(&str, &str, Sort, Comparison); 16] = comparisons! {
    "StringEquals" String Equals
    "StringLessThan" String LessThan
    "StringGreaterThan" String GreaterThan
    "StringLessThanEquals" String LessThanEquals
    "StringGreaterThanEquals" String GreaterThanEquals
    "NumericEquals" Numeric Equals
    "NumericLessThan" Numeric LessThan
    "NumericGreaterThan" Numeric GreaterThan
    "NumericLessThanEquals" Numeric LessThanEquals
    "NumericGreaterThanEquals" Numeric GreaterThanEquals
    "BooleanEquals" Boolean Equals
    "TimestampEquals" Timestamp Equals
    "TimestampLessThan" Timestamp LessThan
    "TimestampGreaterThan" Timestamp GreaterThan
    "TimestampLessThanEquals" Timestamp LessThanEquals
    "TimestampGreaterThanEquals" Timestamp GreaterThanEquals
};

const TYPES: [(&str, Type); 5] = [
    ("IsNull", Type::Null),
    ("IsNumeric", Type::Numeric),
    ("IsString", Type::String),
    ("IsBoolean", Type::Boolean),
    ("IsTimestamp", Type::Timestamp),
];

/// The nine of the graph.
const GRAPH: [(&str, Sort, Comparison); 9] = [
    ("numericEquals", Sort::Numeric, Comparison::Equals),
    ("numericNotEquals", Sort::Numeric, Comparison::NotEquals),
    ("numericLessThan", Sort::Numeric, Comparison::LessThan),
    ("numericGreaterThan", Sort::Numeric, Comparison::GreaterThan),
    ("booleanEquals", Sort::Boolean, Comparison::Equals),
    ("stringEquals", Sort::String, Comparison::Equals),
    ("stringNotEquals", Sort::String, Comparison::NotEquals),
    ("stringLessThan", Sort::String, Comparison::LessThan),
    ("stringGreaterThan", Sort::String, Comparison::GreaterThan),
];

/// In place of a condition that has a fault: where its rule leads is looked at nevertheless.
const UNREAD: Condition = Condition::And(Vec::new());

const NO_OPERATORS: [&str; 3] = ["Variable", "Next", "Comment"];

/// A rule of the Amazon States Language.
pub(super) fn rule(value: &Value, path: &FieldPath, faults: &mut Faults) -> Option<Rule> {
    let mut fields = Fields::of(value, path, faults)?;
    let next = fields.required_text("Next", faults).to_owned();
    let condition = condition(fields, faults).unwrap_or(UNREAD);
    Some(Rule { condition, next })
}

fn nested(value: &Value, path: &FieldPath, faults: &mut Faults) -> Option<Condition> {
    condition(Fields::of(value, path, faults)?, faults)
}

/// The one operator of the object, and nothing else but a comment.
fn condition(mut fields: Fields<'_>, faults: &mut Faults) -> Option<Condition> {
    fields.value("Comment");
    let condition = if fields.has("Not") {
        let path = fields.at("Not");
        let inner = fields.value("Not").and_then(|value| nested(value, &path, faults));
        inner.map(|condition| Condition::Not(Box::new(condition)))
    } else if fields.has("And") {
        Some(Condition::And(all(&mut fields, "And", faults)))
    } else if fields.has("Or") {
        Some(Condition::Or(all(&mut fields, "Or", faults)))
    } else {
        test(&mut fields, faults)
    };
    fields.end("a Choice's rule, which has one operator", faults);
    condition
}

fn all(fields: &mut Fields<'_>, name: &'static str, faults: &mut Faults) -> Vec<Condition> {
    let path = fields.at(name);
    let list = fields.required_list(name, faults).iter().enumerate();
    list.filter_map(|(i, value)| nested(value, &path.index(i), faults)).collect()
}

fn test(fields: &mut Fields<'_>, faults: &mut Faults) -> Option<Condition> {
    let text = fields.required_text("Variable", faults);
    let path = fields.at("Variable");
    let variable = variable(text, Path::parse, &path, faults);
    let has_operator = fields.names().any(|name| !NO_OPERATORS.contains(&name.as_str()));
    if !has_operator {
        faults.errors.required(&fields.path, "must have an operator, e.g. `NumericEquals`");
    }
    let test = operator(fields, faults);
    Some(Condition::Test { variable: variable?, test: test? })
}

fn variable(
    text: &str,
    parse: fn(&str) -> Result<Path, String>,
    path: &FieldPath,
    faults: &mut Faults,
) -> Option<Path> {
    if text.is_empty() {
        return None;
    }
    parse(text).map_err(|why| faults.errors.invalid(path, text, &why)).ok()
}

fn operator(fields: &mut Fields<'_>, faults: &mut Faults) -> Option<Test> {
    if fields.has("IsPresent") {
        return fields.flag("IsPresent", faults).map(Test::Present);
    }
    if fields.has("StringMatches") {
        return fields.text("StringMatches", faults).map(|p| Test::Matches(p.to_owned()));
    }
    if let Some((name, type_)) = TYPES.into_iter().find(|(name, _)| fields.has(name)) {
        return fields.flag(name, faults).map(|wanted| Test::Is(type_, wanted));
    }
    let (name, with_path, sort, comparison) = COMPARISONS
        .into_iter()
        .find(|(name, with_path, ..)| fields.has(name) || fields.has(with_path))?;
    let operand = if fields.has(name) {
        Operand::Value(literal(fields, name, sort, faults)?)
    } else {
        Operand::Path(fields.path(with_path, faults)?)
    };
    Some(Test::Compare(sort, comparison, operand))
}

/// The value to compare with, which must be of the sort.
fn literal(
    fields: &mut Fields<'_>,
    name: &'static str,
    sort: Sort,
    faults: &mut Faults,
) -> Option<Value> {
    let value = fields.value(name)?;
    let (fits, what) = match sort {
        Sort::Numeric => (value.is_number(), "must be a number"),
        Sort::String => (value.is_string(), "must be a string"),
        Sort::Boolean => (value.is_boolean(), "must be true or false"),
        Sort::Timestamp => {
            (timestamp(value).is_some(), "must be a time, e.g. 2026-01-02T03:04:05Z")
        }
    };
    if !fits {
        faults.invalid(&fields.at(name), value, what);
    }
    fits.then(|| value.clone())
}

/// A choice of the graph: a variable and one of nine operators.
pub(super) fn graph_rule(value: &Value, path: &FieldPath, faults: &mut Faults) -> Option<Rule> {
    let mut fields = Fields::of(value, path, faults)?;
    let text = fields.required_text("variable", faults);
    let variable = variable(text, Path::parse_dotted, &path.child("variable"), faults);
    let given: Vec<_> = GRAPH.into_iter().filter(|(name, ..)| fields.has(name)).collect();
    let test = match given.as_slice() {
        [] => {
            faults.errors.required(path, "must specify an operator, e.g. `numericEquals`");
            None
        }
        [(name, sort, comparison)] => literal(&mut fields, name, *sort, faults)
            .map(|value| Test::Compare(*sort, *comparison, Operand::Value(value))),
        many => {
            for (name, ..) in many {
                fields.value(name);
            }
            faults.errors.forbidden(path, "may not specify more than 1 operator");
            None
        }
    };
    let next = fields.required_text("next", faults).to_owned();
    fields.end("a choice", faults);
    let condition = variable.zip(test);
    let condition = condition.map(|(variable, test)| Condition::Test { variable, test });
    Some(Rule { condition: condition.unwrap_or(UNREAD), next })
}
