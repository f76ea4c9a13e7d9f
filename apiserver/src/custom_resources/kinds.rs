//! Which kinds are served for the definitions there are, and what their statuses are to say. Pure.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use api_types::{
    apiextensions::{CustomResourceDefinition, v1::CustomResourceDefinitionNames},
    jiff::Timestamp,
};
use registry::{Priority, ResourceDef, TakenNames};
use store::Revision;

use crate::{
    catalogue::{Catalogue, CatalogueError},
    history,
};

/// A definition as it is stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored<'a> {
    pub(super) name: &'a str,
    pub(super) revision: Revision,
    pub(super) json: &'a [u8],
}

/// The kinds of this program and those that come from data. Kinds stay the same as long as what they are made of does:
/// their objects are encoded already.
#[derive(Debug)]
pub(crate) struct CustomKinds {
    built_in: Vec<Arc<ResourceDef>>,
    known: HashMap<String, Known>,
    /// What came of the definitions before.
    last: Kinds,
}

/// All kinds, and the qualified names of those that are being deleted.
#[derive(Clone, Debug, Default)]
struct Kinds {
    all: Vec<Arc<ResourceDef>>,
    going: HashSet<String>,
    /// The definitions that are being deleted and are not served.
    left_out: HashSet<(String, Revision)>,
}

impl Kinds {
    fn are(&self, other: &Self) -> bool {
        let is_same = self.all.len() == other.all.len()
            && self.going == other.going
            && self.left_out == other.left_out;
        is_same && self.all.iter().zip(&other.all).all(|(own, other)| Arc::ptr_eq(own, other))
    }
}

/// What is remembered of a definition.
#[derive(Debug)]
struct Known {
    revision: Revision,
    /// Without its versions, whose schemas may be large.
    definition: CustomResourceDefinition,
    /// Of its spec.
    hash: u64,
    served_as: Option<(u64, CustomResourceDefinitionNames)>,
    kinds: Vec<Arc<ResourceDef>>,
}

/// What comes of all definitions.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    kinds: Kinds,
    /// Whether the kinds are not as they were.
    pub(super) is_new: bool,
    /// Definitions with another status than is stored.
    pub(super) told: Vec<CustomResourceDefinition>,
}

impl Outcome {
    pub(super) fn catalogue(&self) -> Result<Catalogue, CatalogueError> {
        let catalogue = Catalogue::new(self.kinds.all.clone())?;
        let catalogue = catalogue.without(self.kinds.going.clone());
        Ok(catalogue.leaving_out(self.kinds.left_out.clone()))
    }
}

impl CustomKinds {
    pub(super) fn new() -> Self {
        let built_in = Catalogue::built_in().iter().cloned().collect();
        Self { built_in, known: HashMap::new(), last: Kinds::default() }
    }

    /// What comes of these definitions, which are all that there are.
    pub(super) fn of(&mut self, stored: &[Stored<'_>], now: Timestamp) -> Outcome {
        let names: HashSet<&str> = stored.iter().map(|stored| stored.name).collect();
        self.known.retain(|name, _| names.contains(name.as_str()));
        let mut present: Vec<_> = stored.iter().filter(|stored| self.learn(stored)).collect();
        // Of those that wish for the same names the first gets them, on each server.
        present.sort_by_key(|stored| {
            let created = self.known[stored.name].definition.metadata.creation_timestamp.clone();
            (created.map(|time| time.0), stored.name)
        });
        let mut taken = self.taken();
        let (mut outcome, mut custom) = (Outcome::default(), Vec::new());
        for stored in &present {
            self.decide(stored, &mut taken, now, &mut outcome);
            custom.extend(self.known[stored.name].kinds.iter().cloned());
        }
        self.keep_apart(&mut custom);
        let known = present.iter().map(|stored| &self.known[stored.name]);
        outcome.kinds.left_out = known.filter_map(|known| known.left_out(&custom)).collect();
        custom.sort_by_cached_key(|def| {
            let names = &def.names;
            (names.group.clone(), Priority::of(&names.version), names.plural.clone())
        });
        outcome.kinds.all = self.built_in.iter().cloned().chain(custom).collect();
        outcome.is_new = !outcome.kinds.are(&self.last);
        self.last = outcome.kinds.clone();
        outcome
    }

    /// Leaves out what can't be served beside the others: one definition that is not as it should be must not take all
    /// others with it.
    fn keep_apart(&self, custom: &mut Vec<Arc<ResourceDef>>) {
        let resource = |def: &ResourceDef| (def.names.group.clone(), def.names.plural.clone());
        let built_in: HashSet<_> = self.built_in.iter().map(|def| resource(def)).collect();
        let mut stored = HashMap::<_, usize>::new();
        let (mut versions, mut repeated) = (HashSet::new(), HashSet::new());
        for def in custom.iter() {
            *stored.entry(resource(def)).or_default() += usize::from(def.is_stored());
            if !versions.insert((resource(def), def.names.version.clone())) {
                repeated.insert(resource(def));
            }
        }
        custom.retain(|def| {
            let own = resource(def);
            let is_alone = !built_in.contains(&own) && !repeated.contains(&own);
            let is_whole = is_alone && stored[&own] == 1;
            if !is_whole {
                tracing::error!(kind = def.qualified(), "a definition can't be served");
            }
            is_whole
        });
    }

    /// Reads a definition if it has changed; whether it is one.
    fn learn(&mut self, stored: &Stored<'_>) -> bool {
        let known = self.known.get(stored.name);
        if known.is_some_and(|known| known.revision == stored.revision) {
            return true;
        }
        let Some(mut definition) = parse(stored) else { return false };
        let hash = hash(&definition);
        definition.spec.versions = Vec::new();
        let before = self
            .known
            .remove(stored.name)
            .filter(|known| known.definition.metadata.uid == definition.metadata.uid);
        let (served_as, kinds) =
            before.map(|known| (known.served_as, known.kinds)).unwrap_or_default();
        let known = Known { revision: stored.revision, definition, hash, served_as, kinds };
        self.known.insert(stored.name.to_owned(), known);
        true
    }

    /// The names in use, by group.
    fn taken(&self) -> HashMap<String, TakenNames> {
        let mut taken = HashMap::<String, TakenNames>::new();
        for def in &self.built_in {
            taken.entry(def.names.group.clone()).or_default().take(&def.names);
        }
        taken.entry(history::GROUP.to_owned()).or_default().reserve(history::PLURAL);
        for Known { definition, .. } in self.known.values() {
            let accepted = definition.status.as_ref().and_then(|s| s.accepted_names.as_ref());
            let taken = taken.entry(definition.spec.group.clone()).or_default();
            accepted.into_iter().for_each(|names| taken.take_accepted(names));
        }
        taken
    }

    fn decide(
        &mut self,
        stored: &Stored<'_>,
        taken: &mut HashMap<String, TakenNames>,
        now: Timestamp,
        outcome: &mut Outcome,
    ) {
        let Some(known) = self.known.get_mut(stored.name) else { return };
        let definition = &known.definition;
        let taken = taken.entry(definition.spec.group.clone()).or_default();
        let is_going = definition.metadata.deletion_timestamp.is_some();
        let status = match is_going {
            true => definition.status.clone().unwrap_or_default(),
            false => registry::accept(definition, taken, now),
        };
        status.accepted_names.iter().for_each(|names| taken.take_accepted(names));
        let is_served =
            registry::is_established(&status) && !taken.is_built_in(&definition.spec.names.plural);
        match status.accepted_names.as_ref().filter(|_| is_served) {
            Some(names) => known.serve(stored, names),
            None => known.forget(),
        }
        // One that serves nothing may have the name of a kind of the program's own, which is to stay.
        if is_going && !known.kinds.is_empty() {
            outcome.kinds.going.insert(stored.name.to_owned());
        }
        if Some(&status) != known.definition.status.as_ref() {
            let mut told = known.definition.clone();
            told.status = Some(status);
            outcome.told.push(told);
        }
    }
}

impl Known {
    /// Its UID and revision, if it is being deleted and none of these kinds is its.
    fn left_out(&self, served: &[Arc<ResourceDef>]) -> Option<(String, Revision)> {
        self.definition.metadata.deletion_timestamp.as_ref()?;
        let is_served =
            |kind: &Arc<ResourceDef>| served.iter().any(|other| Arc::ptr_eq(kind, other));
        let uid = self.definition.metadata.uid.clone().unwrap_or_default();
        (!self.kinds.iter().any(is_served)).then_some((uid, self.revision))
    }

    /// Serves nothing.
    fn forget(&mut self) {
        self.kinds.clear();
        self.served_as = None;
    }

    /// Makes the kinds anew if they are not what they were.
    fn serve(&mut self, stored: &Stored<'_>, names: &CustomResourceDefinitionNames) {
        let served_as = Some((self.hash, names.clone()));
        if served_as == self.served_as {
            return;
        }
        let Some(definition) = parse(stored) else { return };
        match registry::versions(&definition, names) {
            Ok(kinds) => self.kinds = kinds.into_iter().map(Arc::new).collect(),
            Err(error) => {
                tracing::error!(
                    definition = stored.name, %error, "custom resources can't be served"
                );
                self.kinds.clear();
            }
        }
        self.served_as = served_as;
    }
}

fn parse(stored: &Stored<'_>) -> Option<CustomResourceDefinition> {
    let parsed = serde_json::from_slice(stored.json);
    let told = |error: &_| tracing::error!(definition = stored.name, %error, "cannot be read");
    parsed.inspect_err(told).ok()
}

fn hash(definition: &CustomResourceDefinition) -> u64 {
    let mut hasher = DefaultHasher::new();
    serde_json::to_vec(&definition.spec).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn definition(group: &str, plural: &str, kind: &str) -> Value {
        let names = json!({
            "plural": plural, "kind": kind, "singular": kind.to_lowercase(), "listKind": format!("{kind}List"),
        });
        let version = |name: &str, stored: bool| {
            json!({"name": name, "served": true, "storage": stored,
                   "schema": {"openAPIV3Schema": {"type": "object"}}})
        };
        let established = json!({"type": "Established", "status": "True"});
        json!({
            "metadata": {"name": format!("{plural}.{group}"), "uid": plural},
            "spec": {"group": group, "names": names, "scope": "Namespaced", "versions": [version("v1", true)]},
            "status": {"acceptedNames": names, "conditions": [established], "storedVersions": ["v1"]},
        })
    }

    fn outcome(definitions: &[Value]) -> Outcome {
        let stored: Vec<_> = definitions
            .iter()
            .map(|it| (it["metadata"]["name"].as_str().unwrap(), it.to_string()))
            .collect();
        let stored: Vec<_> = stored
            .iter()
            .map(|(name, json)| Stored { name, revision: Revision(1), json: json.as_bytes() })
            .collect();
        CustomKinds::new().of(&stored, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn one_that_has_the_name_of_a_kind_that_has_come_since_is_left_out_alone() {
        let tabs = definition("stable.example.com", "crontabs", "CronTab");
        let outcome = outcome(&[definition("apps", "deployments", "Deployment"), tabs]);
        let catalogue = outcome.catalogue().unwrap();
        assert!(catalogue.find("stable.example.com", "v1", "crontabs").is_some());
        let deployments = catalogue.find("apps", "v1", "deployments").unwrap();
        let own = Catalogue::built_in();
        let own = own.find("apps", "v1", "deployments").unwrap();
        assert_eq!(deployments.columns.len(), own.columns.len());
        assert_is_not_accepted(&outcome, "apps");
    }

    fn assert_is_not_accepted(outcome: &Outcome, group: &str) {
        let told = outcome.told.iter().find(|it| it.spec.group == group).unwrap();
        let status = |type_: &str| {
            let condition = registry::condition(told, type_).unwrap();
            (condition.status.clone(), condition.reason.clone().unwrap())
        };
        assert_eq!(status("NamesAccepted"), ("False".into(), "PluralConflict".into()));
        assert_eq!(status("Established"), ("False".into(), "NotAccepted".into()));
    }

    #[test]
    fn none_is_where_the_store_has_its_histories() {
        let outcome = outcome(&[definition("minik8s.io", "histories", "History")]);
        assert!(outcome.catalogue().unwrap().find("minik8s.io", "v1", "histories").is_none());
        assert_is_not_accepted(&outcome, "minik8s.io");
        assert!(history::is_one(&format!("/registry/{}/{}/", history::GROUP, history::PLURAL)));
    }

    #[test]
    fn of_one_that_is_deleted_it_is_known_whether_it_could_not_be_served() {
        let deleted = |plural: &str, kind: &str| {
            let mut definition = definition("stable.example.com", plural, kind);
            definition["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
            definition
        };
        let mut odd = deleted("odds", "Odd");
        odd["spec"]["versions"][0]["storage"] = false.into();
        let catalogue = outcome(&[odd, deleted("crontabs", "CronTab")]).catalogue().unwrap();
        assert!(catalogue.leaves_out("odds", Revision(1)));
        assert!(!catalogue.leaves_out("odds", Revision(2)), "nobody has looked at that");
        assert!(!catalogue.leaves_out("crontabs", Revision(1)), "it is served until it is gone");
    }

    #[test]
    fn one_with_two_stored_versions_is_left_out_alone() {
        let mut odd = definition("stable.example.com", "odds", "Odd");
        let mut second = odd["spec"]["versions"][0].clone();
        second["name"] = "v2".into();
        odd["spec"]["versions"].as_array_mut().unwrap().push(second);
        assert_is_left_out(odd);
    }

    #[test]
    fn one_with_a_version_that_is_there_twice_is_left_out_alone() {
        let mut odd = definition("stable.example.com", "odds", "Odd");
        let mut first = odd["spec"]["versions"][0].clone();
        first["storage"] = false.into();
        odd["spec"]["versions"].as_array_mut().unwrap().insert(0, first);
        assert_is_left_out(odd);
    }

    fn assert_is_left_out(odd: Value) {
        let tabs = definition("stable.example.com", "crontabs", "CronTab");
        let catalogue = outcome(&[odd, tabs]).catalogue().unwrap();
        assert!(catalogue.find("stable.example.com", "v1", "crontabs").is_some());
        assert!(catalogue.find("stable.example.com", "v1", "odds").is_none());
    }
}
