//! `quantities.txt` was written by k8s.io/apimachinery v0.36.0: a text, its canonical form (`CanonicalizeBytes`) and that
//! form after `RoundUp(Milli)`; or a text and why it is none (`ParseQuantity`). Left out is what it gets wrong: decimal
//! amounts of a thousand `E` or more lose their suffix there.

use api_machinery::quantity::{Quantity, QuantityError};
use proptest::prelude::*;

#[test]
fn quantities_are_written_as_kubernetes_writes_them() {
    for line in include_str!("quantities.txt").lines() {
        let mut columns = line.split('\t');
        let (text, canonical) = (columns.next().unwrap(), columns.next().unwrap());
        let read = text.parse::<Quantity>().map(|q| q.to_string());
        let expected = match canonical {
            "error format" => Err(QuantityError::Format),
            "error suffix" => Err(QuantityError::Suffix),
            canonical => Ok(canonical.to_owned()),
        };
        assert_eq!(read, expected, "{text}");
        if let Some(rounded) = columns.next() {
            let quantity: Quantity = text.parse().unwrap();
            assert_eq!(quantity.round_up_to_milli().to_string(), rounded, "{text}");
        }
    }
}

#[test]
fn what_is_too_large_to_be_counted_with_is_refused() {
    let largest: Quantity = "100000000000000000000000000000".parse().unwrap();
    assert_eq!(largest.round_up_to_milli(), largest);
    for text in [
        "100000000000000000000000000000.000000001",
        // The greatest number of 128 bits, and a little more than that.
        "170141183460469231731687303715.884105727",
        "170141183460469231731.6873037158841057271",
    ] {
        assert_eq!(text.parse::<Quantity>(), Err(QuantityError::Numeric), "{text}");
    }
}

fn number() -> impl Strategy<Value = String> {
    "[+-]?[0-9]{1,12}(\\.[0-9]{0,9})?(n|u|m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi|e-?[0-9]|E[1-9])?"
}

proptest! {
    #[test]
    fn the_canonical_form_is_its_own_and_of_the_same_value(text in number()) {
        let quantity: Quantity = text.parse().unwrap();
        let canonical = quantity.to_string();
        let again: Quantity = canonical.parse().unwrap();
        prop_assert_eq!(quantity.compare(again), std::cmp::Ordering::Equal, "{}", &canonical);
        prop_assert_eq!(again.to_string(), canonical);
    }

    #[test]
    fn equal_quantities_of_one_notation_are_written_alike(units in 1_i64..1 << 40, zeros in 0_usize..4) {
        let zeros = "0".repeat(zeros);
        let canonical = |text: String| text.parse::<Quantity>().unwrap().to_string();
        let expected = canonical(format!("{units}"));
        prop_assert_eq!(canonical(format!("+00{units}.{zeros}")), expected.clone());
        prop_assert_eq!(canonical(format!("{units}000m")), expected);
        prop_assert_eq!(canonical(format!("{units}Mi")), canonical(format!("{}Ki", units * 1024)));
    }

    #[test]
    fn rounding_goes_up_by_less_than_a_thousandth(text in number()) {
        let exact: Quantity = text.parse().unwrap();
        let rounded = exact.round_up_to_milli();
        prop_assert_eq!(rounded.round_up_to_milli(), rounded);
        prop_assert!(rounded.is_negative() == exact.is_negative());
        if !exact.is_negative() {
            prop_assert_eq!(rounded.milli_value(), exact.milli_value());
            prop_assert!(rounded.compare(exact).is_ge());
        }
    }
}
