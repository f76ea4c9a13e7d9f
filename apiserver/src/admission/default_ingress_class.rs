//! An Ingress that names no class gets the default one: of those that say that they are it, the newest (Kubernetes:
//! `plugin/pkg/admission/network/defaultingressclass`).

use std::sync::Arc;

use api_machinery::ApiError;
use api_types::api::networking::v1::{Ingress, IngressClass};
use async_trait::async_trait;
use registry::AnyObject;

use super::{
    Attributes, Claim, Operation, Plugin,
    default_class::{self, annotation},
};
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
            let classes = objects.all::<IngressClass>(GROUP, "ingressclasses");
            let default = default_class::of(&classes, &[IS_DEFAULT]);
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn who_names_a_class_in_either_way_keeps_it() {
        let ingress = |json: Value| serde_json::from_value::<Ingress>(json).unwrap();
        assert!(names_none(&ingress(json!({"spec": {"rules": []}}))));
        assert!(!names_none(&ingress(json!({"spec": {"ingressClassName": "x"}}))));
        let annotated = json!({"metadata": {"annotations": {CLASS: ""}}});
        assert!(!names_none(&ingress(annotated)));
    }
}
