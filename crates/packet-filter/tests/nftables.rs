//! The kernel's rules, in a network namespace of the test. Needs root and nft.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::{process::Command, thread};

use nix::sched::{CloneFlags, unshare};
use packet_filter::{
    Error,
    nftables::{Chain, Contents, Found, Set, SetKind, Table},
};

/// Runs on a thread with a network namespace of its own, which ends with it.
fn in_a_namespace(test: impl AsyncFnOnce(Table) + Send + 'static) {
    let run = || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace (needs root)");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test(Table { family: "ip", name: "ours".to_owned() }));
    };
    thread::spawn(run).join().unwrap();
}

fn nft(command: &str) -> String {
    let output = Command::new("nft").args(command.split(' ')).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn chain(hook: Option<&str>, rules: &[&str]) -> Chain {
    Chain {
        hook: hook.map(str::to_owned),
        rules: rules.iter().map(|rule| (*rule).to_owned()).collect(),
    }
}

fn set(kind: SetKind, definition: &str) -> Set {
    Set { kind, definition: definition.to_owned() }
}

const ENDPOINTS: &str =
    "typeof ip daddr . meta l4proto . th dport . numgen random mod 2 : ip daddr . tcp dport";
const SERVE: &str = "ip daddr . meta l4proto . th dport vmap @services";
const REMEMBER: &str = "ip saddr @clients update @clients { ip saddr timeout 10s }";
const PICK: &str =
    "dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 2 map @endpoints";

/// Every way of writing that services and policies need.
fn contents() -> Contents {
    let chains = [
        ("output", chain(Some("type nat hook output priority -101"), &["jump services"])),
        ("services", chain(None, &[SERVE])),
        ("pick-2", chain(None, &["ip saddr @ranges drop", REMEMBER, PICK])),
    ];
    let sets = [
        ("services", set(SetKind::Map, "type ipv4_addr . inet_proto . inet_service : verdict")),
        ("endpoints", set(SetKind::Map, ENDPOINTS)),
        ("clients", set(SetKind::Set, "type ipv4_addr; flags dynamic,timeout; size 1024")),
        ("ranges", set(SetKind::Set, "type ipv4_addr; flags interval")),
    ];
    let elements = [
        ("services", "192.0.2.1 . tcp . 80", "goto pick-2"),
        ("services", "192.0.2.1 . udp . 53", "drop"),
        ("endpoints", "192.0.2.1 . tcp . 80 . 0", "198.51.100.1 . 8080"),
        ("endpoints", "192.0.2.1 . tcp . 80 . 1", "198.51.100.2 . 8080"),
        ("ranges", "203.0.113.0/24", ""),
        ("ranges", "198.51.100.7", ""),
        ("ranges", "192.0.2.3-192.0.2.9", ""),
    ];
    let element = |(set, key, value): (&str, &str, &str)| {
        ((set.to_owned(), key.to_owned()), value.to_owned())
    };
    Contents {
        chains: chains.into_iter().map(|(name, chain)| (name.to_owned(), chain)).collect(),
        sets: sets.into_iter().map(|(name, set)| (name.to_owned(), set)).collect(),
        elements: elements.into_iter().map(element).collect(),
    }
}

async fn as_wanted(table: &Table) -> bool {
    table.read().await.unwrap() == Some(Found::of(&contents()))
}

#[test]
fn what_was_written_is_read_as_it_was_written() {
    in_a_namespace(async |table| {
        assert_eq!(table.read().await.unwrap(), None);
        assert!(table.ensure(&contents()).await.unwrap());
        assert_eq!(table.read().await.unwrap(), Some(Found::of(&contents())));
        assert!(!table.ensure(&contents()).await.unwrap(), "it is as it should be");
        assert!(table.read_rules().await.unwrap().unwrap().has_rules_of(&contents()));
        table.remove().await.unwrap();
        table.remove().await.unwrap();
        assert_eq!(table.read().await.unwrap(), None);
    });
}

#[test]
fn what_somebody_has_changed_comes_back_and_theirs_goes() {
    in_a_namespace(async |table| {
        nft("add table ip theirs");
        table.ensure(&contents()).await.unwrap();
        nft("add element ip ours clients { 192.0.2.77 timeout 1h }");
        for change in [
            "flush chain ip ours services",
            "insert rule ip ours services accept",
            "add chain ip ours surplus { type filter hook input priority 0; policy drop; }",
            "delete element ip ours endpoints { 192.0.2.1 . tcp . 80 . 1 }",
            "add element ip ours services { 192.0.2.9 . tcp . 80 : drop }",
            "add set ip ours surplus { type ipv4_addr; }",
        ] {
            nft(change);
            assert!(table.ensure(&contents()).await.unwrap(), "{change}");
            assert!(as_wanted(&table).await, "{change}");
        }
        assert!(nft("list ruleset").contains("192.0.2.77"), "the kernel's own elements stay");
        nft("delete table ip ours");
        assert!(table.ensure(&contents()).await.unwrap());
        assert!(nft("list tables").contains("theirs"));
    });
}

#[test]
fn a_change_that_is_refused_changes_nothing() {
    in_a_namespace(async |table| {
        table.ensure(&contents()).await.unwrap();
        let mut wanted = contents();
        let dangling = ("services".to_owned(), "192.0.2.5 . tcp . 80".to_owned());
        wanted.elements.insert(dangling, "goto nowhere".to_owned());
        wanted.chains.remove("output");
        let refused = table.ensure(&wanted).await;
        assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
        assert!(as_wanted(&table).await);
    });
}

#[test]
fn a_table_of_another_make_is_made_anew_with_all_that_is_in_it() {
    in_a_namespace(async |table| {
        let mut old = contents();
        let ranges = set(SetKind::Set, "type ipv4_addr; flags interval; size 9");
        old.sets.insert("ranges".to_owned(), ranges);
        let before = chain(Some("type nat hook output priority -100"), &["accept"]);
        old.chains.insert("before".to_owned(), before);
        table.ensure(&old).await.unwrap();
        assert!(table.ensure(&contents()).await.unwrap());
        assert!(as_wanted(&table).await);
    });
}
