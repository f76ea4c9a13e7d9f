//! Which devices are meant: expressions in CEL about a variable `device` (Kubernetes: `dynamic-resource-allocation/cel`).

use api_machinery::{FieldErrors, FieldPath};
use api_types::api::resource::v1::DeviceSelector;
use expressions::{Bounds, Environment, Type};

use super::device_names::{LONGEST_ID, LONGEST_VALUE, MOST_FACTS};
use crate::kinds::storage::parameters::LONGEST_DRIVER;

const MOST: usize = 32;
const LONGEST: usize = 10 * 1024;
const COSTLIEST: u64 = 1_000_000;

pub(super) fn validate(
    selectors: Option<&[DeviceSelector]>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let selectors = selectors.unwrap_or_default();
    if selectors.is_empty() {
        return;
    }
    if selectors.len() > MOST {
        return errors.too_many(path, selectors.len(), MOST);
    }
    let (environment, bounds) = (environment(), device_bounds());
    for (index, selector) in selectors.iter().enumerate() {
        let path = path.index(index).child("cel");
        let Some(cel) = &selector.cel else {
            errors.required(&path, "");
            continue;
        };
        let path = path.child("expression");
        if cel.expression.len() > LONGEST {
            errors.too_long(&path, LONGEST);
            continue;
        }
        match environment.compile_as(&cel.expression, &[Type::Bool]) {
            Err(why) => errors.invalid(&path, &cel.expression, &why.to_string()),
            Ok(program) if program.estimate(&bounds, None) > COSTLIEST => {
                errors.forbidden(&path, "too complex, exceeds cost limit");
            }
            Ok(_) => {}
        }
    }
}

fn environment() -> Environment {
    let by_domain = |value| Type::map(Type::String, Type::map(Type::String, value));
    let device = Type::object(
        "kubernetes.DRADevice",
        [
            ("driver", Type::String),
            ("allowMultipleAllocations", Type::Bool),
            ("attributes", by_domain(Type::Dyn)),
            ("capacity", by_domain(Type::named("kubernetes.Quantity"))),
        ],
    );
    Environment::new().with("device", device).with_bindings()
}

/// How large what is known of a device may be, as Kubernetes estimates with it: a truth value has one letter, a quantity none.
fn device_bounds() -> Bounds {
    let up_to = |most: usize| Bounds { most: most as u64, ..Bounds::default() };
    let by_name = |longest, value| Bounds {
        keys: Some(Box::new(up_to(longest))),
        elements: Some(Box::new(value)),
        ..up_to(MOST_FACTS)
    };
    let (attribute, capacity) = (up_to(LONGEST_VALUE), up_to(0));
    let named = |value| by_name(LONGEST_ID, value);
    let attributes = Bounds { other_fields: Some(Box::new(attribute.clone())), ..named(attribute) };
    let fields = [
        ("driver", up_to(LONGEST_DRIVER)),
        ("allowMultipleAllocations", up_to(1)),
        ("attributes", by_name(LONGEST_DRIVER, attributes)),
        ("capacity", by_name(LONGEST_DRIVER, named(capacity))),
    ];
    let fields = fields.map(|(name, bounds)| (name.to_owned(), bounds)).into();
    Bounds { fields, ..Bounds::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `estimates.txt` has expressions, and before each what Kubernetes v1.36 takes it to cost at most.
    #[test]
    fn selectors_are_estimated_as_kubernetes_does() {
        let (environment, bounds) = (environment(), device_bounds());
        let found = |expression| match environment.compile_as(expression, &[Type::Bool]) {
            Ok(program) => program.estimate(&bounds, None).to_string(),
            Err(why) => why.to_string(),
        };
        let lines = include_str!("estimates.txt").lines();
        let lines = lines.map(|line| line.split_once(' ').unwrap());
        let wrong =
            lines.map(|(cost, it)| (it, found(it), cost)).filter(|(_, it, cost)| it != cost);
        assert_eq!(wrong.collect::<Vec<_>>(), []);
    }
}
