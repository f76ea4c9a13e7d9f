//! What services hold of which there is one each.

use std::{collections::BTreeSet, fmt::Display, net::IpAddr, str::FromStr};

use api_machinery::IpFamily;
use ipnet::IpNet;
use serde_json::Value;

use crate::{
    admission::{
        claims::{CLUSTER_IPS, Claims, NODE_PORTS},
        service_ranges::can_be_given,
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
    /// The claim is for another, which need not hold it.
    WrongReference,
    OutOfRange,
}

/// Virtual IPs, of these ranges.
pub(super) struct ClusterIps(pub(super) Vec<IpNet>);

/// Ports of the nodes, of this range.
pub(super) struct NodePorts(pub(super) PortRange);

impl Sort for ClusterIps {
    type Value = IpAddr;
    const CLAIMS: Claims<IpAddr> = CLUSTER_IPS;
    const ACTION: &'static str = "ClusterIPAllocation";

    fn held(service: &Value) -> BTreeSet<IpAddr> {
        let spec = &service["spec"];
        let all = spec["clusterIPs"].as_array().into_iter().flatten().chain([&spec["clusterIP"]]);
        all.filter_map(|ip| ip.as_str()?.parse().ok()).collect()
    }

    fn is_in_range(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|range| can_be_given(*range, ip))
    }

    fn words(&self, ip: IpAddr, fault: Fault) -> (&'static str, String) {
        let (reason, what) = match fault {
            Fault::NotAllocated => ("ClusterIPNotAllocated", "is not allocated; repairing"),
            Fault::AlreadyAllocated => (
                "ClusterIPAlreadyAllocated",
                "was assigned to multiple services; please recreate service",
            ),
            Fault::WrongReference => (
                "IPAddressWrongReference",
                "has an IPAddress of something else; please delete that IPAddress, and it is made anew",
            ),
            Fault::OutOfRange => (
                "ClusterIPOutOfRange",
                "is not within any configured service CIDR; please recreate service",
            ),
        };
        (reason, format!("Cluster IP [{}]: {ip} {what}", IpFamily::of(ip)))
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
            Fault::WrongReference => (
                "PortWrongReference",
                format!("Port {port} is allocated to something else; please recreate service"),
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
