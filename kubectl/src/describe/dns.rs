//! The page of a DNS object: where the paths of its host lead.

use serde_json::Value;

use super::{Related, sheet::Sheet};
use crate::object::{list, map, name, number, text};

pub(super) fn describe(dns: &Value, related: &Related) -> String {
    let mut sheet = Sheet::new(related);
    sheet.field(0, "Name", name(dns));
    sheet.field(0, "Namespace", text(dns, "/metadata/namespace"));
    sheet.labels("Labels", &map(dns, "/metadata/labels"));
    sheet.annotations("Annotations", &map(dns, "/metadata/annotations"));
    sheet.field(0, "Host", text(dns, "/spec/host"));
    sheet.some(0, "Address", text(dns, "/status/address"));
    sheet.line(0, "Paths:");
    sheet.line(1, "Path\tService");
    sheet.line(1, "----\t-------");
    for path in list(dns, "/spec/paths") {
        let port = number(path, "/service/port").unwrap_or_default();
        let service = text(path, "/service/name");
        sheet.line(1, format!("{}\t{service}:{port}", text(path, "/path")));
    }
    sheet.conditions(list(dns, "/status/conditions"));
    sheet.events(&related.events, related.now);
    sheet.finish()
}
