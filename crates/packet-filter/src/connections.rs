//! What the kernel remembers of flows of datagrams: a flow goes on as it began, whatever the rules say by now. Through
//! `conntrack`.

use std::net::{Ipv4Addr, SocketAddrV4};

use ipnet::Ipv4Net;

use crate::{Error, patiently, process};

const CONNTRACK: &str = "conntrack";

/// Flows of datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flows {
    /// To this, which are led to that.
    Led {
        /// Where their clients send.
        to: SocketAddrV4,
        /// Who gets it.
        endpoint: SocketAddrV4,
    },
    /// To this, wherever they are led.
    To(SocketAddrV4),
    /// To all addresses of a range.
    Into(Ipv4Net),
}

impl Flows {
    fn arguments(self) -> Vec<String> {
        let to = |flag: &str, address: Ipv4Addr, port_flag: &str, port: u16| {
            vec![flag.to_owned(), address.to_string(), port_flag.to_owned(), port.to_string()]
        };
        let destination =
            |socket: SocketAddrV4| to("--orig-dst", *socket.ip(), "--orig-port-dst", socket.port());
        let which = match self {
            Flows::Led { to: socket, endpoint } => {
                let from = to("--reply-src", *endpoint.ip(), "--reply-port-src", endpoint.port());
                [destination(socket), from].concat()
            }
            Flows::To(socket) => destination(socket),
            Flows::Into(range) => vec!["--orig-dst".to_owned(), range.to_string()],
        };
        ["-D", "-p", "udp"].into_iter().map(str::to_owned).chain(which).collect()
    }
}

/// Has the next datagram of these flows begin a new one.
///
/// # Errors
/// The tool is not there, refuses, or does not end.
pub async fn forget(flows: Flows) -> Result<(), Error> {
    let arguments = flows.arguments();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = patiently(process::output(CONNTRACK, &arguments, "")).await?;
    // It calls it a failure if there are none.
    let none = String::from_utf8_lossy(&output.stderr).contains(" 0 flow entries");
    if output.status.success() || none {
        return Ok(());
    }
    Err(process::refused(format!("{CONNTRACK} {}", arguments.join(" ")), &output))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_are_named_by_where_they_go() {
        let to = "10.96.0.10:53".parse().unwrap();
        for (flows, expected) in [
            (
                Flows::Led { to, endpoint: "10.244.0.2:5353".parse().unwrap() },
                "--orig-dst 10.96.0.10 --orig-port-dst 53 --reply-src 10.244.0.2 --reply-port-src 5353",
            ),
            (Flows::To(to), "--orig-dst 10.96.0.10 --orig-port-dst 53"),
            (Flows::Into("10.96.0.0/16".parse().unwrap()), "--orig-dst 10.96.0.0/16"),
        ] {
            assert_eq!(flows.arguments().join(" "), format!("-D -p udp {expected}"));
        }
    }

    #[tokio::test]
    async fn that_there_are_none_is_fine() {
        forget(Flows::Into("192.0.2.0/24".parse().unwrap())).await.unwrap();
    }
}
