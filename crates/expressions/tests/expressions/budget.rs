//! What is hostile ends, with an error and in time.

use std::{collections::BTreeMap, thread};

use expressions::{Budget, EXPRESSION_LIMIT, Environment, Type, Value};

use crate::{evaluate, fails, holds};

const COST: &str = "cost limit exceeded";

#[test]
fn what_would_take_for_ever_ends() {
    let tens = "[0,1,2,3,4,5,6,7,8,9]";
    let nested = (0..9).fold("true".to_owned(), |inner, i| format!("{tens}.all(x{i}, {inner})"));
    fails(&nested, COST);
    // A side that costs too much is no side that merely fails.
    fails(&format!("{nested} || true"), COST);
    fails("lists.range(100000).map(x, lists.range(100000))", COST);
    fails("lists.range(1000).all(x, lists.range(1000).distinct().size() > 0)", COST);
}

#[test]
fn what_would_grow_without_end_ends() {
    let text =
        (0..40).fold("'0123456789'".to_owned(), |text, _| format!("[{text}].map(x, x + x)[0]"));
    fails(&text, COST);
    let list = (0..40).fold("[1]".to_owned(), |list, _| format!("[{list}].map(x, x + x)[0]"));
    fails(&list, COST);
    let replaced =
        (0..20).fold("'a'".to_owned(), |text, _| format!("{text}.replace('a', 'aaaaaaaaaa')"));
    fails(&replaced, COST);
    // What shares its parts is small until it is written.
    let shared = (0..40).fold("['a']".to_owned(), |list, _| format!("[{list}].map(x, [x, x])[0]"));
    fails(&format!("'%s'.format([{shared}]).size() > 0"), COST);
    fails(&format!("{shared} == {shared}"), COST);
    let value = evaluate(&shared).unwrap();
    assert!(value.to_json(&mut Budget::new(EXPRESSION_LIMIT)).is_err());
}

#[test]
fn a_look_at_a_long_text_is_paid_for_by_its_length() {
    let long = "'0123456789'.replace('', 'xxxxxxxxxx').replace('x', 'xxxxxxxxxxxxxxxxxxxx')";
    let often = |what: &str| format!("[{long}].all(s, lists.range(10000).all(i, {what}))");
    fails(&often("s.split(s, 2).size() > 0"), COST);
    fails(&often("{s: 1}.size() > 0"), COST);
    fails(&often("!(s in {'a': 1})"), COST);
    fails(&often("!{'a': 1}[?s].hasValue()"), COST);
    // As many parts as there are cost as much as parts do.
    holds("'a b c'.split(' ').size() == 3 && 'a b c'.split(' ', 2).size() == 2");
}

#[test]
fn patterns_can_neither_grow_nor_take_for_ever() {
    fails("'a'.matches('((a{100}){100}){100}')", "error parsing regexp");
    fails("'a'.matches('a{1001}')", "error parsing regexp: invalid repeat count");
    holds("'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'.matches('^(a+)+$')");
    // A short pattern may stand for a long one.
    let long = "'0123456789'.replace('', 'xxxxxxxxxx').replace('x', 'xxxxxxxxxxxxxxxxxxxx')";
    let often =
        format!("[{long}].all(s, lists.range(100).all(i, !s.matches('([0-9].{{200}})+y')))");
    fails(&often, COST);
    fails("lists.range(1000).all(x, 'a'.matches(string(x) + 'x|a'))", COST);
}

#[test]
fn what_nests_deeply_is_refused_and_overflows_no_stack() {
    // On a thread as small as those that serve requests.
    let small = thread::Builder::new().stack_size(2 << 20);
    let tried = small.spawn(|| {
        for (open, middle, close) in [
            ("(", "1", ")"),
            ("[", "1", "]"),
            ("!", "true", ""),
            ("-", "1", ""),
            ("1+", "1", ""),
            ("", "1", "+1"),
            ("", "self", ".a"),
            ("", "self", "[0]"),
            ("true?", "1", ":1"),
            ("{1:", "1", "}"),
            ("[1].map(x,", "1", ")"),
            ("size(", "1", ")"),
            ("true||", "true", ""),
            ("'a'==", "'a'", ""),
        ] {
            for depth in [20, 90, 150, 199, 250, 1_000, 4_000] {
                let text = format!("{}{middle}{}", open.repeat(depth), close.repeat(depth));
                let value = evaluate(&text);
                drop(value);
            }
        }
    });
    tried.unwrap().join().unwrap();
    fails(&format!("1{}", "+1".repeat(300)), "expression nests too deeply");
    fails(&"(".repeat(20_000), "expression is too complex");
    fails(&" ".repeat(200_000), "expression code point size exceeds limit");
}

#[test]
fn expressions_within_expressions_are_counted() {
    let environment = Environment::new().with("self", Type::Dyn);
    let program = environment.compile("self").unwrap();
    let variables = BTreeMap::from([("self", Value::Int(1))]);
    assert!(program.evaluate(&variables, &mut Budget::new(0)).is_err());
    let mut budget = Budget::new(10);
    program.evaluate(&variables, &mut budget).unwrap();
    assert_eq!(budget.left(), 9);
    let mut portion = budget.portion(5);
    program.evaluate(&variables, &mut portion).unwrap();
    budget.settle(5, &portion);
    assert_eq!(budget.left(), 8);
}
