//! The page of a secret: which keys it has and how long their values are, never the values.

use serde_json::Value;

use super::{Related, sheet::Sheet};
use crate::object::{decoded_length, map, name, text};

pub(super) fn describe(secret: &Value, related: &Related) -> String {
    let mut sheet = Sheet::new(related);
    sheet.field(0, "Name", name(secret));
    sheet.field(0, "Namespace", text(secret, "/metadata/namespace"));
    sheet.labels("Labels", &map(secret, "/metadata/labels"));
    sheet.annotations("Annotations", &map(secret, "/metadata/annotations"));
    sheet.line(0, "");
    sheet.field(0, "Type", text(secret, "/type"));
    sheet.line(0, "");
    sheet.line(0, "Data");
    sheet.line(0, "====");
    for (key, value) in map(secret, "/data") {
        sheet.field(0, &key, format_args!("{} bytes", decoded_length(&value)));
    }
    sheet.finish()
}
