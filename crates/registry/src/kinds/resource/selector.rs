//! Which devices are meant: expressions in CEL about a variable `device` (Kubernetes: `dynamic-resource-allocation/cel`).

use api_machinery::{FieldErrors, FieldPath};
use api_types::api::resource::v1::DeviceSelector;
use expressions::{Environment, Type};

const MOST: usize = 32;
const LONGEST: usize = 10 * 1024;

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
    let environment = Environment::new().with("device", device());
    for (index, selector) in selectors.iter().enumerate() {
        let path = path.index(index).child("cel");
        let Some(cel) = &selector.cel else {
            errors.required(&path, "");
            continue;
        };
        let path = path.child("expression");
        if cel.expression.len() > LONGEST {
            errors.too_long(&path, LONGEST);
        } else if let Err(why) = environment.compile_as(&cel.expression, &[Type::Bool]) {
            errors.invalid(&path, &cel.expression, &why.to_string());
        }
    }
}

fn device() -> Type {
    let by_domain = || Type::map(Type::String, Type::map(Type::String, Type::Dyn));
    Type::object(
        "kubernetes.DRADevice",
        [
            ("driver", Type::String),
            ("allowMultipleAllocations", Type::Bool),
            ("attributes", by_domain()),
            ("capacity", by_domain()),
        ],
    )
}
