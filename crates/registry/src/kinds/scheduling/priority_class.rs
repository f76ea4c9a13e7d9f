//! How important pods are.

use api_machinery::{FieldErrors, FieldPath};
use api_types::api::scheduling::v1::PriorityClass;
use serde_json::json;

use crate::{
    ResourceDef, Strategy, resource,
    rules::{self, text},
};

const HIGHEST: i32 = 1_000_000_000;
const SYSTEM: &str = "system-";
/// The classes of the system itself.
pub const SYSTEM_CLASSES: [(&str, i32); 2] =
    [("system-cluster-critical", 2 * HIGHEST), ("system-node-critical", 2 * HIGHEST + 1000)];
/// Pods of the class push others out that matter less.
const PREEMPT_LOWER: &str = "PreemptLowerPriority";

pub(crate) fn definition() -> ResourceDef {
    resource::<PriorityClass, _>(ClassStrategy)
        .generation(|_, _| false)
        .short_names(&["pc"])
        .column("Value", "integer", 0, |class, _| json!(class.value.unwrap_or_default()))
        .column("Global-Default", "boolean", 0, |class, _| json!(is_default(class)))
        .column("PreemptionPolicy", "string", 1, |class, _| {
            json!(text(class.preemption_policy.as_ref()))
        })
        .build()
}

fn is_default(class: &PriorityClass) -> bool {
    class.global_default == Some(true)
}

struct ClassStrategy;

impl Strategy<PriorityClass> for ClassStrategy {
    fn default(&self, class: &mut PriorityClass) {
        class.preemption_policy.get_or_insert_with(|| PREEMPT_LOWER.to_owned());
    }

    fn validate(&self, class: &PriorityClass, errors: &mut FieldErrors) {
        let name = text(class.metadata.name.as_ref());
        let value = class.value.unwrap_or_default();
        if name.starts_with(SYSTEM) {
            if let Some(why) = no_system_class(name, value, is_default(class)) {
                let why = format!(
                    "priority class names with '{SYSTEM}' prefix are reserved for system use only. error: {why}"
                );
                errors.forbidden(&FieldPath::new("metadata").child("name"), &why);
            }
        } else if value > HIGHEST {
            let why = format!("maximum allowed value of a user defined priority is {HIGHEST}");
            errors.forbidden(&FieldPath::new("value"), &why);
        }
        let policy = class.preemption_policy.as_ref();
        let path = FieldPath::new("preemptionPolicy");
        if policy.is_some_and(String::is_empty) {
            errors.required(&path, "");
        }
        rules::one_of(policy, &[PREEMPT_LOWER, "Never"], &path, errors);
    }

    fn validate_update(&self, new: &PriorityClass, old: &PriorityClass, errors: &mut FieldErrors) {
        if new.value.unwrap_or_default() != old.value.unwrap_or_default() {
            errors.forbidden(&FieldPath::new("value"), "may not be changed in an update.");
        }
        let (new, old) = (&new.preemption_policy, &old.preemption_policy);
        let path = FieldPath::new("preemptionPolicy");
        rules::immutable(new, old, text(new.as_ref()), &path, errors);
    }
}

/// Why it is none of the system's classes.
fn no_system_class(name: &str, value: i32, is_default: bool) -> Option<String> {
    let Some((_, known)) = SYSTEM_CLASSES.iter().find(|(known, _)| *known == name) else {
        return Some(format!("{name} is not a known system priority class"));
    };
    if value != *known {
        return Some(format!("value of {name} PriorityClass must be {known}"));
    }
    is_default.then(|| format!("globalDefault of {name} PriorityClass must be false"))
}
