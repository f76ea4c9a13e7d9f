//! Golden pages: `describe/<name>.yaml` holds an object and what belongs to it, `describe/<name>.txt` the
//! page. `UPDATE_EXPECT=1 cargo test -p kubectl` writes the pages as they are now.

#![allow(clippy::unwrap_used, reason = "a test shows a fault by panicking")]

use std::path::Path;

use api_types::jiff::tz::TimeZone;
use kubectl::describe::{Related, describe};
use serde_json::Value;

fn many(input: &Value, field: &str) -> Vec<Value> {
    input[field].as_array().cloned().unwrap_or_default()
}

fn page(input: &Value) -> String {
    let related = Related {
        events: many(input, "events"),
        pods: many(input, "pods"),
        slices: many(input, "slices"),
        quotas: many(input, "quotas"),
        limit_ranges: many(input, "limitRanges"),
        lease: Some(input["lease"].clone()).filter(Value::is_object),
        ..Related::new(input["now"].as_str().unwrap().parse().unwrap(), TimeZone::UTC)
    };
    describe(&input["object"], &related)
}

#[test]
fn pages_are_laid_out_as_kubectl_does() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/describe");
    let mut seen = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_none_or(|e| e != "yaml") {
            continue;
        }
        seen += 1;
        let input = serde_yaml::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let found = page(&input);
        let golden = file.with_extension("txt");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&golden, &found).unwrap();
        }
        assert_eq!(
            found,
            std::fs::read_to_string(&golden).unwrap_or_default(),
            "{}",
            file.display()
        );
    }
    assert!(seen >= 5, "golden pages are gone");
}
