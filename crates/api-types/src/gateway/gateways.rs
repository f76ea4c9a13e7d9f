//! Gateways and their classes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Given, kind};
use crate::meta::{Condition, LabelSelector};

kind! {
    /// Who serves the Gateways of a class.
    GatewayClass = "GatewayClass", "v1", "gatewayclasses", ClusterResourceScope, GatewayClassSpec, GatewayClassStatus
}

kind! {
    /// Where traffic comes in: ports, host names and certificates.
    Gateway = "Gateway", "v1", "gateways", NamespaceResourceScope, GatewaySpec, GatewayStatus
}

/// Who serves them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayClassSpec {
    /// The controller, by its domain and path.
    pub controller_name: String,
    /// A controller's own object.
    pub parameters_ref: Given,
}

/// What became of a class.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayClassStatus {
    /// `Accepted`.
    pub conditions: Vec<Condition>,
}

/// What is wanted of a Gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewaySpec {
    /// Its class.
    pub gateway_class_name: String,
    /// Where it listens.
    pub listeners: Vec<Listener>,
    /// Addresses that it is to have.
    pub addresses: Vec<serde_json::Value>,
    /// About what is made for it.
    pub infrastructure: Option<Infrastructure>,
    /// TLS towards backends and from clients.
    pub tls: Given,
    /// Whether listeners of other objects are its, too.
    pub allowed_listeners: Given,
}

/// About what is made for a Gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Infrastructure {
    /// Labels of what is made.
    pub labels: BTreeMap<String, String>,
    /// Annotations of what is made.
    pub annotations: BTreeMap<String, String>,
    /// A controller's own object.
    pub parameters_ref: Given,
}

/// A port, with the hosts that are meant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Listener {
    /// Its name, of which there is one in a Gateway.
    pub name: String,
    /// The host, perhaps with `*.` at the beginning; nothing: all.
    pub hostname: Option<String>,
    /// The port.
    pub port: i32,
    /// `HTTP`, `HTTPS`, or another one.
    pub protocol: String,
    /// With what it proves itself.
    pub tls: Option<ListenerTls>,
    /// Which routes may attach to it.
    pub allowed_routes: Option<AllowedRoutes>,
}

/// TLS of a listener.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListenerTls {
    /// `Terminate`, which is the default, or `Passthrough`.
    pub mode: Option<String>,
    /// Where the certificates are.
    pub certificate_refs: Vec<SecretObjectReference>,
    /// A controller's own settings.
    pub options: BTreeMap<String, String>,
}

/// An object with a certificate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SecretObjectReference {
    /// The group; empty: `core`.
    pub group: Option<String>,
    /// The kind; nothing: `Secret`.
    pub kind: Option<String>,
    /// The name.
    pub name: String,
    /// The namespace; nothing: the Gateway's.
    pub namespace: Option<String>,
}

/// Which routes may attach.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AllowedRoutes {
    /// Of which namespaces.
    pub namespaces: Option<RouteNamespaces>,
    /// Of which kinds; none: those that the protocol has.
    pub kinds: Vec<RouteGroupKind>,
}

/// Namespaces of routes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteNamespaces {
    /// `Same`, which is the default, `All`, `Selector` or `None`.
    pub from: Option<String>,
    /// Which of them.
    pub selector: Option<LabelSelector>,
}

/// A kind of routes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteGroupKind {
    /// The group; nothing: that of the Gateway API.
    pub group: Option<String>,
    /// The kind.
    pub kind: String,
}

/// What became of a Gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayStatus {
    /// Where it is reached.
    pub addresses: Vec<GatewayStatusAddress>,
    /// `Accepted` and `Programmed`.
    pub conditions: Vec<Condition>,
    /// What became of each listener.
    pub listeners: Vec<ListenerStatus>,
}

/// An address.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayStatusAddress {
    /// `IPAddress`.
    #[serde(rename = "type")]
    pub type_: Option<String>,
    /// The address.
    pub value: String,
}

/// What became of a listener.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListenerStatus {
    /// Its name.
    pub name: String,
    /// The kinds of routes that may attach.
    pub supported_kinds: Vec<RouteGroupKind>,
    /// How many routes have.
    pub attached_routes: i32,
    /// `Accepted`, `Conflicted`, `Programmed` and `ResolvedRefs`.
    pub conditions: Vec<Condition>,
}
