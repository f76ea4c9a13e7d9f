//! Functions as rows.

use crate::{
    budget::{Budget, EvaluationError},
    types::Type,
    value::Value,
};

pub(super) type Answer = Result<Value, EvaluationError>;
pub(super) type Call = fn(&mut Budget, &[Value]) -> Answer;
/// A signature, as CEL's documents write it, and the function. The first argument of a member, before the dot, is a type in
/// brackets: `(string).charAt(int): string`; what has no brackets before the dot is a name: `sets.contains(…)`.
pub(super) type Row = (&'static str, Call);

/// One of a function's ways to be called.
#[derive(Debug)]
pub(crate) struct Overload {
    pub(crate) params: Vec<Type>,
    pub(crate) result: Type,
    pub(crate) call: Call,
}

/// The name of a row's function, whether it is a member, and the overload.
pub(super) fn read((signature, call): &Row) -> (&'static str, bool, Overload) {
    let (head, result) = signature.rsplit_once("): ").unwrap_or((signature, "dyn"));
    let (receiver, rest) = match head.strip_prefix('(') {
        Some(head) => head.split_once(").").map_or((None, head), |(it, rest)| (Some(it), rest)),
        None => (None, head),
    };
    let (name, params) = rest.split_once('(').unwrap_or((rest, ""));
    let params = receiver.into_iter().chain(split(params)).map(Type::parse).collect();
    (name, receiver.is_some(), Overload { params, result: Type::parse(result), call: *call })
}

/// At commas that are not within brackets.
fn split(params: &'static str) -> impl Iterator<Item = &'static str> {
    let mut depth = 0;
    let parts = params.split(move |c| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    });
    parts.filter(|part| !part.trim().is_empty())
}
