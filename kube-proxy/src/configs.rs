//! The configurations on disk: `<root>/<service uid>/nginx.conf`, the directory being mounted into
//! the Service's container, and beside it `loaded.conf`, what its nginx was last told to read.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

const CONFIG: &str = "nginx.conf";
const LOADED: &str = "loaded.conf";

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

impl Configs {
    /// Makes the directory if it is not there.
    pub fn open(root: &Path) -> Result<Self, ConfigError> {
        fs::create_dir_all(root).map_err(failed("creating", root))?;
        let root = root.canonicalize().map_err(failed("resolving", root))?;
        Ok(Configs { root })
    }

    /// What to mount into the container of a Service.
    pub fn directory(&self, uid: &str) -> PathBuf {
        self.root.join(uid)
    }

    /// Puts `text` in place of what is there, at once or not at all.
    pub fn write(&self, uid: &str, text: &str) -> Result<(), ConfigError> {
        let directory = self.directory(uid);
        fs::create_dir_all(&directory).map_err(failed("creating", &directory))?;
        replace(&directory.join(CONFIG), text)
    }

    /// Whether the nginx of a Service has been told to read exactly `text`. This is kept apart from
    /// the configuration itself, so that no reload is lost if kube-proxy ends between the two.
    pub fn is_loaded(&self, uid: &str, text: &str) -> bool {
        let loaded = fs::read_to_string(self.directory(uid).join(LOADED));
        loaded.is_ok_and(|loaded| loaded == text)
    }

    /// Notes that it has been told.
    pub fn set_loaded(&self, uid: &str, text: &str) -> Result<(), ConfigError> {
        replace(&self.directory(uid).join(LOADED), text)
    }

    /// Deletes what belongs to Services other than these. Foreign files are left alone.
    pub fn keep_only(&self, uids: &BTreeSet<&str>) -> Result<(), ConfigError> {
        let entries = fs::read_dir(&self.root).map_err(failed("listing", &self.root))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            let wanted = path.file_name().and_then(|name| name.to_str());
            if path.join(CONFIG).is_file() && !wanted.is_some_and(|uid| uids.contains(uid)) {
                remove(&path)?;
            }
        }
        Ok(())
    }
}

fn failed<'a>(step: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> ConfigError + 'a {
    move |source| ConfigError { step, path: path.to_owned(), source }
}

fn replace(path: &Path, text: &str) -> Result<(), ConfigError> {
    let new = path.with_extension("new");
    fs::write(&new, text).map_err(failed("writing", &new))?;
    fs::rename(&new, path).map_err(failed("replacing", path))
}

/// Only what was made here goes, the configuration last: it is the mark of a directory of ours.
fn remove(directory: &Path) -> Result<(), ConfigError> {
    for name in [LOADED, CONFIG] {
        let file = directory.join(name);
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("deleting", &file)(error));
            }
            _ => {}
        }
    }
    fs::remove_dir(directory).map_err(failed("deleting", directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_not_yet_what_was_loaded() {
        let root = tempfile::tempdir().unwrap();
        let configs = Configs::open(root.path()).unwrap();
        configs.write("u1", "a").unwrap();
        assert!(!configs.is_loaded("u1", "a"));
        configs.set_loaded("u1", "a").unwrap();
        assert!(configs.is_loaded("u1", "a") && !configs.is_loaded("u1", "b"));
        let config = configs.directory("u1").join("nginx.conf");
        assert_eq!(fs::read_to_string(config).unwrap(), "a");
    }

    #[test]
    fn what_is_left_of_other_services_is_deleted_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let configs = Configs::open(root.path()).unwrap();
        for uid in ["u1", "u2"] {
            configs.write(uid, "a").unwrap();
        }
        configs.set_loaded("u2", "a").unwrap();
        fs::create_dir(root.path().join("foreign")).unwrap();
        configs.keep_only(&["u1"].into()).unwrap();
        let exists = |name: &str| root.path().join(name).exists();
        assert!(exists("u1") && exists("foreign") && !exists("u2"));
    }
}
