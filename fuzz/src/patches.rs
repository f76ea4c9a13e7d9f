//! JSON patches, merge patches and strategic merge patches, and the patches that `kubectl apply` makes: an object, a patch
//! and another object, a line each.

use api_machinery::patch;
use serde_json::{Value, json};

/// What is wrong is said; a patch that was made to get from one object to another does.
pub fn run(input: &[u8]) {
    let mut documents = super::documents(input);
    let (Some(object), Some(given)) = (documents.next(), documents.next()) else { return };
    for apply in [patch::apply_json, patch::apply_merge, patch::apply_strategic] {
        if let Err(error) = apply(&object, &given) {
            assert!((400..500).contains(&error.code()), "{error:?}");
        }
    }
    let Some(wanted) = documents.next().filter(Value::is_object) else { return };
    if object.is_object() && !has_null(&wanted) {
        let made = patch::three_way(&object, &wanted, &object);
        assert_eq!(patch::apply_merge(&object, &made).as_ref(), Ok(&wanted), "{made}");
    }
    let _ = patch::strategic_three_way(&object, &wanted, &given);
    let _ = patch::apply_strategic(&wanted, &json!({"spec": given}));
}

/// Merge patches can't say `null`.
fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.values().any(has_null),
        _ => false,
    }
}
