//! Days, moments and spans of time.

use api_types::jiff::civil;

/// A day as RFC 3339 has it.
pub(super) fn is_date(text: &str) -> bool {
    let is_fitting = |(place, c): (usize, u8)| match place {
        4 | 7 => c == b'-',
        _ => c.is_ascii_digit(),
    };
    let is_shaped = text.len() == 10 && text.bytes().enumerate().all(is_fitting);
    is_shaped && text.parse::<civil::Date>().is_ok()
}

/// A day, a `T`, a time with a zone. What follows a second `T` is not looked at.
pub(super) fn is_date_time(text: &str) -> bool {
    let lower = text.to_lowercase();
    let mut parts = lower.split('t');
    let (day, time) = (parts.next().unwrap_or_default(), parts.next());
    is_date(day) && time.is_some_and(is_time)
}

/// `19:30:20`, a fraction behind any character, and a zone.
fn is_time(text: &str) -> bool {
    let Some((clock, rest)) = text.split_at_checked(8) else { return false };
    is_within(clock, &["23", "59", "59"]) && without_zone(rest).is_some_and(is_fraction)
}

fn is_fraction(text: &str) -> bool {
    let mut digits = text.chars();
    digits.next().is_none() || (!digits.as_str().is_empty() && is_number(digits.as_str()))
}

/// What is before `z` or `+01:00`.
fn without_zone(text: &str) -> Option<&str> {
    if let Some(before) = text.strip_suffix('z') {
        return Some(before);
    }
    let (before, zone) = text.split_at_checked(text.len().checked_sub(6)?)?;
    let offset = zone.strip_prefix(['+', '-'])?;
    is_within(offset, &["99", "99"]).then_some(before)
}

/// Pairs of digits with colons between them, none greater than its limit.
fn is_within(text: &str, limits: &[&str]) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    let is_fine =
        |(part, limit): (&&str, &&str)| part.len() == 2 && is_number(part) && part <= limit;
    parts.len() == limits.len() && parts.iter().zip(limits).all(is_fine)
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|c| c.is_ascii_digit())
}

/// Go's units, two letters before one.
const UNITS: [&str; 8] = ["ns", "us", "µs", "μs", "ms", "s", "m", "h"];
/// Scala's: whole words, and what words may begin with.
const WORDS: [&str; 11] = ["ns", "us", "µs", "ms", "s", "m", "h", "hr", "d", "w", "wk"];
const BEGINNINGS: [&str; 8] = ["nano", "micro", "milli", "sec", "min", "hour", "day", "week"];

/// Go's way (`1h30m`), or Scala's (`22 ns`), in which whatever stands between is passed over.
pub(super) fn is_duration(text: &str) -> bool {
    is_of_go(text) || is_of_scala(text)
}

fn is_of_go(text: &str) -> bool {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest.is_empty() || rest == "0" {
        return rest == "0";
    }
    while !rest.is_empty() {
        let Some(after) = after_part(rest) else { return false };
        rest = after;
    }
    true
}

/// What follows a number with its unit.
fn after_part(text: &str) -> Option<&str> {
    let is_of_number = |c: char| c.is_ascii_digit() || c == '.';
    let (number, rest) = text.split_at(text.find(|c| !is_of_number(c))?);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let has_digits = number.contains(|c: char| c.is_ascii_digit());
    let is_number = has_digits && !fraction.contains('.');
    let is_counted = whole.is_empty() || whole.parse::<i64>().is_ok();
    let (unit, rest) = rest.split_at(rest.find(is_of_number).unwrap_or(rest.len()));
    (is_number && is_counted && UNITS.contains(&unit)).then_some(rest)
}

fn is_of_scala(text: &str) -> bool {
    let (mut rest, mut is_one) = (text, false);
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        rest = &rest[start..];
        let (number, after) = split(rest, |c| c.is_ascii_digit());
        let (unit, after) =
            split(after.trim_ascii_start(), |c| c.is_ascii_alphabetic() || c == 'µ');
        if !unit.is_empty() && number.parse::<i64>().is_err() {
            return false;
        }
        is_one |= is_unit(&unit.to_lowercase());
        rest = after;
    }
    is_one
}

fn split(text: &str, is_of_first: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !is_of_first(c)).unwrap_or(text.len()))
}

fn is_unit(word: &str) -> bool {
    WORDS.contains(&word) || BEGINNINGS.iter().any(|it| word.starts_with(it))
}
