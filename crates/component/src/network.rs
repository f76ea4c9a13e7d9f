//! Networks as flags such as `--service-cidr` give them.

use ipnet::Ipv4Net;

/// Why a text is not a network.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NetworkFault {
    /// Not of the form `address/length`.
    #[error("{0:?} is not an IPv4 network such as 10.96.0.0/16")]
    Form(String),
    /// The address is not the first one of its network.
    #[error("{given} has host bits set; the network is {network}")]
    HostBits {
        /// What was given.
        given: String,
        /// The network the address lies in.
        network: Ipv4Net,
    },
}

/// Reads a network; all programs of a cluster must mean the same one, so it has only one spelling.
///
/// # Errors
/// It is none, is the whole of IPv4, or has host bits set.
pub fn parse(text: &str) -> Result<Ipv4Net, NetworkFault> {
    let given = text.parse().ok().filter(|given: &Ipv4Net| given.prefix_len() > 0);
    let given = given.ok_or_else(|| NetworkFault::Form(text.to_owned()))?;
    let network = given.trunc();
    if network != given {
        return Err(NetworkFault::HostBits { given: text.to_owned(), network });
    }
    Ok(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_network_is_refused_with_the_reason() {
        assert_eq!(parse("10.96.0.0/16").unwrap().to_string(), "10.96.0.0/16");
        let fault = |text: &str| parse(text).unwrap_err().to_string();
        for text in ["", "10.96.0.0", "10.96.0.0/0", "10.96.0.0/33", "fd00::/64", "x/16"] {
            assert!(fault(text).contains("is not an IPv4 network"), "{text}");
        }
        assert_eq!(
            fault("10.96.0.1/16"),
            "10.96.0.1/16 has host bits set; the network is 10.96.0.0/16"
        );
    }
}
