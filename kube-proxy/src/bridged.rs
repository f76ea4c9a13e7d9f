//! Has packets from one port of a bridge to another meet the rules, as the kernel's module `br_netfilter` does: also those
//! that go by as if they were of a VLAN or of a dialled line. Once set it stays so, as Docker would have it, too.

use std::{fs, io, path::Path};

use tokio::process::Command;

use crate::family::Family;

const FOLDER: &str = "/proc/sys/net/bridge";
const FLAGS: [&str; 2] = ["bridge-nf-filter-vlan-tagged", "bridge-nf-filter-pppoe-tagged"];

/// A flag that can't be set.
#[derive(Debug, thiserror::Error)]
#[error("{flag} can't be set; load the kernel's module br_netfilter")]
pub struct Unset {
    flag: &'static str,
    source: io::Error,
}

/// Those of a family.
pub(crate) async fn packets_meet_the_rules(family: Family) -> Result<(), Unset> {
    if !Path::new(FOLDER).exists() {
        // What comes of it is seen below.
        let _ = Command::new("modprobe").arg("br_netfilter").status().await;
    }
    let of_family = match family {
        Family::Ipv4 => "bridge-nf-call-iptables",
        Family::Ipv6 => "bridge-nf-call-ip6tables",
    };
    let mut flags = [of_family].into_iter().chain(FLAGS);
    flags.try_for_each(|flag| set(flag).map_err(|source| Unset { flag, source }))
}

fn set(flag: &str) -> io::Result<()> {
    let path = Path::new(FOLDER).join(flag);
    if fs::read_to_string(&path)?.trim() == "1" { Ok(()) } else { fs::write(path, "1") }
}
