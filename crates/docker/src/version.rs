//! Which version of the Engine's API is spoken: the newest that both sides know.
//!
//! `bollard` itself sends no version, so each daemon would answer in its newest one, of which this program
//! may know nothing; Docker has announced that one day it will refuse such requests.

use bollard::{API_DEFAULT_VERSION, ClientVersion, Docker, errors::Error, models::SystemVersion};
use http::{
    Request,
    uri::{PathAndQuery, Uri},
};

/// The newest whose data types this program has.
pub(crate) const NEWEST: &ClientVersion = API_DEFAULT_VERSION;

/// The minor number of a version: there is no second major one.
type Minor = usize;

/// A connection, with the version agreed upon.
#[derive(Clone)]
pub(crate) struct Agreed {
    pub(crate) engine: Docker,
    pub(crate) version: Minor,
}

/// Makes `engine` speak a version that the daemon knows.
pub(crate) async fn agree(engine: Docker) -> Result<Agreed, Error> {
    let version = chosen(&engine.version().await?).ok_or(Error::APIVersionParseError {})?;
    let engine = engine.with_request_modifier(move |request| with_version(request, version));
    Ok(Agreed { engine, version })
}

/// Whether it is for its version that a daemon has refused a request.
pub(crate) fn is_refused(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 400, message }
        if message.contains("client version"))
}

fn chosen(engine: &SystemVersion) -> Option<Minor> {
    let newest = minor(engine.api_version.as_deref()?)?;
    let oldest = engine.min_api_version.as_deref().and_then(minor).unwrap_or(newest);
    // A daemon that speaks no more what is known here gets what is nearest.
    Some(newest.min(NEWEST.minor_version).max(oldest))
}

fn minor(version: &str) -> Option<Minor> {
    version.strip_prefix("1.")?.parse().ok()
}

pub(crate) fn with_version<B>(mut request: Request<B>, version: Minor) -> Request<B> {
    let mut parts = request.uri().clone().into_parts();
    let path = parts.path_and_query.as_ref().map_or("/", PathAndQuery::as_str);
    let path = format!("/v1.{version}{path}").parse();
    parts.path_and_query = Some(path.expect("a valid path after another one is valid"));
    *request.uri_mut() = Uri::from_parts(parts).expect("scheme and authority are as they were");
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(oldest: &str, newest: &str) -> SystemVersion {
        SystemVersion {
            api_version: Some(newest.to_owned()),
            min_api_version: Some(oldest.to_owned()),
            ..SystemVersion::default()
        }
    }

    #[test]
    fn the_newest_version_that_both_sides_know_is_chosen() {
        let known = NEWEST.minor_version;
        // Docker 20.10, 27, 29, one to come, and one of a far future.
        for (oldest, newest, expected) in [
            ("1.12", "1.41".to_owned(), 41),
            ("1.24", "1.47".to_owned(), 47),
            ("1.44", "1.52".to_owned(), 52),
            ("1.44", format!("1.{}", known + 7), known),
            ("1.998", "1.999".to_owned(), 998),
        ] {
            assert_eq!(chosen(&engine(oldest, &newest)), Some(expected), "{oldest} to {newest}");
        }
        assert_eq!(chosen(&engine("1.12", "2.0")), None);
    }
}
