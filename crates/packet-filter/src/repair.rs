//! What to change to have the rules that should be there. Pure: from what iptables lists to the text of
//! `iptables-restore --noflush`.

use crate::{Chain, Jump, Table};

/// The text that makes the table what it should be; `None` if it is.
pub(crate) fn text(wanted: &Table, found: &[String]) -> Option<String> {
    let changes: Vec<String> =
        wanted.jumps.iter().flat_map(|jump| repair_jump(jump, found)).collect();
    if changes.is_empty() && wanted.chains.iter().all(|chain| is_there(chain, found)) {
        return None;
    }
    let mut text = format!("*{}\n", wanted.name);
    // Declaring a chain empties it.
    for chain in &wanted.chains {
        text.push_str(&format!(":{} - [0:0]\n", chain.name));
    }
    for Chain { name, rules } in &wanted.chains {
        text.extend(rules.iter().map(|rule| format!("-A {name} {rule}\n")));
    }
    text.extend(changes);
    Some(text + "COMMIT\n")
}

/// The text that removes these chains of a table; `None` if there are none.
pub(crate) fn removal(table: &str, chains: &[&str], found: &[String]) -> Option<String> {
    let is_declared = |chain: &&&str| found.contains(&format!("-N {chain}"));
    let chains: Vec<_> = chains.iter().filter(is_declared).collect();
    if chains.is_empty() {
        return None;
    }
    let leads_there =
        |rule: &&str| chains.iter().any(|chain| rule.ends_with(&format!(" -j {chain}")));
    let rules = found.iter().filter_map(|line| line.strip_prefix("-A "));
    let mut text = format!("*{table}\n");
    text.extend(rules.filter(leads_there).map(|rule| format!("-D {rule}\n")));
    text.extend(chains.iter().map(|chain| format!("-F {chain}\n")));
    text.extend(chains.iter().map(|chain| format!("-X {chain}\n")));
    Some(text + "COMMIT\n")
}

/// What is not as it should be, in words.
pub(crate) fn differences(wanted: &Table, found: &[String]) -> Vec<String> {
    let chains = wanted.chains.iter().filter(|chain| !is_there(chain, found));
    let chains = chains.map(|Chain { name, .. }| {
        format!("chain {name} of table {} is missing or not as it should be", wanted.name)
    });
    let jumps = wanted.jumps.iter().filter(|jump| !repair_jump(jump, found).is_empty());
    let jumps = jumps.map(|Jump { from, to, .. }| {
        format!("chain {from} of table {} does not lead to {to} once and as it should", wanted.name)
    });
    chains.chain(jumps).collect()
}

/// The rules of a chain, without `-A` and its name.
pub(crate) fn rules<'a>(found: &'a [String], chain: &str) -> impl Iterator<Item = &'a str> {
    let start = format!("-A {chain} ");
    found.iter().filter_map(move |line| line.strip_prefix(&*start))
}

fn is_there(chain: &Chain, found: &[String]) -> bool {
    let declared = format!("-N {}", chain.name);
    found.contains(&declared) && rules(found, &chain.name).eq(chain.rules.iter())
}

/// One jump, not none and not two, and as it should be.
fn repair_jump(jump: &Jump, found: &[String]) -> Vec<String> {
    let Jump { from, matches, to } = jump;
    let target = format!("-j {to}");
    let rule = if matches.is_empty() { target.clone() } else { format!("{matches} {target}") };
    let there: Vec<&str> = rules(found, from).filter(|rule| rule.ends_with(&target)).collect();
    if there == [rule.as_str()] {
        return Vec::new();
    }
    let old = there.iter().map(|rule| format!("-D {from} {rule}\n"));
    old.chain(std::iter::once(format!("-I {from} 1 {rule}\n"))).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn wanted() -> Table {
        let chain = |name: &str, rules: &[&str]| Chain {
            name: name.to_owned(),
            rules: rules.iter().map(|rule| (*rule).to_owned()).collect(),
        };
        let jump = |from, matches: &str, to: &str| Jump {
            from,
            matches: matches.to_owned(),
            to: to.to_owned(),
        };
        Table {
            name: "nat",
            chains: vec![
                chain("OURS", &["-s 192.0.2.0/24 -j ACCEPT", "-j RETURN"]),
                chain("NONE", &[]),
            ],
            jumps: vec![
                jump("OUTPUT", "! -d 192.0.2.0/24", "OURS"),
                jump("POSTROUTING", "", "NONE"),
            ],
        }
    }

    const FOUND: &str = "-P OUTPUT ACCEPT
-P POSTROUTING ACCEPT
-N NONE
-N OURS
-N THEIRS
-A OUTPUT -j THEIRS
-A OUTPUT ! -d 192.0.2.0/24 -j OURS
-A POSTROUTING -j NONE
-A OURS -s 192.0.2.0/24 -j ACCEPT
-A OURS -j RETURN
-A THEIRS -j RETURN";

    fn changes(found: &str) -> Option<String> {
        text(&wanted(), &found.lines().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_host_without_rules_gets_all_of_them() {
        expect![[r"
            *nat
            :OURS - [0:0]
            :NONE - [0:0]
            -A OURS -s 192.0.2.0/24 -j ACCEPT
            -A OURS -j RETURN
            -I OUTPUT 1 ! -d 192.0.2.0/24 -j OURS
            -I POSTROUTING 1 -j NONE
            COMMIT
        "]]
        .assert_eq(&changes("-P OUTPUT ACCEPT").unwrap());
    }

    #[test]
    fn what_is_there_is_left_alone() {
        assert_eq!(changes(FOUND), None);
    }

    /// The lines about built-in chains.
    fn jumps(found: &str) -> Vec<String> {
        let text = changes(found).expect("something is to be changed");
        let of_jumps = text.lines().filter(|l| l.starts_with("-I") || l.starts_with("-D"));
        of_jumps.map(str::to_owned).collect()
    }

    #[test]
    fn a_chain_that_is_not_as_it_should_be_is_written_anew() {
        for (old, new) in [
            ("-A OURS -j RETURN\n", ""),
            ("-A OURS -j RETURN\n", "-A OURS -j RETURN\n-A OURS -j DROP\n"),
            ("-N NONE\n", ""),
        ] {
            assert_eq!(jumps(&FOUND.replace(old, new)), [""; 0], "{old:?} -> {new:?}");
        }
    }

    #[test]
    fn a_jump_is_there_once_and_as_it_should_be() {
        let (jump, insert) = ("-A POSTROUTING -j NONE\n", "-I POSTROUTING 1 -j NONE");
        assert_eq!(jumps(&FOUND.replace(jump, "")), [insert]);
        let delete = "-D POSTROUTING -j NONE";
        assert_eq!(jumps(&FOUND.replace(jump, &jump.repeat(2))), [delete, delete, insert]);
        assert_eq!(
            jumps(&FOUND.replace("! -d 192.0.2.0/24 -j", "! -d 198.51.100.0/24 -j")),
            ["-D OUTPUT ! -d 198.51.100.0/24 -j OURS", "-I OUTPUT 1 ! -d 192.0.2.0/24 -j OURS"]
        );
    }

    #[test]
    fn differences_are_told_where_something_would_be_changed() {
        let told = |found: &str| {
            differences(&wanted(), &found.lines().map(str::to_owned).collect::<Vec<_>>())
        };
        assert_eq!(told(FOUND), [""; 0]);
        let chain = "chain OURS of table nat is missing or not as it should be";
        let jump = "chain POSTROUTING of table nat does not lead to NONE once and as it should";
        let spoilt = FOUND.replace("-A OURS -j RETURN\n", "");
        assert_eq!(told(&spoilt), [chain]);
        assert_eq!(told(&spoilt.replace("-A POSTROUTING -j NONE\n", "")), [chain, jump]);
    }

    #[test]
    fn a_chain_that_goes_takes_what_leads_there_along() {
        let removed = |chains: &[&str]| {
            removal("nat", chains, &FOUND.lines().map(str::to_owned).collect::<Vec<_>>())
        };
        expect![[r"
            *nat
            -D OUTPUT ! -d 192.0.2.0/24 -j OURS
            -D POSTROUTING -j NONE
            -F OURS
            -F NONE
            -X OURS
            -X NONE
            COMMIT
        "]]
        .assert_eq(&removed(&["OURS", "NONE", "OTHER"]).unwrap());
        assert_eq!(removed(&["OTHER"]), None);
    }

    #[test]
    fn the_rules_of_a_chain_are_told_from_others() {
        let found: Vec<_> = FOUND.lines().map(str::to_owned).collect();
        let of = |chain| rules(&found, chain).collect::<Vec<_>>();
        assert_eq!(of("OURS"), ["-s 192.0.2.0/24 -j ACCEPT", "-j RETURN"]);
        assert_eq!((of("NONE"), of("OUR")), (vec![], vec![]));
    }
}
