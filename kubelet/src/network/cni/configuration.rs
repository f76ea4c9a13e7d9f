//! Configurations of networks: the first in a folder that can be used, as Kubernetes' runtimes read them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{describe::describe, network::CniError};

/// The capability by which ports of the node lead to pods.
pub(super) const PORTS: &str = "portMappings";
/// The capability by which pods get addresses of the node's range.
pub(super) const RANGES: &str = "ipRanges";
const VERSIONS: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
/// From which on plugins are told what they have made before.
const KNOWS_RESULTS: &str = "0.4.0";
const LIST: &str = "conflist";
const SINGLE: [&str; 2] = ["conf", "json"];

/// A network: plugins that connect a pod one after the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Network {
    pub(super) name: String,
    pub(super) version: String,
    /// What its author says of `CHECK`.
    unchecked: bool,
    pub(super) plugins: Vec<Map<String, Value>>,
}

impl Network {
    /// Whether plugins are told what they have made before.
    pub(super) fn knows_results(&self) -> bool {
        self.version.as_str() >= KNOWS_RESULTS
    }

    pub(super) fn is_checked(&self) -> bool {
        self.knows_results() && !self.unchecked
    }

    /// Whether one of the plugins has the capability.
    pub(super) fn has(&self, capability: &str) -> bool {
        self.plugins.iter().any(|plugin| has(plugin, capability))
    }
}

/// The name of a plugin.
pub(super) fn kind(plugin: &Map<String, Value>) -> &str {
    plugin.get("type").and_then(Value::as_str).unwrap_or_default()
}

/// Whether the plugin has the capability.
pub(super) fn has(plugin: &Map<String, Value>, capability: &str) -> bool {
    plugin.get("capabilities").is_some_and(|all| all[capability] == true)
}

/// The first network in the folder that can be used, by the names of its files. `has` tells whether there is such a plugin.
pub(super) fn find(
    folder: &Path,
    has: impl Fn(&str) -> Result<(), CniError>,
) -> Result<Network, CniError> {
    let mut first = None;
    for file in files(folder)? {
        let read = read(&file).and_then(|network| {
            network.plugins.iter().try_for_each(|plugin| has(kind(plugin))).map(|()| network)
        });
        match read {
            Ok(network) => return Ok(network),
            Err(error) => {
                tracing::debug!(error = describe(&error), "a CNI configuration can't be used");
                first.get_or_insert(error);
            }
        }
    }
    Err(match first {
        None => CniError::NoNetworks(folder.to_owned()),
        Some(first) => {
            CniError::NoValidNetworks { folder: folder.to_owned(), first: Box::new(first) }
        }
    })
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, CniError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => {
            return Err(CniError::File { step: "read", file: folder.to_owned(), source });
        }
        Ok(entries) => entries,
    };
    let paths = entries.flatten().map(|entry| entry.path());
    let mut files: Vec<_> =
        paths.filter(|path| is(path, LIST) || SINGLE.iter().any(|end| is(path, end))).collect();
    files.sort();
    Ok(files)
}

fn is(file: &Path, extension: &str) -> bool {
    file.extension().is_some_and(|found| found == extension)
}

fn read(file: &Path) -> Result<Network, CniError> {
    let text = fs::read(file).map_err(|source| CniError::File {
        step: "read",
        file: file.to_owned(),
        source,
    })?;
    parse(&text, is(file, LIST))
        .map_err(|why| CniError::Configuration { file: file.to_owned(), why })
}

fn parse(text: &[u8], is_list: bool) -> Result<Network, String> {
    let given: Map<String, Value> =
        serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let of = |key: &str| given.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (name, version) = (of("name"), of("cniVersion"));
    let plugins = if is_list { listed(&given)? } else { vec![given.clone()] };
    if !is_name(&name) {
        return Err(format!("name: {name:?} is not a network's"));
    }
    if !VERSIONS.contains(&version.as_str()) {
        return Err(format!("cniVersion: {version:?} is none of {}", VERSIONS.join(", ")));
    }
    if let Some(place) = plugins.iter().position(|plugin| !is_name(kind(plugin))) {
        return Err(format!(
            "plugins[{place}].type: {:?} is not a plugin's",
            kind(&plugins[place])
        ));
    }
    let unchecked = given.get("disableCheck").is_some_and(|it| *it == true || *it == "true");
    Ok(Network { name, version, unchecked, plugins })
}

fn listed(given: &Map<String, Value>) -> Result<Vec<Map<String, Value>>, String> {
    let plugins = given.get("plugins").cloned().unwrap_or_default();
    let plugins: Vec<_> =
        serde_json::from_value(plugins).map_err(|error| format!("plugins: {error}"))?;
    if plugins.is_empty() { Err("plugins: there are none".to_owned()) } else { Ok(plugins) }
}

/// Of a network or a plugin; it becomes part of paths.
fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    const LISTED: &str = r#"{"cniVersion": "1.0.0", "name": "listed", "plugins": [
        {"type": "bridge"}, {"type": "portmap", "capabilities": {"portMappings": true, "bandwidth": false}}]}"#;
    const ONE: &str = r#"{"cniVersion": "0.4.0", "name": "one", "type": "ptp"}"#;

    fn found(files: &[(&str, &str)]) -> Result<Network, String> {
        let known = |plugin: &str| match plugin {
            "bridge" | "portmap" | "ptp" => Ok(()),
            plugin => {
                Err(CniError::NoPlugin { plugin: plugin.to_owned(), folders: "/p".to_owned() })
            }
        };
        let folder = folder(files);
        let place = folder.path().to_str().unwrap().to_owned();
        find(folder.path(), known).map_err(|error| describe(&error).replace(&place, "/c"))
    }

    #[test]
    fn the_first_that_can_be_used_counts() {
        let name = |files: &[(&str, &str)]| found(files).map(|network| network.name);
        assert_eq!(name(&[("20.conf", ONE), ("10.conflist", LISTED)]).unwrap(), "listed");
        assert_eq!(name(&[("20.conflist", LISTED), ("10.json", ONE)]).unwrap(), "one");
        let broken = [("10.conf", "{"), ("11.conflist", ONE), ("12.conf", LISTED)];
        let none = [("13.conf", r#"{"cniVersion": "1.0.0", "name": "n", "type": "nobody"}"#)];
        let files = [&broken[..], &none, &[("14.txt", ONE), ("15.conf", ONE)]].concat();
        assert_eq!(name(&files).unwrap(), "one");
    }

    #[test]
    fn without_one_it_is_said_why() {
        let check = |files: &[(&str, &str)], expected: &str| {
            assert_eq!(found(files).unwrap_err(), format!("cni config uninitialized: {expected}"));
        };
        check(&[("a.txt", ONE)], "no networks found in /c");
        let invalid = |text: &str, why: &str| {
            check(&[("a.conf", text)], &format!("no valid networks found in /c: {why}"));
        };
        let nobody = ONE.replace("ptp", "nobody");
        invalid(&nobody, "failed to find plugin \"nobody\" in path [/p]");
        let old = ONE.replace("0.4.0", "0.2.0");
        let versions = "0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0";
        invalid(&old, &format!("/c/a.conf: cniVersion: \"0.2.0\" is none of {versions}"));
        invalid(&ONE.replace("one", "../one"), "/c/a.conf: name: \"../one\" is not a network's");
        let outside = ONE.replace("ptp", "../ptp");
        invalid(&outside, "/c/a.conf: plugins[0].type: \"../ptp\" is not a plugin's");
    }

    #[test]
    fn what_plugins_can_and_are_told_depends_on_them_and_on_the_version() {
        let listed = found(&[("a.conflist", LISTED)]).unwrap();
        assert!(listed.has("portMappings") && !listed.has("bandwidth") && !listed.has("dns"));
        assert!(listed.knows_results() && listed.is_checked());
        let old = found(&[("a.conf", &ONE.replace("0.4.0", "0.3.1"))]).unwrap();
        assert!(!old.knows_results() && !old.is_checked());
        let disabled = LISTED.replace("\"plugins\"", "\"disableCheck\": true, \"plugins\"");
        assert!(!found(&[("a.conflist", &disabled)]).unwrap().is_checked());
    }
}
