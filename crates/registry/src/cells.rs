//! How tables tell things that many kinds have.

use std::collections::BTreeMap;

use api_machinery::LabelSelector;
use api_types::meta;

/// What tables say where there is nothing.
pub(crate) const NONE: &str = "<none>";

/// The text, or `<none>`.
pub(crate) fn or_none(text: &str) -> &str {
    if text.is_empty() { NONE } else { text }
}

/// Labels as `a=b,c=d`, or `<none>`.
pub(crate) fn labels(labels: Option<&BTreeMap<String, String>>) -> String {
    let pairs = labels.into_iter().flatten().map(|(k, v)| format!("{k}={v}"));
    or_none(&pairs.collect::<Vec<_>>().join(",")).to_owned()
}

/// A selector in its text form.
pub(crate) fn selector(selector: &meta::LabelSelector) -> String {
    match LabelSelector::try_from(selector) {
        Ok(selector) => or_none(&selector.to_string()).to_owned(),
        Err(error) => format!("<error: {error}>"),
    }
}

/// At most three of the texts, and how many more there are.
pub(crate) fn first_three(texts: &[String]) -> String {
    let shown = texts.iter().take(3).cloned().collect::<Vec<_>>().join(",");
    match texts.len() {
        0..=3 => shown,
        n => format!("{shown} + {} more...", n - 3),
    }
}
