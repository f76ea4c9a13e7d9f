use expect_test::{Expect, expect};

use super::*;
use crate::nftables::SetKind;

fn table() -> Table {
    Table { family: "ip", name: "ours".to_owned() }
}

fn chain(hook: Option<&str>, rules: &[&str]) -> Chain {
    Chain {
        hook: hook.map(str::to_owned),
        rules: rules.iter().map(|rule| (*rule).to_owned()).collect(),
    }
}

fn contents(elements: &[(&str, &str)]) -> Contents {
    let map = Set { kind: SetKind::Map, definition: "type ipv4_addr : verdict".to_owned() };
    let elements = elements
        .iter()
        .map(|(key, value)| (("services".to_owned(), (*key).to_owned()), (*value).to_owned()));
    Contents {
        chains: [
            ("out".to_owned(), chain(Some("type nat hook output priority -100"), &["jump all"])),
            ("all".to_owned(), chain(None, &["ip daddr vmap @services"])),
        ]
        .into(),
        sets: [("services".to_owned(), map)].into(),
        elements: elements.collect(),
    }
}

fn check(found: &Contents, wanted: &Contents, expected: &Expect) {
    expected.assert_eq(&text(&table(), &Found::of(found), wanted).unwrap_or_default());
}

#[test]
fn a_host_without_the_table_gets_all_of_it() {
    let wanted = contents(&[("192.0.2.1", "drop"), ("192.0.2.2", "goto all")]);
    expect![[r#"
        add table ip ours
        delete table ip ours
        add table ip ours
        add map ip ours services { type ipv4_addr : verdict; comment "cfee1b4bd8c70834"; }
        add chain ip ours all
        add chain ip ours out { type nat hook output priority -100; }
        add rule ip ours all ip daddr vmap @services comment "1c107dd1e149cc84"
        add rule ip ours out jump all comment "1bb8f73d82b7f12b"
        add element ip ours services { 192.0.2.1 : drop, 192.0.2.2 : goto all }
    "#]]
    .assert_eq(&anew(&table(), &wanted));
}

#[test]
fn what_is_there_is_left_alone() {
    let wanted = contents(&[("192.0.2.1", "drop")]);
    assert_eq!(text(&table(), &Found::of(&wanted), &wanted), None);
}

#[test]
fn only_elements_that_change_are_touched() {
    let before = contents(&[("192.0.2.1", "drop"), ("192.0.2.2", "drop"), ("192.0.2.3", "drop")]);
    let after = contents(&[("192.0.2.2", "accept"), ("192.0.2.3", "drop"), ("192.0.2.4", "drop")]);
    check(
        &before,
        &after,
        &expect![[r#"
            delete element ip ours services { 192.0.2.1, 192.0.2.2 }
            add element ip ours services { 192.0.2.2 : accept, 192.0.2.4 : drop }
        "#]],
    );
}

#[test]
fn a_part_says_nothing_of_the_rest() {
    let chains = |rules| [("one".to_owned(), chain(None, rules))].into();
    let part = |rules| Contents { chains: chains(rules), ..Contents::default() };
    check(
        &part(&["drop"]),
        &part(&["accept"]),
        &expect![[r#"
            flush chain ip ours one
            add rule ip ours one accept comment "b6b1a6b6c631377d"
        "#]],
    );
    check(
        &part(&["drop"]),
        &Contents::default(),
        &expect![[r#"
            flush chain ip ours one
            delete chain ip ours one
        "#]],
    );
}

#[test]
fn a_chain_that_is_hooked_elsewhere_is_made_anew() {
    let before = contents(&[]);
    let mut after = contents(&[]);
    let hook = "type nat hook output priority -101";
    after.chains.insert("out".to_owned(), chain(Some(hook), &["jump all"]));
    check(
        &before,
        &after,
        &expect![[r#"
            flush chain ip ours out
            delete chain ip ours out
            add chain ip ours out { type nat hook output priority -101; }
            add rule ip ours out jump all comment "df5e7c86bb1f3873"
        "#]],
    );
}

#[test]
fn what_nobody_wants_goes_after_all_that_names_it() {
    let mut before = contents(&[("192.0.2.1", "goto old")]);
    before.chains.insert("old".to_owned(), chain(None, &["ip saddr @seen drop"]));
    let seen = Set { kind: SetKind::Set, definition: "type ipv4_addr".to_owned() };
    before.sets.insert("seen".to_owned(), seen);
    check(
        &before,
        &contents(&[]),
        &expect![[r#"
            delete element ip ours services { 192.0.2.1 }
            flush chain ip ours old
            delete chain ip ours old
            delete set ip ours seen
        "#]],
    );
}

#[test]
fn a_set_of_another_make_has_the_table_made_anew() {
    let mut before = contents(&[]);
    let set = Set { kind: SetKind::Map, definition: "type ipv4_addr : mark".to_owned() };
    before.sets.insert("services".to_owned(), set);
    let changes = text(&table(), &Found::of(&before), &contents(&[])).unwrap();
    assert_eq!(changes, anew(&table(), &contents(&[])));
}
