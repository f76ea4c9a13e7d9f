//! Which host keys are the login node's.

use ring::hmac;
use russh::{
    Preferred,
    keys::{
        Algorithm, HashAlg, PublicKey,
        ssh_key::{
            Fingerprint, KnownHosts,
            known_hosts::{Entry, HostPatterns, Marker},
        },
    },
};

/// Any of them will do.
#[derive(Clone, Debug, Default)]
pub struct HostKeys {
    fingerprints: Vec<Fingerprint>,
    keys: Vec<PublicKey>,
    /// They will not do, whatever the others say.
    revoked: Vec<PublicKey>,
}

impl HostKeys {
    /// The keys of `host`: fingerprints (`SHA256:…`) or public keys (`ssh-ed25519 AAAA…`), and the lines of OpenSSH's
    /// `known_hosts` that are about this host and port.
    ///
    /// # Errors
    /// What is no key; and that there is none at all.
    pub fn parse<S: AsRef<str>>(
        host: &str,
        port: u16,
        keys: &[S],
        known_hosts: Option<&str>,
    ) -> Result<Self, String> {
        let mut found = Self::default();
        for key in keys.iter().map(|key| key.as_ref().trim()) {
            found.add(key)?;
        }
        let unread = found.add_known_hosts(host, port, known_hosts.unwrap_or_default());
        if found.fingerprints.is_empty() && found.keys.is_empty() {
            return Err(match known_hosts {
                Some(_) if unread.is_some() => format!(
                    "known_hosts has no key of {}: {}",
                    name(host, port),
                    unread.unwrap_or_default()
                ),
                Some(_) => format!("known_hosts has no key of {}", name(host, port)),
                None => format!("no host key of {host} is given"),
            });
        }
        Ok(found)
    }

    /// Whether the login node may show `key`.
    #[must_use]
    pub fn allow(&self, key: &PublicKey) -> bool {
        let same = |other: &PublicKey| other.key_data() == key.key_data();
        let fingerprint = key.fingerprint(HashAlg::Sha256);
        !self.revoked.iter().any(same)
            && (self.keys.iter().any(same) || self.fingerprints.contains(&fingerprint))
    }

    /// The algorithms to agree on with the login node, which may have several keys: those of the known keys. A
    /// fingerprint does not tell its own.
    pub(super) fn algorithms(&self) -> Vec<Algorithm> {
        let known = |algorithm: &Algorithm| {
            let same = |key: &PublicKey| match key.algorithm() {
                Algorithm::Rsa { .. } => matches!(algorithm, Algorithm::Rsa { .. }),
                other => other == *algorithm,
            };
            !self.fingerprints.is_empty() || self.keys.iter().any(same)
        };
        Preferred::DEFAULT.key.iter().filter(|algorithm| known(algorithm)).cloned().collect()
    }

    /// What to try to agree on, one after the other. With a fingerprint the login node may have to be asked for each kind of
    /// key, as it shows the one that comes first.
    pub(super) fn offers(&self) -> Vec<Vec<Algorithm>> {
        let all = self.algorithms();
        let mut offers = vec![all.clone()];
        if !self.fingerprints.is_empty() {
            let is_rsa = |algorithm: &Algorithm| matches!(algorithm, Algorithm::Rsa { .. });
            let (rsa, others): (Vec<_>, Vec<_>) = all.into_iter().partition(is_rsa);
            offers.extend(others.into_iter().map(|algorithm| vec![algorithm]));
            offers.push(rsa);
        }
        offers
    }

    fn add(&mut self, key: &str) -> Result<(), String> {
        if key.starts_with("SHA256:") {
            let fingerprint = key.parse();
            self.fingerprints.push(fingerprint.map_err(|_| format!("{key:?} is no fingerprint"))?);
        } else {
            let parsed = PublicKey::from_openssh(key);
            let wrong = |_| format!("{key:?} is neither a fingerprint (SHA256:…) nor a public key");
            self.keys.push(parsed.map_err(wrong)?);
        }
        Ok(())
    }

    /// What is wrong with the first line that cannot be read: it may be of a kind that others know.
    fn add_known_hosts(&mut self, host: &str, port: u16, text: &str) -> Option<String> {
        let name = name(host, port);
        let mut unread = None;
        for (at, line) in text.lines().enumerate() {
            // OpenSSH takes any blanks.
            let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
            for entry in KnownHosts::new(&line) {
                match entry {
                    Ok(entry) => self.add_entry(&entry, &name),
                    Err(error) => {
                        unread.get_or_insert_with(|| format!("line {}: {error}", at + 1));
                    }
                }
            }
        }
        unread
    }

    fn add_entry(&mut self, entry: &Entry, name: &str) {
        if !is_about(entry.host_patterns(), name) {
            return;
        }
        match entry.marker() {
            None => self.keys.push(entry.public_key().clone()),
            Some(Marker::Revoked) => self.revoked.push(entry.public_key().clone()),
            // That is about certificates, which are not accepted.
            Some(Marker::CertAuthority) => {}
        }
    }
}

/// As `known_hosts` has it.
fn name(host: &str, port: u16) -> String {
    if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") }
}

fn is_about(patterns: &HostPatterns, name: &str) -> bool {
    match patterns {
        HostPatterns::Patterns(patterns) => {
            let negated =
                |pattern: &String| pattern.strip_prefix('!').is_some_and(|p| matches(p, name));
            patterns.iter().any(|pattern| matches(pattern, name)) && !patterns.iter().any(negated)
        }
        HostPatterns::HashedName { salt, hash } => {
            let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt);
            hmac::verify(&key, name.as_bytes(), hash).is_ok()
        }
    }
}

/// Whether a pattern of `known_hosts`, in which `*` and `?` stand for others, means `name`.
fn matches(pattern: &str, name: &str) -> bool {
    let mut characters = pattern.chars();
    match characters.next() {
        None => name.is_empty(),
        Some('*') => {
            let rest = characters.as_str();
            name.char_indices().any(|(at, _)| matches(rest, &name[at..])) || matches(rest, "")
        }
        Some(expected) => {
            let mut rest = name.chars();
            let same =
                rest.next().is_some_and(|c| expected == '?' || c.eq_ignore_ascii_case(&expected));
            same && matches(characters.as_str(), rest.as_str())
        }
    }
}

#[cfg(test)]
mod tests;
