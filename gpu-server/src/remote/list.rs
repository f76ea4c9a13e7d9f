//! Which files match patterns.

use std::collections::BTreeMap;

use glob::{MatchOptions, Pattern};
use russh_sftp::protocol::{FileAttributes, FileType};

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
    /// The real path of what may not be left.
    top: String,
    found: BTreeMap<String, RemoteFile>,
}

impl Remote {
    /// The files below `directory` that one of `patterns` matches, in the order of their paths. A pattern is a relative
    /// path with `*`, `?` and `[…]`, and `**` for directories below one another; that of a directory means all files in it.
    /// Nothing that is outside of `top`, the path of a directory above it, is found: no links to it, and no way upwards.
    pub async fn list(
        &self,
        top: &str,
        directory: &str,
        patterns: &[String],
    ) -> Result<Vec<RemoteFile>, Error> {
        let real = self.sftp.canonicalize(top).await.map_err(|error| sftp_error(top, &error))?;
        let found = BTreeMap::new();
        let mut search = Search { remote: self, directory, top: real, found };
        if search.look(directory).await?.is_none() {
            return Ok(Vec::new());
        }
        for pattern in patterns {
            let parts = parts(pattern)?;
            search.find(String::new(), &parts, 0).await?;
        }
        Ok(search.found.into_values().collect())
    }
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
    /// What matches `parts` below `at`.
    async fn find(&mut self, at: String, parts: &[&str], depth: usize) -> Result<(), Error> {
        let Some((first, rest)) = parts.split_first() else {
            return Box::pin(self.take(at, depth)).await;
        };
        if depth > DEPTH_LIMIT {
            return Ok(());
        }
        if !first.contains(['*', '?', '[']) {
            return Box::pin(self.find(join(&at, first), rest, depth + 1)).await;
        }
        if *first == "**" {
            Box::pin(self.find(at.clone(), rest, depth)).await?;
        }
        let pattern = if *first == "**" { "*" } else { first };
        let pattern = Pattern::new(pattern).map_err(|error| Error::failed(*first, error.msg))?;
        for (name, is_directory) in self.entries(&at).await? {
            if !pattern.matches_with(&name, MATCHING) {
                continue;
            }
            let below = join(&at, &name);
            match *first {
                "**" if is_directory => Box::pin(self.find(below, parts, depth + 1)).await?,
                "**" => {}
                _ => Box::pin(self.find(below, rest, depth + 1)).await?,
            }
        }
        Ok(())
    }

    /// The file at `path`, or those in the directory that is there.
    async fn take(&mut self, path: String, depth: usize) -> Result<(), Error> {
        let Some(attributes) = self.look(&join(self.directory, &path)).await? else {
            return Ok(());
        };
        match attributes.file_type() {
            FileType::Dir if depth <= DEPTH_LIMIT => {
                for (name, _) in self.entries(&path).await? {
                    Box::pin(self.take(join(&path, &name), depth + 1)).await?;
                }
                Ok(())
            }
            FileType::File if self.found.len() < FILES_LIMIT => {
                let (size, modified) =
                    (attributes.size.unwrap_or(0), attributes.mtime.unwrap_or(0));
                self.found.insert(path.clone(), RemoteFile { path, size, modified });
                Ok(())
            }
            FileType::File => Err(Error::failed(
                "results",
                format!("the patterns match more than {FILES_LIMIT} files"),
            )),
            _ => Ok(()),
        }
    }

    /// The names in a directory, and whether they are those of directories, if it is one.
    async fn entries(&self, at: &str) -> Result<Vec<(String, bool)>, Error> {
        let path = join(self.directory, at);
        match self.look(&path).await? {
            Some(attributes) if attributes.is_dir() => {}
            _ => return Ok(Vec::new()),
        }
        let read = self.remote.sftp.read_dir(path.as_str()).await;
        let entries = read.map_err(|error| sftp_error(&path, &error))?;
        Ok(entries.map(|entry| (entry.file_name(), entry.file_type().is_dir())).collect())
    }

    /// What is at `path`, behind links; nothing if there is nothing, or if it is outside.
    async fn look(&self, path: &str) -> Result<Option<FileAttributes>, Error> {
        if !self.remote.exists(path).await? {
            return Ok(None);
        }
        let real = self.remote.sftp.canonicalize(path).await;
        let real = real.map_err(|error| sftp_error(path, &error))?;
        if real != self.top && !real.starts_with(&format!("{}/", self.top)) {
            tracing::warn!(path, "not fetched: it leads out of the job's directory");
            return Ok(None);
        }
        let attributes = self.remote.sftp.metadata(path).await;
        attributes.map(Some).map_err(|error| sftp_error(path, &error))
    }
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
    fn a_pattern_is_relative_and_goes_downwards() {
        assert_eq!(parts("out/./*.csv").unwrap(), ["out", "*.csv"]);
        assert_eq!(parts("**/a[0-9]").unwrap(), ["**", "a[0-9]"]);
        for wrong in ["/etc/passwd", "../x", "a/../../b", "a/..", "[a"] {
            assert!(parts(wrong).is_err(), "{wrong}");
        }
    }
}
