//! What is done with requests and answers, read off filters.

use std::collections::BTreeMap;

use api_types::gateway::{
    HttpHeaderFilter, HttpPathModifier, HttpRequestRedirectFilter, HttpRouteFilter,
    HttpUrlRewriteFilter,
};

use super::{
    matching::{PathMatch, is_header},
    pattern::{MAX_WORD, literal},
};

/// What of requests and answers is changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The request's headers, by name in lower case.
    pub request: BTreeMap<String, HeaderChange>,
    /// The answer's.
    pub response: BTreeMap<String, HeaderChange>,
    /// The host that is asked for.
    pub host: Option<String>,
    /// The path that is asked for.
    pub path: Option<PathChange>,
}

/// What becomes of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderChange {
    /// As it was spelt.
    pub name: String,
    /// Whether the values that it has stay.
    pub keeps: bool,
    /// Those that it gets.
    pub values: Vec<String>,
}

/// What becomes of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathChange {
    /// It is this one.
    Full(String),
    /// What it begins with, and what stands there instead; neither with a slash at the end.
    Prefix {
        /// The path of the match.
        from: String,
        /// What is there instead.
        to: String,
    },
}

/// Where a client is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The scheme, if it is another one.
    pub scheme: Option<String>,
    /// The host, if it is another one.
    pub host: Option<String>,
    /// The port, if one is given.
    pub port: Option<u16>,
    /// The path, if it is another one.
    pub path: Option<PathChange>,
    /// With this code.
    pub code: u16,
}

/// Headers that are about a connection, and what says how long a message is, are the server's own business.
const OWN: [&str; 10] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "date",
];

impl Changes {
    /// Adds what the filters of one list ask for. `prefix`: what [`PathChange::Prefix`] is about, if there is one path.
    ///
    /// # Errors
    ///
    /// Why they can't be served.
    pub(super) fn read(
        &mut self,
        filters: &[HttpRouteFilter],
        path: Option<&PathMatch>,
    ) -> Result<Option<Redirect>, String> {
        let mut redirect = None;
        for filter in filters {
            match (filter.type_.as_str(), filter) {
                (
                    "RequestHeaderModifier",
                    HttpRouteFilter { request_header_modifier: Some(it), .. },
                ) => {
                    headers(&mut self.request, it)?;
                }
                (
                    "ResponseHeaderModifier",
                    HttpRouteFilter { response_header_modifier: Some(it), .. },
                ) => {
                    headers(&mut self.response, it)?;
                }
                ("URLRewrite", HttpRouteFilter { url_rewrite: Some(it), .. }) => {
                    self.rewrite(it, path)?
                }
                ("RequestRedirect", HttpRouteFilter { request_redirect: Some(it), .. }) => {
                    redirect = Some(Redirect::read(it, path)?);
                }
                (type_, _) => return Err(format!("filters of type {type_:?} are not served")),
            }
        }
        if redirect.is_some() && (self.host.is_some() || self.path.is_some()) {
            return Err("a redirect and a rewrite exclude each other".to_owned());
        }
        Ok(redirect)
    }

    fn rewrite(
        &mut self,
        filter: &HttpUrlRewriteFilter,
        path: Option<&PathMatch>,
    ) -> Result<(), String> {
        if let Some(host) = &filter.hostname {
            self.host = Some(hostname(host)?);
        }
        if let Some(modifier) = &filter.path {
            self.path = Some(path_change(modifier, path)?);
        }
        Ok(())
    }
}

impl Redirect {
    fn read(filter: &HttpRequestRedirectFilter, path: Option<&PathMatch>) -> Result<Self, String> {
        let scheme = filter.scheme.clone();
        if let Some(other) = scheme.as_ref().filter(|it| !["http", "https"].contains(&it.as_str()))
        {
            return Err(format!("redirects with the scheme {other:?} are not served"));
        }
        let code = filter.status_code.unwrap_or(302);
        let code = u16::try_from(code).ok().filter(|it| [301, 302, 303, 307, 308].contains(it));
        let code = code.ok_or("redirects have the code 301, 302, 303, 307 or 308")?;
        let path = filter.path.as_ref().map(|it| path_change(it, path)).transpose()?;
        if matches!(path, Some(PathChange::Prefix { .. })) && ![301, 302].contains(&code) {
            let why = "redirects that replace a prefix are served with the code 301 or 302 alone";
            return Err(why.to_owned());
        }
        let port = filter.port.map(|port| u16::try_from(port).map_err(|_| "that is no port"));
        Ok(Redirect {
            scheme,
            host: filter.hostname.as_deref().map(hostname).transpose()?,
            port: port.transpose()?,
            path,
            code,
        })
    }
}

fn headers(
    changes: &mut BTreeMap<String, HeaderChange>,
    filter: &HttpHeaderFilter,
) -> Result<(), String> {
    for header in &filter.set {
        let change = HeaderChange {
            name: header.name.clone(),
            keeps: false,
            values: vec![header_value(&header.name, &header.value)?],
        };
        changes.insert(header_name(&header.name)?, change);
    }
    for header in &filter.add {
        let value = header_value(&header.name, &header.value)?;
        let new = || HeaderChange { name: header.name.clone(), keeps: true, values: Vec::new() };
        changes.entry(header_name(&header.name)?).or_insert_with(new).values.push(value);
    }
    for name in &filter.remove {
        let change = HeaderChange { name: name.clone(), keeps: false, values: Vec::new() };
        changes.insert(header_name(name)?, change);
    }
    // A header's values are one word.
    let is_long =
        |it: &&HeaderChange| it.values.iter().map(|it| said(it) + 4).sum::<usize>() > MAX_WORD;
    match changes.values().find(is_long) {
        Some(change) => Err(format!("header {:?}: the values are too long", change.name)),
        None => Ok(()),
    }
}

fn header_name(name: &str) -> Result<String, String> {
    let lower = name.to_ascii_lowercase();
    if !is_header(&lower) {
        return Err(format!(
            "header {name:?}: only letters, digits and hyphens are served in names"
        ));
    }
    if OWN.contains(&lower.as_str()) {
        return Err(format!("header {name:?} is not changed by a filter"));
    }
    Ok(lower)
}

fn header_value(name: &str, value: &str) -> Result<String, String> {
    plain(value).map_err(|why| format!("header {name:?}: the value {why}"))
}

fn plain(value: &str) -> Result<String, String> {
    if value.chars().any(char::is_control) {
        return Err("has control characters".to_owned());
    }
    if said(value) > MAX_WORD {
        return Err("is too long".to_owned());
    }
    Ok(value.to_owned())
}

/// How long it is in a configuration: dollar signs, quotation marks and backslashes take more than one.
fn said(value: &str) -> usize {
    value.chars().map(|c| if c == '$' { 9 } else { c.len_utf8() + 1 }).sum()
}

fn hostname(host: &str) -> Result<String, String> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    let is_name = !host.is_empty() && host.len() <= 253 && host.chars().all(is_of_name);
    is_name.then(|| host.to_owned()).ok_or_else(|| format!("{host:?} is no host name"))
}

fn path_change(
    modifier: &HttpPathModifier,
    path: Option<&PathMatch>,
) -> Result<PathChange, String> {
    let whole = |value: &Option<String>| new_path(value.as_deref().unwrap_or_default());
    match (modifier.type_.as_str(), path) {
        ("ReplaceFullPath", _) => {
            let path = whole(&modifier.replace_full_path)?;
            Ok(PathChange::Full(if path.is_empty() { "/".to_owned() } else { path }))
        }
        ("ReplacePrefixMatch", Some(PathMatch::Prefix(from))) => {
            let to = whole(&modifier.replace_prefix_match)?.trim_end_matches('/').to_owned();
            Ok(PathChange::Prefix { from: from.clone(), to })
        }
        ("ReplacePrefixMatch", _) => {
            Err("a prefix is replaced where one path of type PathPrefix is matched".to_owned())
        }
        (other, _) => Err(format!("paths are not changed by {other:?}")),
    }
}

fn new_path(path: &str) -> Result<String, String> {
    let is_path = path.is_empty() || path.starts_with('/');
    if !is_path || path.contains(['?', '#']) || literal(path).len() > MAX_WORD {
        return Err(format!("{path:?} is no path that is served"));
    }
    plain(path).map_err(|why| format!("path {path:?} {why}"))
}
