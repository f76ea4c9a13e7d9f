//! What to change of a table. Pure: from what is there and what is wanted to the text of a transaction.

use std::fmt::Write;

use super::{
    contents::{Chain, Contents, Set, Table},
    found::Found,
};

/// Makes of what is there of a part what is wanted of it; `None` if it is. A set that is another one now is
/// what no rule that uses it may be there for: then the table is made anew, which only the owner of all of it may ask for.
pub(super) fn text(table: &Table, found: &Found, wanted: &Contents) -> Option<String> {
    let other = |(name, set): (&String, &Set)| {
        found.sets.get(name).is_some_and(|digest| *digest != set.digest())
    };
    if wanted.sets.iter().any(other) {
        return Some(anew(table, wanted));
    }
    let mut script = Script::new(table);
    script.go_on(found, wanted);
    (!script.text.is_empty()).then_some(script.text)
}

/// All of it, whatever was there.
pub(super) fn anew(table: &Table, wanted: &Contents) -> String {
    let mut script = Script { table, text: gone(table) };
    script.line("add", "table", "");
    script.go_on(&Found::default(), wanted);
    script.text
}

pub(super) fn gone(table: &Table) -> String {
    let mut script = Script::new(table);
    // Of one that is not there `delete` is refused.
    script.line("add", "table", "");
    script.line("delete", "table", "");
    script.text
}

struct Script<'a> {
    table: &'a Table,
    text: String,
}

impl<'a> Script<'a> {
    fn new(table: &'a Table) -> Self {
        Script { table, text: String::new() }
    }

    fn line(&mut self, verb: &str, what: &str, rest: &str) {
        let Table { family, name } = self.table;
        let line = format!("{verb} {what} {family} {name} {rest}");
        let _ = writeln!(self.text, "{}", line.trim_end());
    }

    /// Whatever is named is there when it is named, and named by nothing any more when it goes.
    fn go_on(&mut self, found: &Found, wanted: &Contents) {
        self.add_sets(found, wanted);
        self.remove_elements(found, wanted);
        let chains: Vec<_> =
            wanted.chains.iter().filter(|(name, chain)| !found.has(name, chain)).collect();
        chains.iter().for_each(|(name, chain)| self.empty_chain(found, name, chain));
        chains.iter().for_each(|(name, chain)| self.add_rules(name, chain));
        self.add_elements(found, wanted);
        self.remove_chains(found, wanted);
        for name in found.sets.keys().filter(|name| !wanted.sets.contains_key(*name)) {
            self.line("delete", "set", name);
        }
    }

    fn add_sets(&mut self, found: &Found, wanted: &Contents) {
        for (name, set) in wanted.sets.iter().filter(|(name, _)| !found.sets.contains_key(*name)) {
            let rest = format!("{name} {{ {}; comment \"{}\"; }}", set.definition, set.digest());
            self.line("add", set.kind.word(), &rest);
        }
    }

    fn empty_chain(&mut self, found: &Found, name: &str, chain: &Chain) {
        match (found.chains.contains_key(name), &chain.hook) {
            (true, None) => self.line("flush", "chain", name),
            (there, Some(hook)) => {
                if there {
                    // Where a chain is hooked can't be changed.
                    self.line("flush", "chain", name);
                    self.line("delete", "chain", name);
                }
                self.line("add", "chain", &format!("{name} {{ {hook}; }}"));
            }
            (false, None) => self.line("add", "chain", name),
        }
    }

    fn add_rules(&mut self, name: &str, chain: &Chain) {
        for (rule, digest) in chain.rules.iter().zip(chain.digests()) {
            self.line("add", "rule", &format!("{name} {rule} comment \"{digest}\""));
        }
    }

    fn remove_chains(&mut self, found: &Found, wanted: &Contents) {
        let gone: Vec<_> =
            found.chains.keys().filter(|name| !wanted.chains.contains_key(*name)).collect();
        // They may name one another.
        gone.iter().for_each(|name| self.line("flush", "chain", name));
        gone.iter().for_each(|name| self.line("delete", "chain", name));
    }

    /// Those that are not as they should be, too: an element can't be changed.
    fn remove_elements(&mut self, found: &Found, wanted: &Contents) {
        let gone =
            found.elements.iter().filter(|(key, value)| wanted.elements.get(*key) != Some(*value));
        self.elements("delete", gone.map(|((set, key), _)| (set, key.clone())));
    }

    fn add_elements(&mut self, found: &Found, wanted: &Contents) {
        let new =
            wanted.elements.iter().filter(|(key, value)| found.elements.get(*key) != Some(*value));
        let element = |key: &str, value: &str| match value {
            "" => key.to_owned(),
            value => format!("{key} : {value}"),
        };
        self.elements("add", new.map(|((set, key), value)| (set, element(key, value))));
    }

    /// A line for each set: they come in its order.
    fn elements<'e>(&mut self, verb: &str, elements: impl Iterator<Item = (&'e String, String)>) {
        let mut of_sets: Vec<(&String, Vec<String>)> = Vec::new();
        for (set, element) in elements {
            match of_sets.last_mut() {
                Some((last, all)) if *last == set => all.push(element),
                _ => of_sets.push((set, vec![element])),
            }
        }
        for (set, elements) in of_sets {
            self.line(verb, "element", &format!("{set} {{ {} }}", elements.join(", ")));
        }
    }
}

#[cfg(test)]
#[path = "changes_tests.rs"]
mod tests;
