//! What a driver does with a volume that can be changed while it is used.

use api_machinery::{FieldErrors, FieldPath};
use api_types::api::storage::v1::VolumeAttributesClass;
use serde_json::json;

use super::parameters;
use crate::{ResourceDef, Strategy, resource};

pub(crate) fn definition() -> ResourceDef {
    resource::<VolumeAttributesClass, _>(ClassStrategy)
        .short_names(&["vac"])
        .shown_when_deleted()
        .column("DriverName", "string", 0, |class, _| json!(class.driver_name))
        .build()
}

struct ClassStrategy;

impl Strategy<VolumeAttributesClass> for ClassStrategy {
    fn validate(&self, class: &VolumeAttributesClass, errors: &mut FieldErrors) {
        parameters::provisioner(&class.driver_name, &FieldPath::new("driverName"), errors);
        let path = FieldPath::new("parameters");
        parameters::validate(class.parameters.as_ref(), &path, errors);
        if class.parameters.as_ref().is_none_or(|parameters| parameters.is_empty()) {
            errors.required(&path, "must contain at least one key/value pair");
        }
    }

    fn validate_update(
        &self,
        new: &VolumeAttributesClass,
        old: &VolumeAttributesClass,
        errors: &mut FieldErrors,
    ) {
        if new.driver_name != old.driver_name {
            let path = FieldPath::new("driverName");
            errors.forbidden(&path, "updates to driverName are forbidden.");
        }
        if new.parameters != old.parameters {
            let path = FieldPath::new("parameters");
            errors.forbidden(&path, "updates to parameters are forbidden.");
        }
    }
}
