//! The lines of a `resolv.conf`, and where the host's is.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The server of systemd-resolved on the host. It serves only the host itself.
const STUB: &str = "127.0.0.53";
const USUAL: &str = "/etc/resolv.conf";
/// The servers behind the stub.
const BEHIND_STUB: &str = "/run/systemd/resolve/resolv.conf";

/// What resolvers are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolver {
    /// Whom to ask, in this order.
    pub servers: Vec<String>,
    /// In which domains names are looked for.
    pub searches: Vec<String>,
    /// How: `ndots:5`.
    pub options: Vec<String>,
}

/// The host's own file, or the one behind it if it serves only the host itself.
#[must_use]
pub fn host_file() -> PathBuf {
    let stub = fs::read_to_string(USUAL).is_ok_and(|text| is_stub(&text));
    PathBuf::from(if stub && Path::new(BEHIND_STUB).exists() { BEHIND_STUB } else { USUAL })
}

/// Whether the file names only the stub of systemd-resolved.
fn is_stub(file: &str) -> bool {
    let servers = Resolver::parse(file).servers;
    !servers.is_empty() && servers.iter().all(|server| server == STUB)
}

impl Resolver {
    /// Reads a file; what it does not know is left out.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut resolver = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace().map(str::to_owned);
            match words.next().as_deref() {
                Some("nameserver") => resolver.servers.extend(words.next()),
                Some("search") => resolver.searches = words.collect(),
                Some("options") => resolver.options.extend(words),
                _ => {}
            }
        }
        resolver
    }

    /// The file.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        if !self.searches.is_empty() {
            text.push_str(&format!("search {}\n", self.searches.join(" ")));
        }
        for server in &self.servers {
            text.push_str(&format!("nameserver {server}\n"));
        }
        if !self.options.is_empty() {
            text.push_str(&format!("options {}\n", self.options.join(" ")));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemds_stub_is_known() {
        assert!(is_stub("nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch .\n"));
        assert!(!is_stub("nameserver 127.0.0.53\nnameserver 192.0.2.1\n"));
        assert!(!is_stub(""));
    }
}
