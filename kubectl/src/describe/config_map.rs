//! The page of a config map: its data as it is.

use serde_json::Value;

use super::{Related, sheet::Sheet};
use crate::object::{decoded_length, map, name, text};

pub(super) fn describe(config: &Value, related: &Related) -> String {
    let mut sheet = Sheet::new(related);
    sheet.field(0, "Name", name(config));
    sheet.field(0, "Namespace", text(config, "/metadata/namespace"));
    sheet.labels("Labels", &map(config, "/metadata/labels"));
    sheet.annotations("Annotations", &map(config, "/metadata/annotations"));
    sheet.line(0, "\nData\n====");
    for (key, value) in map(config, "/data") {
        sheet.line(0, format_args!("{key}:\n----\n{value}\n"));
    }
    sheet.line(0, "\nBinaryData\n====");
    for (key, value) in map(config, "/binaryData") {
        sheet.line(0, format_args!("{key}: {} bytes", decoded_length(&value)));
    }
    sheet.line(0, "");
    sheet.events(&related.events, related.now);
    sheet.finish()
}
