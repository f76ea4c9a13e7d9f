//! What other servers say of what they serve, kept for discovery and for OpenAPI.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use serde_json::Value;
use tokio::time::timeout;

use super::probe::{Fault, get};
use crate::{
    delegates::{Delegate, OpenApiOf, Told},
    state::State,
};

/// As long as a document may be.
const LONGEST: usize = 32 << 20;
const PATIENCE: Duration = Duration::from_secs(10);

/// Keeps these resources, or those of before if there are none, and fetches what has changed beside them.
pub(super) async fn learn(
    state: &State,
    delegate: &Delegate,
    resources: Option<Vec<Value>>,
    address: SocketAddr,
) {
    let told = state.delegates.told(&delegate.name);
    let is_current = resources.is_some();
    let before = || told.as_ref().map(|told| told.resources.clone());
    let resources = resources.or_else(before).unwrap_or_default();
    let known = told.as_ref().and_then(|told| told.open_api.clone());
    let fetched = timeout(PATIENCE, open_api(delegate, address, known.clone())).await;
    let open_api = fetched.ok().or(known);
    state.delegates.tell(&delegate.name, Told { resources, is_current, open_api });
}

/// What a server has answered. Of what it has not there is nothing.
struct Fetched {
    /// The address of the document.
    place: String,
    v3: Result<Option<Vec<u8>>, Fault>,
    v2: Result<Option<Value>, Fault>,
}

async fn open_api(
    delegate: &Delegate,
    address: SocketAddr,
    known: Option<Arc<OpenApiOf>>,
) -> Arc<OpenApiOf> {
    let index = json(delegate, address, "/openapi/v3").await;
    let (place, v3) = match index.map(|index| place(delegate, &index.unwrap_or_default())) {
        Ok(Some(place)) => {
            if let Some(known) = known.as_ref().filter(|known| known.address == place) {
                return known.clone();
            }
            let v3 = document(delegate, address, &place).await;
            (place, v3)
        }
        Ok(None) => (String::new(), Ok(None)),
        Err(fault) => (String::new(), Err(fault)),
    };
    let v2 = json(delegate, address, "/openapi/v2").await;
    learnt((&delegate.group, &delegate.version), known, Fetched { place, v3, v2 })
}

/// Where the index says that the document of the group version is.
fn place(delegate: &Delegate, index: &Value) -> Option<String> {
    let own = delegate.path();
    let entry = &index["paths"][own.trim_start_matches('/')]["serverRelativeURL"];
    let place = entry.as_str().filter(|place| place.starts_with("/openapi/v3/"));
    place.map(str::to_owned)
}

/// What was known stays where it could not be fetched, and then without an address: that is tried again. What is the same
/// stays itself, for which nothing is made anew.
fn learnt(
    (group, version): (&str, &str),
    known: Option<Arc<OpenApiOf>>,
    Fetched { place, v3, v2 }: Fetched,
) -> Arc<OpenApiOf> {
    let is_whole = v3.is_ok() && v2.is_ok();
    let before = known.as_deref();
    let now = OpenApiOf {
        group: group.to_owned(),
        version: version.to_owned(),
        address: if is_whole { place } else { String::new() },
        v3: match v3 {
            Ok(v3) => v3.map(Into::into),
            Err(_) => before.and_then(|before| before.v3.clone()),
        },
        v2: v2.unwrap_or_else(|_| before.and_then(|before| before.v2.clone())),
    };
    known.filter(|known| **known == now).unwrap_or_else(|| Arc::new(now))
}

/// A document, unless there is none or it is too long.
async fn document(
    delegate: &Delegate,
    address: SocketAddr,
    path: &str,
) -> Result<Option<Vec<u8>>, Fault> {
    match get(delegate, address, path, LONGEST).await {
        Err(Fault::Code(404)) => Ok(None),
        result => result,
    }
}

async fn json(
    delegate: &Delegate,
    address: SocketAddr,
    path: &str,
) -> Result<Option<Value>, Fault> {
    let Some(body) = document(delegate, address, path).await? else { return Ok(None) };
    let read = serde_json::from_slice(&body).map_err(|error| Fault::Other(error.to_string()))?;
    Ok(Some(read))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fetched(place: &str, v3: Option<&str>, v2: Option<i32>) -> Fetched {
        Fetched {
            place: place.to_owned(),
            v3: v3.map(|v3| Some(v3.as_bytes().to_vec())).ok_or(Fault::Code(503)),
            v2: v2.map(|v2| Some(json!(v2))).ok_or(Fault::Code(503)),
        }
    }

    #[test]
    fn what_could_not_be_fetched_is_kept_and_fetched_again() {
        let learnt = |known: Option<&Arc<OpenApiOf>>, fetched| {
            super::learnt(("x.io", "v1"), known.cloned(), fetched)
        };
        let first = learnt(None, fetched("/a", Some("3"), Some(2)));
        assert_eq!((first.address.as_str(), first.v3.as_deref()), ("/a", Some(&b"3"[..])));
        let same = learnt(Some(&first), fetched("/a", Some("3"), Some(2)));
        assert!(Arc::ptr_eq(&first, &same), "nothing is new");
        for failed in [fetched("/b", None, Some(2)), fetched("/b", Some("3"), None)] {
            let kept = learnt(Some(&first), failed);
            assert_eq!((&kept.v3, &kept.v2), (&first.v3, &first.v2));
            assert_eq!(kept.address, "", "not that of what was not fetched");
            let whole = learnt(Some(&kept), fetched("/b", Some("4"), Some(5)));
            assert_eq!((whole.address.as_str(), &whole.v2), ("/b", &Some(json!(5))));
        }
        let without = Fetched { place: String::new(), v3: Ok(None), v2: Ok(None) };
        assert_eq!(learnt(Some(&first), without).v3, None);
    }
}
