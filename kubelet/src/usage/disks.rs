//! What containers have written into their own layer, pods into their volumes, and what images take. To know it all files, or
//! all layers, have to be looked at, so this is found out less often than the rest, and for itself.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::RwLock;
use tokio_util::sync::CancellationToken;

use super::{
    host::{FileSystem, Host},
    io::Number,
    running::{RunningContainer, RunningPod, RunningPods},
};
use crate::volumes::{self, usage};

/// As often as cAdvisor.
const LOOK: Duration = Duration::from_secs(60);
/// So many times as long as a look takes, nothing is looked at: of very many files, less often.
const REST: u32 = 20;

/// What is taken of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Bytes.
    pub used: u64,
    /// The size of the file system.
    pub capacity: u64,
    /// Its device.
    pub device: Number,
}

impl Disk {
    /// All that is taken of it.
    pub(crate) fn of(fs: FileSystem) -> Self {
        Self { used: fs.used, capacity: fs.capacity, device: fs.device }
    }
}

/// What was found last.
#[derive(Clone, Debug, Default)]
pub struct Disks {
    found: Arc<RwLock<Found>>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// By the id of a container, and by the uid of a pod: of what lives with it.
    pub(super) disks: HashMap<String, Disk>,
    /// The volumes that live with a pod, by its uid, with their names.
    pub(super) volumes: HashMap<String, Vec<(String, Disk)>>,
    /// The file system of images, of which only what they take counts as used.
    pub(super) images: Option<FileSystem>,
}

impl Disks {
    #[cfg(test)]
    pub(super) fn found(found: Found) -> Self {
        Self { found: Arc::new(RwLock::new(found)) }
    }

    /// What that container, or the volumes of that pod, takes.
    pub(super) fn of(&self, id: &str) -> Option<Disk> {
        self.found.read().disks.get(id).copied()
    }

    /// What each volume of that pod takes, of those that live with it.
    pub(super) fn volumes(&self, uid: &str) -> Vec<(String, Disk)> {
        self.found.read().volumes.get(uid).cloned().unwrap_or_default()
    }

    /// The file system of images, and what they take of it.
    pub(super) fn images(&self) -> Option<FileSystem> {
        self.found.read().images
    }

    /// Looks until shutdown, which does not wait for a look.
    pub(crate) async fn follow(
        self,
        host: Host,
        running: RunningPods,
        shutdown: CancellationToken,
    ) {
        shutdown.run_until_cancelled(self.look_again(host, running)).await;
    }

    async fn look_again(self, host: Host, running: RunningPods) {
        loop {
            let begun = Instant::now();
            let (host, pods, found) = (host.clone(), running.all(), self.found.clone());
            let look = tokio::task::spawn_blocking(move || {
                let latest = look(&host, &pods);
                *found.write() = latest;
            });
            if let Err(error) = look.await {
                tracing::warn!(%error, "cannot find out what pods have written");
            }
            tokio::time::sleep(LOOK.max(begun.elapsed() * REST)).await;
        }
    }
}

pub(super) fn look(host: &Host, pods: &[RunningPod]) -> Found {
    let containers = pods.iter().flat_map(|pod| pod.containers.iter().chain(&pod.sandbox));
    let layers =
        containers.filter_map(|found| Some((found.id.clone(), directory(&layer(host, found)?)?)));
    let pod_dir = |pod: &RunningPod| host.root.join("pods").join(&pod.pod.uid);
    let whole =
        pods.iter().filter_map(|pod| Some((pod.pod.uid.clone(), directory(&pod_dir(pod))?)));
    let volumes = pods.iter().map(|pod| {
        let named = volumes::of_volumes(&pod_dir(pod));
        let volumes = named.filter_map(|(name, path)| Some((name, directory(&path)?)));
        (pod.pod.uid.clone(), volumes.collect())
    });
    let disks = layers.chain(whole).collect();
    Found { disks, volumes: volumes.collect(), images: images(host) }
}

/// Each layer once, however many images share it.
fn images(host: &Host) -> Option<FileSystem> {
    let store = host.images.as_ref()?;
    let size = |layer: fs::DirEntry| {
        // It may have gone since.
        fs::read_to_string(layer.path().join("size")).ok()?.trim().parse::<u64>().ok()
    };
    let used = fs::read_dir(&store.layers).ok()?.flatten().filter_map(size).sum();
    Some(FileSystem { used, ..FileSystem::read(&store.data)? })
}

fn directory(path: &Path) -> Option<Disk> {
    let fs = FileSystem::read(path)?;
    Some(Disk { used: usage::of_directory(path), ..Disk::of(fs) })
}

/// The directory of what was written, of a container whose root is an overlay.
fn layer(host: &Host, container: &RunningContainer) -> Option<PathBuf> {
    let process = host.proc.join(container.pid.to_string());
    let mounts = fs::read_to_string(process.join("mountinfo")).ok()?;
    let upper = upper_directory(&mounts)?;
    // The number may be another process's by now.
    let groups = fs::read_to_string(process.join("cgroup")).ok()?;
    groups.contains(&container.id).then(|| PathBuf::from(upper))
}

/// `86 54 0:39 / / rw - overlay overlay rw,lowerdir=…,upperdir=…,workdir=…`.
fn upper_directory(mounts: &str) -> Option<&str> {
    let root = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/"))?;
    let (_, kind) = root.split_once(" - overlay ")?;
    kind.split([' ', ',']).find_map(|option| option.strip_prefix("upperdir="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_container_writes_is_in_the_upper_directory_of_its_root() {
        let proc = "87 86 0:42 / /proc rw - proc proc rw\n";
        let overlay = "86 54 0:39 / / rw,relatime master:8 - overlay overlay rw,lowerdir=/l/A:/l/B,upperdir=/o/1/diff,workdir=/o/1/work\n";
        assert_eq!(upper_directory(&format!("{proc}{overlay}")), Some("/o/1/diff"));
        let own = "86 54 8:1 / / rw - ext4 /dev/sda1 rw,upperdir=/x\n";
        assert_eq!((upper_directory(own), upper_directory(proc)), (None, None));
    }
}
