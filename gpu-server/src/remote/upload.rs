//! Whole trees, to the login node.

use std::{
    fs::Metadata,
    os::{fd::AsRawFd, unix::fs::PermissionsExt},
    path::{Component, Path, PathBuf},
};

use nix::fcntl::OFlag;
use tokio::fs;

use super::{
    node::{Remote, partial, sftp_error},
    quote::quote,
};
use crate::ssh::Error;

/// Below more directories than these, something leads in a circle.
const DEPTH_LIMIT: usize = 64;

/// A tree on its way.
struct Upload<'a> {
    remote: &'a Remote,
    /// The real path of its top: what links may lead to.
    top: PathBuf,
}

/// What is to be done for one entry.
enum Entry {
    Directory,
    File,
    Link(String),
}

impl Remote {
    /// Uploads the directory `local` with all that is in it, as the new directory `to`, whose parents are made. It is
    /// never there in part; if it is there already, nothing is done.
    ///
    /// # Errors
    /// Also if a symbolic link leads out of `local`, or a name is not UTF-8.
    pub async fn upload(&self, local: &Path, to: &str) -> Result<(), Error> {
        if self.exists(to).await? {
            return Ok(());
        }
        let partial = partial(to);
        let fresh = quote(&partial)?;
        // Those of tries that were given up are in nobody's way for a day.
        let script = format!(
            "umask 077; mkdir -p -- {fresh} || exit 1
             find \"$(dirname -- {fresh})\" -mindepth 1 -maxdepth 1 -name '*.partial' -mtime +0 -exec rm -rf -- {{}} + || true"
        );
        self.run(&script).await?.text(&format!("making {partial:?}"))?;
        let top = fs::canonicalize(local).await.map_err(Error::local(name(local)))?;
        Upload { remote: self, top: top.clone() }.directory(&top, &partial, 0).await?;
        // Another server may have been first: then its tree is as good.
        let whole = quote(to)?;
        let script = format!(
            "mv -nT -- {fresh} {whole} 2>/dev/null
             if [ -d {whole} ]; then rm -rf -- {fresh}; else exit 1; fi"
        );
        self.run(&script).await?.text(&format!("renaming {partial:?}")).map(drop)
    }
}

// === impl Upload ===

impl Upload<'_> {
    /// The entries of the directory `local`, whose counterpart is there.
    async fn directory(&self, local: &Path, to: &str, depth: usize) -> Result<(), Error> {
        if depth > DEPTH_LIMIT {
            return Err(Error::failed(name(local), "has too many directories above it"));
        }
        let mut entries = fs::read_dir(local).await.map_err(Error::local(name(local)))?;
        while let Some(entry) = entries.next_entry().await.map_err(Error::local(name(local)))? {
            let path = entry.path();
            let file_name = entry.file_name();
            let Some(file_name) = file_name.to_str() else {
                return Err(Error::failed(name(&path), "has a name that is not UTF-8"));
            };
            // Where a kubelet keeps the files of a ConfigMap or Secret, to which the visible ones are links.
            if depth == 0 && file_name.starts_with("..") {
                continue;
            }
            Box::pin(self.entry(&path, &format!("{to}/{file_name}"), depth)).await?;
        }
        Ok(())
    }

    async fn entry(&self, path: &Path, to: &str, depth: usize) -> Result<(), Error> {
        let metadata = fs::metadata(path).await.map_err(Error::local(name(path)))?;
        match self.kind(path, &metadata).await? {
            Entry::Link(target) => {
                // OpenSSH takes the two in this order, against the standard.
                let linked = self.remote.sftp.symlink(target.as_str(), to).await;
                linked.map_err(|error| sftp_error(to, &error))
            }
            Entry::Directory => {
                let made = self.remote.sftp.create_dir(to).await;
                made.map_err(|error| sftp_error(to, &error))?;
                self.directory(path, to, depth + 1).await?;
                // At last: it may be one that cannot be written into.
                self.remote.set_mode(to, metadata.permissions().mode()).await
            }
            Entry::File => {
                let mut file = open(&self.top, path).await?;
                self.remote.write(to, &mut file, metadata.permissions().mode()).await
            }
        }
    }

    /// `metadata` is that of what the path leads to.
    async fn kind(&self, path: &Path, metadata: &Metadata) -> Result<Entry, Error> {
        let link = fs::symlink_metadata(path).await.map_err(Error::local(name(path)))?;
        if link.is_symlink() {
            let real = fs::canonicalize(path).await.map_err(Error::local(name(path)))?;
            let target = fs::read_link(path).await.map_err(Error::local(name(path)))?;
            let Ok(below) = real.strip_prefix(&self.top) else {
                return Err(Error::failed(name(path), "is a symbolic link that leads elsewhere"));
            };
            // What is not uploaded under its own name is uploaded under that of the link.
            if !is_hidden(below) {
                return match target.to_str() {
                    Some(target) if !target.starts_with('/') => Ok(Entry::Link(target.to_owned())),
                    _ => Err(Error::failed(name(path), "is a symbolic link with an absolute path")),
                };
            }
        }
        match metadata {
            directory if directory.is_dir() => Ok(Entry::Directory),
            file if file.is_file() => Ok(Entry::File),
            _ => Err(Error::failed(name(path), "is neither a file nor a directory")),
        }
    }
}

/// Opens a file below `top`. Whoever writes into the same volume may have changed what is there since it was looked at.
async fn open(top: &Path, path: &Path) -> Result<fs::File, Error> {
    let local = || Error::local(name(path));
    let real = fs::canonicalize(path).await.map_err(local())?;
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let opened = fs::File::options().read(true).custom_flags(flags.bits()).open(real).await;
    let file = opened.map_err(local())?;
    let place = format!("/proc/self/fd/{}", file.as_raw_fd());
    let place = fs::read_link(place).await.map_err(local())?;
    if !place.starts_with(top) {
        return Err(Error::failed(name(path), "is a symbolic link that leads elsewhere"));
    }
    if !file.metadata().await.map_err(local())?.is_file() {
        return Err(Error::failed(name(path), "is neither a file nor a directory"));
    }
    Ok(file)
}

fn is_hidden(below: &Path) -> bool {
    let first = below.components().next();
    matches!(first, Some(Component::Normal(part)) if part.as_encoded_bytes().starts_with(b".."))
}

fn name(path: &Path) -> String {
    format!("{path:?}")
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::symlink, time::Duration};

    use nix::{sys::stat::Mode, unistd::mkfifo};

    use super::*;

    #[tokio::test]
    async fn what_was_put_in_place_of_a_file_is_not_uploaded() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().join("top");
        for directory in ["top/sub", "out"] {
            std::fs::create_dir_all(folder.path().join(directory)).unwrap();
            std::fs::write(folder.path().join(directory).join("a"), "a").unwrap();
        }
        symlink(folder.path().join("out"), top.join("elsewhere")).unwrap();
        symlink("sub/a", top.join("inside")).unwrap();
        mkfifo(&top.join("pipe"), Mode::S_IRWXU).unwrap();
        for fine in ["sub/a", "inside"] {
            open(&top, &top.join(fine)).await.unwrap();
        }
        for other in ["elsewhere/a", "pipe", "sub"] {
            let path = top.join(other);
            let opened = tokio::time::timeout(Duration::from_secs(10), open(&top, &path)).await;
            opened.expect("it waits for nobody").expect_err(other);
        }
    }
}
