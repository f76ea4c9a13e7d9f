//! What a check found.

/// Why a pod is forbidden, by one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The short form, e.g. `hostPort`.
    pub reason: &'static str,
    /// What of the pod it is, e.g. `container "web" uses hostPort 80`.
    pub detail: String,
}

/// The reasons alone, for a text about many pods.
#[must_use]
pub fn forbidden_reason(violations: &[Violation]) -> String {
    let reasons: Vec<&str> = violations.iter().map(|violation| violation.reason).collect();
    reasons.join(", ")
}

/// The reasons with their details in parentheses, for a text about one pod.
#[must_use]
pub fn forbidden_detail(violations: &[Violation]) -> String {
    let details: Vec<String> = violations
        .iter()
        .map(|violation| match violation.detail.as_str() {
            "" => violation.reason.to_owned(),
            detail => format!("{} ({detail})", violation.reason),
        })
        .collect();
    details.join(", ")
}
