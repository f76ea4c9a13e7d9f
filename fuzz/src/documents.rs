//! JSON and YAML documents.

use api_machinery::decode;

/// What is JSON is YAML, too, and says the same; what is read can be written and read again.
pub fn run(input: &[u8]) {
    let json = decode::json(input);
    if let Ok(json) = &json {
        let written = json.value.to_string();
        let again = decode::json(written.as_bytes()).expect("what is written can be read");
        assert_eq!(again.value, json.value);
    }
    let Ok(text) = str::from_utf8(input) else { return };
    if let Ok(yaml) = decode::yaml(text) {
        let written = yaml.value.to_string();
        let again = decode::json(written.as_bytes()).expect("what is written can be read");
        assert_eq!(again.value, yaml.value);
    }
}
