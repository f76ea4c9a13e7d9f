//! What is said of a login node: its name, and its keys as OpenSSH writes them. Each rule gives what is wrong, if
//! anything is.

use crate::names;

const HOST: &str = "must be a DNS name or a valid IP address";
const HOST_KEY: &str = "must be a fingerprint or a public key, (e.g. 'SHA256:…' as `ssh-keygen -l` prints it, or 'ssh-ed25519 AAAA…' as \
                        `ssh-keyscan` does)";
const KNOWN_HOSTS: &str =
    "must be lines of OpenSSH's known_hosts, (e.g. 'login.example.org ssh-ed25519 AAAA…')";

/// A name or an address. DNS' names are the same whatever their case.
#[must_use]
pub fn host(text: &str) -> Option<&'static str> {
    let is_address = text.parse::<std::net::IpAddr>().is_ok();
    let is_host = is_address || names::dns1123_subdomain(&text.to_ascii_lowercase()).is_empty();
    (!is_host).then_some(HOST)
}

/// The fingerprint of a host's key, or the key.
#[must_use]
pub fn host_key(text: &str) -> Option<&'static str> {
    (!is_host_key(text)).then_some(HOST_KEY)
}

/// The keys of hosts.
#[must_use]
pub fn known_hosts(text: &str) -> Option<&'static str> {
    (!is_known_hosts(text)).then_some(KNOWN_HOSTS)
}

/// 32 bytes in base64, of which OpenSSH writes no padding.
fn is_host_key(text: &str) -> bool {
    match text.trim_end().strip_prefix("SHA256:") {
        Some(digest) => digest.trim_end_matches('=').len() == 43 && is_base64(digest),
        None => is_public_key(text.trim_end()),
    }
}

/// A type, the key, and maybe a comment.
fn is_public_key(text: &str) -> bool {
    let mut words = text.split(' ').filter(|word| !word.is_empty());
    let (Some(kind), Some(key)) = (words.next(), words.next()) else { return false };
    let is_kind = |c: char| c.is_ascii_alphanumeric() || "-.@".contains(c);
    !text.contains(char::is_control)
        && kind.chars().all(is_kind)
        && kind.contains('-')
        && key.starts_with("AAAA")
        && is_base64(key)
}

fn is_known_hosts(text: &str) -> bool {
    let lines = || text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    let is_entry = |line: &str| {
        let line = line.replace('\t', " ");
        let entry = match line.strip_prefix('@') {
            Some(marked) => marked.split_once(' ').map_or("", |(_, rest)| rest.trim_start()),
            None => &line,
        };
        entry.split_once(' ').is_some_and(|(_, key)| is_public_key(key.trim()))
    };
    lines().next().is_some() && lines().all(is_entry)
}

fn is_base64(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || "+/=".contains(c))
}
