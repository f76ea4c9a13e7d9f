//! minik8s as systemd runs it: units, `scripts/install.sh`, packages and `scripts/deploy.sh`, on copies of this host in namespaces of
//! their own, whose `systemctl` is a stand-in that starts what units say; and once systemd itself.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod deploy;
mod host;
mod installed;
mod masters;
mod packages;
mod systemd;
mod units;
