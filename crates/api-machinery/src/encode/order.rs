//! The order of a map's keys (`go.yaml.in/yaml/v2`: `sorter.go`): numbers within them by their value, letters after
//! everything else.

use serde_json::{Map, Value};

type Field<'a> = (&'a String, &'a Value);

pub(super) fn sorted(fields: &Map<String, Value>) -> Vec<Field<'_>> {
    merge_sorted(fields.iter().collect())
}

/// Of `9`, `10` and `1a` each is less than the next, and the last than the first: the library's sort may panic at that.
fn merge_sorted(mut fields: Vec<Field<'_>>) -> Vec<Field<'_>> {
    if fields.len() < 2 {
        return fields;
    }
    let right = merge_sorted(fields.split_off(fields.len() / 2));
    let left = merge_sorted(fields);
    let mut merged = Vec::with_capacity(left.len() + right.len());
    let mut right = right.into_iter().peekable();
    for field in left {
        while let Some(before) = right.next_if(|other| is_less(other.0, field.0)) {
            merged.push(before);
        }
        merged.push(field);
    }
    merged.extend(right);
    merged
}

fn is_less(a: &str, b: &str) -> bool {
    let same = a.chars().zip(b.chars()).take_while(|(a, b)| a == b);
    let at: usize = same.map(|(c, _)| c.len_utf8()).sum();
    let (same, a, b) = (&a[..at], &a[at..], &b[at..]);
    let (Some(first), Some(other)) = (a.chars().next(), b.chars().next()) else {
        return a.len() < b.len();
    };
    match (first.is_alphabetic(), other.is_alphabetic()) {
        (true, true) => first < other,
        (false, false) => number(same, a, b) < number(same, b, a),
        (_, is_letter) => is_letter,
    }
}

/// The value of the digits that a text goes on with, how many they are, and what it goes on with. Zeros count if they
/// belong to a number that has begun before.
fn number(before: &str, text: &str, other: &str) -> (i64, usize, Option<char>) {
    let has_zero = text.starts_with('0') || other.starts_with('0');
    let begun = before.trim_end_matches(|c: char| c.is_ascii_digit());
    let is_within = has_zero && before[begun.len()..].contains(|c: char| c != '0');
    let digits = text.bytes().take_while(u8::is_ascii_digit);
    let (value, length) = digits.fold((i64::from(is_within), 0), |(value, length), digit| {
        (value.wrapping_mul(10).wrapping_add(i64::from(digit - b'0')), length + 1)
    });
    (value, length, text.chars().next())
}
