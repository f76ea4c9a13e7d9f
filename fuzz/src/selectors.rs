//! Selectors of labels and fields.

use api_machinery::{FieldSelector, LabelSelector};

/// One that is read is written in a way that is read as the same.
pub fn run(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    if let Ok(selector) = LabelSelector::parse(text) {
        let written = selector.to_string();
        assert_eq!(LabelSelector::parse(&written).as_ref(), Ok(&selector), "{written}");
        let _ = selector.selects(|key| (key.len() % 2 == 0).then_some("1"));
    }
    if let Ok(selector) = FieldSelector::parse(text) {
        let written = selector.to_string();
        assert_eq!(FieldSelector::parse(&written).as_ref(), Ok(&selector), "{written}");
        let _ = selector.matches(|field| (field.len() % 2 == 0).then_some("1"));
    }
}
