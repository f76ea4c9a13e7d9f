//! Addresses that Go's `url.ParseRequestURI` takes: with a scheme, or absolute paths.

use std::net::Ipv6Addr;

/// What stands in the names of hosts, beside letters and digits.
const OF_HOSTS: &str = "-._~!$&'()*+,;=:[]<>\"";
/// What stands before an `@`.
const OF_USERS: &str = "-._:~!$&'()*+,;=%@";

pub(super) fn is_request_uri(text: &str) -> bool {
    if text == "*" {
        return true;
    }
    let Some((scheme, rest)) = scheme(text) else { return false };
    let rest = rest.split_once('?').map_or(rest, |(before, _)| before);
    if text.is_empty() || text.contains(|c: char| c.is_ascii_control()) {
        return false;
    }
    if !rest.starts_with('/') {
        return !scheme.is_empty();
    }
    let (authority, path) = match rest.strip_prefix("//").filter(|_| !scheme.is_empty()) {
        Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        None => ("", rest),
    };
    is_authority(&scheme.to_ascii_lowercase(), authority) && escapes(path).all(|it| it.is_some())
}

/// The scheme, which may be empty, and the rest; nothing if a colon is first.
fn scheme(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c)));
    let (scheme, rest) = text.split_at(end.unwrap_or(text.len()));
    match rest.strip_prefix(':') {
        Some(_) if scheme.is_empty() => None,
        Some(rest) if scheme.starts_with(|c: char| c.is_ascii_alphabetic()) => Some((scheme, rest)),
        _ => Some(("", text)),
    }
}

fn is_authority(scheme: &str, authority: &str) -> bool {
    let is_of_users = |c: char| c.is_ascii_alphanumeric() || OF_USERS.contains(c);
    let is_user = |it: &str| it.chars().all(is_of_users) && escapes(it).all(|it| it.is_some());
    match authority.rsplit_once('@') {
        Some((user, host)) => is_user(user) && is_host(scheme, host),
        None => is_host(scheme, authority),
    }
}

fn is_host(scheme: &str, host: &str) -> bool {
    if let Some(bracket) = host.rfind('[') {
        let literal = host[bracket + 1..].rsplit_once(']');
        return bracket == 0 && literal.is_some_and(|(it, port)| is_literal(it) && is_port(port));
    }
    // Others than these two have always had several of them.
    let colon = if ["http", "https"].contains(&scheme) { host.find(':') } else { host.rfind(':') };
    is_port(&host[colon.unwrap_or(host.len())..]) && is_of_host(host)
}

/// An address of IPv6, and its zone.
fn is_literal(text: &str) -> bool {
    match text.split_once("%25") {
        Some((address, zone)) => {
            address.parse::<Ipv6Addr>().is_ok() && !zone.is_empty() && is_of_host(zone)
        }
        None => text.parse::<Ipv6Addr>().is_ok(),
    }
}

fn is_port(text: &str) -> bool {
    match text.strip_prefix(':') {
        Some(digits) => digits.bytes().all(|c| c.is_ascii_digit()),
        None => text.is_empty(),
    }
}

/// Only what is no ASCII, and `%`, is escaped there.
fn is_of_host(text: &str) -> bool {
    let is_fine = |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || OF_HOSTS.contains(c);
    let is_beyond = |octet: Option<u8>| octet.is_some_and(|it| !it.is_ascii() || it == b'%');
    text.chars().all(|c| c == '%' || is_fine(c)) && escapes(text).all(is_beyond)
}

/// The octets behind `%`; nothing for one that is not whole.
fn escapes(text: &str) -> impl Iterator<Item = Option<u8>> {
    text.split('%').skip(1).map(|after| {
        let digits = after.get(..2).filter(|it| it.bytes().all(|c| c.is_ascii_hexdigit()))?;
        u8::from_str_radix(digits, 16).ok()
    })
}
