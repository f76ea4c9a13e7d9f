//! What a YAML scalar means: the rules of YAML 1.1 as `go.yaml.in/yaml/v2` (below `sigs.k8s.io/yaml`) has them, with
//! octal `0440` and `0o440`, `yes` and `on`, `1_000`; base 60 and timestamps stay text
//! (<https://github.com/yaml/go-yaml/blob/v2/resolve.go>).

use serde_json::{Number, Value};

/// A scalar's meaning.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    Int(i64),
    /// What is too large for `Int`.
    Uint(u64),
    Float(f64),
    Text(String),
}

impl Scalar {
    /// The meaning of a scalar without a tag that isn't quoted.
    pub(super) fn plain(text: &str) -> Self {
        if let Some(word) = word(text) {
            return word;
        }
        match text.as_bytes().first() {
            Some(b'.') => float(text),
            Some(b'0'..=b'9' | b'+' | b'-') => {
                let digits = text.replace('_', "");
                integer(&digits).or_else(|| float(&digits))
            }
            _ => None,
        }
        .unwrap_or_else(|| Self::Text(text.to_owned()))
    }

    /// As a map's key, which JSON has as text only.
    pub(super) fn key(&self) -> Option<String> {
        match self {
            Self::Null => None,
            Self::Bool(value) => Some(value.to_string()),
            Self::Int(number) => Some(number.to_string()),
            Self::Uint(_) => None,
            Self::Float(number) => Some(float_key(*number)),
            Self::Text(text) => Some(text.clone()),
        }
    }

    /// As JSON has it; none for a number that is none.
    pub(super) fn value(self) -> Option<Value> {
        Some(match self {
            Self::Null => Value::Null,
            Self::Bool(value) => value.into(),
            Self::Int(number) => number.into(),
            Self::Uint(number) => number.into(),
            Self::Float(number) => {
                Value::Number(whole(number).or_else(|| Number::from_f64(number))?)
            }
            Self::Text(text) => text.into(),
        })
    }
}

/// Words that aren't text.
fn word(text: &str) -> Option<Scalar> {
    Some(match text {
        "" | "~" | "null" | "Null" | "NULL" => Scalar::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Scalar::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Scalar::Bool(false)
        }
        ".nan" | ".NaN" | ".NAN" => Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Scalar::Float(f64::NEG_INFINITY),
        _ => return None,
    })
}

/// An integer in the base that its prefix names: `0x`, `0b`, `0o` or a mere `0` for octal.
fn integer(text: &str) -> Option<Scalar> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'-' => (Some(-1), &text[1..]),
        b'+' => (Some(1), &text[1..]),
        _ => (None, text),
    };
    let (base, digits) = base(rest);
    if !digits.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, base).ok()?;
    let signed = i128::from(magnitude) * i128::from(sign.unwrap_or(1));
    match i64::try_from(signed) {
        Ok(number) => Some(Scalar::Int(number)),
        Err(_) => sign.is_none().then_some(Scalar::Uint(magnitude)),
    }
}

fn base(digits: &str) -> (u32, &str) {
    let prefix = |marks: &str| digits.strip_prefix('0')?.strip_prefix(|c| marks.contains(c));
    match (prefix("xX"), prefix("bB"), prefix("oO")) {
        (Some(rest), ..) => (16, rest),
        (_, Some(rest), _) => (2, rest),
        (.., Some(rest)) => (8, rest),
        _ if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    }
}

/// A decimal number; one too large for any `f64` is text.
fn float(text: &str) -> Option<Scalar> {
    if !is_decimal(text) {
        return None;
    }
    text.parse().ok().filter(|number: &f64| number.is_finite()).map(Scalar::Float)
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_decimal(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_number = digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty());
    let is_exponent = |e: &str| {
        Some(e.strip_prefix(['-', '+']).unwrap_or(e)).is_some_and(|e| !e.is_empty() && digits(e))
    };
    is_number && exponent.is_none_or(is_exponent)
}

/// A float that is a whole number: Go writes it into JSON without a point.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the guards are the bounds"
)]
fn whole(number: f64) -> Option<Number> {
    match number {
        n if n.fract() != 0.0 || n == 0.0 && n.is_sign_negative() => None,
        n if (-9.2e18..9.2e18).contains(&n) => Some((n as i64).into()),
        n if (0.0..1.8e19).contains(&n) => Some((n as u64).into()),
        _ => None,
    }
}

/// Go's `FormatFloat(number, 'g', -1, 32)`, which `sigs.k8s.io/yaml` makes keys with.
#[allow(clippy::cast_possible_truncation, reason = "the rule has 32 bits")]
fn float_key(number: f64) -> String {
    let short = number as f32;
    if !short.is_finite() {
        let sign = if number < 0.0 { "-" } else { "" };
        return if number.is_nan() { ".nan".to_owned() } else { format!("{sign}.inf") };
    }
    shortest(&format!("{short:e}"), short.to_string())
}

/// A float as it is written: a whole number without a point, as Go's JSON has it.
pub(crate) fn float_text(number: f64) -> String {
    // There is no zero below zero.
    let number = number + 0.0;
    let decimal = || shortest(&format!("{number:e}"), number.to_string());
    whole(number).map_or_else(decimal, |whole| whole.to_string())
}

/// The notation that Go would take of the two.
fn shortest(scientific: &str, decimal: String) -> String {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..6).contains(&exponent) {
        return decimal;
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}
