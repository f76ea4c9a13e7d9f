//! The page of a kind that has no page of its own: its fields with spaced titles.

use serde_json::Value;

use super::{Related, sheet::Sheet};
use crate::object::{map, name, scalar, text};

/// What the heading tells, or nobody asks for.
const LEFT_OUT: [&str; 5] = ["name", "namespace", "labels", "annotations", "managedFields"];

pub(super) fn describe(object: &Value, related: &Related) -> String {
    let mut sheet = Sheet::new(related);
    sheet.field(0, "Name", name(object));
    sheet.field(0, "Namespace", text(object, "/metadata/namespace"));
    sheet.labels("Labels", &map(object, "/metadata/labels"));
    sheet.annotations("Annotations", &map(object, "/metadata/annotations"));
    let mut rest = object.clone();
    if let Some(metadata) = rest.get_mut("metadata").and_then(Value::as_object_mut) {
        LEFT_OUT.iter().for_each(|field| drop(metadata.remove(*field)));
    }
    fields(&mut sheet, 0, &rest);
    sheet.events(&related.events, related.now);
    sheet.finish()
}

fn fields(sheet: &mut Sheet, level: usize, object: &Value) {
    for (key, value) in object.as_object().into_iter().flatten() {
        match value {
            Value::Object(_) => {
                sheet.line(level, format_args!("{}:", title(key)));
                fields(sheet, level + 1, value);
            }
            Value::Array(items) => {
                sheet.line(level, format_args!("{}:", title(key)));
                items.iter().for_each(|i| item(sheet, level + 1, i));
            }
            scalar => sheet.field(level, &title(key), self::scalar(scalar)),
        }
    }
}

fn item(sheet: &mut Sheet, level: usize, item: &Value) {
    if item.is_object() {
        fields(sheet, level, item);
    } else {
        sheet.line(level, scalar(item));
    }
}

/// `creationTimestamp` → `Creation Timestamp`, `apiVersion` → `API Version`.
fn title(key: &str) -> String {
    let mut words: Vec<String> = vec![String::new()];
    let mut before_is_lower = false;
    for c in key.chars() {
        if c.is_uppercase() && before_is_lower {
            words.push(String::new());
        }
        before_is_lower = c.is_lowercase() || c.is_ascii_digit();
        if let Some(word) = words.last_mut() {
            word.push(c);
        }
    }
    words.iter().map(|word| capitalised(word)).collect::<Vec<_>>().join(" ")
}

fn capitalised(word: &str) -> String {
    let upper = word.to_uppercase();
    if ["API", "URL", "UID", "OSB", "GUID"].contains(&upper.as_str()) {
        return upper;
    }
    let mut chars = word.chars();
    chars.next().map(|c| c.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_spaced_words() {
        assert_eq!(title("creationTimestamp"), "Creation Timestamp");
        assert_eq!(title("apiVersion"), "API Version");
        assert_eq!(title("podIP"), "Pod IP");
        assert_eq!(title("uid"), "UID");
    }
}
