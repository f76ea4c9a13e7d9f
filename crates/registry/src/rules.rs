//! Rules that fields of many kinds share.

use std::{
    collections::BTreeSet,
    fmt::{self, Debug},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::RangeInclusive,
};

use api_machinery::{FieldErrors, FieldPath, percentage};
use api_types::IntOrString;
use serde::Serialize;
use serde_json::Value;

use crate::NameRule;

pub(crate) const NOT_NEGATIVE: &str = "must be greater than or equal to 0";
pub(crate) const POSITIVE: &str = "must be greater than 0";
pub(crate) const IMMUTABLE: &str = "field is immutable";

const MAPPED: &str = "must not be an IPv4-mapped IPv6 address";

/// Versions of the reviews that webhooks are sent.
pub(crate) const REVIEW_VERSIONS: [&str; 2] = ["v1", "v1beta1"];

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

/// A number that, if given, is in a range, of which both ends are.
pub(crate) fn between(
    value: Option<impl Into<i64> + Copy>,
    range: &RangeInclusive<i64>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    if let Some(value) = value.map(Into::into).filter(|value| !range.contains(value)) {
        let why = format!("must be between {} and {}, inclusive", range.start(), range.end());
        errors.invalid(path, value, &why);
    }
}

/// A text that must be there.
pub(crate) fn required(value: &str, path: &FieldPath, errors: &mut FieldErrors) {
    if value.is_empty() {
        errors.required(path, "");
    }
}

/// Texts that must be there, by the names of their fields.
pub(crate) fn all_of(fields: &[(&str, &str)], path: &FieldPath, errors: &mut FieldErrors) {
    for (field, value) in fields {
        required(value, &path.child(field), errors);
    }
}

/// A text that, if given, is one of a few, of which the empty one is none.
pub(crate) fn supported(
    value: Option<&String>,
    allowed: &[&str],
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    if let Some(value) = value.filter(|value| !allowed.contains(&value.as_str())) {
        errors.not_supported(path, value, allowed);
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

/// An address that stands for no other one (Kubernetes: `IsValidIPForLegacyField`).
pub(crate) fn unmapped_ip(value: &str, path: &FieldPath, errors: &mut FieldErrors) {
    ip(value, path, errors);
    if value.parse::<Ipv6Addr>().is_ok_and(|ip| ip.to_ipv4_mapped().is_some()) {
        errors.invalid(path, value, MAPPED);
    }
}

/// An address of either family.
pub(crate) fn ip(value: &str, path: &FieldPath, errors: &mut FieldErrors) {
    if has_leading_zeros(value) {
        errors.invalid(path, value, "must not have leading 0s");
    } else if value.parse::<IpAddr>().is_err() {
        errors.invalid(
            path,
            value,
            "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        );
    }
}

/// Numbers such as `010` are octal to some.
fn has_leading_zeros(value: &str) -> bool {
    let plain = value.split('.').map(|part| match part.trim_start_matches('0') {
        "" => part.get(..1).unwrap_or_default(),
        rest => rest,
    });
    let plain = plain.collect::<Vec<_>>().join(".");
    plain != value && plain.parse::<Ipv4Addr>().is_ok()
}

/// The faults of an address to which connections are led; none of what is no address (Kubernetes: `ValidateEndpointIP`).
pub(crate) fn endpoint_ip(value: &str, path: &FieldPath, errors: &mut FieldErrors) {
    let Ok(address) = value.parse::<IpAddr>() else { return };
    let (is_link_local, is_link_local_multicast) = match address {
        IpAddr::V4(ip) => (ip.is_link_local(), ip.octets().starts_with(&[224, 0, 0])),
        IpAddr::V6(ip) => (ip.is_unicast_link_local(), ip.segments()[0] & 0xff0f == 0xff02),
    };
    if address != address.to_canonical() {
        // Else it would be that of a pod under another name, which no NetworkPolicy knows.
        errors.invalid(path, value, MAPPED);
    }
    if address.is_unspecified() {
        errors.invalid(path, value, &format!("may not be unspecified ({value})"));
    }
    if address.is_loopback() {
        errors.invalid(path, value, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    if is_link_local {
        let why = "may not be in the link-local range (169.254.0.0/16, fe80::/10)";
        errors.invalid(path, value, why);
    }
    if is_link_local_multicast {
        let why = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)";
        errors.invalid(path, value, why);
    }
}

/// The same of endpoints that are written: a server of a cluster that is all on one host may be at a loopback address of IPv4,
/// as the API server is there.
pub(crate) fn endpoint_ip_of_cluster(value: &str, path: &FieldPath, errors: &mut FieldErrors) {
    if !value.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback()) {
        endpoint_ip(value, path, errors);
    }
}

/// What is shown of a list, or of what may be absent, in a fault.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> impl Debug + use<T> {
    serde_json::to_value(value).map_or(Json(Value::Null), Json)
}

struct Json(Value);

impl Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A number, or a part of all, that, if given, is zero or more.
pub(crate) fn int_or_percent(
    value: Option<&IntOrString>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    match value {
        Some(IntOrString::Int(number)) => not_negative(Some(*number), path, errors),
        Some(text @ IntOrString::String(_)) if percentage::of(text, 1).is_none() => {
            errors.invalid(path, int_or_percent_text(text), percentage::MESSAGE);
        }
        _ => {}
    }
}

/// What, if it is a part of all, is not more than all.
pub(crate) fn not_more_than_all(
    value: Option<&IntOrString>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let part = value.filter(|value| matches!(value, IntOrString::String(_)));
    if let Some(part) = part.filter(|part| percentage::of(part, 100) > Some(100.0)) {
        errors.invalid(path, int_or_percent_text(part), "must not be greater than 100%");
    }
}

/// As it was given.
pub(crate) fn int_or_percent_text(value: &IntOrString) -> String {
    match value {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(text) => text.clone(),
    }
}
