//! The configurations on disk: `<root>/<service uid>/nginx.conf`, and beside it `run/`, where the
//! Service's nginx keeps the socket that tells its generation. Both directories are mounted into its
//! container.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use crate::nginx::Files;

const CONFIG: &str = "nginx.conf";
/// What is being written; left behind by a full disk, or a kill.
const NEW: &str = "nginx.new";
const RUN: &str = "run";
const STATUS: &str = "status";
/// The kernel takes no longer path for a socket.
const MAX_SOCKET_PATH: usize = 107;
/// What a uid and the names below it add to the root.
const BELOW_ROOT: usize = "/00000000-0000-0000-0000-000000000000-host/run/status".len();

/// Which step on which file failed.
#[derive(Debug, thiserror::Error)]
#[error("{step} {}", path.display())]
pub struct ConfigError {
    step: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// The directory that holds them.
#[derive(Debug)]
pub struct Configs {
    root: PathBuf,
}

/// The directory of one Service.
#[derive(Clone, Debug)]
pub struct Directory(PathBuf);

impl Configs {
    /// Makes the directory if it is not there.
    pub fn open(root: &Path) -> Result<Self, ConfigError> {
        fs::create_dir_all(root).map_err(failed("creating", root))?;
        let root = root.canonicalize().map_err(failed("resolving", root))?;
        if root.as_os_str().len() + BELOW_ROOT > MAX_SOCKET_PATH {
            return Err(failed("using for sockets", &root)(io::ErrorKind::InvalidFilename.into()));
        }
        Ok(Configs { root })
    }

    /// That of a Service.
    pub fn directory(&self, uid: &str) -> Directory {
        Directory(self.root.join(uid))
    }

    /// Deletes what belongs to Services other than these. Foreign files are left alone.
    pub fn keep_only(&self, uids: &BTreeSet<&str>) -> Result<(), ConfigError> {
        let entries = fs::read_dir(&self.root).map_err(failed("listing", &self.root))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            let wanted = path.file_name().and_then(|name| name.to_str());
            if path.join(CONFIG).is_file() && !wanted.is_some_and(|uid| uids.contains(uid)) {
                Directory(path).remove()?;
            }
        }
        Ok(())
    }
}

impl Directory {
    /// What nginx reads at `/etc/minik8s`. The *directory* is mounted: a file would keep the inode that
    /// it had at the start, and a rename would go unnoticed.
    pub fn config(&self) -> &Path {
        &self.0
    }

    /// Where nginx keeps its socket, for it at `/run/minik8s`.
    pub fn run(&self) -> PathBuf {
        self.0.join(RUN)
    }

    /// The socket, once an nginx runs.
    pub fn status_socket(&self) -> PathBuf {
        self.run().join(STATUS)
    }

    /// The configuration that lies there.
    pub(crate) fn text(&self) -> Option<String> {
        fs::read_to_string(self.0.join(CONFIG)).ok()
    }

    /// Puts `text` in place of what is there, at once or not at all. The files that it names are there
    /// before it, and those that only the text before it named go after it.
    pub fn write(&self, text: &str, files: &Files) -> Result<(), ConfigError> {
        let run = self.run();
        fs::create_dir_all(&run).map_err(failed("creating", &run))?;
        let (file, new) = (self.0.join(CONFIG), self.0.join(NEW));
        delete(&new)?;
        for (name, content) in files {
            let file = self.0.join(name);
            // The configuration in force may name it.
            if fs::read(&file).is_ok_and(|present| present == *content) {
                continue;
            }
            write_private(&new, content).map_err(failed("writing", &new))?;
            fs::rename(&new, &file).map_err(failed("replacing", &file))?;
        }
        fs::write(&new, text).map_err(failed("writing", &new))?;
        fs::rename(&new, &file).map_err(failed("replacing", &file))?;
        self.delete_files(|name| !files.contains_key(name))
    }

    /// Deletes the files that configurations named.
    fn delete_files(&self, which: impl Fn(&str) -> bool) -> Result<(), ConfigError> {
        let entries = fs::read_dir(&self.0).map_err(failed("listing", &self.0))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            let carried = path.extension().is_some_and(|kind| kind == "pem" || kind == "key");
            let name = path.file_name().and_then(|name| name.to_str());
            if carried && name.is_some_and(&which) {
                delete(&path)?;
            }
        }
        Ok(())
    }

    /// An nginx that was killed leaves its socket behind, and could not make it anew.
    pub fn before_start(&self) -> Result<(), ConfigError> {
        delete(&self.status_socket())
    }

    /// Only what was made here goes, the configuration last: it is the mark of a directory of ours.
    pub(crate) fn remove(&self) -> Result<(), ConfigError> {
        delete(&self.status_socket())?;
        let run = self.run();
        unless_absent(fs::remove_dir(&run)).map_err(failed("deleting", &run))?;
        if self.0.is_dir() {
            self.delete_files(|_| true)?;
        }
        // Of an older version.
        delete(&self.0.join("loaded.conf"))?;
        delete(&self.0.join(NEW))?;
        delete(&self.0.join(CONFIG))?;
        fs::remove_dir(&self.0).map_err(failed("deleting", &self.0))
    }
}

fn failed<'a>(step: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> ConfigError + 'a {
    move |source| ConfigError { step, path: path.to_owned(), source }
}

/// Private keys are among them.
pub(crate) fn write_private(file: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(file)?.write_all(content)
}

fn delete(file: &Path) -> Result<(), ConfigError> {
    unless_absent(fs::remove_file(file)).map_err(failed("deleting", file))
}

fn unless_absent(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configs() -> (tempfile::TempDir, Configs) {
        let root = tempfile::tempdir().unwrap();
        let configs = Configs::open(root.path()).unwrap();
        (root, configs)
    }

    #[test]
    fn a_configuration_replaces_the_one_before() {
        let (_root, configs) = configs();
        let directory = configs.directory("u1");
        directory.write("a", &Files::new()).unwrap();
        directory.write("b", &Files::new()).unwrap();
        assert_eq!(fs::read_to_string(directory.config().join("nginx.conf")).unwrap(), "b");
        assert!(directory.run().is_dir());
    }

    #[test]
    fn files_come_and_go_with_the_configuration_that_names_them_and_nobody_else_reads_them() {
        use std::os::unix::fs::PermissionsExt;
        let (root, configs) = configs();
        let directory = configs.directory("u1");
        let names =
            |names: &[&str]| names.iter().map(|n| ((*n).to_owned(), b"x".to_vec())).collect();
        directory.write("a", &names(&["1.pem", "1.key"])).unwrap();
        let mode = fs::metadata(directory.config().join("1.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        directory.write("b", &names(&["1.pem", "2.key"])).unwrap();
        let exists = |name: &str| directory.config().join(name).exists();
        assert!(exists("1.pem") && exists("2.key") && !exists("1.key"));
        directory.remove().unwrap();
        assert!(!root.path().join("u1").exists());
    }

    #[test]
    fn a_file_that_the_configuration_in_force_names_is_never_there_in_part() {
        use std::os::unix::fs::MetadataExt;
        let (_root, configs) = configs();
        let directory = configs.directory("u1");
        let files = |content: &[u8]| Files::from([("1.key".to_owned(), content.to_vec())]);
        let file = directory.config().join("1.key");
        let inode = || fs::metadata(&file).unwrap().ino();
        directory.write("a", &files(b"x")).unwrap();
        let (first, mut reader) = (inode(), fs::File::open(&file).unwrap());
        fs::write(directory.config().join("nginx.new"), "left behind").unwrap();
        directory.write("b", &files(b"x")).unwrap();
        assert_eq!(inode(), first);
        directory.write("b", &files(b"y")).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"y");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert_eq!(io::read_to_string(&mut reader).unwrap(), "x");
    }

    #[test]
    fn what_is_left_of_other_services_is_deleted_and_nothing_else() {
        let (root, configs) = configs();
        for uid in ["u1", "u2"] {
            configs.directory(uid).write("a", &Files::new()).unwrap();
        }
        fs::write(configs.directory("u2").status_socket(), "").unwrap();
        fs::write(configs.directory("u2").config().join("nginx.new"), "a").unwrap();
        fs::create_dir(root.path().join("foreign")).unwrap();
        configs.keep_only(&["u1"].into()).unwrap();
        let exists = |name: &str| root.path().join(name).exists();
        assert!(exists("u1") && exists("foreign") && !exists("u2"));
    }

    #[test]
    fn a_socket_that_a_killed_nginx_left_is_out_of_the_way() {
        let (_root, configs) = configs();
        let directory = configs.directory("u1");
        directory.write("a", &Files::new()).unwrap();
        directory.before_start().unwrap();
        fs::write(directory.status_socket(), "").unwrap();
        directory.before_start().unwrap();
        assert!(!directory.status_socket().exists());
    }

    #[test]
    fn a_root_too_deep_for_sockets_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let error = Configs::open(&root.path().join("x".repeat(60))).unwrap_err();
        assert!(error.to_string().starts_with("using for sockets"), "{error}");
    }
}
