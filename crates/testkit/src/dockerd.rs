//! The Docker daemon of the machine.

use std::process::Command;

/// The daemon that tests share. They tell their containers from others' by their names.
#[derive(Clone, Copy, Debug)]
pub struct Dockerd;

impl Dockerd {
    /// Where it listens.
    pub const HOST: &str = "unix:///var/run/docker.sock";

    /// Makes sure that it answers.
    ///
    /// # Panics
    /// If it does not, with what to do.
    pub fn shared() -> Self {
        let asked = Command::new("docker").args(["-H", Self::HOST, "version"]).output();
        match asked {
            Ok(output) if output.status.success() => Self,
            Ok(output) => panic!(
                "the Docker daemon does not answer ({}); start it with scripts/lib/docker.sh start",
                String::from_utf8_lossy(&output.stderr).trim()
            ),
            Err(error) => panic!("docker cannot be run ({error}); tests of the runtime need it"),
        }
    }

    /// Removes all containers whose names begin with `prefix`.
    pub fn remove_containers(self, prefix: &str) {
        let filter = format!("name=^/?{prefix}");
        let list = Command::new("docker").args(["ps", "-aq", "--filter", &filter]).output();
        let Ok(list) = list else { return };
        let ids = String::from_utf8_lossy(&list.stdout).into_owned();
        if !ids.trim().is_empty() {
            // Whatever is left is the next run's to remove.
            let _ = Command::new("docker").args(["rm", "-f"]).args(ids.split_whitespace()).output();
        }
    }
}
