//! The patch of `kubectl apply`: what brings `current` to `modified`, and removes what `original` (the last applied
//! form) had and `modified` has no more. Fields that others set stay.

use serde_json::{Map, Value, json};

use super::keys::{ListMerge, is_replaced, is_union, merge_key, root};

type Object = Map<String, Value>;

/// A JSON merge patch; lists are replaced as a whole. An empty object: nothing to do.
#[must_use]
pub fn three_way(original: &Value, modified: &Value, current: &Value) -> Value {
    diff(original, modified, current, Vec::new(), |_| ListMerge::Atomic)
}

/// A strategic merge patch. An empty object: nothing to do.
#[must_use]
pub fn strategic_three_way(original: &Value, modified: &Value, current: &Value) -> Value {
    diff(original, modified, current, root(modified), merge_key)
}

type Rule = fn(&[&str]) -> ListMerge;

fn diff<'a>(
    original: &'a Value,
    modified: &'a Value,
    current: &'a Value,
    mut path: Vec<&'a str>,
    rule: Rule,
) -> Value {
    let [original, modified, current] = [original, modified, current].map(as_object);
    Value::Object(diff_objects(original, modified, current, &mut path, rule))
}

fn diff_objects<'a>(
    original: &'a Object,
    modified: &'a Object,
    current: &'a Object,
    path: &mut Vec<&'a str>,
    rule: Rule,
) -> Object {
    let mut patch = Object::new();
    for key in original.keys() {
        if !modified.contains_key(key) && current.contains_key(key) {
            patch.insert(key.clone(), Value::Null);
        }
    }
    for (key, wanted) in modified {
        path.push(key);
        let original = original.get(key).unwrap_or(&Value::Null);
        match current.get(key) {
            None if wanted.is_null() => {}
            None => drop(patch.insert(key.clone(), wanted.clone())),
            Some(found) => diff_values(&mut patch, key, [original, wanted, found], path, rule),
        }
        path.pop();
    }
    patch
}

/// Puts into the patch what brings one field from `found` to `wanted`.
fn diff_values<'a>(
    patch: &mut Object,
    key: &'a str,
    [original, wanted, found]: [&'a Value; 3],
    path: &mut Vec<&'a str>,
    rule: Rule,
) {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) if !is_replaced(path) => {
            let original = as_object(original);
            let mut inner = diff_objects(original, wanted, found, path, rule);
            retain_keys(&mut inner, wanted, found, path, rule);
            if !inner.is_empty() {
                patch.insert(key.to_owned(), Value::Object(inner));
            }
        }
        (Value::Array(wanted), Value::Array(found)) => {
            diff_lists(patch, key, [as_list(original), wanted, found], path, rule);
        }
        _ if wanted == found => {}
        _ => drop(patch.insert(key.to_owned(), wanted.clone())),
    }
}

fn diff_lists<'a>(
    patch: &mut Object,
    key: &'a str,
    lists: [&'a [Value]; 3],
    path: &mut Vec<&'a str>,
    rule: Rule,
) {
    let [_, wanted, found] = lists;
    match rule(path) {
        ListMerge::Atomic if wanted == found => {}
        ListMerge::Atomic => drop(patch.insert(key.to_owned(), json!(wanted))),
        ListMerge::Set => diff_sets(patch, key, lists),
        ListMerge::Key(field) => diff_keyed(patch, key, field, lists, path, rule),
    }
}

fn diff_sets(patch: &mut Object, key: &str, [original, wanted, found]: [&[Value]; 3]) {
    let added: Vec<_> = wanted.iter().filter(|v| !found.contains(v)).collect();
    let removed: Vec<_> =
        original.iter().filter(|v| !wanted.contains(v) && found.contains(v)).collect();
    if added.is_empty() && removed.is_empty() {
        return;
    }
    if !added.is_empty() {
        patch.insert(key.to_owned(), json!(added));
    }
    if !removed.is_empty() {
        patch.insert(format!("$deleteFromPrimitiveList/{key}"), json!(removed));
    }
    patch.insert(format!("$setElementOrder/{key}"), json!(wanted));
}

fn diff_keyed<'a>(
    patch: &mut Object,
    key: &'a str,
    field: &'static str,
    [original, wanted, found]: [&'a [Value]; 3],
    path: &mut Vec<&'a str>,
    rule: Rule,
) {
    let id = |item: &Value| item.get(field).cloned().unwrap_or(Value::Null);
    let find = |list: &'a [Value], item: &Value| list.iter().find(|other| id(other) == id(item));
    let mut items = Vec::new();
    for item in wanted {
        match find(found, item) {
            None => items.push(item.clone()),
            Some(there) => {
                let before = as_object(find(original, item).unwrap_or(&Value::Null));
                let (item_fields, there) = (as_object(item), as_object(there));
                let mut inner = diff_objects(before, item_fields, there, path, rule);
                retain_keys(&mut inner, item_fields, there, path, rule);
                if !inner.is_empty() {
                    inner.insert(field.to_owned(), id(item));
                    items.push(Value::Object(inner));
                }
            }
        }
    }
    let gone = original.iter().filter(|o| find(wanted, o).is_none() && find(found, o).is_some());
    items.extend(gone.map(|o| json!({"$patch": "delete", field: id(o)})));
    let order = |list: &'a [Value]| -> Vec<Value> {
        let kept = list.iter().filter(|item| find(wanted, item).is_some());
        kept.map(|item| json!({field: id(item)})).collect()
    };
    let reordered = items.is_empty() && order(found) != order(wanted);
    if !items.is_empty() || reordered {
        patch.insert(format!("$setElementOrder/{key}"), json!(order(wanted)));
    }
    if !items.is_empty() {
        patch.insert(key.to_owned(), Value::Array(items));
    }
}

/// A union that changes, or has more than is wanted, keeps nothing of its other alternatives.
fn retain_keys(patch: &mut Object, wanted: &Object, found: &Object, path: &[&str], rule: Rule) {
    let merges_lists = rule(&["metadata", "finalizers"]) == ListMerge::Set;
    let has_more = found.iter().any(|(key, value)| !value.is_null() && !wanted.contains_key(key));
    if merges_lists && is_union(path) && !wanted.is_empty() && (!patch.is_empty() || has_more) {
        patch.insert("$retainKeys".to_owned(), json!(wanted.keys().collect::<Vec<_>>()));
    }
}

fn as_object(value: &Value) -> &Object {
    static EMPTY: std::sync::LazyLock<Object> = std::sync::LazyLock::new(Object::new);
    value.as_object().unwrap_or(&EMPTY)
}

fn as_list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}
