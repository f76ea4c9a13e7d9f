//! Text (CEL: `ext.Strings`, version 2). Places in a text are counted in characters.

use super::{
    arguments::{bytes, count, int, list, map, place, text},
    signature::{Answer, Row},
    string_format,
};
use crate::{
    budget::{Budget, EvaluationError},
    value::Value,
};

pub(super) const ROWS: &[Row] = &[
    ("size(string): int", text_size),
    ("(string).size(): int", text_size),
    ("size(bytes): int", |_, a| Ok(count(bytes(a, 0)?.len()))),
    ("(bytes).size(): int", |_, a| Ok(count(bytes(a, 0)?.len()))),
    ("size(list(A)): int", |_, a| Ok(count(list(a, 0)?.len()))),
    ("(list(A)).size(): int", |_, a| Ok(count(list(a, 0)?.len()))),
    ("size(map(A, B)): int", |_, a| Ok(count(map(a, 0)?.len()))),
    ("(map(A, B)).size(): int", |_, a| Ok(count(map(a, 0)?.len()))),
    ("(string).contains(string): bool", |b, a| is(b, a, |it, part| it.contains(part))),
    ("(string).startsWith(string): bool", |b, a| is(b, a, |it, part| it.starts_with(part))),
    ("(string).endsWith(string): bool", |b, a| is(b, a, |it, part| it.ends_with(part))),
    ("(string).charAt(int): string", char_at),
    ("(string).indexOf(string): int", |b, a| index_of(b, a, 0)),
    ("(string).indexOf(string, int): int", |b, a| index_of(b, a, place(a, 2)?)),
    ("(string).lastIndexOf(string): int", |b, a| last_index_of(b, a, None)),
    ("(string).lastIndexOf(string, int): int", |b, a| last_index_of(b, a, Some(place(a, 2)?))),
    ("(string).lowerAscii(): string", |b, a| made(b, a, str::to_ascii_lowercase)),
    ("(string).upperAscii(): string", |b, a| made(b, a, str::to_ascii_uppercase)),
    ("(string).trim(): string", |b, a| made(b, a, |it| it.trim().to_owned())),
    ("strings.quote(string): string", |b, a| made(b, a, quoted)),
    ("jsonpatch.escapeKey(string): string", |b, a| {
        made(b, a, |it| it.replace('~', "~0").replace('/', "~1"))
    }),
    ("(string).replace(string, string): string", |b, a| replace(b, a, -1)),
    ("(string).replace(string, string, int): string", |b, a| replace(b, a, int(a, 3)?)),
    ("(string).split(string): list(string)", |b, a| split(b, a, -1)),
    ("(string).split(string, int): list(string)", |b, a| split(b, a, int(a, 2)?)),
    ("(string).substring(int): string", |b, a| substring(b, a, None)),
    ("(string).substring(int, int): string", |b, a| substring(b, a, Some(int(a, 2)?))),
    ("(list(string)).join(): string", |b, a| join(b, a, "")),
    ("(list(string)).join(string): string", |b, a| join(b, a, &text(a, 1)?.clone())),
    ("(string).format(list(dyn)): string", |b, a| {
        string_format::format(b, text(a, 0)?, list(a, 1)?)
    }),
];

fn text_size(budget: &mut Budget, args: &[Value]) -> Answer {
    let text = text(args, 0)?;
    budget.spend_on_text(text.len())?;
    Ok(count(text.chars().count()))
}

fn is(budget: &mut Budget, args: &[Value], is: fn(&str, &str) -> bool) -> Answer {
    let (whole, part) = (text(args, 0)?, text(args, 1)?);
    budget.spend_on_text(whole.len() + part.len())?;
    Ok(Value::Bool(is(whole, part)))
}

fn made(budget: &mut Budget, args: &[Value], make: fn(&str) -> String) -> Answer {
    let text = text(args, 0)?;
    budget.spend_on_text(text.len())?;
    Ok(Value::text(make(text)))
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            '\\' => quoted.push_str("\\\\"),
            '"' => quoted.push_str("\\\""),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

fn out_of_range(at: impl std::fmt::Display) -> EvaluationError {
    EvaluationError::new(format_args!("index out of range: {at}"))
}

/// The octet at which a character begins; the end is such a place, too.
fn octet(text: &str, character: usize) -> Result<usize, EvaluationError> {
    let mut places = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    places.nth(character).ok_or_else(|| out_of_range(character))
}

fn char_at(budget: &mut Budget, args: &[Value]) -> Answer {
    let (text, at) = (text(args, 0)?, place(args, 1)?);
    budget.spend_on_text(text.len())?;
    let rest = &text[octet(text, at)?..];
    Ok(Value::text(rest.chars().next().map(String::from).unwrap_or_default()))
}

fn found(text: &str, at: Option<usize>) -> Value {
    at.map_or(Value::Int(-1), |at| count(text[..at].chars().count()))
}

fn index_of(budget: &mut Budget, args: &[Value], from: usize) -> Answer {
    let (text, part) = (text(args, 0)?, text(args, 1)?);
    budget.spend_on_text(text.len() + part.len())?;
    let start = octet(text, from)?;
    Ok(found(text, text[start..].find(&**part).map(|at| at + start)))
}

fn last_index_of(budget: &mut Budget, args: &[Value], last: Option<usize>) -> Answer {
    let (text, part) = (text(args, 0)?, text(args, 1)?);
    budget.spend_on_text(text.len() + part.len())?;
    let Some(last) = last else { return Ok(found(text, text.rfind(&**part))) };
    // What is found may begin there, and end behind.
    let end = octet(text, last)?.saturating_add(part.len()).min(text.len());
    let end = (end..=text.len()).find(|end| text.is_char_boundary(*end)).unwrap_or(text.len());
    Ok(found(text, text[..end].rfind(&**part)))
}

fn replace(budget: &mut Budget, args: &[Value], limit: i64) -> Answer {
    let (text, from, to) = (text(args, 0)?, text(args, 1)?, text(args, 2)?);
    budget.spend_on_text(text.len() + from.len())?;
    let places = text.matches(&**from).count();
    let places = usize::try_from(limit).map_or(places, |limit| places.min(limit));
    budget.spend_on_text(places.saturating_mul(to.len()))?;
    Ok(Value::text(match usize::try_from(limit) {
        Ok(limit) => text.replacen(&**from, to, limit),
        Err(_) => text.replace(&**from, to),
    }))
}

fn split(budget: &mut Budget, args: &[Value], limit: i64) -> Answer {
    let (text, separator) = (text(args, 0)?, text(args, 1)?);
    budget.spend_on_text(text.len() + separator.len())?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if limit == 0 {
        return Ok(Value::list(Vec::new()));
    }
    // A text of so many letters has no more places for a separator than this.
    budget.spend_on(limit.min(text.len() / separator.len().max(1) + 1))?;
    let parts: Vec<Value> = if separator.is_empty() {
        let mut characters = text.chars();
        let mut parts: Vec<Value> =
            characters.by_ref().take(limit - 1).map(|c| Value::text(String::from(c))).collect();
        if !characters.as_str().is_empty() {
            parts.push(Value::text(characters.as_str()));
        }
        parts
    } else {
        text.splitn(limit, &**separator).map(Value::text).collect()
    };
    Ok(Value::list(parts))
}

fn substring(budget: &mut Budget, args: &[Value], end: Option<i64>) -> Answer {
    let (text, start) = (text(args, 0)?, place(args, 1)?);
    budget.spend_on_text(text.len())?;
    let from = octet(text, start)?;
    let Some(end) = end else { return Ok(Value::text(&text[from..])) };
    let to = octet(text, usize::try_from(end).map_err(|_| out_of_range(end))?)?;
    if from > to {
        let why = format!("invalid substring range. start: {start}, end: {end}");
        return Err(EvaluationError::new(why));
    }
    Ok(Value::text(&text[from..to]))
}

fn join(budget: &mut Budget, args: &[Value], separator: &str) -> Answer {
    let mut joined = String::new();
    for (i, item) in list(args, 0)?.iter().enumerate() {
        let Value::String(item) = item else {
            return Err(EvaluationError::new("no such overload"));
        };
        budget.spend(1)?;
        budget.spend_on_text(item.len() + separator.len())?;
        if i > 0 {
            joined.push_str(separator);
        }
        joined.push_str(item);
    }
    Ok(Value::text(joined))
}
