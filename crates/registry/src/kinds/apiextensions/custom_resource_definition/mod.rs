//! A kind that comes from data. What is served for it is made in `custom_resource`; the server keeps its status.

mod formats;
mod schema;
mod validation;

use api_machinery::{FieldErrors, FieldPath};
use api_types::apiextensions::{
    CustomResourceDefinition,
    v1::{
        CustomResourceConversion, CustomResourceDefinitionCondition, CustomResourceDefinitionStatus,
    },
};
use serde_json::json;

use crate::{
    Exists, ResourceDef, Strategy,
    custom_resource::{CLEANUP_FINALIZER, TERMINATING, condition},
    resource, rules,
};

pub(crate) fn definition() -> ResourceDef {
    resource::<CustomResourceDefinition, _>(CustomResourceDefinitionStrategy)
        .replaced_by_version()
        .generation(|new, old| new.spec != old.spec)
        .short_names(&["crd", "crds"])
        .categories(&["api-extensions"])
        .status(|definition, from| definition.status.clone_from(&from.status))
        .only_own_columns()
        .column("Name", "string", 0, |definition, _| json!(definition.metadata.name))
        .format("name")
        .column("Created At", "date", 0, |definition, _| {
            json!(definition.metadata.creation_timestamp)
        })
        .build()
}

/// The port of a Service that nobody names.
const HTTPS: i32 = 443;

struct CustomResourceDefinitionStrategy;

impl Strategy<CustomResourceDefinition> for CustomResourceDefinitionStrategy {
    fn default(&self, definition: &mut CustomResourceDefinition) {
        let spec = &mut definition.spec;
        let names = &mut spec.names;
        if !names.kind.is_empty() {
            let is_missing = |name: &Option<String>| name.as_ref().is_none_or(String::is_empty);
            if is_missing(&names.singular) {
                names.singular = Some(names.kind.to_lowercase());
            }
            if is_missing(&names.list_kind) {
                names.list_kind = Some(format!("{}List", names.kind));
            }
        }
        let conversion = spec.conversion.get_or_insert_with(|| CustomResourceConversion {
            strategy: "None".to_owned(),
            webhook: None,
        });
        let config = conversion.webhook.as_mut().and_then(|it| it.client_config.as_mut());
        if let Some(service) = config.and_then(|config| config.service.as_mut()) {
            service.port.get_or_insert(HTTPS);
        }
    }

    fn prepare_create(&self, definition: &mut CustomResourceDefinition) {
        note_stored_version(definition);
    }

    fn prepare_update(&self, new: &mut CustomResourceDefinition, _: &CustomResourceDefinition) {
        note_stored_version(new);
    }

    /// Its objects go first, which the finalizer waits for.
    fn prepare_delete(&self, definition: &mut CustomResourceDefinition) {
        if condition(definition, TERMINATING).is_some() {
            return;
        }
        let finalizers = definition.metadata.finalizers.get_or_insert_default();
        if !finalizers.iter().any(|finalizer| finalizer == CLEANUP_FINALIZER) {
            finalizers.push(CLEANUP_FINALIZER.to_owned());
        }
        let since = definition.metadata.deletion_timestamp.clone();
        let status = definition.status.get_or_insert_default();
        status.conditions.get_or_insert_default().push(CustomResourceDefinitionCondition {
            type_: TERMINATING.to_owned(),
            status: "True".to_owned(),
            reason: Some("InstanceDeletionPending".to_owned()),
            message: Some(
                "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"
                    .to_owned(),
            ),
            last_transition_time: since,
            ..CustomResourceDefinitionCondition::default()
        });
    }

    fn validate(&self, definition: &CustomResourceDefinition, errors: &mut FieldErrors) {
        validation::validate(definition, errors);
    }

    fn lasting(
        &self,
        new: &CustomResourceDefinition,
        old: &CustomResourceDefinition,
    ) -> FieldErrors {
        validation::lasting(new, old)
    }

    fn validate_update(
        &self,
        new: &CustomResourceDefinition,
        old: &CustomResourceDefinition,
        errors: &mut FieldErrors,
    ) {
        let (path, spec, before) = (FieldPath::new("spec"), &new.spec, &old.spec);
        let mut immutable = |new: &str, old: &str, path: &FieldPath| {
            rules::immutable(&new, &old, new, path, errors);
        };
        let names = path.child("names");
        if condition(old, "Established").is_some_and(|c| c.status == "True") {
            immutable(&spec.scope, &before.scope, &path.child("scope"));
            immutable(&spec.names.kind, &before.names.kind, &names.child("kind"));
        }
        immutable(&spec.group, &before.group, &path.child("group"));
        immutable(&spec.names.plural, &before.names.plural, &names.child("plural"));
        stored_versions_stay(new, errors);
    }

    fn warnings(
        &self,
        new: &CustomResourceDefinition,
        old: Option<&CustomResourceDefinition>,
        _: &Exists<'_>,
    ) -> Vec<String> {
        let known = old.map(formats::unrecognized).unwrap_or_default();
        let mut formats = formats::unrecognized(new);
        formats.retain(|format| !known.contains(format));
        formats.iter().map(|format| format!("unrecognized format {format:?}")).collect()
    }
}

/// Objects may be stored in each version that has been the one to store in.
fn note_stored_version(definition: &mut CustomResourceDefinition) {
    let stored = definition.spec.versions.iter().find(|version| version.storage);
    let Some(stored) = stored.map(|version| version.name.clone()) else { return };
    let status = definition.status.get_or_insert_with(CustomResourceDefinitionStatus::default);
    let versions = status.stored_versions.get_or_insert_default();
    if !versions.contains(&stored) {
        versions.push(stored);
    }
}

fn stored_versions_stay(definition: &CustomResourceDefinition, errors: &mut FieldErrors) {
    let stored = definition.status.as_ref().and_then(|status| status.stored_versions.as_ref());
    let path = FieldPath::new("status").child("storedVersions");
    for (index, name) in stored.into_iter().flatten().enumerate() {
        if !definition.spec.versions.iter().any(|version| version.name == *name) {
            let why = format!(
                "missing from spec.versions; {name} was previously a storage version, and must remain in \
                 spec.versions until a storage migration ensures no data remains persisted in {name} and \
                 removes {name} from status.storedVersions"
            );
            errors.invalid(&path.index(index), name, &why);
        }
    }
}
