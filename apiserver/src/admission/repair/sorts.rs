//! What services hold of which there is one each.

use std::{collections::BTreeSet, fmt::Display, net::Ipv4Addr, str::FromStr};

use ipnet::Ipv4Net;
use serde_json::Value;

use crate::{
    admission::{
        claims::{CLUSTER_IPS, Claims, NODE_PORTS},
        service_cluster_ip::can_be_given,
    },
    config::PortRange,
};

/// A sort of such values, with what Kubernetes says of them.
pub(super) trait Sort {
    type Value: Copy + Display + FromStr + Ord;
    const CLAIMS: Claims<Self::Value>;
    /// Of events.
    const ACTION: &'static str;

    fn held(service: &Value) -> BTreeSet<Self::Value>;
    fn is_in_range(&self, value: Self::Value) -> bool;
    /// The reason and the message of an event.
    fn words(&self, value: Self::Value, fault: Fault) -> (&'static str, String);
}

/// What is wrong with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The service holds it without a claim.
    NotAllocated,
    /// Another service holds it too, and with more right.
    AlreadyAllocated,
    OutOfRange,
}

/// Virtual IPs, of this range.
pub(super) struct ClusterIps(pub(super) Ipv4Net);

/// Ports of the nodes, of this range.
pub(super) struct NodePorts(pub(super) PortRange);

impl Sort for ClusterIps {
    type Value = Ipv4Addr;
    const CLAIMS: Claims<Ipv4Addr> = CLUSTER_IPS;
    const ACTION: &'static str = "ClusterIPAllocation";

    fn held(service: &Value) -> BTreeSet<Ipv4Addr> {
        service["spec"]["clusterIP"].as_str().and_then(|ip| ip.parse().ok()).into_iter().collect()
    }

    fn is_in_range(&self, ip: Ipv4Addr) -> bool {
        can_be_given(self.0, ip)
    }

    fn words(&self, ip: Ipv4Addr, fault: Fault) -> (&'static str, String) {
        let (reason, what) = match fault {
            Fault::NotAllocated => ("ClusterIPNotAllocated", "is not allocated; repairing"),
            Fault::AlreadyAllocated => (
                "ClusterIPAlreadyAllocated",
                "was assigned to multiple services; please recreate service",
            ),
            Fault::OutOfRange => (
                "ClusterIPOutOfRange",
                "is not within any configured service CIDR; please recreate service",
            ),
        };
        (reason, format!("Cluster IP [IPv4]: {ip} {what}"))
    }
}

impl Sort for NodePorts {
    type Value = u16;
    const CLAIMS: Claims<u16> = NODE_PORTS;
    const ACTION: &'static str = "PortAllocation";

    fn held(service: &Value) -> BTreeSet<u16> {
        let spec = &service["spec"];
        let ports = spec["ports"].as_array().into_iter().flatten().map(|port| &port["nodePort"]);
        let numbers = ports.chain([&spec["healthCheckNodePort"]]).filter_map(Value::as_u64);
        numbers.filter_map(|number| number.try_into().ok()).filter(|number| *number != 0).collect()
    }

    fn is_in_range(&self, port: u16) -> bool {
        self.0.contains(port)
    }

    fn words(&self, port: u16, fault: Fault) -> (&'static str, String) {
        match fault {
            Fault::NotAllocated => {
                ("PortNotAllocated", format!("Port {port} is not allocated; repairing"))
            }
            Fault::AlreadyAllocated => (
                "PortAlreadyAllocated",
                format!("Port {port} was assigned to multiple services; please recreate service"),
            ),
            Fault::OutOfRange => (
                "PortOutOfRange",
                format!(
                    "Port {port} is not within the port range {}; please recreate service",
                    self.0
                ),
            ),
        }
    }
}
