//! The kinds this server serves, indexed the ways requests and keys name them.

use std::{collections::HashMap, sync::Arc};

use registry::ResourceDef;

/// Every kind, found by path or by key.
#[derive(Debug)]
pub(crate) struct Catalogue {
    definitions: Vec<Arc<ResourceDef>>,
    by_collection: HashMap<String, Arc<ResourceDef>>,
}

impl Catalogue {
    /// The catalogue of all kinds there are.
    pub(crate) fn new(definitions: Vec<ResourceDef>) -> Self {
        let definitions: Vec<_> = definitions.into_iter().map(Arc::new).collect();
        Self {
            by_collection: definitions.iter().map(|d| (d.prefix(None), d.clone())).collect(),
            definitions,
        }
    }

    /// All kinds, in the catalogue's order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<ResourceDef>> {
        self.definitions.iter()
    }

    /// The kind that a path names.
    pub(crate) fn find(
        &self,
        group: &str,
        version: &str,
        plural: &str,
    ) -> Option<&Arc<ResourceDef>> {
        let path = (group, version, plural);
        self.iter().find(|d| (d.names.group, d.names.version, d.names.plural) == path)
    }

    /// The kind that lives at a key of the store.
    pub(crate) fn of_key(&self, key: &str) -> Option<&Arc<ResourceDef>> {
        self.by_collection.get(collection(key))
    }

    /// Groups with their versions, each once, the core group first.
    pub(crate) fn group_versions(&self) -> Vec<(&'static str, &'static str)> {
        let mut seen = Vec::new();
        for names in self.definitions.iter().map(|d| &d.names) {
            if !seen.contains(&(names.group, names.version)) {
                seen.push((names.group, names.version));
            }
        }
        seen.sort_by_key(|(group, _)| !group.is_empty());
        seen
    }

    /// Whether a group is served in this version.
    pub(crate) fn serves(&self, group: &str, version: &str) -> bool {
        self.definitions.iter().any(|d| d.names.group == group && d.names.version == version)
    }

    /// The kinds of a group in a version.
    pub(crate) fn of_group<'a>(
        &'a self,
        group: &'a str,
        version: &'a str,
    ) -> impl Iterator<Item = &'a Arc<ResourceDef>> {
        self.iter().filter(move |d| d.names.group == group && d.names.version == version)
    }
}

/// `/registry/<group>/<resource>/` of a key.
fn collection(key: &str) -> &str {
    let end = key.match_indices('/').nth(3).map_or(key.len(), |(at, _)| at + 1);
    &key[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collection_is_the_first_three_segments_of_a_key() {
        assert_eq!(collection("/registry/core/pods/default/a"), "/registry/core/pods/");
        assert_eq!(collection("/registry/core/nodes/n1"), "/registry/core/nodes/");
    }
}
