//! How a text is written: plain if it can be read back as that text, else in the quotes that Go would take
//! (`go.yaml.in/yaml/v2`: `encode.go`, `yaml_emitter_analyze_scalar`).

use std::{borrow::Cow, str::FromStr};

use jiff::civil::{Date, Time};

use crate::decode::is_plain_text;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

impl Style {
    pub(super) fn of(text: &str) -> Self {
        let is_special = !text.chars().all(is_printable) || text.contains(" \n");
        if text.contains('\n') {
            let is_literal = !is_special && !text.ends_with(' ');
            return if is_literal { Self::Literal } else { Self::Double };
        }
        match is_special || is_taken_for_another(text) {
            true => Self::Double,
            false if has_indicators(text) => Self::Single,
            false => Self::Plain,
        }
    }
}

/// Whether some reader would take it for null, a boolean, a number, a time or a merge.
fn is_taken_for_another(text: &str) -> bool {
    !is_plain_text(text) || is_time(text) || is_base60(text) || text == "<<"
}

/// Whether it is no plain text because of what it begins, ends or goes on with.
fn has_indicators(text: &str) -> bool {
    let mut chars = text.chars();
    let is_alone = |next: Option<char>| next.is_none_or(|c| c == ' ');
    let begins = match chars.next() {
        Some('?' | ':' | '-') => is_alone(chars.next()),
        Some(first) => "#,[]{}&*!|>'\"%@` ".contains(first),
        None => false,
    };
    begins
        || text.starts_with("---")
        || text.starts_with("...")
        || text.ends_with([' ', ':'])
        || text.contains(": ")
        || text.contains(" #")
}

pub(super) fn is_break(c: char) -> bool {
    matches!(c, '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// What need not be escaped. To Go the separators of lines and paragraphs are line breaks, to later readers they are not.
fn is_printable(c: char) -> bool {
    match c {
        '\u{2028}' | '\u{2029}' | '\u{feff}' => false,
        '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' => true,
        _ => false,
    }
}

/// A letter within double quotes. Go escapes all of a text that begins with a byte order mark.
pub(super) fn escape(c: char, text: &str) -> Cow<'static, str> {
    let named = match c {
        '\0' => "\\0",
        '\x07' => "\\a",
        '\x08' => "\\b",
        '\t' => "\\t",
        '\n' => "\\n",
        '\x0b' => "\\v",
        '\x0c' => "\\f",
        '\r' => "\\r",
        '\x1b' => "\\e",
        '"' => "\\\"",
        '\\' => "\\\\",
        '\u{85}' => "\\N",
        '\u{2028}' => "\\L",
        '\u{2029}' => "\\P",
        _ => "",
    };
    let code = u32::from(c);
    match code {
        _ if !named.is_empty() => named.into(),
        _ if is_printable(c) && !text.starts_with('\u{feff}') => c.to_string().into(),
        ..=0xff => format!("\\x{code:02X}").into(),
        0x100..=0xffff => format!("\\u{code:04X}").into(),
        _ => format!("\\U{code:08X}").into(),
    }
}

/// A date, alone or with a time of day and, if there is a `T` between them, a zone.
fn is_time(text: &str) -> bool {
    let (date, separator, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], &text[at..=at], &text[at + 1..]),
        None => (text, "", ""),
    };
    let is_zoned = matches!(separator, "T" | "t");
    let time = if is_zoned { without_zone(time) } else { Some(time) };
    is_date(date) && (separator.is_empty() || time.is_some_and(is_time_of_day))
}

/// `2026-1-2`.
fn is_date(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let year = parts.next().filter(|year| year.len() == 4).and_then(digits::<i16>);
    let (month, day) = (parts.next().and_then(two_digits), parts.next().and_then(two_digits));
    let (Some(year), Some(month), Some(day)) = (year, month, day) else { return false };
    Date::new(year, month, day).is_ok()
}

/// `3:4:5.6`.
fn is_time_of_day(text: &str) -> bool {
    let (text, fraction) = text.split_once(['.', ',']).unwrap_or((text, "0"));
    let mut parts = text.splitn(3, ':').map(two_digits);
    let mut part = || parts.next().flatten();
    let (Some(hour), Some(minute), Some(second)) = (part(), part(), part()) else { return false };
    Time::new(hour, minute, second, 0).is_ok() && is_digits(fraction)
}

/// What comes before a `Z` or `+01:30`.
fn without_zone(time: &str) -> Option<&str> {
    if let Some(time) = time.strip_suffix('Z') {
        return Some(time);
    }
    let at = time.rfind(['+', '-'])?;
    let (hours, minutes) = time[at + 1..].split_once(':')?;
    let is_zone = hours.len() == 2 && minutes.len() == 2;
    let (hours, minutes) = (digits::<u8>(hours)?, digits::<u8>(minutes)?);
    (is_zone && hours <= 24 && minutes <= 60).then_some(&time[..at])
}

fn two_digits(text: &str) -> Option<i8> {
    if text.len() <= 2 { digits(text) } else { None }
}

/// A number without a sign.
fn digits<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok().filter(|_| is_digits(text))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `1:20`: sixty-based in YAML 1.1.
fn is_base60(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let mut parts = whole.split(':');
    let first = parts.next().unwrap_or_default();
    let is_spaced = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    let is_below_sixty = |part: &str| two_digits(part).is_some_and(|part| part < 60);
    let rest: Vec<&str> = parts.collect();
    first.starts_with(|c: char| c.is_ascii_digit())
        && is_spaced(first)
        && is_spaced(fraction)
        && !rest.is_empty()
        && rest.into_iter().all(is_below_sixty)
}
