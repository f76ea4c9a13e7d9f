//! A space of names. Its own finalizer keeps it until the namespace controller has emptied it.

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::api::core::v1::{Namespace, NamespaceSpec, NamespaceStatus};
use serde_json::json;

use crate::{NameRule, ResourceDef, Strategy, Subresource, resource, rules::text};

const FINALIZER: &str = "kubernetes";
const ACTIVE: &str = "Active";
const TERMINATING: &str = "Terminating";
/// Lets selectors name a namespace by its name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

pub(crate) fn definition() -> ResourceDef {
    resource::<Namespace, _>(NamespaceStrategy)
        .short_names(&["ns"])
        .shown_when_deleted()
        .status(|namespace, from| namespace.status.clone_from(&from.status))
        .subresource(Subresource::Finalize)
        .column("Status", "string", 0, |namespace, _| json!(phase(namespace)))
        .build()
}

fn phase(namespace: &Namespace) -> &str {
    text(namespace.status.as_ref().and_then(|s| s.phase.as_ref()))
}

struct NamespaceStrategy;

impl Strategy<Namespace> for NamespaceStrategy {
    fn name_rule(&self) -> NameRule {
        names::dns1123_label
    }

    fn prepare_create(&self, namespace: &mut Namespace) {
        label_with_name(namespace);
        namespace.spec = Some(NamespaceSpec { finalizers: Some(vec![FINALIZER.to_owned()]) });
        set_phase(namespace, ACTIVE);
    }

    fn prepare_update(&self, new: &mut Namespace, old: &Namespace) {
        label_with_name(new);
        new.spec.clone_from(&old.spec);
    }

    fn prepare_status_update(&self, new: &mut Namespace, _: &Namespace) {
        if phase(new).is_empty() {
            set_phase(new, ACTIVE);
        }
    }

    fn finalize(&self, namespace: &mut Namespace, given: &Namespace) {
        let given = given.spec.as_ref().and_then(|spec| spec.finalizers.clone());
        if let Some(spec) = &mut namespace.spec {
            spec.finalizers = given;
        }
    }

    fn prepare_delete(&self, namespace: &mut Namespace) {
        set_phase(namespace, TERMINATING);
    }

    fn validate_status(&self, new: &Namespace, _: &Namespace, errors: &mut FieldErrors) {
        let (wanted, why) = match new.metadata.deletion_timestamp {
            None => (ACTIVE, "may only be 'Active' if `deletionTimestamp` is empty"),
            Some(_) => {
                (TERMINATING, "may only be 'Terminating' if `deletionTimestamp` is not empty")
            }
        };
        if phase(new) != wanted {
            // As Kubernetes spells it.
            errors.invalid(&FieldPath::new("status").child("Phase"), phase(new), why);
        }
    }

    fn is_held(&self, namespace: &Namespace) -> bool {
        let finalizers = namespace.spec.as_ref().and_then(|s| s.finalizers.as_ref());
        finalizers.is_some_and(|f| !f.is_empty())
    }

    fn fields(&self, namespace: &Namespace) -> Vec<(&'static str, String)> {
        vec![("status.phase", phase(namespace).to_owned())]
    }
}

fn label_with_name(namespace: &mut Namespace) {
    if let Some(name) = namespace.metadata.name.clone() {
        let labels = namespace.metadata.labels.get_or_insert_default();
        labels.insert(NAME_LABEL.to_owned(), name);
    }
}

fn set_phase(namespace: &mut Namespace, phase: &str) {
    namespace.status.get_or_insert_with(NamespaceStatus::default).phase = Some(phase.to_owned());
}
