//! Who holds a lease: an identity that no other process has, from which a process on the same host can
//! tell that its owner is dead.

use std::fs;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

/// `HOST_PID.STARTED.KERNEL`: the process by its id and the time it started at, in the kernel and
/// pid namespace that these belong to.
#[must_use]
pub fn identity(host: &str) -> String {
    let pid = std::process::id();
    let started = stat(pid).map_or(0, |stat| stat.started);
    format!("{host}_{pid}.{started}.{}", kernel())
}

/// Whether the holder was a process of this kernel and pid namespace, and is no more. Whatever cannot
/// be told is not dead.
pub(super) fn is_dead(holder: &str) -> bool {
    let Some((pid, started)) = of_this_kernel(holder, &kernel()) else { return false };
    match kill(Pid::from_raw(pid as i32), None) {
        Err(Errno::ESRCH) => true,
        _ => stat(pid).is_some_and(|stat| stat.started != started || stat.is_dead),
    }
}

fn of_this_kernel(holder: &str, kernel: &str) -> Option<(u32, u64)> {
    let (_, process) = holder.rsplit_once('_')?;
    let (pid, rest) = process.split_once('.')?;
    let (started, theirs) = rest.split_once('.')?;
    let pid = pid.parse().ok().filter(|pid| i32::try_from(*pid).is_ok_and(|pid| pid > 0))?;
    (theirs == kernel && !kernel.is_empty()).then_some((pid, started.parse().ok()?))
}

/// The boot of the kernel, and the pid namespace; empty if either is not told.
fn kernel() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
    let namespace = fs::read_link("/proc/self/ns/pid").ok();
    let parts = boot.zip(namespace).map(|(boot, namespace)| {
        let digits: String =
            namespace.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
        format!("{}.{digits}", boot.trim())
    });
    parts.unwrap_or_default()
}

struct Stat {
    /// In ticks since boot.
    started: u64,
    is_dead: bool,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may contain anything, brackets and spaces too.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    // A zombie whose other threads live on is still at work.
    let ended = matches!(*fields.first()?, "Z" | "X") && *fields.get(17)? == "1";
    Some(Stat { started: fields.get(19)?.parse().ok()?, is_dead: ended })
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    fn child() -> (Child, String) {
        let child = Command::new("sleep").arg("1000").spawn().unwrap();
        let started = stat(child.id()).unwrap().started;
        let identity = format!("some_host_{}.{started}.{}", child.id(), kernel());
        (child, identity)
    }

    #[test]
    fn a_process_is_dead_once_it_is_killed_waited_for_or_not() {
        let (mut child, identity) = child();
        assert!(!is_dead(&identity));
        child.kill().unwrap();
        // Returns when the child is a zombie, which it stays.
        let pid = nix::sys::wait::Id::Pid(Pid::from_raw(child.id() as i32));
        let flags = nix::sys::wait::WaitPidFlag::WEXITED | nix::sys::wait::WaitPidFlag::WNOWAIT;
        nix::sys::wait::waitid(pid, flags).unwrap();
        assert!(is_dead(&identity), "a zombie");
        child.wait().unwrap();
        assert!(is_dead(&identity), "gone");
    }

    #[test]
    fn a_process_id_used_again_is_another_process() {
        let me = identity("host");
        assert!(!is_dead(&me));
        let pid = std::process::id();
        let before = format!("host_{pid}.{}.{}", stat(pid).unwrap().started - 1, kernel());
        assert!(is_dead(&before));
    }

    #[test]
    fn who_is_elsewhere_or_unreadable_is_not_known_to_be_dead() {
        for holder in
            ["", "a", "host_1", "host_999999.1.other", "host_-1.2.3", "host_4294967295.1.k"]
        {
            assert!(!is_dead(holder), "{holder}");
        }
        assert_eq!(of_this_kernel("a_b_7.9.k.1", "k.1"), Some((7, 9)));
        assert_eq!(of_this_kernel("a_7.9.", ""), None);
    }
}
