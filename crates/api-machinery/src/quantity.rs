//! Quantities (`500m`, `1Gi`, `2e3`) as exact numbers (`k8s.io/apimachinery/pkg/api/resource`).

use std::{
    cmp::Ordering,
    fmt,
    ops::{Add, Sub},
    str::FromStr,
};

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
pub enum QuantityError {
    /// It has letters or signs where none can be.
    #[error(
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    )]
    Format,
    /// There is no such suffix.
    #[error("unable to parse quantity's suffix")]
    Suffix,
    /// It is beyond 10^29.
    #[error("unable to parse numeric part of quantity")]
    Numeric,
}

const NANO: i128 = 1_000_000_000;
/// The largest there is, with room above it to be rounded up.
const MAX: i128 = 10_i128.pow(38);
/// Where Kubernetes caps quantities with binary suffixes.
const MAX_BINARY: i128 = i64::MAX as i128 * NANO;
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

    /// So many billionths.
    #[must_use]
    pub fn from_nano(nanos: u64) -> Self {
        Self { nanos: i128::from(nanos), format: Format::DecimalSi }
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

    /// The same without anything finer than a thousandth, away from zero: what Kubernetes makes of every amount of a
    /// resource (`SetDefaults_ResourceList`).
    #[must_use]
    pub fn round_up_to_milli(self) -> Self {
        const MILLI: i128 = NANO / 1000;
        let finer = self.nanos % MILLI;
        let up = if finer == 0 { 0 } else { self.nanos.signum() * MILLI };
        Self { nanos: self.nanos - finer + up, ..self }
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

    /// About as much.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "this is what it is for")]
    pub fn to_f64(self) -> f64 {
        self.nanos as f64 / NANO as f64
    }

    /// Less, equal or greater by value, however they are written.
    #[must_use]
    pub fn compare(self, other: Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }

    /// Less, equal or greater than the product of two others, exactly.
    #[must_use]
    pub fn compare_product(self, one: Self, other: Self) -> Ordering {
        let signum = one.nanos.signum() * other.nanos.signum();
        self.nanos.signum().cmp(&signum).then_with(|| {
            let own = product(self.nanos.unsigned_abs(), NANO.unsigned_abs());
            let theirs = product(one.nanos.unsigned_abs(), other.nanos.unsigned_abs());
            if signum < 0 { theirs.cmp(&own) } else { own.cmp(&theirs) }
        })
    }

    /// How it is written together with another: nothing says nothing of that.
    fn format_with(self, other: Self) -> Format {
        if self.is_zero() { other.format } else { self.format }
    }
}

/// The product in two halves, the upper one first.
fn product(one: u128, other: u128) -> (u128, u128) {
    const HALF: u32 = 64;
    let parts = |number: u128| (number >> HALF, number & u128::from(u64::MAX));
    let ((a, b), (c, d)) = (parts(one), parts(other));
    let (carried, lowest) = parts(b * d);
    let (first, middle) = parts(a * d + carried);
    let (second, middle) = parts(b * c + middle);
    (a * c + first + second, (middle << HALF) | lowest)
}

impl Add for Quantity {
    type Output = Self;

    /// The sum, written as the first is, unless that is zero.
    fn add(self, other: Self) -> Self {
        Self { nanos: self.nanos.saturating_add(other.nanos), format: self.format_with(other) }
    }
}

impl Sub for Quantity {
    type Output = Self;

    /// What is left, written as the first is, unless that is zero.
    fn sub(self, other: Self) -> Self {
        Self { nanos: self.nanos.saturating_sub(other.nanos), format: self.format_with(other) }
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
        if text.is_empty() {
            return Err(QuantityError::Format);
        }
        let Parts { negative, whole, fraction, suffix } = Parts::of(text)?;
        let (scale, format) = scale(suffix)?;
        let magnitude = scale.apply(whole, fraction).filter(|nanos| *nanos <= MAX);
        let magnitude = magnitude.ok_or(QuantityError::Numeric)?;
        // A part of a byte is no binary number.
        let is_fraction = format == Format::BinarySi && magnitude < NANO;
        let format = if is_fraction { Format::DecimalSi } else { format };
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
        // There is no suffix above `E`.
        let highest = if self.format == Format::DecimalExponent { i32::MAX } else { 18 };
        let (mut number, mut exponent) = (self.nanos, -9);
        while number % 1000 == 0 && exponent < highest {
            number /= 1000;
            exponent += 3;
        }
        let suffix = if exponent == 0 { String::new() } else { suffix(exponent) };
        write!(f, "{number}{suffix}")
    }
}

/// A quantity's text taken apart, which its regular expression only seems to do: a number may be missing altogether.
struct Parts<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    suffix: &'a str,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Result<Self, QuantityError> {
        let negative = text.starts_with('-');
        let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
        let digits = |s: &'a str| s.split_at(s.bytes().take_while(u8::is_ascii_digit).count());
        let (whole, rest) = digits(rest);
        let (fraction, suffix) = rest.strip_prefix('.').map_or(("", rest), digits);
        let exponent = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        if !exponent.bytes().all(|b| b.is_ascii_digit()) {
            return Err(QuantityError::Format);
        }
        Ok(Self { negative, whole: whole.trim_start_matches('0'), fraction, suffix })
    }
}

/// What a suffix multiplies by.
enum Scale {
    Ten(i32),
    Two(u32),
}

impl Scale {
    /// The number times the scale in nanos, rounded up; none if that is too large.
    fn apply(&self, whole: &str, fraction: &str) -> Option<i128> {
        /// Finer than this counts as one of these.
        const DECIMALS: usize = 18;
        let (fraction, finer) = fraction.split_at(fraction.len().min(DECIMALS));
        let digits = [whole, fraction].concat();
        let digits = digits.trim_start_matches('0');
        let digits: i128 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
        let digits = digits.checked_add(i128::from(finer.bytes().any(|b| b != b'0')))?;
        let decimals = i32::try_from(fraction.len()).ok()?;
        match *self {
            Self::Ten(exponent) => shift(digits, exponent + 9 - decimals),
            Self::Two(bits) => {
                let number = digits.checked_mul(1 << bits).and_then(|n| shift(n, 9 - decimals));
                Some(number.map_or(MAX_BINARY, |n| n.min(MAX_BINARY)))
            }
        }
    }
}

/// `number * 10^exponent`, rounded up; none if that is too large.
fn shift(number: i128, exponent: i32) -> Option<i128> {
    let power = 10_i128.checked_pow(exponent.unsigned_abs());
    match (exponent >= 0, power) {
        _ if number == 0 => Some(0),
        (true, power) => number.checked_mul(power?),
        (false, Some(power)) => Some(number / power + i128::from(number % power != 0)),
        (false, None) => Some(1),
    }
}

fn scale(suffix: &str) -> Result<(Scale, Format), QuantityError> {
    if let Some((_, exponent)) = DECIMAL.iter().find(|(s, _)| *s == suffix) {
        return Ok((Scale::Ten(*exponent), Format::DecimalSi));
    }
    if let Some(bits) = (10..).step_by(10).zip(BINARY).find(|(_, s)| *s == suffix) {
        return Ok((Scale::Two(bits.0), Format::BinarySi));
    }
    let exponent = suffix.strip_prefix(['e', 'E']).ok_or(QuantityError::Suffix)?;
    let exponent: i64 = exponent.parse().map_err(|_| QuantityError::Suffix)?;
    let exponent = i32::try_from(exponent.clamp(-1000, 1000)).map_err(|_| QuantityError::Suffix)?;
    Ok((Scale::Ten(exponent), Format::DecimalExponent))
}

fn ceil(nanos: i128, unit: i128) -> i64 {
    let whole = nanos.div_euclid(unit) + i128::from(nanos.rem_euclid(unit) != 0);
    i64::try_from(whole).unwrap_or(if whole < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Ordering, Quantity};

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
            ("9999999999999999999999", "9999999999999999999999"),
            ("9999Ei", "9223372036854775807"),
            ("1000E", "1000E"),
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
    fn a_sum_is_written_as_its_first_part_that_is_something() {
        let parse = |s: &str| s.parse::<Quantity>().unwrap();
        let (none, memory, bytes) = (Quantity::from_units(0), parse("1Gi"), parse("1024"));
        assert_eq!((none + memory).to_string(), "1Gi");
        assert_eq!((memory + bytes).to_string(), "1048577Ki");
        assert_eq!((bytes + memory).to_string(), "1073742848");
        assert_eq!((none - memory).to_string(), "-1Gi");
    }

    #[test]
    fn products_are_compared_exactly() {
        let check = |product: &str, one: &str, other: &str, expected: Ordering| {
            let [product, one, other] = [product, one, other].map(|s| s.parse().unwrap());
            assert_eq!(Quantity::compare_product(product, one, other), expected);
            assert_eq!(Quantity::compare_product(product, other, one), expected);
        };
        check("300m", "100m", "3", Ordering::Equal);
        check("6", "2", "3", Ordering::Equal);
        check("6", "2001m", "3", Ordering::Less);
        check("1u", "1m", "999u", Ordering::Greater);
        check("0", "0", "3", Ordering::Equal);
        check("-6", "-2", "3", Ordering::Equal);
        check("-7", "-2", "3", Ordering::Less);
        check("1", "-2", "-3", Ordering::Less);
        // Both are 2^53 where numbers are rounded to 53 bits.
        check("9007199254740993", "9007199254740992", "1", Ordering::Greater);
        let (large, larger) = ("99999999999999999999999999999", "100000000000000000000000000000");
        check(large, large, "1", Ordering::Equal);
        check(larger, large, "1", Ordering::Greater);
        check(larger, large, larger, Ordering::Less);
    }

    #[test]
    fn refuses_what_is_no_quantity() {
        for given in ["", "1.2.3", "1x", "1 Mi", "1mi", "1e", "--1", "one", "1KiB", "1e40"] {
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
