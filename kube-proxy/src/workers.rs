//! The workers of an nginx that stay after a reload because their clients do. Each costs memory, so
//! there is a bound to their number; beyond it, those with the fewest connections end.

use std::{fs, io};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tracing::warn;

/// How nginx names such a worker.
const DRAINING: &str = "nginx: worker process is shutting down";

/// A process of an nginx.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worker {
    /// Its process id.
    pub pid: i32,
    /// How many files it has open: its connections, and a few more.
    pub files: usize,
}

/// The draining workers of an nginx, how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OldWorkers {
    /// Those that stay with their clients.
    pub left: usize,
    /// Those that were ended.
    pub ended: usize,
}

/// Ends the draining workers of `master` beyond `limit`.
pub fn end_surplus(master: i32, limit: usize) -> io::Result<OldWorkers> {
    let draining = draining(master)?;
    let all = draining.len();
    let surplus = surplus(draining, limit);
    for worker in &surplus {
        warn!(pid = worker.pid, files = worker.files, "too many old workers: ending one");
        end(master, worker.pid)?;
    }
    Ok(OldWorkers { left: all - surplus.len(), ended: surplus.len() })
}

/// The draining workers of `master`.
pub fn draining(master: i32) -> io::Result<Vec<Worker>> {
    let children = children(master)?;
    let draining = children.into_iter().filter(|pid| is_draining(*pid));
    Ok(draining.map(|pid| Worker { pid, files: files(pid) }).collect())
}

/// Those to end, so that the fewest clients notice.
fn surplus(mut workers: Vec<Worker>, limit: usize) -> Vec<Worker> {
    workers.sort_by_key(|worker| worker.files);
    workers.truncate(workers.len().saturating_sub(limit));
    workers
}

fn children(master: i32) -> io::Result<Vec<i32>> {
    let listed = fs::read_to_string(format!("/proc/{master}/task/{master}/children"))?;
    Ok(listed.split_whitespace().filter_map(|pid| pid.parse().ok()).collect())
}

fn is_draining(pid: i32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|title| title.starts_with(DRAINING.as_bytes()))
}

fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may contain anything.
    stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()
}

fn files(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// The number may have become another process's: only once it can't any more is it looked at again.
fn end(master: i32, pid: i32) -> io::Result<()> {
    let Some(number) = Pid::from_raw(pid) else { return Ok(()) };
    let process = match pidfd_open(number, PidfdFlags::empty()) {
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        opened => opened?,
    };
    if !is_draining(pid) || parent(pid) != Some(master) {
        return Ok(());
    }
    match pidfd_send_signal(process, Signal::TERM) {
        Err(rustix::io::Errno::SRCH) => Ok(()),
        sent => Ok(sent?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workers_with_the_fewest_connections_end() {
        let worker = |pid, files| Worker { pid, files };
        let workers = || vec![worker(1, 500), worker(2, 10), worker(3, 70)];
        assert_eq!(surplus(workers(), 3), []);
        assert_eq!(surplus(workers(), 1), [worker(2, 10), worker(3, 70)]);
    }

    #[test]
    fn a_process_that_is_no_draining_nginx_is_never_ended() {
        let mut other = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let (us, pid) = (std::process::id().cast_signed(), other.id().cast_signed());
        assert_eq!(parent(pid), Some(us));
        end(us, pid).unwrap();
        assert_eq!(other.try_wait().unwrap(), None);
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
