//! Rules that fields of many kinds share.

use std::{collections::BTreeSet, fmt::Debug};

use api_machinery::{FieldErrors, FieldPath};

use crate::NameRule;

pub(crate) const NOT_NEGATIVE: &str = "must be greater than or equal to 0";
pub(crate) const POSITIVE: &str = "must be greater than 0";
pub(crate) const IMMUTABLE: &str = "field is immutable";

/// The text, or the empty one.
pub(crate) fn text(value: Option<&String>) -> &str {
    value.map(String::as_str).unwrap_or_default()
}

/// A number that, if given, is zero or more.
pub(crate) fn not_negative(
    value: Option<impl Into<i64> + Copy>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    at_least(value, 0, NOT_NEGATIVE, path, errors);
}

/// A number that, if given, is more than zero.
pub(crate) fn positive(
    value: Option<impl Into<i64> + Copy>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    at_least(value, 1, POSITIVE, path, errors);
}

fn at_least(
    value: Option<impl Into<i64> + Copy>,
    least: i64,
    why: &str,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    if let Some(value) = value.map(Into::into).filter(|v| *v < least) {
        errors.invalid(path, value, why);
    }
}

/// A text that, if given, is one of a few.
pub(crate) fn one_of(
    value: Option<&String>,
    allowed: &[&str],
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    if let Some(value) = value.filter(|v| !v.is_empty() && !allowed.contains(&v.as_str())) {
        errors.not_supported(path, value, allowed);
    }
}

/// A text that must be there and keep a rule.
pub(crate) fn named(value: &str, rule: NameRule, path: &FieldPath, errors: &mut FieldErrors) {
    if value.is_empty() {
        errors.required(path, "");
    } else {
        follows(value, rule, path, errors);
    }
}

/// A text that must keep a rule.
pub(crate) fn follows(value: &str, rule: NameRule, path: &FieldPath, errors: &mut FieldErrors) {
    for fault in rule(value) {
        errors.invalid(path, value, &fault);
    }
}

/// An optional text that must keep a rule if it is there.
pub(crate) fn maybe_follows(
    value: Option<&String>,
    rule: NameRule,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    if let Some(value) = value.filter(|v| !v.is_empty()) {
        follows(value, rule, path, errors);
    }
}

/// A value that no other of its list may have.
pub(crate) fn unique<T: Ord + Debug + Clone>(
    seen: &mut BTreeSet<T>,
    value: &T,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    if !seen.insert(value.clone()) {
        errors.duplicate(path, value);
    }
}

/// A value that stays as it was.
pub(crate) fn immutable<T: PartialEq>(
    new: &T,
    old: &T,
    shown: impl Debug,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    if new != old {
        errors.invalid(path, shown, IMMUTABLE);
    }
}

/// A port's number.
pub(crate) fn port(value: i32, path: &FieldPath, errors: &mut FieldErrors) {
    for fault in api_machinery::names::port_number(value) {
        errors.invalid(path, value, &fault);
    }
}

/// A range of addresses of either family.
pub(crate) fn cidr(value: &str, path: &FieldPath, errors: &mut FieldErrors) {
    if value.parse::<ipnet::IpNet>().is_err() {
        let why = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
        errors.invalid(path, value, why);
    }
}

/// An address of either family.
pub(crate) fn ip(value: &str, path: &FieldPath, errors: &mut FieldErrors) {
    if value.parse::<std::net::IpAddr>().is_err() {
        errors.invalid(
            path,
            value,
            "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        );
    }
}
