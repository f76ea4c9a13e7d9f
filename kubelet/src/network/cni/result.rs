//! What plugins answer. Pure.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde_json::Value;

/// The pod's address: the first of IPv4 that is the sandbox's.
pub(super) fn address(result: &Value) -> Option<Ipv4Addr> {
    let ips = result["ips"].as_array()?;
    ips.iter().filter(|ip| is_the_sandboxs(result, ip)).find_map(|ip| {
        let network: Ipv4Net = ip["address"].as_str()?.parse().ok()?;
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
    fn the_pods_address_is_the_first_of_ipv4_on_a_link_of_its_own() {
        let links = json!([{"name": "br0"}, {"name": "eth0", "sandbox": "/proc/7/ns/net"}]);
        let check = |ips: Value, expected: Option<[u8; 4]>| {
            let result = json!({"interfaces": links, "ips": ips});
            assert_eq!(address(&result), expected.map(Into::into), "{result}");
        };
        check(json!([{"address": "10.1.0.2/24"}]), Some([10, 1, 0, 2]));
        let own = json!({"address": "10.1.0.3/24", "interface": 1});
        check(json!([{"address": "10.1.0.1/24", "interface": 0}, own]), Some([10, 1, 0, 3]));
        check(json!([{"address": "fd00::2/64", "interface": 1}, own]), Some([10, 1, 0, 3]));
        check(json!([{"address": "fd00::2/64"}]), None);
        check(Value::Null, None);
    }
}
