//! When, and as which, the VXLAN is used.

use std::net::IpAddr;

use clap::ValueEnum;

use super::underlay::Underlay;

/// All names of our links begin with it; the network's number follows.
pub(super) const PREFIX: &str = "mk8svx";

/// How nodes that are not on a network segment of this host are reached. All nodes have to agree.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// When it is used.
    pub mode: Mode,
    /// Its number.
    pub id: u32,
    /// The UDP port that hosts send it to.
    pub port: u16,
}

/// When the VXLAN is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// For nodes behind a router
    Auto,
    /// For none: nodes behind a router are reached by routes that you add
    Never,
    /// For all
    Always,
}

impl Settings {
    /// The link's name.
    pub fn name(&self) -> String {
        format!("{PREFIX}{}", self.id)
    }

    pub(super) fn is_needed(&self, underlay: &Underlay<'_>, address: IpAddr) -> bool {
        match self.mode {
            Mode::Never => false,
            Mode::Always => true,
            Mode::Auto => underlay.is_behind_a_router(address),
        }
    }
}
