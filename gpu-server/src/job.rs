//! A GPU job as it was asked for, checked: what cannot become a correct batch script is refused with
//! all its faults at once.

use std::{fmt, num::NonZeroU32};

/// One job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The GpuJob that it belongs to.
    pub name: JobName,
    /// The directory on the Slurm cluster, relative to the home directory unless absolute.
    pub workdir: String,
    /// Where standard output goes, relative to `workdir` unless absolute.
    pub output: String,
    /// Where standard error goes, likewise.
    pub error: String,
    /// Slurm nodes.
    pub processes: NonZeroU32,
    /// Tasks on each node.
    pub ntasks_per_node: NonZeroU32,
    /// CPU cores for each task.
    pub cpus_per_task: NonZeroU32,
    /// GPUs on each node; none if 0.
    pub gpus: u32,
    /// The partition; the cluster's default if absent.
    pub partition: Option<String>,
    /// Commands for the login node.
    pub compile: Vec<String>,
    /// Commands of the batch script.
    pub run: Vec<String>,
}

/// Namespace and name of a GpuJob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobName {
    namespace: String,
    name: String,
}

/// Everything that is wrong with a job, a line each.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Faults(Vec<String>);

impl JobName {
    /// From `<namespace>/<name>`.
    pub fn parse(text: &str) -> Option<Self> {
        let (namespace, name) = text.split_once('/')?;
        let valid = |part: &str| !part.is_empty() && part.chars().all(is_name_character);
        (valid(namespace) && valid(name) && !namespace.contains('.'))
            .then(|| JobName { namespace: namespace.to_owned(), name: name.to_owned() })
    }

    /// The job's name in Slurm, where a slash would be taken for a directory by `%x`. It is
    /// unambiguous, as a namespace has no dots.
    pub fn slurm(&self) -> String {
        format!("{}.{}", self.namespace, self.name)
    }

    /// The name without the namespace.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl Faults {
    /// Notes a fault of the flag `flag`.
    pub fn add(&mut self, flag: &str, why: impl fmt::Display) {
        self.0.push(format!("--{flag}: {why}"));
    }

    /// `value`, if nothing is wrong.
    pub fn or<T>(self, value: T) -> Result<T, Faults> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }

    /// Checks a path on the Slurm cluster. `#SBATCH` lines know no quoting that all versions agree
    /// on, so what would need it is refused.
    pub fn check_path(&mut self, flag: &str, path: &str) {
        if let Some(wrong) = path.chars().find(|c| !is_path_character(*c)) {
            self.add(
                flag,
                format!("{path:?} contains {wrong:?}, which a batch script cannot name"),
            );
        }
        if path.is_empty() || path.ends_with('/') {
            self.add(flag, format!("{path:?} names nothing"));
        }
        if path.split('/').any(|part| part == "..") {
            self.add(flag, format!("{path:?} leads upwards"));
        }
    }

    /// Checks the directory below which jobs have theirs. One just below `/`, as `/home` is, is everybody's.
    pub fn check_root(&mut self, flag: &str, root: &str) {
        self.check_path(flag, root);
        if !root.starts_with('/') {
            self.add(flag, format!("{root:?} is not absolute"));
        } else if parts(root).count() < 2 {
            self.add(flag, format!("{root:?} is not a directory for jobs alone"));
        }
    }

    /// Checks a directory that is a job's own, to be filled and emptied as the job needs: it lies below
    /// `root`, or else below the home directory, and is nothing that is kept there already. Gives it
    /// together with the root; none only if there is a fault.
    pub fn check_workdir(&mut self, flag: &str, root: Option<&str>, path: &str) -> Option<String> {
        let before = self.0.len();
        self.check_path(flag, path);
        let inner = match (path.starts_with('/'), root) {
            (false, _) => Some(path),
            (true, Some(root)) => below(root, path),
            (true, None) => None,
        };
        match inner {
            None => self.add(flag, format!("{path:?} is not below --workdir-root")),
            Some(inner) => self.check_own(flag, path, inner),
        }
        let inner = inner.filter(|_| self.0.len() == before)?;
        Some(root.map_or(inner.to_owned(), |root| format!("{root}/{inner}")))
    }

    /// `inner`: `path` from the root on. Names that begin with a dot are those of settings and keys;
    /// nothing replaces a tilde by a home directory.
    fn check_own(&mut self, flag: &str, path: &str, inner: &str) {
        if parts(inner).next().is_none() {
            self.add(flag, format!("{path:?} is not a directory of the job's own"));
        }
        if parts(inner).any(|part| part.starts_with(['.', '~'])) {
            self.add(flag, format!("{path:?} has a part that begins with a dot or a tilde"));
        }
    }

    /// Checks a partition's name.
    pub fn check_partition(&mut self, flag: &str, name: &str) {
        let valid = |c: char| c.is_ascii_alphanumeric() || "_-.,".contains(c);
        if name.is_empty() || !name.chars().all(valid) {
            self.add(flag, format!("{name:?} is not the name of a partition"));
        }
    }

    /// Checks commands, which may have several lines.
    pub fn check_commands(&mut self, flag: &str, commands: &[String]) {
        for command in commands {
            if command.trim().is_empty() {
                self.add(flag, "an empty command");
            }
            if command.contains('\0') {
                self.add(flag, format!("{command:?} contains a zero byte"));
            }
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

/// What `path` is below `root`.
fn below<'a>(root: &str, path: &'a str) -> Option<&'a str> {
    path.strip_prefix(root)?.strip_prefix('/')
}

fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty())
}

/// What names of the API consist of.
fn is_name_character(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.'
}

/// `%` is for Slurm's patterns, such as `%j`.
fn is_path_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || "/._-+=@:%~".contains(c)
}
