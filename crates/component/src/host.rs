//! What a program has to know of the host it runs on.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, UdpSocket},
};

/// The host's name.
///
/// # Errors
/// The kernel doesn't tell it.
pub fn name() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned())
}

/// The name of the node that this host is: the one given, else the host's, which Kubernetes wants in lower case.
///
/// # Errors
/// None is given, and the kernel doesn't tell the host's.
pub fn node_name(given: Option<&str>) -> io::Result<String> {
    given.map_or_else(|| name().map(|name| name.to_lowercase()), |given| Ok(given.to_owned()))
}

/// The address that packets to other hosts would have; a host without a default route has none.
#[must_use]
pub fn address() -> Option<IpAddr> {
    // Connecting a UDP socket sends nothing.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}
