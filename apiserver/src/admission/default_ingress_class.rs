//! An Ingress that names no class gets the default one: of those that say that they are it, the newest (Kubernetes:
//! `plugin/pkg/admission/network/defaultingressclass`).

use std::sync::Arc;

use api_machinery::ApiError;
use api_types::{
    api::networking::v1::{Ingress, IngressClass},
    meta::ObjectMeta,
};
use async_trait::async_trait;
use registry::AnyObject;

use super::{Attributes, Claim, Operation, Plugin};
use crate::{catalogue::InForce, objects::Objects, storage::Storage};

const GROUP: &str = "networking.k8s.io";
/// On a class.
const IS_DEFAULT: &str = "ingressclass.kubernetes.io/is-default-class";
/// On an Ingress: names the class, as there was no field for it once.
const CLASS: &str = "kubernetes.io/ingress.class";

/// See the module.
#[derive(Debug)]
pub(super) struct DefaultIngressClass {
    pub(super) catalogue: InForce,
    pub(super) storage: Arc<Storage>,
}

#[async_trait]
impl Plugin for DefaultIngressClass {
    async fn mutate(
        &self,
        attributes: &Attributes<'_>,
        object: Option<&mut AnyObject>,
    ) -> Result<Vec<Claim>, ApiError> {
        let is_new = attributes.operation == Operation::Create && attributes.subresource.is_none();
        let ingress = object.filter(|_| is_new).and_then(AnyObject::get_mut::<Ingress>);
        if let Some(ingress) = ingress.filter(|ingress| names_none(ingress)) {
            let objects = Objects { catalogue: &self.catalogue, storage: &self.storage };
            let default = default_class(objects.all(GROUP, "ingressclasses"));
            ingress.spec.get_or_insert_default().ingress_class_name = default;
        }
        Ok(Vec::new())
    }
}

fn names_none(ingress: &Ingress) -> bool {
    let annotated = annotation(&ingress.metadata, CLASS).is_some();
    let named = ingress.spec.as_ref().is_some_and(|spec| spec.ingress_class_name.is_some());
    !annotated && !named
}

/// Of one age, the first by name.
fn default_class(mut classes: Vec<IngressClass>) -> Option<String> {
    classes.retain(|class| annotation(&class.metadata, IS_DEFAULT) == Some("true"));
    let created = |class: &IngressClass| class.metadata.creation_timestamp.clone();
    classes.sort_by(|a, b| {
        let name = |class: &IngressClass| class.metadata.name.clone();
        created(b).cmp(&created(a)).then_with(|| name(a).cmp(&name(b)))
    });
    classes.into_iter().next()?.metadata.name
}

fn annotation<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn class(name: &str, second: u8, is_default: &Value) -> IngressClass {
        let created = format!("2026-01-01T00:00:{second:02}Z");
        let annotations = json!({IS_DEFAULT: is_default});
        let metadata =
            json!({"name": name, "creationTimestamp": created, "annotations": annotations});
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    }

    fn chosen(classes: &[(&str, u8, &str)]) -> Option<String> {
        let class = |(name, second, says): &(&str, u8, &str)| class(name, *second, &json!(says));
        default_class(classes.iter().map(class).collect())
    }

    #[test]
    fn of_several_defaults_the_newest_counts() {
        assert_eq!(chosen(&[]), None);
        assert_eq!(chosen(&[("a", 1, "false"), ("b", 2, "yes")]), None);
        let some = [("a", 1, "true"), ("c", 2, "true"), ("b", 2, "true"), ("d", 3, "false")];
        assert_eq!(chosen(&some).as_deref(), Some("b"));
    }

    #[test]
    fn who_names_a_class_in_either_way_keeps_it() {
        let ingress = |json: Value| serde_json::from_value::<Ingress>(json).unwrap();
        assert!(names_none(&ingress(json!({"spec": {"rules": []}}))));
        assert!(!names_none(&ingress(json!({"spec": {"ingressClassName": "x"}}))));
        let annotated = json!({"metadata": {"annotations": {CLASS: ""}}});
        assert!(!names_none(&ingress(annotated)));
    }
}
