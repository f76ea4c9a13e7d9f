//! The flags about front proxies that are believed, as kube-apiserver calls them.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::Args;
use http::HeaderName;

use crate::{RequestHeader, RequestHeaderOptions, pki};

/// See the module.
#[derive(Debug, Args)]
pub(super) struct RequestHeaderFlags {
    /// Certificates of the authorities of front proxies, which say in headers for whom they make requests
    #[arg(long, value_name = "FILE")]
    requestheader_client_ca_file: Option<PathBuf>,
    /// Common names of front proxies' certificates [default: any]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    requestheader_allowed_names: Vec<String>,
    /// Headers in which front proxies say who the user is, such as X-Remote-User
    #[arg(long, value_name = "HEADERS", value_delimiter = ',', value_parser = header)]
    requestheader_username_headers: Vec<String>,
    /// Headers with the user's UID, such as X-Remote-Uid
    #[arg(long, value_name = "HEADERS", value_delimiter = ',', value_parser = header)]
    requestheader_uid_headers: Vec<String>,
    /// Headers with the user's groups, such as X-Remote-Group
    #[arg(long, value_name = "HEADERS", value_delimiter = ',', value_parser = header)]
    requestheader_group_headers: Vec<String>,
    /// What headers with more about the user begin with, such as X-Remote-Extra-
    #[arg(long, value_name = "PREFIXES", value_delimiter = ',', value_parser = header)]
    requestheader_extra_headers_prefix: Vec<String>,
}

impl RequestHeaderFlags {
    /// The authorities of front proxies.
    pub(super) fn ca(&self) -> Option<PathBuf> {
        self.requestheader_client_ca_file.clone()
    }

    /// The front proxies that are believed; `clients` are the authorities of whoever makes requests for itself, PEM.
    pub(super) fn believed(&self, clients: &str) -> anyhow::Result<Option<RequestHeader>> {
        let Some(path) = &self.requestheader_client_ca_file else { return Ok(None) };
        let options = RequestHeaderOptions {
            authorities: pki::read(path)?,
            allowed_names: self.allowed_names()?,
            username_headers: self.requestheader_username_headers.clone(),
            uid_headers: self.requestheader_uid_headers.clone(),
            group_headers: self.requestheader_group_headers.clone(),
            extra_header_prefixes: self.requestheader_extra_headers_prefix.clone(),
        };
        let believed = RequestHeader::new(options, clients);
        believed.map(Some).with_context(|| format!("cannot use {}", path.display()))
    }

    fn allowed_names(&self) -> anyhow::Result<Vec<String>> {
        let names: &[String] = match self.requestheader_allowed_names.as_slice() {
            // The flag with an empty value allows any, as Kubernetes reads it.
            [empty] if empty.is_empty() => &[],
            names => names,
        };
        ensure!(
            names.iter().all(|name| !name.trim().is_empty()),
            "empty value in \"requestheader-allowed-names\""
        );
        Ok(names.to_vec())
    }
}

/// A name, or the beginning of one, as it is given.
fn header(given: &str) -> Result<String, String> {
    let parsed: Result<HeaderName, _> = given.parse();
    parsed.map(|_| given.to_owned()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        request_header: RequestHeaderFlags,
    }

    fn flags(given: &[&str]) -> Result<RequestHeaderFlags, clap::Error> {
        let arguments = std::iter::once("apiserver").chain(given.iter().copied());
        Flags::try_parse_from(arguments).map(|flags| flags.request_header)
    }

    #[test]
    fn nobody_is_believed_without_an_authority() {
        let given = flags(&["--requestheader-username-headers=X-Remote-User"]).unwrap();
        assert!(given.ca().is_none() && given.believed("").unwrap().is_none());
    }

    #[test]
    fn headers_have_names_and_come_one_after_the_other() {
        let given = flags(&["--requestheader-group-headers=X-Remote-Group,X-Group"]).unwrap();
        assert_eq!(given.requestheader_group_headers, ["X-Remote-Group", "X-Group"]);
        for wrong in ["", "a,,b", "a b"] {
            flags(&[&format!("--requestheader-username-headers={wrong}")]).unwrap_err();
        }
    }

    #[test]
    fn an_empty_value_allows_any_name() {
        let check = |given: &str, expected: Option<&[&str]>| {
            let given = flags(&[&format!("--requestheader-allowed-names={given}")]).unwrap();
            let names = given.allowed_names().ok();
            let names =
                names.as_deref().map(|it| it.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(names.as_deref(), expected);
        };
        check("", Some(&[]));
        check("a,b", Some(&["a", "b"]));
        check("a,,b", None);
        check(" ", None);
    }
}
