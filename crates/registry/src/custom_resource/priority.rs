//! Which of several versions clients prefer (Kubernetes: `version.CompareKubeAwareVersionStrings`).

use std::cmp::Reverse;

/// Sorts what is stable before what is beta, that before what is alpha, and of these the latest first; other names come
/// after them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Priority(u8, Reverse<(u64, u64)>, String);

impl Priority {
    /// That of a version: `v1beta2`.
    #[must_use]
    pub fn of(version: &str) -> Self {
        match numbers(version) {
            Some((stage, major, minor)) => Self(stage, Reverse((major, minor)), String::new()),
            None => Self(u8::MAX, Reverse((0, 0)), version.to_owned()),
        }
    }
}

fn numbers(version: &str) -> Option<(u8, u64, u64)> {
    let rest = version.strip_prefix('v')?;
    let stages = [(1, "beta"), (2, "alpha")].into_iter();
    let split = |(stage, word)| rest.split_once(word).map(|(major, minor)| (stage, major, minor));
    match stages.filter_map(split).next() {
        Some((stage, major, minor)) => Some((stage, number(major)?, number(minor)?)),
        None => Some((0, number(rest)?, 0)),
    }
}

fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_the_order_that_kubernetes_has_for_them() {
        let expected = [
            "v10",
            "v2",
            "v1",
            "v11beta2",
            "v10beta3",
            "v3beta1",
            "v12alpha1",
            "v11alpha2",
            "foo1",
            "foo10",
            "v01",
            "vbeta",
        ];
        let mut versions = expected;
        versions.reverse();
        versions.sort_by_key(|version| Priority::of(version));
        assert_eq!(versions, expected);
    }
}
