//! Paths that name no resource: health, version, metrics, discovery, OpenAPI.

use std::time::Duration;

use api_machinery::ApiError;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::json;

use crate::{
    discovery, negotiation, openapi,
    request::NonResource,
    respond::{self, Response},
    server::Server,
};

/// How long the store may take to say that it can be read and written.
const STORE_PATIENCE: Duration = Duration::from_secs(2);

/// The Kubernetes version whose API this is.
const KUBERNETES: (&str, &str) = ("1", "36");

/// Answers a request for such a path.
pub(crate) async fn answer(
    server: &Server,
    what: &NonResource,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let catalogue = &server.catalogue;
    let ok = |value| Ok(respond::json(StatusCode::OK, &value));
    match what {
        NonResource::Health => Ok(health(server).await),
        NonResource::Metrics => Ok(metrics(server)),
        NonResource::Version => ok(version()),
        NonResource::Paths => ok(discovery::paths(catalogue)),
        NonResource::CoreVersions | NonResource::Groups
            if negotiation::aggregated_discovery(headers)? =>
        {
            let core = *what == NonResource::CoreVersions;
            Ok(aggregated(&discovery::aggregated(catalogue, core)))
        }
        NonResource::CoreVersions => ok(discovery::core_versions(server)),
        NonResource::Groups => ok(discovery::groups(catalogue)),
        NonResource::Group(group) => {
            discovery::group(catalogue, group).map_or_else(|| Err(ApiError::no_such_path()), ok)
        }
        NonResource::Resources(group, version) => {
            negotiation::json(headers)?;
            let found = catalogue.serves(group, version);
            if found {
                ok(discovery::resources(catalogue, group, version))
            } else {
                Err(ApiError::no_such_path())
            }
        }
        NonResource::OpenApiV3Index => ok(server.openapi.index()),
        NonResource::OpenApiV3(group, version) => {
            negotiation::json(headers)?;
            let document = server.openapi.document(group, version);
            let json = document.ok_or_else(ApiError::no_such_path)?;
            Ok(respond::encoded(StatusCode::OK, json))
        }
        NonResource::OpenApiV2 => match negotiation::json(headers) {
            Err(_) if negotiation::accepts(headers, openapi::V2_PROTOBUF) => Ok(protobuf_v2()),
            Err(error) => Err(error),
            Ok(()) => Ok(respond::encoded(StatusCode::OK, server.openapi.v2())),
        },
    }
}

async fn health(server: &Server) -> Response {
    let checked = tokio::time::timeout(STORE_PATIENCE, server.storage.store().check()).await;
    let fault = match checked {
        Ok(Ok(())) if !server.shutdown.is_cancelled() => {
            return respond::text(StatusCode::OK, "ok");
        }
        Ok(Ok(())) => "shutdown: the server is stopping".to_owned(),
        Ok(Err(error)) => format!("store: {error}"),
        Err(_) => format!("store: no answer within {STORE_PATIENCE:?}"),
    };
    respond::text(StatusCode::INTERNAL_SERVER_ERROR, format!("[-]{fault}\n"))
}

fn metrics(server: &Server) -> Response {
    let mut response = respond::text(StatusCode::OK, server.metrics.text());
    let format = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(format));
    response
}

fn version() -> serde_json::Value {
    let (major, minor) = KUBERNETES;
    json!({
        "major": major,
        "minor": minor,
        "gitVersion": format!("v{major}.{minor}.0+minik8s-{}", env!("CARGO_PKG_VERSION")),
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none (Rust)",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, go_architecture()),
    })
}

/// The name Kubernetes' tools know this machine's architecture by.
fn go_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn protobuf_v2() -> Response {
    let mut response = respond::encoded(StatusCode::OK, openapi::v2_protobuf());
    // Not the name in `Accept`: Go's parser of media types refuses its `@`.
    let form = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
    let form = HeaderValue::from_static(form);
    response.headers_mut().insert(header::CONTENT_TYPE, form);
    response
}

fn aggregated(document: &serde_json::Value) -> Response {
    let mut response = respond::json(StatusCode::OK, document);
    // client-go tells this form from the old one by the content type.
    let form = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(form));
    response
}
