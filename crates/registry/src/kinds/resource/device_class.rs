//! Devices of a sort, as administrators offer them.

use api_machinery::{FieldErrors, FieldPath};
use api_types::api::resource::v1::DeviceClass;

use super::{claim, selector};
use crate::{ResourceDef, Strategy, kinds::core::resource_names, resource};

const MOST: usize = 32;

pub(crate) fn definition() -> ResourceDef {
    resource::<DeviceClass, _>(ClassStrategy)
        .generation(|new, old| new.spec != old.spec)
        .shown_when_deleted()
        .build()
}

struct ClassStrategy;

impl Strategy<DeviceClass> for ClassStrategy {
    fn validate(&self, class: &DeviceClass, errors: &mut FieldErrors) {
        let (spec, path) = (&class.spec, FieldPath::new("spec"));
        selector::validate(spec.selectors.as_deref(), &path.child("selectors"), errors);
        let configurations = spec.config.as_deref().unwrap_or_default();
        let at = path.child("config");
        if configurations.len() > MOST {
            errors.too_many(&at, configurations.len(), MOST);
        } else {
            for (index, it) in configurations.iter().enumerate() {
                claim::configuration(it.opaque.as_ref(), &at.index(index), errors);
            }
        }
        let extended = spec.extended_resource_name.as_ref();
        if let Some(name) = extended.filter(|name| !resource_names::is_extended(name)) {
            let at = path.child("extendedResourceName");
            errors.invalid(&at, name, "must be a valid extended resource name");
        }
    }

    /// What was taken by earlier rules stays.
    fn lasting(&self, _: &DeviceClass, old: &DeviceClass) -> FieldErrors {
        self.faults(old)
    }
}
