//! Paths of fields that rules name: `.spec.labels['a.b/c']`.

use serde_json::Value;

/// A path as errors name it, if it leads to a field of the schema.
pub(super) fn of(given: &str, schema: &Value) -> Option<String> {
    let (mut rest, mut schema, mut path) = (given.trim(), schema, String::new());
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (name, after) = step(rest)?;
        let (within, is_field) = match schema["properties"].as_object() {
            Some(fields) => (fields.get(&name)?, true),
            None => (schema.get("additionalProperties").filter(|it| it.is_object())?, false),
        };
        match is_field {
            true if path.is_empty() => path = name,
            true => path = format!("{path}.{name}"),
            false => path = format!("{path}[{name}]"),
        }
        (schema, rest) = (within, after);
    }
    Some(path)
}

/// The next name, and what follows it.
fn step(path: &str) -> Option<(String, &str)> {
    if let Some(named) = path.strip_prefix('.') {
        let end = named.find(['.', '[']).unwrap_or(named.len());
        let (name, after) = named.split_at(end);
        let is_name = !name.is_empty() && !name.contains(']');
        return is_name.then(|| (name.to_owned(), after));
    }
    let quoted = path.strip_prefix("['")?;
    let (mut name, mut letters) = (String::new(), quoted.char_indices());
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\'' => return Some((name, quoted[at + 1..].strip_prefix(']')?)),
            '\\' => name.push(escaped(letters.next()?.1)?),
            other => name.push(other),
        }
    }
    None
}

fn escaped(letter: char) -> Option<char> {
    Some(match letter {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        '\'' | '\\' => letter,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_leads_through_fields_and_maps() {
        let text = json!({"type": "string"});
        let map = json!({"type": "object", "additionalProperties": text});
        let schema = json!({"properties": {
            "spec": {"properties": {"map": map, "a-b": text, "it's": text, "list": {"items": text}}},
        }});
        let check = |given: &str, expected: Option<&str>| {
            assert_eq!(of(given, &schema).as_deref(), expected, "{given}");
        };
        check(".spec.map.x", Some("spec.map[x]"));
        check(".spec.map['x.y/z']", Some("spec.map[x.y/z]"));
        check(".spec['a-b']", Some("spec.a-b"));
        check(".spec.a-b", Some("spec.a-b"));
        check(r".spec['it\'s']", Some("spec.it's"));
        for odd in [
            "",
            " ",
            "spec",
            ".",
            ".spec.",
            ".none",
            ".spec[0]",
            ".spec.list[0]",
            ".spec['map'",
            ".spec.map.x.y",
        ] {
            check(odd, None);
        }
    }
}
