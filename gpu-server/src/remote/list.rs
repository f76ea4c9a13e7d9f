//! Which files match patterns.

use std::collections::BTreeMap;

use glob::{MatchOptions, Pattern};
use russh_sftp::{
    client::error::Error as SftpError,
    protocol::{FileAttributes, FileType, StatusCode},
};

use super::node::{Remote, sftp_error};
use crate::ssh::Error;

/// More results than these are a mistake.
const FILES_LIMIT: usize = 10_000;
/// As many directories below one another are looked through.
const DEPTH_LIMIT: usize = 32;
/// As in a shell: `*` means no names that begin with a dot.
const MATCHING: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// A file on the login node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteFile {
    /// Its path, from the directory on in which it was looked for.
    pub path: String,
    /// In bytes.
    pub size: u64,
    /// When it was last written, in seconds since 1970.
    pub modified: u32,
}

/// One search.
struct Search<'a> {
    remote: &'a Remote,
    directory: &'a str,
    /// The real paths of what may not be left: that of the top, and that which the pattern calls by its name.
    tops: Vec<String>,
    found: BTreeMap<String, RemoteFile>,
    is_full: bool,
}

impl Remote {
    /// The files below `directory` that one of `patterns` matches, in the order of their paths. A pattern is a relative
    /// path with `*`, `?` and `[…]`, and `**` for directories below one another; that of a directory means all files in it.
    /// Links are followed out of `top`, the path of a directory above it, only where a pattern calls them by their names: what
    /// they lead to is read with the rights of who has written it. What wildcards find stays in there.
    pub async fn list(
        &self,
        top: &str,
        directory: &str,
        patterns: &[String],
    ) -> Result<Vec<RemoteFile>, Error> {
        let real = self.sftp.canonicalize(top).await.map_err(|error| sftp_error(top, &error))?;
        let found = BTreeMap::new();
        let mut search =
            Search { remote: self, directory, tops: vec![real], found, is_full: false };
        if search.look(directory).await?.is_none() {
            return Ok(Vec::new());
        }
        for pattern in patterns {
            let parts = parts(pattern)?;
            search.name(&parts).await?;
            search.find(String::new(), &parts, 0, false).await?;
        }
        Ok(search.found.into_values().collect())
    }
}

/// What is wrong with a pattern.
pub(crate) fn check_pattern(pattern: &str) -> Result<(), Error> {
    parts(pattern).map(drop)
}

/// The parts of a pattern between slashes.
fn parts(pattern: &str) -> Result<Vec<&str>, Error> {
    let parts: Vec<&str> = pattern.split('/').filter(|part| !["", "."].contains(part)).collect();
    let wrong = |why: &str| Err(Error::failed(format!("the pattern {pattern:?}"), why));
    if pattern.starts_with('/') || parts.contains(&"..") {
        return wrong("leads out of the job's directory");
    }
    if parts.iter().any(|part| *part != "**" && Pattern::new(part).is_err()) {
        return wrong("is not a pattern");
    }
    Ok(parts)
}

// === impl Search ===

impl Search<'_> {
    /// What a pattern calls by its name may be anywhere.
    async fn name(&mut self, parts: &[&str]) -> Result<(), Error> {
        let named: Vec<_> = parts.iter().copied().take_while(|part| !has_wildcard(part)).collect();
        let path = join(self.directory, &named.join("/"));
        let real = self.remote.sftp.canonicalize(path.as_str()).await;
        self.tops.truncate(1);
        self.tops.extend(there(&path, real)?);
        Ok(())
    }

    /// What matches `parts` below `at`, which is a link if nobody has called it by its name.
    async fn find(
        &mut self,
        at: String,
        parts: &[&str],
        depth: usize,
        linked: bool,
    ) -> Result<(), Error> {
        let Some((first, rest)) = parts.split_first() else {
            return self.take(at, depth, linked).await;
        };
        if depth > DEPTH_LIMIT {
            return Ok(());
        }
        if !has_wildcard(first) {
            return Box::pin(self.find(join(&at, first), rest, depth + 1, false)).await;
        }
        if *first == "**" {
            Box::pin(self.find(at.clone(), rest, depth, linked)).await?;
        }
        let pattern = if *first == "**" { "*" } else { first };
        let pattern = Pattern::new(pattern).map_err(|error| Error::failed(*first, error.msg))?;
        for (name, attributes) in self.entries(&at).await? {
            if !pattern.matches_with(&name, MATCHING) {
                continue;
            }
            let below = join(&at, &name);
            match *first {
                "**" if attributes.file_type() == FileType::Dir => {
                    Box::pin(self.find(below, parts, depth + 1, false)).await?;
                }
                "**" => {}
                _ if rest.is_empty() => self.take_entry(below, &attributes, depth + 1).await?,
                _ => Box::pin(self.find(below, rest, depth + 1, is_link(&attributes))).await?,
            }
        }
        Ok(())
    }

    /// The file at `path`, or those in the directory that is there. Links to directories are gone into only where they are
    /// called by their name: others may lead in a circle.
    async fn take(&mut self, path: String, depth: usize, linked: bool) -> Result<(), Error> {
        let Some(attributes) = self.look(&join(self.directory, &path)).await? else {
            return Ok(());
        };
        match attributes.file_type() {
            FileType::Dir if depth <= DEPTH_LIMIT && !linked => {
                for (name, attributes) in self.entries(&path).await? {
                    Box::pin(self.take_entry(join(&path, &name), &attributes, depth + 1)).await?;
                }
            }
            FileType::File => self.add(path, &attributes),
            _ => {}
        }
        Ok(())
    }

    /// What is in a directory, as it says itself.
    async fn take_entry(
        &mut self,
        path: String,
        attributes: &FileAttributes,
        depth: usize,
    ) -> Result<(), Error> {
        if attributes.file_type() == FileType::File {
            self.add(path, attributes);
            return Ok(());
        }
        self.take(path, depth, is_link(attributes)).await
    }

    fn add(&mut self, path: String, attributes: &FileAttributes) {
        if self.found.len() >= FILES_LIMIT {
            if !self.is_full {
                tracing::warn!(
                    "the patterns match more than {FILES_LIMIT} files: the rest is not fetched"
                );
            }
            self.is_full = true;
            return;
        }
        let (size, modified) = (attributes.size.unwrap_or(0), attributes.mtime.unwrap_or(0));
        self.found.insert(path.clone(), RemoteFile { path, size, modified });
    }

    /// What is in a directory, if it is one that can be read. Names are believed only if they are names.
    async fn entries(&self, at: &str) -> Result<Vec<(String, FileAttributes)>, Error> {
        let path = join(self.directory, at);
        match self.look(&path).await? {
            Some(attributes) if attributes.file_type() == FileType::Dir => {}
            _ => return Ok(Vec::new()),
        }
        let read = self.remote.sftp.read_dir(path.as_str()).await;
        let Some(entries) = there(&path, read)? else { return Ok(Vec::new()) };
        let entries = entries.map(|entry| (entry.file_name(), entry.metadata()));
        Ok(entries.filter(|(name, _)| is_name(name)).collect())
    }

    /// What is at `path`, behind links; nothing if there is nothing, or if it is outside.
    async fn look(&self, path: &str) -> Result<Option<FileAttributes>, Error> {
        let real = self.remote.sftp.canonicalize(path).await;
        let Some(real) = there(path, real)? else { return Ok(None) };
        let is_in = |top: &String| {
            real.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if !self.tops.iter().any(is_in) {
            tracing::warn!(path, "not fetched: it leads out of the job's directory");
            return Ok(None);
        }
        there(path, self.remote.sftp.metadata(path).await)
    }
}

/// Nothing where there is nothing, or no more, or where it is not for us: that keeps nothing else from being fetched.
fn there<T>(path: &str, result: Result<T, SftpError>) -> Result<Option<T>, Error> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(SftpError::Status(status)) if status.status_code == StatusCode::NoSuchFile => Ok(None),
        Err(error) => match sftp_error(path, &error) {
            Error::Failed { message, .. } => {
                tracing::warn!(path, message, "not fetched");
                Ok(None)
            }
            other => Err(other),
        },
    }
}

fn has_wildcard(part: &str) -> bool {
    part.contains(['*', '?', '['])
}

fn is_link(attributes: &FileAttributes) -> bool {
    attributes.file_type() == FileType::Symlink
}

/// Whether it is the name of something in a directory: the login node may say anything.
fn is_name(name: &str) -> bool {
    !["", ".", ".."].contains(&name) && !name.contains(['/', '\0'])
}

fn join(at: &str, name: &str) -> String {
    match (at, name) {
        ("", name) => name.to_owned(),
        (at, "") => at.to_owned(),
        (at, name) => format!("{at}/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_are_believed() {
        assert!(["a", "..a", "-rf", "é"].iter().all(|name| is_name(name)));
        assert!(!["", ".", "..", "../x", "a/b", "/", "a\0"].iter().any(|name| is_name(name)));
    }

    #[test]
    fn a_pattern_is_relative_and_goes_downwards() {
        assert_eq!(parts("out/./*.csv").unwrap(), ["out", "*.csv"]);
        assert_eq!(parts("**/a[0-9]").unwrap(), ["**", "a[0-9]"]);
        for wrong in ["/etc/passwd", "../x", "a/../../b", "a/..", "[a"] {
            assert!(parts(wrong).is_err(), "{wrong}");
        }
    }
}
