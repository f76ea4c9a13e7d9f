//! Named forms of text (Kubernetes: `cel/library/format.go`).

use api_machinery::names;
use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    arguments::{opaque, text},
    signature::{Answer, Row},
    urls,
};
use crate::{
    budget::Budget,
    time,
    value::{Opaque, Value},
};

type Faults = fn(&str) -> Vec<String>;

const FORMS: [(&str, Faults); 13] = [
    ("dns1123Label", names::dns1123_label),
    ("dns1123Subdomain", names::dns1123_subdomain),
    ("dns1035Label", names::dns1035_label),
    ("qualifiedName", names::qualified_name),
    ("dns1123LabelPrefix", |it| names::dns1123_label(&completed(it))),
    ("dns1123SubdomainPrefix", |it| names::dns1123_subdomain(&completed(it))),
    ("dns1035LabelPrefix", |it| names::dns1035_label(&completed(it))),
    ("labelValue", names::label_value),
    ("uri", |it| unless(urls::read(it).is_some(), "invalid URI for request")),
    ("uuid", |it| {
        let is_one = it.len() == 36 && it.parse::<uuid::Uuid>().is_ok();
        unless(is_one, "does not match the UUID format")
    }),
    ("byte", |it| unless(STANDARD.decode(it).is_ok(), "invalid base64")),
    ("date", |it| {
        unless(it.len() == 10 && it.parse::<jiff::civil::Date>().is_ok(), "invalid date")
    }),
    ("datetime", |it| unless(time::parse_timestamp(it).is_some(), "invalid datetime")),
];

pub(super) const ROWS: &[Row] = &[
    ("format.named(string): optional(kubernetes.NamedFormat)", |_, a| {
        let name = text(a, 0)?;
        let known = FORMS.iter().position(|(known, _)| **known == **name);
        Ok(known.map_or(Value::Optional(None), |i| Value::opaque(Form(i)).some()))
    }),
    ("format.dns1123Label(): kubernetes.NamedFormat", |_, _| Ok(Value::opaque(Form(0)))),
    ("format.dns1123Subdomain(): kubernetes.NamedFormat", |_, _| Ok(Value::opaque(Form(1)))),
    ("format.dns1035Label(): kubernetes.NamedFormat", |_, _| Ok(Value::opaque(Form(2)))),
    ("format.qualifiedName(): kubernetes.NamedFormat", |_, _| Ok(Value::opaque(Form(3)))),
    ("format.dns1123LabelPrefix(): kubernetes.NamedFormat", |_, _| Ok(Value::opaque(Form(4)))),
    ("format.dns1123SubdomainPrefix(): kubernetes.NamedFormat", |_, _| Ok(Value::opaque(Form(5)))),
    ("format.dns1035LabelPrefix(): kubernetes.NamedFormat", |_, _| Ok(Value::opaque(Form(6)))),
    ("format.labelValue(): kubernetes.NamedFormat", |_, _| Ok(Value::opaque(Form(7)))),
    ("format.uri(): kubernetes.NamedFormat", |_, _| Ok(Value::opaque(Form(8)))),
    ("format.uuid(): kubernetes.NamedFormat", |_, _| Ok(Value::opaque(Form(9)))),
    ("format.byte(): kubernetes.NamedFormat", |_, _| Ok(Value::opaque(Form(10)))),
    ("format.date(): kubernetes.NamedFormat", |_, _| Ok(Value::opaque(Form(11)))),
    ("format.datetime(): kubernetes.NamedFormat", |_, _| Ok(Value::opaque(Form(12)))),
    ("(kubernetes.NamedFormat).validate(string): optional(list(string))", validate),
];

/// One of the list, by its place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Form(usize);

impl Opaque for Form {
    fn type_name(&self) -> &str {
        "kubernetes.NamedFormat"
    }

    fn equals(&self, other: &dyn Opaque) -> bool {
        other.downcast::<Self>() == Some(self)
    }
}

fn unless(is_fine: bool, why: &str) -> Vec<String> {
    if is_fine { Vec::new() } else { vec![why.to_owned()] }
}

/// What a prefix becomes when something is put behind it (Kubernetes: `maskTrailingDash`).
fn completed(prefix: &str) -> String {
    prefix.strip_suffix('-').map_or_else(|| prefix.to_owned(), |rest| format!("{rest}a"))
}

fn validate(budget: &mut Budget, args: &[Value]) -> Answer {
    let (form, text) = (opaque::<Form>(args, 0)?, text(args, 1)?);
    budget.spend_on_text(text.len().saturating_mul(10))?;
    let faults = FORMS.get(form.0).map(|(_, faults)| faults(text)).unwrap_or_default();
    if faults.is_empty() {
        return Ok(Value::Optional(None));
    }
    Ok(Value::list(faults.into_iter().map(Value::text).collect()).some())
}
