//! Addresses as fields of old take them: with leading zeros, as Go's libraries once read numbers, and not in canonical form. What
//! is told of such (Kubernetes: `k8s.io/apimachinery/pkg/util/validation/ip.go`).

use std::net::{IpAddr, Ipv6Addr};

use api_machinery::FieldPath;
use ipnet::IpNet;

use crate::warnings::tell;

/// An IPv4-mapped address of IPv6 has so many bits before that of IPv4.
const MAPPED_PREFIX: u8 = 96;

/// An address, whatever zeros lead its numbers.
pub(crate) fn sloppy_ip(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        return text.parse::<Ipv6Addr>().ok().map(Into::into);
    }
    let numbers: Vec<&str> = text.split('.').map(without_zeros).collect();
    numbers.join(".").parse().ok()
}

/// An address with the length of its network's prefix, whatever zeros lead its numbers.
pub(crate) fn sloppy_cidr(text: &str) -> Option<IpNet> {
    let (address, length) = text.split_once('/')?;
    let is_number = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
    let length = is_number.then(|| without_zeros(length).parse().ok())??;
    IpNet::new(sloppy_ip(address)?, length).ok()
}

fn without_zeros(number: &str) -> &str {
    match number.trim_start_matches('0') {
        "" if !number.is_empty() => "0",
        rest => rest,
    }
}

/// Whether zeros lead a number of an address of IPv4, or the length of a prefix.
pub(crate) fn has_leading_zeros(text: &str) -> bool {
    let (address, length) = text.split_once('/').unwrap_or((text, ""));
    let zeros = |number: &str| without_zeros(number) != number;
    zeros(length) || (!address.contains(':') && address.split('.').any(zeros))
}

/// Whether it is one of IPv4 in the form of one of IPv6.
pub(crate) fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}

/// Adds what is told of an address that is not in the form it should have; nothing of what is none.
pub(crate) fn warn_of_ip(text: &str, path: &FieldPath, warnings: &mut Vec<String>) {
    let Some(address) = sloppy_ip(text) else { return };
    let canonical = address.to_canonical().to_string();
    if has_leading_zeros(text) || is_mapped(address) {
        let what = format!("non-standard IP address {text:?} is invalid: use {canonical:?}");
        tell(path, what, warnings);
    } else if canonical != text {
        let what =
            format!("IPv6 address {text:?} should be in RFC 5952 canonical format ({canonical:?})");
        tell(path, what, warnings);
    }
}

/// The same of an address with the length of its network's prefix.
pub(crate) fn warn_of_cidr(text: &str, path: &FieldPath, warnings: &mut Vec<String>) {
    let Some(given) = sloppy_cidr(text) else { return };
    let network = canonical_network(given);
    let is_ambiguous = given.addr() != given.network();
    if is_ambiguous {
        let single = format!("{}/{}", given.addr().to_canonical(), given.max_prefix_len());
        let what = format!(
            "CIDR value {text:?} is ambiguous in this context (should be {network:?} or {single:?}?)"
        );
        tell(path, what, warnings);
    }
    if has_leading_zeros(text) || is_mapped(given.addr()) {
        let what = format!("non-standard CIDR value {text:?} is invalid: use {network:?}");
        tell(path, what, warnings);
    } else if !is_ambiguous && network != text {
        let what = format!(
            "IPv6 CIDR value {text:?} should be in RFC 5952 canonical format ({network:?})"
        );
        tell(path, what, warnings);
    }
}

fn canonical_network(given: IpNet) -> String {
    let (network, length) = (given.network(), given.prefix_len());
    match length.checked_sub(MAPPED_PREFIX) {
        Some(rest) if is_mapped(network) => format!("{}/{rest}", network.to_canonical()),
        _ => format!("{network}/{length}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(warn: impl Fn(&str, &FieldPath, &mut Vec<String>), text: &str) -> String {
        let mut warnings = Vec::new();
        warn(text, &FieldPath::new("at"), &mut warnings);
        warnings.join(", ")
    }

    #[test]
    fn an_address_that_others_read_otherwise_is_told_of_with_the_one_that_is_meant() {
        for (text, expected) in [
            ("10.0.0.1", ""),
            ("fd00::1", ""),
            ("10.0.0", ""),
            ("", ""),
            (
                "010.00.0.1",
                r#"at: non-standard IP address "010.00.0.1" is invalid: use "10.0.0.1""#,
            ),
            (
                "::ffff:10.0.0.1",
                r#"at: non-standard IP address "::ffff:10.0.0.1" is invalid: use "10.0.0.1""#,
            ),
            (
                "FD00:0::1",
                r#"at: IPv6 address "FD00:0::1" should be in RFC 5952 canonical format ("fd00::1")"#,
            ),
        ] {
            assert_eq!(told(warn_of_ip, text), expected);
        }
    }

    #[test]
    fn so_is_a_range() {
        for (text, expected) in [
            ("10.0.0.0/8", ""),
            ("fd00::/8", ""),
            ("10.0.0.0", ""),
            ("10.0.0.0/33", ""),
            (
                "10.0.0.0/08",
                r#"at: non-standard CIDR value "10.0.0.0/08" is invalid: use "10.0.0.0/8""#,
            ),
            (
                "::ffff:10.0.0.0/104",
                r#"at: non-standard CIDR value "::ffff:10.0.0.0/104" is invalid: use "10.0.0.0/8""#,
            ),
            (
                "010.0.0.1/8",
                r#"at: CIDR value "010.0.0.1/8" is ambiguous in this context (should be "10.0.0.0/8" or "10.0.0.1/32"?), at: non-standard CIDR value "010.0.0.1/8" is invalid: use "10.0.0.0/8""#,
            ),
            (
                "FD00::1/64",
                r#"at: CIDR value "FD00::1/64" is ambiguous in this context (should be "fd00::/64" or "fd00::1/128"?)"#,
            ),
            (
                "FD00::/64",
                r#"at: IPv6 CIDR value "FD00::/64" should be in RFC 5952 canonical format ("fd00::/64")"#,
            ),
        ] {
            assert_eq!(told(warn_of_cidr, text), expected);
        }
    }
}
