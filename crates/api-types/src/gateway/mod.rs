//! The kinds of the Gateway API, `gateway.networking.k8s.io`, as far as they are served: plain data. They are no kinds of
//! ours: they are there as long as their CustomResourceDefinitions are, of whatever release. So fields of later releases,
//! and words that are not known yet, make no object unreadable; whoever serves them has to tell what can't be served.

mod filter;
mod gateways;
mod grants;
mod http_route;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use filter::{
    HttpHeader, HttpHeaderFilter, HttpPathModifier, HttpRequestRedirectFilter, HttpRouteFilter,
    HttpUrlRewriteFilter,
};
pub use gateways::{
    AllowedRoutes, Gateway, GatewayClass, GatewayClassSpec, GatewayClassStatus, GatewaySpec,
    GatewayStatus, GatewayStatusAddress, Infrastructure, Listener, ListenerStatus, ListenerTls,
    RouteGroupKind, RouteNamespaces, SecretObjectReference,
};
pub use grants::{ReferenceGrant, ReferenceGrantFrom, ReferenceGrantSpec, ReferenceGrantTo};
pub use http_route::{
    HttpBackendRef, HttpPathMatch, HttpRoute, HttpRouteMatch, HttpRouteRule, HttpRouteSpec,
    HttpRouteTimeouts, NamedMatch, ParentReference, RouteParentStatus, RouteStatus,
};

/// The API group of these kinds.
pub const GROUP: &str = "gateway.networking.k8s.io";

/// A field of which it counts only whether it is there.
pub type Given = Option<Value>;

/// Defines a kind: the struct, `Resource` and `Metadata`.
macro_rules! kind {
    (
        $(#[$doc:meta])* $name:ident = $kind:literal, $version:literal, $plural:literal, $scope:ident, $spec:ty, $status:ty
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct $name {
            /// Standard object's metadata.
            pub metadata: $crate::meta::ObjectMeta,
            /// What is wanted.
            pub spec: $spec,
            /// What was found; written by controllers.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub status: Option<$status>,
        }

        impl $crate::Resource for $name {
            const API_VERSION: &'static str = concat!("gateway.networking.k8s.io/", $version);
            const GROUP: &'static str = $crate::gateway::GROUP;
            const KIND: &'static str = $kind;
            const VERSION: &'static str = $version;
            const URL_PATH_SEGMENT: &'static str = $plural;
            type Scope = $crate::$scope;
        }

        impl $crate::Metadata for $name {
            type Ty = $crate::meta::ObjectMeta;

            fn metadata(&self) -> &Self::Ty {
                &self.metadata
            }

            fn metadata_mut(&mut self) -> &mut Self::Ty {
                &mut self.metadata
            }
        }
    };
}

use kind;

/// No status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoStatus {}
