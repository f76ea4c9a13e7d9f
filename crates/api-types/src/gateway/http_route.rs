//! Where requests go.

use serde::{Deserialize, Serialize};

use super::{Given, HttpRouteFilter, kind};
use crate::meta::Condition;

kind! {
    /// Which requests go to which Services, in which shares.
    HttpRoute = "HTTPRoute", "v1", "httproutes", NamespaceResourceScope, HttpRouteSpec, RouteStatus
}

/// What is wanted of a route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRouteSpec {
    /// The Gateways that it is for.
    pub parent_refs: Vec<ParentReference>,
    /// The hosts that are meant; none: all of the listener.
    pub hostnames: Vec<String>,
    /// The rules.
    pub rules: Vec<HttpRouteRule>,
}

/// A Gateway, or a part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ParentReference {
    /// The group; nothing: that of the Gateway API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The kind; nothing: `Gateway`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The namespace; nothing: the route's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
    /// The listener that is meant; nothing: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
    /// The port of the listeners that are meant; nothing: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
}

/// Requests, and what becomes of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRouteRule {
    /// Which requests are meant: those of any of them; none: all.
    pub matches: Vec<HttpRouteMatch>,
    /// What is done with them.
    pub filters: Vec<HttpRouteFilter>,
    /// Where they go.
    pub backend_refs: Vec<HttpBackendRef>,
    /// How long it may take.
    pub timeouts: Option<HttpRouteTimeouts>,
    /// Whether it is tried again.
    pub retry: Given,
    /// Whether a client stays with a backend.
    pub session_persistence: Given,
}

/// Requests of which all of that holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRouteMatch {
    /// Their path; nothing: all.
    pub path: Option<HttpPathMatch>,
    /// Their headers.
    pub headers: Vec<NamedMatch>,
    /// Parameters of their query.
    pub query_params: Vec<NamedMatch>,
    /// Their method; nothing: any.
    pub method: Option<String>,
}

/// A path.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpPathMatch {
    /// `Exact`, `PathPrefix`, which is the default, or `RegularExpression`.
    #[serde(rename = "type")]
    pub type_: Option<String>,
    /// What it is compared with; nothing: `/`.
    pub value: Option<String>,
}

/// A header, or a parameter of the query.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NamedMatch {
    /// `Exact`, which is the default, or `RegularExpression`.
    #[serde(rename = "type")]
    pub type_: Option<String>,
    /// Its name.
    pub name: String,
    /// What it is compared with.
    pub value: String,
}

/// Who answers some share of the requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpBackendRef {
    /// The group; empty: `core`.
    pub group: Option<String>,
    /// The kind; nothing: `Service`.
    pub kind: Option<String>,
    /// The name.
    pub name: String,
    /// The namespace; nothing: the route's.
    pub namespace: Option<String>,
    /// The port.
    pub port: Option<i32>,
    /// Its share, of the sum of all weights; nothing: 1.
    pub weight: Option<i32>,
    /// What is done with requests that go there.
    pub filters: Vec<HttpRouteFilter>,
}

/// How long it may take, in the words of Gateway API's durations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRouteTimeouts {
    /// The whole request.
    pub request: Option<String>,
    /// One request to a backend.
    pub backend_request: Option<String>,
}

/// What became of a route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteStatus {
    /// By parent and controller.
    pub parents: Vec<RouteParentStatus>,
}

/// What a controller says of a route and one of its parents.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteParentStatus {
    /// The parent, as the route names it.
    pub parent_ref: ParentReference,
    /// The controller.
    pub controller_name: String,
    /// `Accepted`, `ResolvedRefs` and others.
    pub conditions: Vec<Condition>,
}
