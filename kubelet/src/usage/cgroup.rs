//! What the kernel counts of the processes of a container, in the files of its control group. Version 1 has a
//! hierarchy for each controller, version 2 one for all; hosts that have both
//! mostly count in version 1, and have version 2 in a directory below.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use super::figures::{Figures, field, number};

/// The groups of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Groups {
    /// By controller.
    V1(BTreeMap<String, String>),
    /// The only one.
    V2(String),
}

impl Groups {
    /// From `/proc/<pid>/cgroup`. `None` if the process is none of that container's: its number may be another's
    /// by now.
    pub(super) fn parse(text: &str, container: &str) -> Option<Self> {
        let mut controllers = BTreeMap::new();
        let mut unified = None;
        for line in text.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(names), Some(path)) = (parts.next(), parts.next()) else { continue };
            let Some(group) = of_container(path, container) else { continue };
            if names.is_empty() {
                unified = Some(group.to_owned());
            }
            let names = names.split(',').filter(|name| !name.is_empty());
            controllers.extend(names.map(|name| (name.to_owned(), group.to_owned())));
        }
        let split = controllers.contains_key("memory") || controllers.contains_key("cpuacct");
        if split { Some(Self::V1(controllers)) } else { unified.map(Self::V2) }
    }

    /// Its path in the hierarchy.
    pub(super) fn path(&self) -> &str {
        match self {
            Self::V1(controllers) => controllers
                .get("memory")
                .or_else(|| controllers.get("cpuacct"))
                .map_or("", |path| path),
            Self::V2(path) => path,
        }
    }

    /// The figures, from where the hierarchies are mounted.
    pub(super) fn read(&self, mounted: &Path) -> Figures {
        match self {
            Self::V1(_) => v1(&|controller, file| self.file(mounted, controller, file)),
            Self::V2(_) => {
                let group = self.directory(mounted, "");
                v2(&|file| fs::read_to_string(group.as_ref()?.join(file)).ok())
            }
        }
    }

    /// A file of that controller's group; of version 2, of the only one.
    pub(super) fn file(&self, mounted: &Path, controller: &str, file: &str) -> Option<String> {
        fs::read_to_string(self.directory(mounted, controller)?.join(file)).ok()
    }

    fn directory(&self, mounted: &Path, controller: &str) -> Option<PathBuf> {
        match self {
            Self::V1(controllers) => {
                Some(directory(&mounted.join(controller), controllers.get(controller)?))
            }
            Self::V2(path) => {
                let hybrid = mounted.join("unified");
                Some(directory(if hybrid.is_dir() { &hybrid } else { mounted }, path))
            }
        }
    }
}

/// The path up to the container's own group: its first process may be in one below.
fn of_container<'a>(path: &'a str, container: &str) -> Option<&'a str> {
    let after = path.find(container)? + container.len();
    let end = path[after..].find('/').map_or(path.len(), |slash| after + slash);
    Some(&path[..end])
}

fn directory(hierarchy: &Path, group: &str) -> PathBuf {
    hierarchy.join(group.trim_start_matches('/'))
}

/// `total_` includes the groups below.
fn v1(read: &dyn Fn(&str, &str) -> Option<String>) -> Figures {
    let stat = read("memory", "memory.stat").unwrap_or_default();
    let usage = number(read("memory", "memory.usage_in_bytes"));
    Figures {
        cpu_nanos: number(read("cpuacct", "cpuacct.usage")),
        memory_usage: usage,
        memory_working_set: less(usage, field(&stat, "total_inactive_file")),
        memory_rss: field(&stat, "total_rss"),
        memory_cache: field(&stat, "total_cache"),
        page_faults: field(&stat, "total_pgfault"),
        major_page_faults: field(&stat, "total_pgmajfault"),
        pids: number(read("pids", "pids.current")),
        processes: lines(read("pids", "cgroup.procs")),
    }
}

fn v2(read: &dyn Fn(&str) -> Option<String>) -> Figures {
    let stat = read("memory.stat").unwrap_or_default();
    let usage = number(read("memory.current"));
    let cpu = read("cpu.stat").and_then(|stat| field(&stat, "usage_usec"));
    Figures {
        cpu_nanos: cpu.and_then(|micros| micros.checked_mul(1000)),
        memory_usage: usage,
        memory_working_set: less(usage, field(&stat, "inactive_file")),
        memory_rss: field(&stat, "anon"),
        memory_cache: field(&stat, "file"),
        page_faults: field(&stat, "pgfault"),
        major_page_faults: field(&stat, "pgmajfault"),
        pids: number(read("pids.current")),
        processes: lines(read("cgroup.procs")),
    }
}

/// The kernel counts both at different moments.
fn less(usage: Option<u64>, inactive: Option<u64>) -> Option<u64> {
    Some(usage?.saturating_sub(inactive?))
}

fn lines(text: Option<String>) -> Option<u64> {
    text.and_then(|text| u64::try_from(text.lines().count()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "8602";

    fn split(path: &str, controllers: &[&str]) -> Groups {
        let of = |name: &&str| ((*name).to_owned(), path.to_owned());
        Groups::V1(controllers.iter().map(of).collect())
    }

    #[test]
    fn groups_are_found_in_every_layout() {
        let check = |text: &str, groups| assert_eq!(Groups::parse(text, ID), groups, "{text}");
        let v1 = "8:pids:/docker/8602\n4:memory:/docker/8602\n1:cpu,cpuacct:/docker/8602\n0::/docker/8602\n";
        check(v1, Some(split("/docker/8602", &["pids", "memory", "cpu", "cpuacct"])));
        let scope = "/system.slice/docker-8602.scope";
        check(&format!("0::{scope}\n"), Some(Groups::V2(scope.to_owned())));
        check("0::/docker/8602/init.scope\n", Some(Groups::V2("/docker/8602".to_owned())));
        let hybrid = "1:name=systemd:/docker/8602\n0::/docker/8602\n";
        check(hybrid, Some(Groups::V2("/docker/8602".to_owned())));
    }

    #[test]
    fn a_number_that_is_another_process_by_now_has_no_groups() {
        for text in ["4:memory:/docker/9999\n0::/docker/9999\n", "0::/\n", ""] {
            assert_eq!(Groups::parse(text, ID), None, "{text}");
        }
    }
}
