//! Which taints of a node a pod tolerates. Shared by the scheduler (may it go there?) and the node
//! controllers (may it stay there?).

use api_types::api::core::v1::{Taint, Toleration};

/// For how many seconds pods stay on a silent or unready node if they say nothing about it.
pub const USUAL_SECONDS: i64 = 300;

/// The first toleration that accepts the taint, if any.
pub fn toleration_of<'a>(tolerations: &'a [Toleration], taint: &Taint) -> Option<&'a Toleration> {
    tolerations.iter().find(|toleration| tolerates(toleration, taint))
}

/// Whether one toleration accepts the taint: effect, key and value each match or are left open.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    open_or(toleration.effect.as_deref(), &taint.effect)
        && open_or(toleration.key.as_deref(), &taint.key)
        && value_matches(toleration, taint)
}

fn open_or(wanted: Option<&str>, actual: &str) -> bool {
    wanted.is_none_or(|wanted| wanted.is_empty() || wanted == actual)
}

/// `Equal` is the usual operator; an empty key only makes sense with `Exists`.
fn value_matches(toleration: &Toleration, taint: &Taint) -> bool {
    match toleration.operator.as_deref() {
        Some("Exists") => true,
        None | Some("" | "Equal") => {
            toleration.key.as_deref().is_some_and(|key| !key.is_empty())
                && toleration.value.as_deref().unwrap_or_default()
                    == taint.value.as_deref().unwrap_or_default()
        }
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `key[=value]:effect` for a taint; the same with a leading operator for a toleration.
    fn check(toleration: (&str, &str, &str, &str), taint: (&str, &str, &str), expected: bool) {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let given = Toleration {
            operator: some(toleration.0),
            key: some(toleration.1),
            value: some(toleration.2),
            effect: some(toleration.3),
            toleration_seconds: None,
        };
        let on_node = Taint {
            key: taint.0.to_owned(),
            value: some(taint.1),
            effect: taint.2.to_owned(),
            time_added: None,
        };
        assert_eq!(tolerates(&given, &on_node), expected, "{given:?} against {on_node:?}");
    }

    #[test]
    fn a_toleration_matches_by_effect_key_and_value() {
        check(("Equal", "gpu", "yes", "NoSchedule"), ("gpu", "yes", "NoSchedule"), true);
        check(("", "gpu", "yes", ""), ("gpu", "yes", "NoExecute"), true);
        check(("Equal", "gpu", "no", "NoSchedule"), ("gpu", "yes", "NoSchedule"), false);
        check(("Equal", "gpu", "yes", "NoExecute"), ("gpu", "yes", "NoSchedule"), false);
        check(("Exists", "gpu", "", ""), ("gpu", "yes", "NoSchedule"), true);
        check(("Exists", "disk", "", ""), ("gpu", "yes", "NoSchedule"), false);
        check(("Exists", "", "", ""), ("anything", "at all", "NoExecute"), true);
        check(("", "", "", ""), ("gpu", "", "NoSchedule"), false);
    }
}
