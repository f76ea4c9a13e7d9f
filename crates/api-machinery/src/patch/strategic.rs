//! Strategic merge patches (`k8s.io/apimachinery/pkg/util/strategicpatch`): merge patches whose lists are merged by
//! key, with directives (`$patch`, `$deleteFromPrimitiveList`, `$setElementOrder`, `$retainKeys`).

use serde_json::{Map, Value};

use super::keys::{ListMerge, is_replaced, merge_key, root};
use crate::ApiError;

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const ORDER: &str = "$setElementOrder/";

type Object = Map<String, Value>;

/// The object after a strategic merge patch. Which lists are merged by what is `merge_key`'s table, which the object's
/// `kind` is looked up in.
///
/// # Errors
/// 400 if the patch is no object, has an unknown directive, or an element without its list's key.
pub fn apply_strategic(object: &Value, patch: &Value) -> Result<Value, ApiError> {
    let (Value::Object(fields), Value::Object(patch)) = (object, patch) else {
        return Err(bad("a strategic merge patch must be an object"));
    };
    merge_objects(fields.clone(), patch, &mut root(object)).map(Value::Object)
}

fn merge_objects<'a>(
    mut object: Object,
    patch: &'a Object,
    path: &mut Vec<&'a str>,
) -> Result<Object, ApiError> {
    match patch.get(PATCH).map(directive).transpose()? {
        Some(Directive::Replace) => object = Object::new(),
        Some(Directive::Delete) => return Ok(Object::new()),
        Some(Directive::Merge) | None => {}
    }
    retain_keys(&mut object, patch)?;
    let original = object.clone();
    for (key, value) in patch.iter().filter(|(key, _)| !key.starts_with('$')) {
        path.push(key);
        let merged = merge_values(object.remove(key), value, path)?;
        path.pop();
        object.extend(merged.map(|merged| (key.clone(), merged)));
    }
    for (key, value) in patch {
        if let Some(list) = key.strip_prefix(DELETE_FROM) {
            delete_from_set(&mut object, list, value);
        }
    }
    for (key, value) in patch {
        if let Some(list) = key.strip_prefix(ORDER) {
            path.push(list);
            reorder(&mut object, &original, list, value, merge_key(path));
            path.pop();
        }
    }
    Ok(object)
}

/// The value after its patch; `None` if the patch removes it.
fn merge_values<'a>(
    value: Option<Value>,
    patch: &'a Value,
    path: &mut Vec<&'a str>,
) -> Result<Option<Value>, ApiError> {
    match (value, patch) {
        (_, Value::Null) => Ok(None),
        (Some(Value::Object(object)), Value::Object(patch)) if !is_replaced(path) => {
            merge_objects(object, patch, path).map(|o| Some(Value::Object(o)))
        }
        (_, Value::Object(patch)) => {
            if patch.get(PATCH).is_some_and(|d| d == "delete") {
                return Ok(None);
            }
            merge_objects(Object::new(), patch, path).map(|o| Some(Value::Object(o)))
        }
        (Some(Value::Array(list)), Value::Array(patch)) => merge_lists(list, patch, path).map(Some),
        (_, Value::Array(patch)) => merge_lists(Vec::new(), patch, path).map(Some),
        (_, patch) => Ok(Some(patch.clone())),
    }
}

fn merge_lists<'a>(
    list: Vec<Value>,
    patch: &'a [Value],
    path: &mut Vec<&'a str>,
) -> Result<Value, ApiError> {
    match merge_key(path) {
        ListMerge::Atomic => Ok(Value::Array(patch.to_vec())),
        ListMerge::Set => Ok(Value::Array(merge_sets(list, patch))),
        ListMerge::Key(key) => merge_keyed(list, patch, key, path).map(Value::Array),
    }
}

fn merge_sets(list: Vec<Value>, patch: &[Value]) -> Vec<Value> {
    let original = list.clone();
    let mut merged = list;
    for value in patch {
        if !merged.contains(value) {
            merged.push(value.clone());
        }
    }
    in_order(merged, patch, &original, ListMerge::Set)
}

fn merge_keyed<'a>(
    list: Vec<Value>,
    patch: &'a [Value],
    key: &'static str,
    path: &mut Vec<&'a str>,
) -> Result<Vec<Value>, ApiError> {
    let original = list.clone();
    let replaces = patch.iter().any(|item| item.get(PATCH).is_some_and(|d| d == "replace"));
    let mut merged = if replaces { Vec::new() } else { list };
    for item in patch {
        let Value::Object(item) = item else {
            return Err(bad("expected an object as element of a list that is merged by key"));
        };
        let directive = item.get(PATCH).map(directive).transpose()?;
        let Some(id) = item.get(key) else {
            if directive == Some(Directive::Replace) {
                continue;
            }
            let item = Value::Object(item.clone());
            return Err(bad(&format!("map: {item} does not contain declared merge key: {key}")));
        };
        let place = merged.iter().position(|m| m.get(key) == Some(id));
        if directive == Some(Directive::Delete) {
            merged.retain(|m| m.get(key) != Some(id));
            continue;
        }
        let base = place.and_then(|i| merged[i].as_object().cloned()).unwrap_or_default();
        let item = Value::Object(merge_objects(base, item, path)?);
        match place {
            Some(i) => merged[i] = item,
            None => merged.push(item),
        }
    }
    Ok(in_order(merged, patch, &original, ListMerge::Key(key)))
}

/// The order that Kubernetes gives a merged list: what the patch names in the patch's order, the rest in the order it
/// had, and an element of the rest before one of the patch's only if it was so in the original.
fn in_order(
    merged: Vec<Value>,
    patch: &[Value],
    original: &[Value],
    merge: ListMerge,
) -> Vec<Value> {
    let place = |list: &[Value], item: &Value| list.iter().position(|i| same(i, item, merge));
    let (mut named, rest): (Vec<_>, Vec<_>) =
        merged.into_iter().partition(|item| place(patch, item).is_some());
    named.sort_by_key(|item| place(patch, item));
    let mut rest = rest.into_iter().peekable();
    let mut ordered = Vec::with_capacity(named.len() + rest.len());
    for item in named {
        let here = place(original, &item);
        let before = |other: &Value| {
            here.is_some_and(|here| place(original, other).is_some_and(|p| p < here))
        };
        while let Some(other) = rest.next_if(before) {
            ordered.push(other);
        }
        ordered.push(item);
    }
    ordered.extend(rest);
    ordered
}

fn same(a: &Value, b: &Value, merge: ListMerge) -> bool {
    match merge {
        ListMerge::Key(key) => a.get(key).is_some() && a.get(key) == b.get(key),
        ListMerge::Set | ListMerge::Atomic => a == b,
    }
}

fn reorder(object: &mut Object, original: &Object, list: &str, order: &Value, merge: ListMerge) {
    let (Some(Value::Array(items)), Value::Array(order)) = (object.get_mut(list), order) else {
        return;
    };
    let original =
        original.get(list).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    *items = in_order(std::mem::take(items), order, original, merge);
}

fn delete_from_set(object: &mut Object, list: &str, values: &Value) {
    let (Some(Value::Array(items)), Value::Array(values)) = (object.get_mut(list), values) else {
        return;
    };
    items.retain(|item| !values.contains(item));
}

fn retain_keys(object: &mut Object, patch: &Object) -> Result<(), ApiError> {
    let Some(retained) = patch.get(RETAIN_KEYS) else { return Ok(()) };
    let Value::Array(retained) = retained else {
        return Err(bad("$retainKeys must be a list"));
    };
    let is_retained = |key: &str| retained.iter().any(|r| r == key);
    if patch.iter().any(|(k, v)| !k.starts_with('$') && !v.is_null() && !is_retained(k)) {
        return Err(bad("invalid patch format: a field that is set is missing in $retainKeys"));
    }
    object.retain(|key, _| is_retained(key));
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Directive {
    Merge,
    Replace,
    Delete,
}

fn directive(value: &Value) -> Result<Directive, ApiError> {
    match value.as_str() {
        Some("merge") => Ok(Directive::Merge),
        Some("replace") => Ok(Directive::Replace),
        Some("delete") => Ok(Directive::Delete),
        _ => Err(bad(&format!("unknown patch type found: {value}"))),
    }
}

fn bad(why: &str) -> ApiError {
    ApiError::bad_request(format!("error applying patch: {why}"))
}
