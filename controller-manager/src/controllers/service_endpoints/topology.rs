//! Where endpoints are, and whose clients they are meant for (`spec.trafficDistribution`). Pure.

use api_types::api::core::v1::Service;
use api_types::api::discovery::v1::{Endpoint, EndpointHints, ForNode, ForZone};

/// Says the endpoint's zone, and whom it is for: the hints count if all ready endpoints have them (Kubernetes: `trafficdist`).
pub(super) fn place(endpoint: &mut Endpoint, service: &Service, zone: Option<String>) {
    let wish = service.spec.as_ref().and_then(|spec| spec.traffic_distribution.as_deref());
    let is_ready = endpoint.conditions.as_ref().and_then(|it| it.ready).unwrap_or(true);
    let for_zones = zone.clone().map(|name| vec![ForZone { name }]);
    let for_nodes = endpoint.node_name.clone().map(|name| vec![ForNode { name }]);
    endpoint.hints = match wish.filter(|_| is_ready) {
        Some("PreferClose" | "PreferSameZone") if for_zones.is_some() => {
            Some(EndpointHints { for_zones, for_nodes: None })
        }
        Some("PreferSameNode") if for_nodes.is_some() => {
            Some(EndpointHints { for_zones, for_nodes })
        }
        _ => None,
    };
    endpoint.zone = zone;
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::backends::tests::service;
    use super::*;

    fn check(wish: &str, endpoint: Value, zone: Option<&str>, hints: &Value) {
        let mut endpoint: Endpoint = serde_json::from_value(endpoint).unwrap();
        let service = service(json!([]), json!({"trafficDistribution": wish}));
        place(&mut endpoint, &service, zone.map(str::to_owned));
        assert_eq!(endpoint.zone.as_deref(), zone);
        assert_eq!(serde_json::to_value(endpoint.hints).unwrap(), *hints, "{wish}");
    }

    #[test]
    fn endpoints_are_for_their_own_zone_or_node_where_the_service_prefers_that() {
        let endpoint = |ready: bool| json!({"addresses": ["10.0.0.1"], "nodeName": "n", "conditions": {"ready": ready}});
        let zone = json!({"forZones": [{"name": "west"}]});
        let node = json!({"forNodes": [{"name": "n"}], "forZones": [{"name": "west"}]});
        check("PreferClose", endpoint(true), Some("west"), &zone);
        check("PreferSameZone", endpoint(true), Some("west"), &zone);
        check("PreferSameNode", endpoint(true), Some("west"), &node);
        check("PreferSameNode", endpoint(true), None, &json!({"forNodes": [{"name": "n"}]}));
        check("PreferClose", endpoint(true), None, &Value::Null);
        check("PreferClose", endpoint(false), Some("west"), &Value::Null);
        check("Anything", endpoint(true), Some("west"), &Value::Null);
    }
}
