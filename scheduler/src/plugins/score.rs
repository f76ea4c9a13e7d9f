//! What the plugins count in their own units, made comparable.

/// The best score. Kubernetes' is 100; this one has finer steps, so that a strategy that counts pods tells
/// 1,000 from 1,001.
pub(super) const FULL: i64 = 1 << 31;

/// A share of the full score: 1 is all of it.
pub(super) fn share(of_one: f64) -> i64 {
    (of_one.clamp(0.0, 1.0) * FULL as f64) as i64
}

/// The highest count has the full score and zero has none. `None` if all are equal.
pub(super) fn highest_is_best(counts: impl Iterator<Item = u32>) -> Option<Vec<i64>> {
    let counts: Vec<i64> = counts.map(i64::from).collect();
    let highest = counts.iter().copied().max()?;
    if counts.iter().all(|count| *count == highest) {
        return None;
    }
    Some(counts.into_iter().map(|count| count * FULL / highest).collect())
}

/// Zero has the full score and the highest count has none. `None` if all are equal.
pub(super) fn lowest_is_best(counts: impl Iterator<Item = u32>) -> Option<Vec<i64>> {
    let mut scores = highest_is_best(counts)?;
    scores.iter_mut().for_each(|score| *score = FULL - *score);
    Some(scores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_shares_of_the_highest_count() {
        let check = |counts: &[u32], highest: Option<&[i64]>, lowest: Option<&[i64]>| {
            assert_eq!(highest_is_best(counts.iter().copied()).as_deref(), highest, "{counts:?}");
            assert_eq!(lowest_is_best(counts.iter().copied()).as_deref(), lowest, "{counts:?}");
        };
        check(&[], None, None);
        check(&[0, 0], None, None);
        check(&[0, 5, 10], Some(&[0, FULL / 2, FULL]), Some(&[FULL, FULL / 2, 0]));
        check(&[7, 7], None, None);
    }

    #[test]
    fn different_counts_have_different_scores() {
        let scores = highest_is_best([99_999, 100_000, u32::MAX / 2].into_iter()).unwrap();
        assert!(scores.is_sorted_by(|a, b| a < b), "{scores:?}");
    }
}
