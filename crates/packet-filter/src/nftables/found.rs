//! What there is of a table. Pure: from what `nft -j` lists.

use std::collections::BTreeMap;

use serde_json::Value;

use super::contents::{Chain, Contents};

/// What there is of a table, or of a part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The digests of the rules of a chain, in their order; of one of somebody else, nothing.
    pub(super) chains: BTreeMap<String, Vec<String>>,
    /// The digest of each.
    pub(super) sets: BTreeMap<String, String>,
    /// As in [`Contents`].
    pub(super) elements: BTreeMap<(String, String), String>,
}

impl Found {
    /// As if this were there.
    #[must_use]
    pub fn of(contents: &Contents) -> Self {
        let chains = contents.chains.iter();
        let sets = contents.sets.iter();
        Found {
            chains: chains.map(|(name, it)| (name.clone(), it.digests().collect())).collect(),
            sets: sets.map(|(name, set)| (name.clone(), set.digest())).collect(),
            elements: contents.elements.clone(),
        }
    }

    /// Whether chains and sets are those of the contents, whatever the elements.
    #[must_use]
    pub fn has_rules_of(&self, contents: &Contents) -> bool {
        let other = Found::of(contents);
        self.chains == other.chains && self.sets == other.sets
    }

    /// The elements, by set and key.
    #[must_use]
    pub fn elements(&self) -> &BTreeMap<(String, String), String> {
        &self.elements
    }

    /// What there is otherwise than the contents say, in words.
    pub(super) fn differences(&self, wanted: &Contents) -> Vec<String> {
        let wanted = Found::of(wanted);
        let chains = differing(&self.chains, &wanted.chains, |name| format!("chain {name}"));
        let sets = differing(&self.sets, &wanted.sets, |name| format!("set {name}"));
        let element = |(set, key): &(String, String)| format!("element {key} of set {set}");
        let elements = differing(&self.elements, &wanted.elements, element);
        chains.into_iter().chain(sets).chain(elements).collect()
    }

    pub(super) fn has(&self, name: &str, chain: &Chain) -> bool {
        self.chains.get(name).is_some_and(|there| chain.digests().eq(there.iter().cloned()))
    }

    pub(super) fn parse(json: &str) -> Result<Self, serde_json::Error> {
        let listed: Value = serde_json::from_str(json)?;
        let mut found = Found::default();
        for entry in listed["nftables"].as_array().into_iter().flatten() {
            found.take(entry);
        }
        Ok(found)
    }

    fn take(&mut self, entry: &Value) {
        if let Some(chain) = entry.get("chain") {
            self.chains.entry(text(&chain["name"])).or_default();
        } else if let Some(rule) = entry.get("rule") {
            let rules = self.chains.entry(text(&rule["chain"])).or_default();
            rules.push(text(&rule["comment"]));
        } else if let Some(set) = entry.get("set").or(entry.get("map")) {
            self.take_set(set);
        }
    }

    fn take_set(&mut self, set: &Value) {
        let name = text(&set["name"]);
        self.sets.insert(name.clone(), text(&set["comment"]));
        let flags = set["flags"].as_array().into_iter().flatten();
        // What it holds is the kernel's own.
        if flags.into_iter().any(|flag| flag == "timeout") {
            return;
        }
        let map = set.get("map").is_some();
        for element in set["elem"].as_array().into_iter().flatten() {
            let (key, value) = match element.as_array() {
                Some(pair) if map && pair.len() == 2 => (text(&pair[0]), text(&pair[1])),
                _ => (text(element), String::new()),
            };
            self.elements.insert((name.clone(), key), value);
        }
    }
}

fn differing<K: Ord, V: PartialEq>(
    found: &BTreeMap<K, V>,
    wanted: &BTreeMap<K, V>,
    named: impl Fn(&K) -> String,
) -> Vec<String> {
    let fault = |(key, value): (&K, &V)| match found.get(key) {
        None => Some(format!("{} is missing", named(key))),
        Some(there) => (there != value).then(|| format!("{} is not as it should be", named(key))),
    };
    let left = found.keys().filter(|key| !wanted.contains_key(key));
    let left = left.map(|key| format!("{} is left over", named(key)));
    wanted.iter().filter_map(fault).chain(left).collect()
}

/// As it would be written.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) => match fields.iter().next() {
            Some((name, inner)) => expression(name, inner),
            None => String::new(),
        },
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn expression(name: &str, inner: &Value) -> String {
    let parts = || inner.as_array().into_iter().flatten().map(text).collect::<Vec<_>>();
    match name {
        "concat" => parts().join(" . "),
        "range" => parts().join("-"),
        "prefix" => format!("{}/{}", text(&inner["addr"]), text(&inner["len"])),
        "elem" => text(&inner["val"]),
        "goto" | "jump" => format!("{name} {}", text(&inner["target"])),
        // `accept`, `drop`.
        verdict => verdict.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What nft 1.0.6 lists, shortened.
    const LISTED: &str = include_str!("listed.json");

    #[test]
    fn what_nft_lists_is_understood() {
        let found = Found::parse(LISTED).unwrap();
        let chains: Vec<_> =
            found.chains.iter().map(|(name, it)| (&**name, it.join(","))).collect();
        assert_eq!(chains, [("pick-3", "yy,zz,".to_owned()), ("services", "x1".to_owned())]);
        let sets: Vec<_> = found.sets.iter().map(|(name, it)| (&**name, &**it)).collect();
        assert_eq!(
            sets,
            [("clients", "ghi"), ("endpoints", "def"), ("ranges", ""), ("services", "abc")]
        );
        let elements = found.elements.iter();
        let elements = elements.map(|((set, key), value)| format!("{set} {key}: {value}"));
        let elements: Vec<_> = elements.collect();
        assert_eq!(
            elements,
            [
                "endpoints 10.96.0.1 . tcp . 80 . 0: 10.244.0.1 . 8080",
                "ranges 192.0.2.0/24: ",
                "ranges 198.51.100.1-198.51.100.9: ",
                "ranges 203.0.113.7: ",
                "services 10.96.0.1 . tcp . 80: goto pick-3",
                "services 10.96.0.1 . udp . 53: drop",
            ]
        );
    }

    #[test]
    fn differences_are_told_by_what_is_missing_left_over_or_otherwise() {
        let chain = |rule: &str| Chain { hook: None, rules: vec![rule.to_owned()] };
        let contents = |chains: &[(&str, &str)], elements: &[(&str, &str)]| Contents {
            chains: chains.iter().map(|(name, rule)| ((*name).to_owned(), chain(rule))).collect(),
            elements: elements
                .iter()
                .map(|(key, value)| (("m".to_owned(), (*key).to_owned()), (*value).to_owned()))
                .collect(),
            ..Contents::default()
        };
        let wanted = contents(&[("a", "drop"), ("b", "drop")], &[("1", "x"), ("2", "x")]);
        assert_eq!(Found::of(&wanted).differences(&wanted), [""; 0]);
        let found =
            Found::of(&contents(&[("a", "accept"), ("c", "drop")], &[("1", "y"), ("3", "")]));
        assert_eq!(
            found.differences(&wanted),
            [
                "chain a is not as it should be",
                "chain b is missing",
                "chain c is left over",
                "element 1 of set m is not as it should be",
                "element 2 of set m is missing",
                "element 3 of set m is left over",
            ]
        );
    }

    #[test]
    fn what_is_no_listing_is_refused_and_an_empty_one_is_none() {
        assert!(Found::parse("Error: no").is_err());
        assert_eq!(Found::parse("{\"nftables\": []}").unwrap(), Found::default());
    }
}
