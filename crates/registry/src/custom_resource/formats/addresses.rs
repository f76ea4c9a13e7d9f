//! Addresses of networks. Octets may begin with zeros, as they might with Go once.

use std::net::Ipv6Addr;

/// An address with a dot: of IPv6, it may be one that ends as those of IPv4 do.
pub(super) fn is_ipv4(text: &str) -> bool {
    text.contains('.') && (is_dotted(text) || is_colonated(text))
}

pub(super) fn is_ipv6(text: &str) -> bool {
    text.parse::<Ipv6Addr>().is_ok()
}

pub(super) fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let longest = match address {
        _ if is_dotted(address) => 32,
        _ if is_colonated(address) => 128,
        _ => return false,
    };
    is_number(length) && length.parse::<u8>().is_ok_and(|length| length <= longest)
}

/// Octets with one sort of separator between them, or with none, or pairs of octets with dots.
pub(super) fn is_mac(text: &str) -> bool {
    let (separator, digits) = match (text.as_bytes().get(2), text.as_bytes().get(4)) {
        (Some(b':'), _) => (':', 2),
        (Some(b'-'), _) => ('-', 2),
        (_, Some(b'.')) => ('.', 4),
        _ => return [12, 16, 40].contains(&text.len()) && is_hex(text),
    };
    let groups: Vec<&str> = text.split(separator).collect();
    let is_group = |it: &&str| it.len() == digits && is_hex(it);
    [6, 8, 20].contains(&(groups.len() * digits / 2)) && groups.iter().all(is_group)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|c| c.is_ascii_hexdigit())
}

fn is_dotted(text: &str) -> bool {
    let octets: Vec<&str> = text.split('.').collect();
    octets.len() == 4 && octets.iter().all(|it| is_number(it) && it.parse::<u8>().is_ok())
}

fn is_colonated(text: &str) -> bool {
    match text.rsplit_once(':') {
        Some((head, tail)) if tail.contains('.') => {
            is_dotted(tail) && is_ipv6(&format!("{head}:0.0.0.0"))
        }
        _ => is_ipv6(text),
    }
}

/// Digits alone: a sign is none.
fn is_number(text: &str) -> bool {
    text.bytes().all(|c| c.is_ascii_digit())
}
