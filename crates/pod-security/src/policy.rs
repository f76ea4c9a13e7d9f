//! What is enforced on the pods of a namespace, what is audited, and what is warned of.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
};

use crate::{
    InvalidLabel, Level, Version,
    label::{self, Reading},
};

/// A level as it was at a version, written e.g. `restricted:v1.25`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LevelVersion {
    /// The level.
    pub level: Level,
    /// The version.
    pub version: Version,
}

/// The policy of a namespace; by default all is allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What violates this is refused.
    pub enforce: LevelVersion,
    /// What violates this is noted in the audit log.
    pub audit: LevelVersion,
    /// What violates this is answered with a warning.
    pub warn: LevelVersion,
}

impl Display for LevelVersion {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.level, self.version)
    }
}

impl Policy {
    /// What a namespace's labels ask for, the defaults where they say nothing; always a policy, whatever is wrong with
    /// them: an unreadable level is `restricted` where it is enforced and `privileged` elsewhere, an unreadable version
    /// `latest`. Without a level of its own, a warning is given at the enforced one if that is stricter.
    #[must_use]
    pub fn of_labels(
        labels: &BTreeMap<String, String>,
        defaults: Self,
    ) -> (Self, Vec<InvalidLabel>) {
        let mut faults = Vec::new();
        let enforce = Mode::read(labels, label::ENFORCE, label::ENFORCE_VERSION, &mut faults);
        let audit = Mode::read(labels, label::AUDIT, label::AUDIT_VERSION, &mut faults);
        let warn = Mode::read(labels, label::WARN, label::WARN_VERSION, &mut faults);
        let mut policy = Self {
            enforce: enforce.resolve(defaults.enforce, Level::Restricted),
            audit: audit.resolve(defaults.audit, Level::Privileged),
            warn: warn.resolve(defaults.warn, Level::Privileged),
        };
        if let (Reading::Valid(enforced), Reading::Absent) = (enforce.level, warn.level)
            && enforced > policy.warn.level
        {
            policy.warn.level = enforced;
            policy.warn.version = warn.version.resolve(policy.enforce.version, Version::Latest);
        }
        (policy, faults)
    }

    /// Whether nothing is enforced, audited or warned of.
    #[must_use]
    pub fn is_fully_privileged(&self) -> bool {
        [self.enforce, self.audit, self.warn].iter().all(|mode| mode.level == Level::Privileged)
    }
}

/// What the two labels of a mode say.
struct Mode {
    level: Reading<Level>,
    version: Reading<Version>,
}

impl Mode {
    fn read(
        labels: &BTreeMap<String, String>,
        level: &'static str,
        version: &'static str,
        faults: &mut Vec<InvalidLabel>,
    ) -> Self {
        Self {
            level: Reading::of(labels, level, faults),
            version: Reading::of(labels, version, faults),
        }
    }

    fn resolve(&self, default: LevelVersion, invalid: Level) -> LevelVersion {
        LevelVersion {
            level: self.level.resolve(default.level, invalid),
            version: self.version.resolve(default.version, Version::Latest),
        }
    }
}
