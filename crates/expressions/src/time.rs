//! Moments and spans of time as text: RFC 3339, and Go's way (`1h30m`).

use std::fmt::Write;

use jiff::{SignedDuration, Timestamp};

const NANOS: i128 = 1_000_000_000;
/// Of a unit, in nanoseconds. Two letters before one.
const UNITS: [(&str, i128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("h", 3_600 * NANOS),
    ("m", 60 * NANOS),
    ("s", NANOS),
];
/// Digits behind a point that are looked at.
const DIGITS: usize = 18;

/// A moment, with a `T` and a zone.
pub(crate) fn parse_timestamp(text: &str) -> Option<Timestamp> {
    // Other forms of ISO 8601 are not RFC 3339.
    let is_rfc3339 = text.len() >= 20 && text.as_bytes()[10].eq_ignore_ascii_case(&b'T');
    is_rfc3339.then(|| text.parse().ok()).flatten()
}

/// The beginning of a day (RFC 3339: `full-date`).
pub(crate) fn parse_date(text: &str) -> Option<Timestamp> {
    let is_date = text.len() == "2006-01-02".len();
    is_date.then(|| parse_timestamp(&format!("{text}T00:00:00Z"))).flatten()
}

/// A sum of numbers with units.
pub(crate) fn parse_duration(text: &str) -> Option<SignedDuration> {
    let (is_negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(SignedDuration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanos = 0_i128;
    while !rest.is_empty() {
        let (amount, after) = part(rest)?;
        nanos = nanos.checked_add(amount)?;
        rest = after;
    }
    let nanos = if is_negative { -nanos } else { nanos };
    duration(nanos)
}

/// So many nanoseconds, within what Go can count.
pub(crate) fn duration(nanos: i128) -> Option<SignedDuration> {
    i64::try_from(nanos).ok().map(SignedDuration::from_nanos)
}

/// A number with its unit, and what follows.
fn part(text: &str) -> Option<(i128, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, rest) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let (unit, size) = UNITS.into_iter().find(|(unit, _)| rest.starts_with(unit))?;
    let read = |digits: &str| if digits.is_empty() { Some(0_u64) } else { digits.parse().ok() };
    let fraction = fraction.get(..DIGITS).unwrap_or(fraction);
    let whole = i128::from(read(whole)?).checked_mul(size)?;
    let exponent = u32::try_from(fraction.len()).ok()?;
    let part = i128::from(read(fraction)?) * size / 10_i128.pow(exponent);
    Some((whole.checked_add(part)?, &rest[unit.len()..]))
}

/// Seconds, as CEL writes it.
pub(crate) fn format_duration(duration: SignedDuration) -> String {
    let nanos = duration.as_nanos();
    let (seconds, fraction) = (nanos.abs() / NANOS, nanos.abs() % NANOS);
    let mut text = String::from(if nanos < 0 { "-" } else { "" });
    let _ = write!(text, "{seconds}");
    if fraction != 0 {
        let digits = format!("{fraction:09}");
        let _ = write!(text, ".{}", digits.trim_end_matches('0'));
    }
    text.push('s');
    text
}
