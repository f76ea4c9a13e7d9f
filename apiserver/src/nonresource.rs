//! Paths that name no resource: health, version, metrics, discovery, OpenAPI.

use std::collections::BTreeMap;

use api_machinery::ApiError;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::{
    caching::{self, Freshness},
    catalogue::Catalogue,
    discovery::{self, Served},
    flow_control::Limits,
    health,
    metrics::Metrics,
    negotiation,
    openapi::{self, Documents},
    representation,
    request::NonResource,
    respond::{self, Response},
    scrape_targets,
    state::State,
};

/// The Kubernetes version whose API this is.
const KUBERNETES: (&str, &str) = ("1", "36");

/// GET of such a path.
pub(crate) async fn get(
    state: &State,
    what: &NonResource,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let catalogue = &*state.catalogue.load();
    let served = &Served::new(catalogue, &state.delegates);
    let document = |value: Value| -> Result<Response, ApiError> {
        Ok(caching::unless_known(headers, value.to_string().into(), Freshness::Revalidated))
    };
    let negotiated = |value: Value| {
        let media = negotiation::document(headers)?;
        document(value).map(|response| representation::wanted(media, response))
    };
    match what {
        NonResource::Health(asked) => {
            health::report(&state.storage, state.leaving.is_cancelled(), asked).await
        }
        NonResource::Metrics => Ok(metrics(&state.metrics, &objects(state, catalogue))),
        NonResource::ScrapeTargets(role) => {
            let targets = scrape_targets::list(&state.storage, catalogue, *role).await?;
            Ok(respond::json(StatusCode::OK, &targets))
        }
        NonResource::Version => Ok(respond::json(StatusCode::OK, &version())),
        NonResource::Paths => document(discovery::paths(served)),
        NonResource::CoreVersions | NonResource::Groups => {
            let is_core = *what == NonResource::CoreVersions;
            let (media, is_aggregated) = negotiation::aggregated_discovery(headers)?;
            let answer = match (is_aggregated, is_core) {
                (true, _) => aggregated(headers, &discovery::aggregated(served, is_core)),
                (false, true) => document(discovery::core_versions(&state.config))?,
                (false, false) => document(discovery::groups(served))?,
            };
            Ok(representation::wanted(media, answer))
        }
        NonResource::Group(group) => discovery::group(served, group)
            .map_or_else(|| Err(ApiError::no_such_path()), negotiated),
        NonResource::Resources(group, version) => {
            if !catalogue.serves(group, version) {
                return Err(ApiError::no_such_path());
            }
            negotiated(discovery::resources(catalogue, group, version))
        }
        NonResource::OpenIdConfiguration => {
            let address = state.config.advertised().to_string();
            let configuration = state.config.tokens.openid_configuration(&address);
            let configuration = configuration.ok_or_else(ApiError::no_such_path)?;
            Ok(for_an_hour(&configuration, "application/json"))
        }
        NonResource::TokenKeys => {
            Ok(for_an_hour(&state.config.tokens.key_set(), "application/jwk-set+json"))
        }
        NonResource::OpenApiV3Index => document(state.openapi.documents().index()),
        NonResource::OpenApiV3(group, version, hash) => {
            negotiation::json(headers)?;
            openapi_v3(&state.openapi.documents(), headers, (group, version), hash.as_deref())
        }
        NonResource::PriorityLevels | NonResource::Queues => {
            let Limits::Fair(control) = &state.limits else {
                return Err(ApiError::no_such_path());
            };
            let is_levels = *what == NonResource::PriorityLevels;
            let dump = if is_levels { control.dump_levels() } else { control.dump_queues() };
            Ok(respond::text(StatusCode::OK, dump))
        }
        NonResource::OpenApiV2 => openapi_v2(&state.openapi.documents(), headers),
    }
}

/// The document of all that is served, as JSON or in protobuf.
fn openapi_v2(documents: &Documents, headers: &HeaderMap) -> Result<Response, ApiError> {
    let names = [openapi::V2_PROTOBUF, openapi::V2_PROTOBUF_ASKED];
    if !negotiation::is_rather(headers, &names)? {
        return Ok(caching::unless_known(headers, documents.v2(), Freshness::Revalidated));
    }
    let document = documents.v2_protobuf();
    let mut response = caching::unless_known(headers, document, Freshness::Revalidated);
    let form = HeaderValue::from_static(openapi::V2_PROTOBUF);
    response.headers_mut().insert(header::CONTENT_TYPE, form);
    Ok(response)
}

/// The document of a group version. At the address with its hash it never changes; who comes with the hash of another
/// is sent there.
fn openapi_v3(
    documents: &Documents,
    headers: &HeaderMap,
    (group, version): (&str, &str),
    hash: Option<&str>,
) -> Result<Response, ApiError> {
    let document = documents.document(group, version);
    let document = document.ok_or_else(ApiError::no_such_path)?;
    match hash {
        None => Ok(caching::unless_known(headers, document, Freshness::Revalidated)),
        Some(hash) if hash == caching::hash(&document) => {
            Ok(caching::unless_known(headers, document, Freshness::Immutable))
        }
        Some(_) => {
            let mut response = Response::default();
            *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
            let location = HeaderValue::from_str(&openapi::address(group, version, &document))
                .expect("groups, versions and hashes have letters of addresses only");
            response.headers_mut().insert(header::LOCATION, location);
            Ok(response)
        }
    }
}

/// How many objects there are of each kind that is stored, as the cache knows it.
fn objects(state: &State, catalogue: &Catalogue) -> BTreeMap<String, usize> {
    let stored = catalogue.iter().filter(|def| def.is_stored());
    let cache = state.storage.cache();
    stored.map(|def| (def.qualified(), cache.list(&def.prefix(None)).items.len())).collect()
}

fn metrics(metrics: &Metrics, objects: &BTreeMap<String, usize>) -> Response {
    let mut response = respond::text(StatusCode::OK, metrics.text(objects));
    let format = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(format));
    response
}

/// What others keep for an hour (Kubernetes: `pkg/routes/openidmetadata.go`).
fn for_an_hour(document: &Value, media_type: &'static str) -> Response {
    let mut response = respond::json(StatusCode::OK, document);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    response
}

fn version() -> Value {
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

fn aggregated(headers: &HeaderMap, document: &Value) -> Response {
    let document = document.to_string().into();
    let mut response = caching::unless_known(headers, document, Freshness::Revalidated);
    // client-go tells this form from the old one by the content type.
    let form = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(form));
    response
}
