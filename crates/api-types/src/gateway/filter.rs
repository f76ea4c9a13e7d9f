//! What is done with requests and answers.

use serde::{Deserialize, Serialize};

/// One of them, by its type.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRouteFilter {
    /// Which of the fields counts.
    #[serde(rename = "type")]
    pub type_: String,
    /// `RequestHeaderModifier`.
    pub request_header_modifier: Option<HttpHeaderFilter>,
    /// `ResponseHeaderModifier`.
    pub response_header_modifier: Option<HttpHeaderFilter>,
    /// `RequestRedirect`.
    pub request_redirect: Option<HttpRequestRedirectFilter>,
    /// `URLRewrite`.
    pub url_rewrite: Option<HttpUrlRewriteFilter>,
}

/// Changes of headers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpHeaderFilter {
    /// They have these values, whatever they had.
    pub set: Vec<HttpHeader>,
    /// They have these values, too.
    pub add: Vec<HttpHeader>,
    /// They are not there.
    pub remove: Vec<String>,
}

/// A header.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpHeader {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// The client is sent elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRequestRedirectFilter {
    /// The scheme; nothing: that of the request.
    pub scheme: Option<String>,
    /// The host; nothing: that of the request.
    pub hostname: Option<String>,
    /// The path; nothing: that of the request.
    pub path: Option<HttpPathModifier>,
    /// The port; nothing: that of the scheme, or of the listener.
    pub port: Option<i32>,
    /// The code; nothing: 302.
    pub status_code: Option<i32>,
}

/// Who answers sees another host or path.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpUrlRewriteFilter {
    /// The host.
    pub hostname: Option<String>,
    /// The path.
    pub path: Option<HttpPathModifier>,
}

/// How a path is changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpPathModifier {
    /// Which of the fields counts.
    #[serde(rename = "type")]
    pub type_: String,
    /// `ReplaceFullPath`.
    pub replace_full_path: Option<String>,
    /// `ReplacePrefixMatch`.
    pub replace_prefix_match: Option<String>,
}
