//! What is known by its digits: identifiers, numbers with a sum that has to be right, colours.

/// What is passed over around the parts of a colour, and in the numbers of books.
const SPACE: [char; 5] = [' ', '\t', '\n', '\u{c}', '\r'];

/// Groups of hexadecimal digits, with dashes between them or without; at two places not all digits may stand.
pub(super) fn is_uuid(text: &str, versions: &str, variants: &str) -> bool {
    let is_at = |digits: &str, place: usize, allowed: &str| {
        let digit = digits.as_bytes().get(place);
        digit.is_some_and(|it| allowed.contains(char::from(it.to_ascii_lowercase())))
    };
    uuid_digits(text).is_some_and(|it| is_at(&it, 12, versions) && is_at(&it, 16, variants))
}

fn uuid_digits(text: &str) -> Option<String> {
    let (mut digits, mut rest) = (String::new(), text);
    for length in [8, 4, 4, 4, 12] {
        if !digits.is_empty() {
            rest = rest.strip_prefix('-').unwrap_or(rest);
        }
        let (group, after) = rest.split_at_checked(length)?;
        digits.push_str(group);
        rest = after;
    }
    (rest.is_empty() && is_hex(&digits)).then_some(digits)
}

pub(super) fn is_object_id(text: &str) -> bool {
    text.len() == 24 && is_hex(text)
}

pub(super) fn is_base64(text: &str) -> bool {
    let digits = text.strip_suffix("==").or_else(|| text.strip_suffix('=')).unwrap_or(text);
    let is_digit = |c: u8| c.is_ascii_alphanumeric() || c == b'+' || c == b'/';
    text.len().is_multiple_of(4) && !digits.is_empty() && digits.bytes().all(is_digit)
}

pub(super) fn is_isbn10(text: &str) -> bool {
    let text = without_gaps(text);
    let (Some(body), Some(check)) = (text.get(..9), text.get(9..)) else { return false };
    let check =
        if check == "X" { Some(10) } else { check.parse().ok().filter(|_| check.len() == 1) };
    match (decimals(body), check) {
        (Some(body), Some(check)) => {
            let sum: u32 = (1..).zip(body.into_iter().chain([check])).map(|(i, it)| i * it).sum();
            sum.is_multiple_of(11)
        }
        _ => false,
    }
}

pub(super) fn is_isbn13(text: &str) -> bool {
    let digits = decimals(&without_gaps(text)).filter(|digits| digits.len() == 13);
    digits.is_some_and(|digits| {
        let weighed = [1, 3].into_iter().cycle().zip(digits).map(|(weight, it)| weight * it);
        weighed.sum::<u32>().is_multiple_of(10)
    })
}

fn without_gaps(text: &str) -> String {
    text.chars().filter(|c| *c != '-' && !SPACE.contains(c)).collect()
}

/// The numbers of those who give cards out, whatever else stands between the digits.
pub(super) fn is_credit_card(text: &str) -> bool {
    let number: String = text.chars().filter(char::is_ascii_digit).collect();
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| number.starts_with(prefix));
    let is_given = match number.len() {
        13 => begins(&["4"]),
        14 => begins(&["300", "301", "302", "303", "304", "305", "36", "38"]),
        15 => begins(&["34", "37", "2131", "1800"]),
        16 => begins(&["4", "51", "52", "53", "54", "55", "6011", "65", "35"]),
        _ => false,
    };
    let doubled = |it: u32| if it < 5 { 2 * it } else { 2 * it - 9 };
    let digits = decimals(&number).unwrap_or_default();
    let sum: u32 = digits.iter().rev().step_by(2).sum();
    let others: u32 = digits.iter().rev().skip(1).step_by(2).map(|&it| doubled(it)).sum();
    is_given && (sum + others).is_multiple_of(10)
}

/// Three, two and four digits, with something between them: Kubernetes takes no other length.
pub(super) fn is_social_security(text: &str) -> bool {
    let is_fitting = |(place, c): (usize, u8)| match place {
        3 | 6 => c == b'-' || c == b' ',
        _ => c.is_ascii_digit(),
    };
    text.len() == 11 && text.bytes().enumerate().all(is_fitting)
}

pub(super) fn is_hex_color(text: &str) -> bool {
    let digits = text.strip_prefix('#').unwrap_or(text);
    [3, 6].contains(&digits.len()) && is_hex(digits)
}

pub(super) fn is_rgb_color(text: &str) -> bool {
    let inner = text.strip_prefix("rgb(").and_then(|rest| rest.strip_suffix(')'));
    let parts: Vec<_> =
        inner.unwrap_or_default().split(',').map(|it| it.trim_matches(SPACE)).collect();
    parts.len() == 3 && parts.into_iter().all(is_octet)
}

/// Up to 255, without a sign or zeros before it.
fn is_octet(text: &str) -> bool {
    text.parse::<u8>().is_ok_and(|value| value.to_string() == text)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|c| c.is_ascii_hexdigit())
}

fn decimals(text: &str) -> Option<Vec<u32>> {
    text.chars().map(|c| c.to_digit(10)).collect()
}
