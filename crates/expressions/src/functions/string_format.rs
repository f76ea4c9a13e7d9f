//! `"%s is %d".format([name, age])` (CEL: `ext.Strings`).

use std::fmt::Write;

use crate::{
    budget::{Budget, EvaluationError},
    time,
    value::Value,
};

/// Digits behind the point, of who says nothing, and at most.
const PRECISION: usize = 6;
const MAX_PRECISION: usize = 100;

type Written = Result<(), EvaluationError>;

pub(super) fn format(
    budget: &mut Budget,
    pattern: &str,
    args: &[Value],
) -> Result<Value, EvaluationError> {
    budget.spend_on_text(pattern.len())?;
    let mut text = String::new();
    let mut args = args.iter();
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('%') {
        text.push_str(before);
        if let Some(after) = after.strip_prefix('%') {
            text.push('%');
            rest = after;
            continue;
        }
        let (precision, after) = precision(after)?;
        let clause = after.chars().next();
        let clause = clause.ok_or_else(|| fault("unexpected end of string"))?;
        let arg = args.next().ok_or_else(|| fault("index out of range"))?;
        write(budget, &mut text, clause, precision, arg)?;
        rest = &after[clause.len_utf8()..];
    }
    text.push_str(rest);
    Ok(Value::text(text))
}

fn fault(why: &str) -> EvaluationError {
    EvaluationError::new(format_args!("could not parse formatting clause: {why}"))
}

/// `.3` before a clause.
fn precision(text: &str) -> Result<(usize, &str), EvaluationError> {
    let Some(text) = text.strip_prefix('.') else { return Ok((PRECISION, text)) };
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let precision = if digits.is_empty() { Ok(PRECISION) } else { digits.parse() };
    let precision = precision.ok().filter(|it| *it <= MAX_PRECISION);
    precision.map(|it| (it, rest)).ok_or_else(|| fault("invalid precision"))
}

fn write(
    budget: &mut Budget,
    text: &mut String,
    clause: char,
    precision: usize,
    arg: &Value,
) -> Written {
    budget.spend(1)?;
    match (clause, arg) {
        ('s', arg) => return plain(budget, text, arg),
        ('d', Value::Int(it)) => put(text, format_args!("{it}")),
        ('d', Value::Uint(it)) => put(text, format_args!("{it}")),
        ('d', Value::Double(it)) if !it.is_finite() => text.push_str(&double_text(*it)),
        ('f', it) if number(it).is_some() => match number(it) {
            Some(it) if it.is_finite() => put(text, format_args!("{it:.precision$}")),
            it => text.push_str(&double_text(it.unwrap_or_default())),
        },
        ('e', it) if number(it).is_some() => {
            exponent(text, number(it).unwrap_or_default(), precision)
        }
        ('b', Value::Int(it)) => signed(text, *it, |it| format!("{it:b}")),
        ('b', Value::Uint(it)) => put(text, format_args!("{it:b}")),
        ('b', Value::Bool(it)) => put(text, format_args!("{}", u8::from(*it))),
        ('o', Value::Int(it)) => signed(text, *it, |it| format!("{it:o}")),
        ('o', Value::Uint(it)) => put(text, format_args!("{it:o}")),
        ('x', Value::Int(it)) => signed(text, *it, |it| format!("{it:x}")),
        ('x', Value::Uint(it)) => put(text, format_args!("{it:x}")),
        ('X', Value::Int(it)) => signed(text, *it, |it| format!("{it:X}")),
        ('X', Value::Uint(it)) => put(text, format_args!("{it:X}")),
        ('x' | 'X', Value::String(it)) => return octets(budget, text, clause, it.as_bytes()),
        ('x' | 'X', Value::Bytes(it)) => return octets(budget, text, clause, it),
        ('d' | 'f' | 'e' | 'b' | 'o' | 'x' | 'X', arg) => {
            let type_ = arg.type_name();
            return Err(EvaluationError::new(format_args!(
                "error during formatting: %{clause} can't be used on values of type {type_}"
            )));
        }
        _ => return Err(fault(&format!("unrecognized formatting clause {clause:?}"))),
    }
    Ok(())
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Into a text it can't fail.
    let _ = text.write_fmt(arguments);
}

#[allow(clippy::cast_precision_loss, reason = "as CEL does")]
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Double(it) => Some(*it),
        Value::Int(it) => Some(*it as f64),
        Value::Uint(it) => Some(*it as f64),
        _ => None,
    }
}

fn signed(text: &mut String, number: i64, write: fn(u64) -> String) {
    if number < 0 {
        text.push('-');
    }
    text.push_str(&write(number.unsigned_abs()));
}

fn octets(budget: &mut Budget, text: &mut String, clause: char, octets: &[u8]) -> Written {
    budget.spend_on_text(octets.len() * 2)?;
    for octet in octets {
        match clause {
            'X' => put(text, format_args!("{octet:02X}")),
            _ => put(text, format_args!("{octet:02x}")),
        }
    }
    Ok(())
}

/// With a sign and two digits at least, as Go has it.
fn exponent(text: &mut String, number: f64, precision: usize) {
    let written = format!("{number:.precision$e}");
    let (mantissa, exponent) = written.split_once('e').unwrap_or((&written, "0"));
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    put(text, format_args!("{mantissa}e{sign}{digits:0>2}"));
}

/// A value as `%s` shows it.
fn plain(budget: &mut Budget, text: &mut String, value: &Value) -> Written {
    budget.spend(1)?;
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(it) => put(text, format_args!("{it}")),
        Value::Int(it) => put(text, format_args!("{it}")),
        Value::Uint(it) => put(text, format_args!("{it}")),
        Value::Double(it) => text.push_str(&double_text(*it)),
        Value::String(it) | Value::Type(it) => {
            budget.spend_on_text(it.len())?;
            text.push_str(it);
        }
        Value::Bytes(it) => {
            budget.spend_on_text(it.len())?;
            text.push_str(&String::from_utf8_lossy(it));
        }
        Value::Timestamp(it) => put(text, format_args!("{it}")),
        Value::Duration(it) => text.push_str(&time::format_duration(*it)),
        Value::List(items) => {
            text.push('[');
            for (i, item) in items.iter().enumerate() {
                text.push_str(if i > 0 { ", " } else { "" });
                plain(budget, text, item)?;
            }
            text.push(']');
        }
        Value::Map(entries) => {
            text.push('{');
            for (i, (key, value)) in entries.iter().enumerate() {
                text.push_str(if i > 0 { ", " } else { "" });
                plain(budget, text, &Value::from(key))?;
                text.push_str(": ");
                plain(budget, text, value)?;
            }
            text.push('}');
        }
        other => {
            let type_ = other.type_name();
            return Err(EvaluationError::new(format_args!(
                "error during formatting: string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps, was given {type_}"
            )));
        }
    }
    Ok(())
}

/// As Go writes it: as short as it can be, with an exponent where that is far from one.
pub(super) fn double_text(number: f64) -> String {
    const LARGE: f64 = 1e21;
    const SMALL: f64 = 1e-4;
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let magnitude = number.abs();
    if magnitude != 0.0 && !(SMALL..LARGE).contains(&magnitude) {
        let written = format!("{number:e}");
        let (mantissa, power) = written.split_once('e').unwrap_or((&written, "0"));
        let (sign, digits) = match power.strip_prefix('-') {
            Some(digits) => ('-', digits),
            None => ('+', power),
        };
        return format!("{mantissa}e{sign}{digits:0>2}");
    }
    number.to_string()
}
