//! Quantities: two of them, with a space between.

use std::cmp::Ordering;

use api_machinery::Quantity;

/// One that is read is as large as what is written for it, and no calculation is too much. As with Kubernetes, what is written
/// of `62.5Ki` has no suffix, and so is written with another one once it was read again; but then it stays.
pub fn run(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let (one, other) = text.split_once(' ').unwrap_or((text, "1"));
    let Ok(one) = one.parse::<Quantity>() else { return };
    let written: Quantity = one.to_string().parse().expect("what is written can be read");
    assert_eq!(written.compare(one), Ordering::Equal, "{one:?}");
    let again: Quantity = written.to_string().parse().expect("what is written can be read");
    assert_eq!((again, again.to_string()), (written, written.to_string()));
    let _ = (one.value(), one.milli_value(), one.to_f64(), one.round_up_to_milli());
    let Ok(other) = other.parse::<Quantity>() else { return };
    let (sum, difference) = (one + other, one - other);
    assert_eq!(one.compare(other).reverse(), other.compare(one));
    let _ = (sum.to_string(), difference.to_string(), one.compare_product(other, sum));
}
