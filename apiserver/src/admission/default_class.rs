//! Which class it is that objects get that name none: of those that say that they are it, the newest.

use api_types::{Metadata, meta::ObjectMeta};

/// Its name, if there is one. What says so is one of the annotations; of classes of one age it is the first by name.
pub(super) fn of<K: Metadata<Ty = ObjectMeta>>(classes: &[K], says_so: &[&str]) -> Option<String> {
    let is_default =
        |class: &&ObjectMeta| says_so.iter().any(|key| annotation(class, key) == Some("true"));
    let mut classes: Vec<_> = classes.iter().map(Metadata::metadata).filter(is_default).collect();
    classes.sort_by(|a, b| {
        b.creation_timestamp.cmp(&a.creation_timestamp).then_with(|| a.name.cmp(&b.name))
    });
    classes.first()?.name.clone()
}

/// What an annotation says.
pub(super) fn annotation<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use api_types::api::networking::v1::IngressClass;
    use serde_json::{Value, json};

    use super::*;

    const IS_DEFAULT: &str = "example.com/default";

    fn class(name: &str, second: u8, is_default: &Value) -> IngressClass {
        let created = format!("2026-01-01T00:00:{second:02}Z");
        let annotations = json!({IS_DEFAULT: is_default});
        let metadata =
            json!({"name": name, "creationTimestamp": created, "annotations": annotations});
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    }

    fn chosen(classes: &[(&str, u8, &str)]) -> Option<String> {
        let class = |(name, second, says): &(&str, u8, &str)| class(name, *second, &json!(says));
        of(&classes.iter().map(class).collect::<Vec<_>>(), &[IS_DEFAULT])
    }

    #[test]
    fn of_several_defaults_the_newest_counts() {
        assert_eq!(chosen(&[]), None);
        assert_eq!(chosen(&[("a", 1, "false"), ("b", 2, "yes")]), None);
        let some = [("a", 1, "true"), ("c", 2, "true"), ("b", 2, "true"), ("d", 3, "false")];
        assert_eq!(chosen(&some).as_deref(), Some("b"));
    }
}
