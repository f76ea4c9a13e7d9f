//! Which checks are run at a level and a version.

use api_types::{api::core::v1::PodSpec, meta::ObjectMeta};

use crate::{
    Level, LevelVersion, Version, Violation,
    check::Check,
    checks::{BASELINE, RESTRICTED},
    pod::Pod,
};

/// What a pod, or a template of one, violates of a level as it was at a version; a version that is not known yet is
/// the newest that is. Of the metadata, the annotations count.
#[must_use]
pub fn evaluate(at: LevelVersion, metadata: &ObjectMeta, spec: &PodSpec) -> Vec<Violation> {
    let minor = match at.version {
        Version::V1(minor) => minor,
        Version::Latest => u64::MAX,
    };
    let pod = Pod::new(metadata, spec);
    checks_of(at.level, minor)
        .filter_map(|check| check.revision(minor))
        .filter_map(|revision| (revision.verdict)(&pod))
        .collect()
}

/// First those of the baseline: whoever is restricted must pass them too, but for those that a stricter one replaces.
fn checks_of(level: Level, minor: u64) -> impl Iterator<Item = &'static Check> {
    let (baseline, restricted): (&[&Check], &[&Check]) = match level {
        Level::Privileged => (&[], &[]),
        Level::Baseline => (&BASELINE, &[]),
        Level::Restricted => (&BASELINE, &RESTRICTED),
    };
    let is_replaced = move |check: &&&Check| {
        let mut stricter = restricted.iter().filter(|stricter| stricter.revision(minor).is_some());
        stricter.any(|stricter| stricter.replaces == Some(check.id))
    };
    baseline.iter().filter(move |check| !is_replaced(check)).chain(restricted).copied()
}
