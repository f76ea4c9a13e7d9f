//! Quantities (`500m`, `1Gi`, `2e3`) as exact numbers (`k8s.io/apimachinery/pkg/api/resource`).

use std::{fmt, str::FromStr};

/// A quantity, exact to the nano; finer is rounded up, as Kubernetes does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

/// How a quantity was written, and is written again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Format {
    /// `k`, `M`, `m`.
    DecimalSi,
    /// `Ki`, `Mi`.
    BinarySi,
    /// `e3`.
    DecimalExponent,
}

/// A text that is no quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)]
pub struct QuantityError;

const NANO: i128 = 1_000_000_000;
/// The largest mantissa that can be multiplied by any suffix without overflow; Kubernetes caps at 2^63-1 units.
const MAX_NANOS: i128 = i64::MAX as i128 * NANO;
const DECIMAL: [(&str, i32); 10] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];
const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

impl Quantity {
    /// So many whole units: bytes, cores.
    #[must_use]
    pub fn from_units(units: i64) -> Self {
        Self { nanos: i128::from(units) * NANO, format: Format::DecimalSi }
    }

    /// So many thousandths.
    #[must_use]
    pub fn from_milli(milli: i64) -> Self {
        Self { nanos: i128::from(milli) * (NANO / 1000), format: Format::DecimalSi }
    }

    /// So many bytes, written with `Ki`, `Mi`, ….
    #[must_use]
    pub fn from_bytes(bytes: i64) -> Self {
        Self { nanos: i128::from(bytes) * NANO, format: Format::BinarySi }
    }

    /// Whole units, rounded up: bytes of memory, numbers of things.
    #[must_use]
    pub fn value(self) -> i64 {
        ceil(self.nanos, NANO)
    }

    /// Thousandths, rounded up: what CPU is counted in.
    #[must_use]
    pub fn milli_value(self) -> i64 {
        ceil(self.nanos, NANO / 1000)
    }

    /// Whether it is below zero.
    #[must_use]
    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// Whether it is zero.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// Whether it is a whole number.
    #[must_use]
    pub fn is_whole(self) -> bool {
        self.nanos % NANO == 0
    }

    /// Less, equal or greater by value, however they are written.
    #[must_use]
    pub fn compare(self, other: Self) -> std::cmp::Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl TryFrom<&api_types::Quantity> for Quantity {
    type Error = QuantityError;

    fn try_from(quantity: &api_types::Quantity) -> Result<Self, QuantityError> {
        quantity.0.parse()
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let (negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(end);
        let (digits, decimals) = mantissa(number)?;
        let (scale, format) = scale(suffix)?;
        let magnitude = scale.apply(digits, decimals).min(MAX_NANOS);
        Ok(Self { nanos: if negative { -magnitude } else { magnitude }, format })
    }
}

impl fmt::Display for Quantity {
    /// The canonical form: the largest suffix that leaves a whole number; binary ones only from 1024 on.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        match self.format {
            Format::BinarySi if self.is_whole() && self.nanos.abs() >= 1024 * NANO => {
                self.binary(f)
            }
            Format::DecimalExponent => self.decimal(f, |exponent| format!("e{exponent}")),
            _ => self.decimal(f, |exponent| {
                let suffix = DECIMAL.iter().find(|(_, e)| *e == exponent).map_or("", |(s, _)| s);
                suffix.to_owned()
            }),
        }
    }
}

impl Quantity {
    fn binary(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut number = self.nanos / NANO;
        let mut suffix = "";
        for next in BINARY {
            if number % 1024 != 0 {
                break;
            }
            number /= 1024;
            suffix = next;
        }
        write!(f, "{number}{suffix}")
    }

    fn decimal(self, f: &mut fmt::Formatter<'_>, suffix: impl Fn(i32) -> String) -> fmt::Result {
        let (mut number, mut exponent) = (self.nanos, -9);
        while number % 1000 == 0 && exponent < 18 {
            number /= 1000;
            exponent += 3;
        }
        let suffix = if exponent == 0 { String::new() } else { suffix(exponent) };
        write!(f, "{number}{suffix}")
    }
}

/// What a suffix multiplies by.
enum Scale {
    Ten(i32),
    Two(u32),
}

impl Scale {
    /// `digits / 10^decimals` times the scale, in nanos, rounded up, saturating.
    fn apply(&self, digits: i128, decimals: u32) -> i128 {
        match *self {
            Self::Ten(exponent) => shift(digits, exponent + 9 - decimals.cast_signed()),
            Self::Two(bits) => shift(digits.saturating_mul(1 << bits), 9 - decimals.cast_signed()),
        }
    }
}

/// `number * 10^exponent`, rounded up, saturating.
fn shift(number: i128, exponent: i32) -> i128 {
    let power = 10_i128.checked_pow(exponent.unsigned_abs());
    match (exponent >= 0, power) {
        (true, Some(power)) => number.saturating_mul(power),
        (true, None) if number == 0 => 0,
        (true, None) => i128::MAX,
        (false, Some(power)) => number / power + i128::from(number % power != 0),
        (false, None) => i128::from(number != 0),
    }
}

/// The digits and how many of them follow the point. More digits than fit count as "as many as fit".
fn mantissa(number: &str) -> Result<(i128, u32), QuantityError> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return Err(QuantityError);
    }
    let fraction = &fraction[..fraction.len().min(12)];
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    let value = if digits.is_empty() { 0 } else { digits.parse().unwrap_or(i128::MAX) };
    Ok((value, u32::try_from(fraction.len()).map_err(|_| QuantityError)?))
}

fn scale(suffix: &str) -> Result<(Scale, Format), QuantityError> {
    if let Some((_, exponent)) = DECIMAL.iter().find(|(s, _)| *s == suffix) {
        return Ok((Scale::Ten(*exponent), Format::DecimalSi));
    }
    if let Some(index) = BINARY.iter().position(|s| *s == suffix) {
        let bits = 10 * (u32::try_from(index).map_err(|_| QuantityError)? + 1);
        return Ok((Scale::Two(bits), Format::BinarySi));
    }
    let exponent = suffix.strip_prefix(['e', 'E']).ok_or(QuantityError)?;
    let exponent: i32 = exponent.parse().map_err(|_| QuantityError)?;
    Ok((Scale::Ten(exponent.clamp(-1000, 1000)), Format::DecimalExponent))
}

fn ceil(nanos: i128, unit: i128) -> i64 {
    let whole = nanos.div_euclid(unit) + i128::from(nanos.rem_euclid(unit) != 0);
    i64::try_from(whole).unwrap_or(if whole < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Quantity;

    #[test]
    fn writes_the_canonical_form() {
        let cases = [
            ("0", "0"),
            ("1", "1"),
            ("0.5", "500m"),
            ("1.5", "1500m"),
            ("1000m", "1"),
            ("1000", "1k"),
            ("1024", "1024"),
            ("1024Ki", "1Mi"),
            ("1.5Gi", "1536Mi"),
            ("0.1Ki", "102400m"),
            ("512Ki", "512Ki"),
            ("1e3", "1e3"),
            ("12e6", "12e6"),
            ("1E", "1E"),
            ("-1.5", "-1500m"),
            ("+2", "2"),
            (".5", "500m"),
            ("5.", "5"),
            ("1n", "1n"),
            ("0.1n", "1n"),
            ("128Mi", "128Mi"),
            ("100M", "100M"),
            ("9999999999999999999999", "9223372036854775807"),
        ];
        for (given, expected) in cases {
            assert_eq!(given.parse::<Quantity>().unwrap().to_string(), expected, "{given}");
        }
    }

    #[test]
    fn counts_exactly_and_rounds_up() {
        let parse = |s: &str| s.parse::<Quantity>().unwrap();
        assert_eq!(parse("250m").milli_value(), 250);
        assert_eq!(parse("2").milli_value(), 2000);
        assert_eq!(parse("0.1m").milli_value(), 1);
        assert_eq!(parse("250m").value(), 1);
        assert_eq!(parse("64Mi").value(), 64 << 20);
        assert_eq!(parse("1G").value(), 1_000_000_000);
        assert_eq!(parse("-1500m").value(), -1);
    }

    #[test]
    fn refuses_what_is_no_quantity() {
        for given in ["", ".", "-", "1.2.3", "1x", "Mi", "1 Mi", "1mi", "1e", "--1", "one", "1KiB"]
        {
            assert!(given.parse::<Quantity>().is_err(), "{given}");
        }
    }

    proptest! {
        #[test]
        fn the_canonical_form_reads_as_the_same_value(milli in -10_i64.pow(15)..10_i64.pow(15)) {
            let quantity = Quantity::from_milli(milli);
            let again: Quantity = quantity.to_string().parse().unwrap();
            prop_assert_eq!(again.milli_value(), milli);
            prop_assert_eq!(again.to_string(), quantity.to_string());
        }

        #[test]
        fn bytes_survive_their_binary_form(bytes in 0_i64..1 << 60) {
            let again: Quantity = Quantity::from_bytes(bytes).to_string().parse().unwrap();
            prop_assert_eq!(again.value(), bytes);
        }

        #[test]
        fn parsing_never_panics(text in "[-+0-9.eEinumkKMGTPi]{0,30}") {
            let _ = text.parse::<Quantity>().map(|q| q.to_string());
        }
    }
}
