//! What the kernel remembers of flows of datagrams: a flow goes on as it began, whatever the rules say by now. Through
//! `conntrack`.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::{Error, patiently, process};

const CONNTRACK: &str = "conntrack";

/// Flows of datagrams. Where clients send, an unspecified address stands for all of its family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flows {
    /// To this, which are led to that.
    Led {
        /// Where their clients send.
        to: SocketAddr,
        /// Who gets it.
        endpoint: SocketAddr,
    },
    /// To this, wherever they are led.
    To(SocketAddr),
    /// To all addresses of a range.
    Into(IpNet),
}

impl Flows {
    fn arguments(self) -> Vec<String> {
        let which = match self {
            Flows::Led { to, endpoint } => {
                let from =
                    socket("--reply-src", endpoint.ip(), "--reply-port-src", endpoint.port());
                [destination(to), from].concat()
            }
            Flows::To(to) => destination(to),
            Flows::Into(range) => vec!["--orig-dst".to_owned(), range.to_string()],
        };
        let family = if self.is_of_ipv6() { "ipv6" } else { "ipv4" };
        let begin = ["-D", "-f", family, "-p", "udp"];
        begin.map(str::to_owned).into_iter().chain(which).collect()
    }

    fn is_of_ipv6(self) -> bool {
        let to = match self {
            Flows::Led { to, .. } | Flows::To(to) => to.ip(),
            Flows::Into(range) => range.addr(),
        };
        to.is_ipv6()
    }
}

fn destination(to: SocketAddr) -> Vec<String> {
    let all = socket("--orig-dst", to.ip(), "--orig-port-dst", to.port());
    if to.ip().is_unspecified() { all[2..].to_vec() } else { all }
}

fn socket(flag: &str, address: IpAddr, port_flag: &str, port: u16) -> Vec<String> {
    vec![flag.to_owned(), address.to_string(), port_flag.to_owned(), port.to_string()]
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
            (Flows::To("0.0.0.0:53".parse().unwrap()), "--orig-port-dst 53"),
            (Flows::Into("10.96.0.0/16".parse().unwrap()), "--orig-dst 10.96.0.0/16"),
        ] {
            assert_eq!(flows.arguments().join(" "), format!("-D -f ipv4 -p udp {expected}"));
        }
        let (to, endpoint) = ("[fd00::10]:53".parse().unwrap(), "[fd00::2]:5353".parse().unwrap());
        let expected =
            "--orig-dst fd00::10 --orig-port-dst 53 --reply-src fd00::2 --reply-port-src 5353";
        let arguments = Flows::Led { to, endpoint }.arguments().join(" ");
        assert_eq!(arguments, format!("-D -f ipv6 -p udp {expected}"));
    }

    #[tokio::test]
    async fn that_there_are_none_is_fine() {
        forget(Flows::Into("192.0.2.0/24".parse().unwrap())).await.unwrap();
    }
}
