//! Names of hosts, of which the first label may be `*`: any labels, one at least.

/// All hosts.
pub const ANY: &str = "";

/// Whether all hosts of the one are hosts of the other.
#[must_use]
pub fn covers(wide: &str, narrow: &str) -> bool {
    if wide == ANY || wide == narrow {
        return true;
    }
    let Some(suffix) = wide.strip_prefix('*') else { return false };
    let host = narrow.strip_prefix('*').unwrap_or(narrow);
    // `*.a` has `x.a`, `*.x.a`, but not `a`.
    host.len() > suffix.len() && host.ends_with(suffix)
}

/// The hosts that both have; nothing if there are none.
#[must_use]
pub fn both<'a>(one: &'a str, other: &'a str) -> Option<&'a str> {
    match (covers(one, other), covers(other, one)) {
        (true, _) => Some(other),
        (_, true) => Some(one),
        _ => None,
    }
}

/// What is said about fewer hosts counts before what is said about more: characters of a name, then of a wildcard.
#[must_use]
pub fn specificity(host: &str) -> (bool, usize) {
    (host != ANY && !host.starts_with('*'), host.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_for_one_label_or_more() {
        for (wide, narrow, expected) in [
            ("", "a.test", true),
            ("", "", true),
            ("a.test", "a.test", true),
            ("a.test", "", false),
            ("*.test", "a.test", true),
            ("*.test", "b.a.test", true),
            ("*.test", "test", false),
            ("*.test", "atest", false),
            ("*.test", "*.a.test", true),
            ("*.a.test", "*.test", false),
            ("*.test", "*.test", true),
            ("*.a.test", "*.ba.test", false),
        ] {
            assert_eq!(covers(wide, narrow), expected, "{wide} {narrow}");
        }
        assert_eq!(both("*.a.test", "*.test"), Some("*.a.test"));
        assert_eq!(both("*.a.test", "b.test"), None);
        let ordered = ["", "*.test", "*.a.test", "a.test", "b.a.test"];
        assert!(ordered.is_sorted_by_key(|host| specificity(host)));
    }
}
