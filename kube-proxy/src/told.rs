//! What is wrong is told once, and again only if the reason changes.

use std::collections::BTreeMap;

/// What is wrong now and was not for this reason before.
pub(crate) fn news<'a>(
    told: &BTreeMap<String, String>,
    wrong: &'a BTreeMap<String, String>,
) -> Vec<(&'a str, &'a str)> {
    let new = |(subject, why): &(&String, &String)| told.get(*subject) != Some(why);
    wrong.iter().filter(new).map(|(subject, why)| (subject.as_str(), why.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reasons(reasons: &[(&str, &str)]) -> BTreeMap<String, String> {
        reasons.iter().map(|(node, why)| ((*node).to_owned(), (*why).to_owned())).collect()
    }

    #[test]
    fn only_what_is_new_is_told() {
        let before = reasons(&[("n2", "far"), ("n3", "far")]);
        assert_eq!(news(&BTreeMap::new(), &before), [("n2", "far"), ("n3", "far")]);
        assert_eq!(news(&before, &before), []);
        assert_eq!(news(&before, &reasons(&[("n2", "in the way")])), [("n2", "in the way")]);
    }
}
