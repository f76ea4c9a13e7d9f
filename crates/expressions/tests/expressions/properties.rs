//! No expression makes it panic, overflow its stack or exceed its budget.

use expressions::{Budget, EXPRESSION_LIMIT};
use proptest::prelude::*;

use crate::evaluate_for;

/// What is put together to something that often is an expression.
const PARTS: [&str; 66] = [
    "self",
    "nothing",
    "x",
    ".spec",
    ".ports",
    ".names",
    ".replicas",
    ".?nope",
    "[0]",
    "[?'a']",
    "[",
    "]",
    "(",
    ")",
    "{",
    "}",
    ",",
    ":",
    "?",
    " + ",
    " - ",
    " * ",
    " / ",
    " % ",
    " == ",
    " < ",
    " in ",
    " && ",
    " || ",
    "!",
    "-",
    "1",
    "0",
    "-1",
    "2u",
    "1.5",
    "1e308",
    "9223372036854775807",
    "'a'",
    "'%s%d'",
    "b'x'",
    "null",
    "true",
    "[1, 2]",
    "{'a': 1}",
    ".map(x, ",
    ".all(x, ",
    ".filter(x, ",
    ".exists(i, x, ",
    "has(self.spec)",
    "size(",
    "string(",
    "int(",
    "duration('1h')",
    "timestamp('2024-01-01T00:00:00Z')",
    ".matches('a+')",
    ".format([",
    "])",
    ".replace('a', 'bb')",
    ".split('')",
    ".sum()",
    ".sort()",
    "optional.of(",
    ".orValue(",
    "Object{a: ",
    "lists.range(",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn whatever_is_written_ends_within_its_budget(parts in prop::collection::vec(prop::sample::select(&PARTS[..]), 1..14)) {
        let mut budget = Budget::new(EXPRESSION_LIMIT);
        let _ = evaluate_for(&parts.concat(), &mut budget);
    }

    #[test]
    fn any_text_is_an_expression_or_an_error(text in ".{0,60}") {
        let _ = evaluate_for(&text, &mut Budget::new(EXPRESSION_LIMIT));
    }
}
