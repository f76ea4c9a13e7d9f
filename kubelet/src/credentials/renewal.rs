//! When a certificate is renewed. Pure.

use std::time::Duration;

use certificates::Validity;
use sha2::{Digest, Sha256};

/// When a certificate is renewed, in seconds since 1970: when 70 to 90 % of its time are over, not of all nodes at once
/// (Kubernetes: `client-go/util/certificate`).
pub(super) fn due(validity: Validity, node: &str) -> i64 {
    let total = validity.not_after - validity.not_before;
    let spread = i64::from(Sha256::digest(node.as_bytes()).first().copied().unwrap_or_default());
    validity.not_before + total * 7 / 10 + total / 5 * spread / 255
}

/// How long to wait before asking anew, after so many requests in a row that were refused or left undecided: each stays with
/// the API server for hours.
pub(super) fn pause(fruitless: u32) -> Duration {
    const FIRST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(15 * 60);
    FIRST.saturating_mul(2_u32.saturating_pow(fruitless)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_refused_asks_ever_less_often() {
        let pauses = [1, 2, 9, 10, 100].map(|fruitless| pause(fruitless).as_secs());
        assert_eq!(pauses, [2, 4, 512, 900, 900]);
    }

    #[test]
    fn certificates_are_renewed_late_and_not_all_at_once() {
        let validity = Validity { not_before: 1000, not_after: 2000 };
        let all: Vec<_> = (0..50).map(|n| due(validity, &format!("n{n}"))).collect();
        assert!(all.iter().all(|due| (1700..=1900).contains(due)), "{all:?}");
        let (first, last) = (all.iter().min(), all.iter().max());
        assert!(last.zip(first).is_some_and(|(last, first)| last - first > 100), "{all:?}");
        assert_eq!(due(validity, "n1"), due(validity, "n1"));
    }
}
