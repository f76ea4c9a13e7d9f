//! The end of a process in a container, from outside.
//!
//! A number that the daemon has told may have become another process's by now. So the process that has it
//! is held first (a pidfd: it stays this process, however the numbers go), then looked at, and only then
//! killed, which fails if it has ended: what was looked at was the one that is held. What is left is a
//! process of the same container that got the number of a command that had just ended.

use std::{fs, io};

use docker::Process;
use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

/// Kills a process, unless it has ended.
pub(super) fn kill(process: &Process) -> io::Result<()> {
    let Some(pid) = Pid::from_raw(process.pid) else { return Ok(()) };
    let held = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(Errno::SRCH) => return Ok(()),
        opened => opened?,
    };
    if !runs_in(process) {
        return Ok(());
    }
    match pidfd_send_signal(held, Signal::KILL) {
        Err(Errno::SRCH) => Ok(()),
        sent => Ok(sent?),
    }
}

/// The paths of control groups name the container, whatever else is in them.
fn runs_in(process: &Process) -> bool {
    fs::read_to_string(format!("/proc/{}/cgroup", process.pid))
        .is_ok_and(|groups| groups.contains(&process.container))
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::ExitStatusExt, process::Command};

    use nix::sys::signal::Signal::SIGTERM;

    use super::*;

    #[test]
    fn a_process_of_no_such_container_is_never_killed() {
        let mut other = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = other.id().cast_signed();
        let process = Process { pid, container: "0123456789abcdef".repeat(4) };
        kill(&process).unwrap();
        // Of both signals it would have died of ours.
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Some(SIGTERM)).unwrap();
        assert_eq!(other.wait().unwrap().signal(), Some(SIGTERM as i32));
        kill(&process).unwrap();
    }
}
