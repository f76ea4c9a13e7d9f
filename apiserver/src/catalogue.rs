//! The kinds this server serves, indexed the ways requests and keys name them, and exchanged while it runs.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use api_machinery::ApiError;
use arc_swap::ArcSwap;
use registry::ResourceDef;
use serde_json::Value;
use store::Revision;
use tokio::sync::watch;

/// Every kind in each of its versions, found by path or by key.
#[derive(Debug)]
pub(crate) struct Catalogue {
    definitions: Vec<Arc<ResourceDef>>,
    /// By the last part of their paths.
    by_plural: HashMap<String, Vec<Arc<ResourceDef>>>,
    /// Those that are stored.
    by_collection: HashMap<String, Arc<ResourceDef>>,
    /// The qualified names of those that are about to go, with all their objects.
    going: HashSet<String>,
    /// Definitions that are about to go and are none of the kinds: their UIDs and revisions.
    left_out: HashSet<(String, Revision)>,
}

/// Why kinds can't be served together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueError {
    /// A path would mean either.
    #[error("{0} is there twice")]
    Twice(String),
    /// A key could be read in two ways, or in none.
    #[error("{0} needs one version that is stored")]
    NotStoredOnce(String),
}

impl Catalogue {
    /// The catalogue of these kinds. Of several versions of a group the first is the preferred one.
    ///
    /// # Errors
    /// If a version is there twice, or not one of a kind's versions is the stored one.
    pub(crate) fn new(definitions: Vec<Arc<ResourceDef>>) -> Result<Self, CatalogueError> {
        for (i, def) in definitions.iter().enumerate() {
            if definitions[..i].iter().any(|other| path(other) == path(def)) {
                let what = format!("{} {}", def.api_version(), def.names.plural);
                return Err(CatalogueError::Twice(what));
            }
        }
        for def in definitions.iter().filter(|def| def.is_kept()) {
            let stored = definitions.iter().filter(|d| d.is_stored() && d.is_of_one_kind(def));
            if stored.count() != 1 {
                return Err(CatalogueError::NotStoredOnce(def.qualified()));
            }
        }
        let stored = definitions.iter().filter(|def| def.is_stored());
        let mut by_plural = HashMap::<_, Vec<_>>::new();
        for def in &definitions {
            by_plural.entry(def.names.plural.clone()).or_default().push(def.clone());
        }
        Ok(Self {
            by_plural,
            by_collection: stored.map(|def| (def.prefix(None), def.clone())).collect(),
            definitions,
            going: HashSet::new(),
            left_out: HashSet::new(),
        })
    }

    /// The same with kinds of these qualified names about to go.
    pub(crate) fn without(self, going: HashSet<String>) -> Self {
        Self { going, ..self }
    }

    /// The same, which knows of definitions that they are about to go and can't be served.
    pub(crate) fn leaving_out(self, left_out: HashSet<(String, Revision)>) -> Self {
        Self { left_out, ..self }
    }

    /// Whether a definition that is about to go can't be served as it was at this revision: not merely was not seen yet.
    pub(crate) fn leaves_out(&self, uid: &str, revision: Revision) -> bool {
        self.left_out.contains(&(uid.to_owned(), revision))
    }

    /// Whether a kind is about to go, so that no objects of it are made any more.
    pub(crate) fn is_going(&self, def: &ResourceDef) -> bool {
        !self.going.is_empty() && self.going.contains(&def.qualified())
    }

    /// The kinds that this program has.
    pub(crate) fn built_in() -> Self {
        let all = registry::all().into_iter().chain(registry::reviews());
        let definitions = all.chain(registry::computed()).map(Arc::new).collect();
        Self::new(definitions).expect("each kind of the registry has one version")
    }

    /// All kinds, in the catalogue's order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<ResourceDef>> {
        self.definitions.iter()
    }

    /// Those that clients may ask for.
    pub(crate) fn served(&self) -> impl Iterator<Item = &Arc<ResourceDef>> {
        self.iter().filter(|def| def.is_served)
    }

    /// The kind that a path names.
    pub(crate) fn find(
        &self,
        group: &str,
        version: &str,
        plural: &str,
    ) -> Option<&Arc<ResourceDef>> {
        let mut known = self.by_plural.get(plural).into_iter().flatten();
        known.find(|def| def.is_served && path(def) == (group, version, plural))
    }

    /// The kind that lives at a key of the store.
    pub(crate) fn of_key(&self, key: &str) -> Option<&Arc<ResourceDef>> {
        self.by_collection.get(collection(key))
    }

    /// Whether it has this very definition.
    fn has(&self, def: &Arc<ResourceDef>) -> bool {
        self.iter().any(|known| Arc::ptr_eq(known, def))
    }

    /// Whether an object takes another server to be shown in the version of a definition.
    pub(crate) fn is_to_be_sent(&self, object: &Value, def: &ResourceDef) -> bool {
        let version = object["apiVersion"].as_str().unwrap_or_default();
        def.webhook.is_some() && !version.is_empty() && version != def.api_version()
    }

    /// An object in the version of a definition, whichever of the kind's versions it has, with the defaults that have come
    /// since it was stored: as far as that takes no other server.
    pub(crate) fn converted(
        &self,
        mut object: Value,
        def: &ResourceDef,
    ) -> Result<Value, ApiError> {
        let version = object["apiVersion"].as_str().unwrap_or_default();
        if version.is_empty() || version == def.api_version() {
            def.complete(&mut object);
            return Ok(object);
        }
        // Both as they are by now: the definition may be of a time when another version was stored.
        let (from, to) = (self.version(def, version)?, self.version(def, &def.api_version())?);
        from.complete(&mut object);
        if to.webhook.is_some() {
            let what = def.qualified();
            return Err(ApiError::internal(format!("{what} are converted by their webhook")));
        }
        let mut converted = to.to_served(from.to_stored(object)?)?;
        converted["apiVersion"] = to.api_version().into();
        to.adapt(&mut converted);
        Ok(converted)
    }

    /// A kind in one of its versions.
    pub(crate) fn version(
        &self,
        def: &ResourceDef,
        version: &str,
    ) -> Result<&ResourceDef, ApiError> {
        let mut known = self.iter().filter(|d| d.is_of_one_kind(def) && d.api_version() == version);
        known.next().map(AsRef::as_ref).ok_or_else(|| {
            let what = def.qualified();
            ApiError::store_read(format!("{what} can't be converted from or to {version}"))
        })
    }

    /// Groups with their versions, each once, the core group first.
    pub(crate) fn group_versions(&self) -> Vec<(&str, &str)> {
        let mut seen = Vec::new();
        for names in self.served().map(|d| &d.names) {
            let version = (names.group.as_str(), names.version.as_str());
            if !seen.contains(&version) {
                seen.push(version);
            }
        }
        seen.sort_by_key(|(group, _)| !group.is_empty());
        seen
    }

    /// Whether a group is served in this version.
    pub(crate) fn serves(&self, group: &str, version: &str) -> bool {
        self.of_group(group, version).next().is_some()
    }

    /// The kinds of a group in a version.
    pub(crate) fn of_group<'a>(
        &'a self,
        group: &'a str,
        version: &'a str,
    ) -> impl Iterator<Item = &'a Arc<ResourceDef>> {
        self.served().filter(move |d| d.names.group == group && d.names.version == version)
    }
}

/// The catalogue in force. Each request goes by the one that it began with, and watches end with it.
#[derive(Clone, Debug)]
pub(crate) struct InForce(Arc<Swapped>);

#[derive(Debug)]
struct Swapped {
    catalogue: ArcSwap<Catalogue>,
    /// Told after each swap.
    swaps: watch::Sender<()>,
}

impl InForce {
    pub(crate) fn new(catalogue: Catalogue) -> Self {
        let catalogue = ArcSwap::from_pointee(catalogue);
        Self(Arc::new(Swapped { catalogue, swaps: watch::Sender::default() }))
    }

    pub(crate) fn load(&self) -> Arc<Catalogue> {
        self.0.catalogue.load_full()
    }

    /// Puts another in its place.
    pub(crate) fn replace(&self, catalogue: Catalogue) {
        self.0.catalogue.store(Arc::new(catalogue));
        self.0.swaps.send_replace(());
    }

    /// Told after each exchange from now on.
    pub(crate) fn swaps(&self) -> watch::Receiver<()> {
        self.0.swaps.subscribe()
    }

    /// Waits until this definition is no longer in force.
    pub(crate) async fn ended(self, def: Arc<ResourceDef>) {
        // Before the look: no swap comes between them.
        let mut swaps = self.0.swaps.subscribe();
        while self.load().has(&def) {
            swaps.changed().await.expect("the sender is held here");
        }
    }
}

fn path(def: &ResourceDef) -> (&str, &str, &str) {
    (&def.names.group, &def.names.version, &def.names.plural)
}

/// `/registry/<group>/<resource>/` of a key.
fn collection(key: &str) -> &str {
    let end = key.match_indices('/').nth(3).map_or(key.len(), |(at, _)| at + 1);
    &key[..end]
}

#[cfg(test)]
mod tests {
    use api_types::api::resource::{v1, v1beta1, v1beta2};
    use registry::{Plain, SameFields, resource};

    use super::*;

    #[test]
    fn a_collection_is_the_first_three_segments_of_a_key() {
        assert_eq!(collection("/registry/core/pods/default/a"), "/registry/core/pods/");
        assert_eq!(collection("/registry/core/nodes/n1"), "/registry/core/nodes/");
    }

    #[test]
    fn of_a_kind_s_versions_one_is_stored() {
        let stored = || resource::<v1::DeviceClass, _>(Plain).build();
        let beta = || resource::<v1beta1::DeviceClass, _>(Plain).converted(SameFields).build();
        let other = || resource::<v1beta2::DeviceClass, _>(Plain).build();
        let check = |kinds: Vec<ResourceDef>, expected: Option<&str>| {
            let made = Catalogue::new(kinds.into_iter().map(Arc::new).collect());
            assert_eq!(made.err().map(|e| e.to_string()).as_deref(), expected);
        };
        check(vec![stored(), beta()], None);
        let not_once = "deviceclasses.resource.k8s.io needs one version that is stored";
        check(vec![beta()], Some(not_once));
        check(vec![stored(), other()], Some(not_once));
        check(
            vec![stored(), beta(), beta()],
            Some("resource.k8s.io/v1beta1 deviceclasses is there twice"),
        );
    }
}
