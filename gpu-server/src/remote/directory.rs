//! Where a job's files are on the login node. All of these paths are made here, from the job's uid and numbers.

use std::fmt;

use uuid::Uuid;

use crate::ssh::Error;

/// The one directory that a job has there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobDirectory(String);

impl JobDirectory {
    /// That of the job `uid` below `root`: an absolute path, or one below the directory `home`, which may begin with `~/`.
    ///
    /// # Errors
    /// If `root` leads upwards, or is the top of all or another's home, or `uid` is none.
    pub fn new(root: &str, home: &str, uid: &str) -> Result<Self, Error> {
        let wrong = |why: &str| Err(Error::failed(format!("the directory {root:?}"), why));
        let below = root.strip_prefix("~/").unwrap_or(root);
        if root.contains(char::is_control) || below.starts_with('~') {
            return wrong("is neither an absolute path nor one below the home directory");
        }
        if root.split('/').any(|part| part == "..") {
            return wrong("leads upwards");
        }
        let home = if root.starts_with('/') { "" } else { home };
        let parts =
            home.split('/').chain(below.split('/')).filter(|part| !["", "."].contains(part));
        let root: String = parts.map(|part| format!("/{part}")).collect();
        if root.is_empty() {
            return wrong("has no name");
        }
        // Uuid::try_parse knows other forms, too.
        if Uuid::try_parse(uid).ok().map(|id| id.hyphenated().to_string()).as_deref() != Some(uid) {
            return Err(Error::failed(format!("{uid:?}"), "is not a uid"));
        }
        Ok(Self(format!("{root}/{uid}")))
    }

    /// What was uploaded.
    #[must_use]
    pub fn sources(&self) -> String {
        format!("{self}/sources")
    }

    /// Where the sources are compiled.
    #[must_use]
    pub fn build(&self) -> String {
        format!("{self}/build")
    }

    /// Where one attempt at a task runs.
    #[must_use]
    pub fn task(&self, index: i32, attempt: i32) -> String {
        format!("{self}/tasks/{index}-{attempt}")
    }
}

impl fmt::Display for JobDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "0b8f3a52-6c1e-4f5d-9a53-1d1f3c0a7e11";

    #[test]
    fn a_job_has_its_directory_below_the_root() {
        let directory = JobDirectory::new("/home/a b/.minik8s/", "", UID).unwrap();
        assert_eq!(directory.task(3, 1), format!("/home/a b/.minik8s/{UID}/tasks/3-1"));
        for same in ["x/y", "~/x/y", "./x//y/", "/home/u/x/./y", "~//x/y"] {
            let directory = JobDirectory::new(same, "/home/u", UID).unwrap();
            assert_eq!(directory.to_string(), format!("/home/u/x/y/{UID}"), "{same:?}");
        }
    }

    #[test]
    fn what_could_be_another_directory_is_refused() {
        for root in ["/", "/home/../etc", "../x", "x/..", "~root/x", "~", "/a\0b", "a\nb"] {
            assert!(JobDirectory::new(root, "/home/u", UID).is_err(), "{root:?}");
        }
        assert!(JobDirectory::new("", "", UID).is_err());
        let simple = UID.replace('-', "");
        for uid in ["", ".", "..", "a/b", &simple, &UID.to_uppercase(), &format!("{{{UID}}}")] {
            assert!(JobDirectory::new("/home/x", "", uid).is_err(), "{uid:?}");
        }
    }
}
