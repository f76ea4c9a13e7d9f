//! What a quota's status is to say. Pure.

use api_machinery::amounts::{self, Amounts};
use api_machinery::quota;
use api_types::api::core::v1::{ResourceQuota, ResourceQuotaStatus};

/// What to do with a quota.
#[derive(Debug, PartialEq)]
pub(super) enum Decision {
    /// It says what is so.
    Keep,
    /// Something may be taken away once it has rested.
    Later,
    /// It is to have this status.
    Write(ResourceQuotaStatus),
}

/// The limits that are wished for.
fn hard(quota: &ResourceQuota) -> Amounts {
    amounts::read(quota.spec.as_ref().and_then(|spec| spec.hard.as_ref()))
}

/// Those that are enforced, and what is used of them.
fn stated(quota: &ResourceQuota) -> (Amounts, Amounts) {
    let status = quota.status.as_ref();
    let hard = amounts::read(status.and_then(|status| status.hard.as_ref()));
    (hard, amounts::read(status.and_then(|status| status.used.as_ref())))
}

/// Whether the status is about what the spec limits.
pub(super) fn is_counted(quota: &ResourceQuota) -> bool {
    let (wished, (enforced, used)) = (hard(quota), stated(quota));
    let is_known = |name: &String| used.contains_key(name) || quota::charged_by(name).is_none();
    amounts::are_equal(&wished, &enforced) && wished.keys().all(is_known)
}

/// Of what nobody counts here the status says what it said.
pub(super) fn decide(quota: &ResourceQuota, counted: &Amounts, rested: bool) -> Decision {
    let (wished, (enforced, before)) = (hard(quota), stated(quota));
    let mut used = before.clone();
    used.extend(counted.clone());
    used.retain(|name, _| wished.contains_key(name));
    if amounts::are_equal(&wished, &enforced) && amounts::are_equal(&used, &before) {
        return Decision::Keep;
    }
    let is_less = |(name, amount): (&String, &api_machinery::Quantity)| {
        before.get(name).is_some_and(|before| amount.compare(*before).is_lt())
    };
    if used.iter().any(is_less) && !rested {
        return Decision::Later;
    }
    let (hard, used) = (Some(amounts::write(&wished)), Some(amounts::write(&used)));
    Decision::Write(ResourceQuotaStatus { hard, used })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn quota(wished: &Value, status: &Value) -> ResourceQuota {
        serde_json::from_value(json!({"spec": {"hard": wished}, "status": status})).unwrap()
    }

    fn check(quota: &ResourceQuota, counted: &Value, rested: bool, expected: &Value) {
        let counted = amounts::read(serde_json::from_value(counted.clone()).ok().as_ref());
        let decided = match decide(quota, &counted, rested) {
            Decision::Keep => json!("keep"),
            Decision::Later => json!("later"),
            Decision::Write(status) => json!(status),
        };
        assert_eq!(decided, *expected, "{quota:?} {counted:?}");
    }

    #[test]
    fn limits_are_enforced_once_what_is_used_of_them_is_known() {
        let new = quota(&json!({"pods": "2"}), &Value::Null);
        assert!(!is_counted(&new));
        let status = json!({"hard": {"pods": "2"}, "used": {"pods": "1"}});
        check(&new, &json!({"pods": "1"}), false, &status);
        let known = quota(&json!({"pods": "2"}), &status);
        assert!(is_counted(&known));
        check(&known, &json!({"pods": "1"}), false, &json!("keep"));
        let other = quota(&json!({"secrets": "3"}), &status);
        assert!(!is_counted(&other));
        let status = json!({"hard": {"secrets": "3"}, "used": {"secrets": "0"}});
        check(&other, &json!({"secrets": "0"}), false, &status);
    }

    #[test]
    fn what_was_used_is_taken_away_when_nothing_is_added_any_more() {
        let status = |used: &str| json!({"hard": {"cpu": "2"}, "used": {"cpu": used}});
        let quota = quota(&json!({"cpu": "2"}), &status("1500m"));
        check(&quota, &json!({"cpu": "1"}), false, &json!("later"));
        check(&quota, &json!({"cpu": "1"}), true, &status("1"));
        check(&quota, &json!({"cpu": "2"}), false, &status("2"));
        check(&quota, &json!({"cpu": "1.5"}), true, &json!("keep"));
    }

    #[test]
    fn what_nobody_counts_stays_as_it_was_told() {
        let hard = json!({"example.com/x": "2"});
        let quota = quota(&hard, &json!({"hard": hard, "used": {"example.com/x": "1"}}));
        assert!(is_counted(&quota));
        check(&quota, &json!({}), true, &json!("keep"));
    }
}
