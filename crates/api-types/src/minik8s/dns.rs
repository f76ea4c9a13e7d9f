//! A host name inside the cluster whose paths lead to Services.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::resource::resource;
use crate::meta::Condition;

resource! {
    /// A host name inside the cluster whose paths lead to Services, served on port 80.
    Dns = "DNS", "dnses", DnsSpec, DnsStatus
}

/// The host and where its paths lead.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.minik8s.v1.DNSSpec")]
pub struct DnsSpec {
    /// The host name, e.g. `shop.example`, which can't be changed. It belongs to the namespace of the oldest object that
    /// names it; the objects there share it by path.
    pub host: String,
    /// Where the paths lead; the longest matching prefix wins.
    pub paths: Vec<DnsPath>,
}

/// One path of the host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.minik8s.v1.DNSPath")]
pub struct DnsPath {
    /// The prefix of the request's path, beginning with a slash; the Service does not see it. `/shop` and `/shop/` are the same.
    pub path: String,
    /// The Service, in the same namespace, that answers below the prefix.
    pub service: DnsService,
}

/// A Service and one of its ports.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.minik8s.v1.DNSService")]
pub struct DnsService {
    /// The Service's name.
    pub name: String,
    /// The Service's port; 80 if none is given.
    pub port: i32,
}

/// What was made of a DNS object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.minik8s.v1.DNSStatus")]
pub struct DnsStatus {
    /// The address that the host name resolves to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The generation of the spec that this status tells of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Accepted`: nobody else has the host or one of the paths. `ResolvedRefs`: each path's Service is there, with its port.
    /// `Ready`: both, and the host name has its address. Paths that are not concerned by what is amiss are served all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
