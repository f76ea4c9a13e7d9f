//! Has packets from one port of a bridge to another meet the rules, as the kernel's module `br_netfilter` does: also those
//! that go by as if they were of a VLAN or of a dialled line. Once set it stays so, as Docker would have it, too.

use std::{fs, io, path::Path};

use tokio::process::Command;

const FOLDER: &str = "/proc/sys/net/bridge";
const FLAGS: [&str; 3] =
    ["bridge-nf-call-iptables", "bridge-nf-filter-vlan-tagged", "bridge-nf-filter-pppoe-tagged"];

/// A flag that can't be set.
#[derive(Debug, thiserror::Error)]
#[error("{flag} can't be set; load the kernel's module br_netfilter")]
pub struct Unset {
    flag: &'static str,
    source: io::Error,
}

pub(crate) async fn packets_meet_the_rules() -> Result<(), Unset> {
    if !Path::new(FOLDER).exists() {
        // What comes of it is seen below.
        let _ = Command::new("modprobe").arg("br_netfilter").status().await;
    }
    FLAGS.into_iter().try_for_each(|flag| set(flag).map_err(|source| Unset { flag, source }))
}

fn set(flag: &str) -> io::Result<()> {
    let path = Path::new(FOLDER).join(flag);
    if fs::read_to_string(&path)?.trim() == "1" { Ok(()) } else { fs::write(path, "1") }
}
