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
    fn what_is_no_listing_is_refused_and_an_empty_one_is_none() {
        assert!(Found::parse("Error: no").is_err());
        assert_eq!(Found::parse("{\"nftables\": []}").unwrap(), Found::default());
    }
}
