//! What plugins answer. Pure.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use crate::addresses::PodAddresses;

/// The pod's addresses: of each family the first that is the sandbox's.
pub(super) fn addresses(result: &Value) -> Option<PodAddresses> {
    let v4 = own(result).find_map(|ip| match ip {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    })?;
    let v6 = own(result).find_map(|ip| match ip {
        IpAddr::V4(_) => None,
        IpAddr::V6(ip) => Some(ip),
    });
    Some(PodAddresses { v4, v6 })
}

/// All that are the sandbox's.
fn own(result: &Value) -> impl Iterator<Item = IpAddr> {
    let ips = result["ips"].as_array().into_iter().flatten();
    ips.filter(|ip| is_the_sandboxs(result, ip)).filter_map(|ip| {
        let network: IpNet = ip["address"].as_str()?.parse().ok()?;
        Some(network.addr())
    })
}

/// Plugins may say of which link an address is.
fn is_the_sandboxs(result: &Value, ip: &Value) -> bool {
    let link = ip["interface"].as_u64().and_then(|index| usize::try_from(index).ok());
    link.and_then(|index| result["interfaces"].get(index))
        .is_none_or(|link| link["sandbox"].as_str().is_some_and(|sandbox| !sandbox.is_empty()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_pods_addresses_are_the_first_of_each_family_on_a_link_of_its_own() {
        let links = json!([{"name": "br0"}, {"name": "eth0", "sandbox": "/proc/7/ns/net"}]);
        let check = |ips: Value, expected: &str| {
            let result = json!({"interfaces": links, "ips": ips});
            let found: Vec<_> = addresses(&result).iter().flat_map(PodAddresses::iter).collect();
            let found: Vec<_> = found.iter().map(IpAddr::to_string).collect();
            assert_eq!(found.join(" "), expected, "{result}");
        };
        check(json!([{"address": "10.1.0.2/24"}]), "10.1.0.2");
        let own = json!({"address": "10.1.0.3/24", "interface": 1});
        check(json!([{"address": "10.1.0.1/24", "interface": 0}, own]), "10.1.0.3");
        let second = json!({"address": "fd00::2/64", "interface": 1});
        check(json!([second, own, {"address": "fd00::3/64"}]), "10.1.0.3 fd00::2");
        check(json!([{"address": "fd00::1/64", "interface": 0}, own]), "10.1.0.3");
        check(json!([{"address": "fd00::2/64"}]), "");
        check(Value::Null, "");
    }
}
