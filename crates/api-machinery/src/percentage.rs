//! Numbers that may be given as a part of another (Kubernetes: `intstr`).

use api_types::IntOrString;

/// What is wrong with a text that is no percentage, in Kubernetes' words.
pub const MESSAGE: &str = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";

/// The number, or that part of `total`; `None` for a text that is no percentage.
#[must_use]
pub fn of(value: &IntOrString, total: i32) -> Option<f64> {
    match value {
        IntOrString::Int(number) => Some(f64::from(*number)),
        IntOrString::String(text) => {
            let digits =
                text.strip_suffix('%').filter(|d| d.bytes().all(|b| b.is_ascii_digit()))?;
            Some(f64::from(digits.parse::<i32>().ok()?) * f64::from(total) / 100.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_of_the_whole_and_a_number_is_itself() {
        let check = |text: &str, total, expected| {
            assert_eq!(of(&IntOrString::String(text.to_owned()), total), expected, "{text}");
        };
        check("25%", 10, Some(2.5));
        check("0%", 10, Some(0.0));
        check("300%", 2, Some(6.0));
        for faulty in ["", "%", "25", "-1%", "+1%", "2.5%", "a%", "99999999999%"] {
            check(faulty, 10, None);
        }
        assert_eq!(of(&IntOrString::Int(-3), 10), Some(-3.0));
    }
}
