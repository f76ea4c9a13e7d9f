//! A request for a certificate: nobody changes it, some may approve it, and its signer signs it
//! (Kubernetes: `pkg/registry/certificates`, `pkg/apis/certificates/validation`).

use std::{borrow::Cow, collections::BTreeSet};

use api_machinery::{FieldErrors, FieldPath, names, table::human_duration};
use api_types::api::certificates::v1::{
    CertificateSigningRequest as Csr, CertificateSigningRequestCondition as Condition,
    CertificateSigningRequestSpec as Spec, CertificateSigningRequestStatus as Status,
};
use certificates::{Request, USAGES, are_certificates};
use serde_json::json;

use crate::{
    NameRule, ResourceDef, Strategy, Subresource,
    cells::{NONE, or_none},
    resource,
    rules::{self, text},
    signer_name,
};

const APPROVED: &str = "Approved";
const DENIED: &str = "Denied";
const FAILED: &str = "Failed";
/// The signer of the API's first versions, which v1 doesn't take.
const LEGACY: &str = "kubernetes.io/legacy-unknown";
const LEAST_SECONDS: i32 = 600;

pub(crate) fn definition() -> ResourceDef {
    resource::<Csr, _>(CsrStrategy)
        .short_names(&["csr"])
        .status(|csr, from| csr.status.clone_from(&from.status))
        .subresource(Subresource::Approval)
        .age()
        .column("SignerName", "string", 0, |csr, _| json!(or_none(&csr.spec.signer_name)))
        .column("Requestor", "string", 0, |csr, _| json!(text(csr.spec.username.as_ref())))
        .column("RequestedDuration", "string", 0, |csr, _| json!(requested_duration(&csr.spec)))
        .column("Condition", "string", 0, |csr, _| json!(summary(csr)))
        .build()
}

fn requested_duration(spec: &Spec) -> Cow<'static, str> {
    let seconds = spec.expiration_seconds.map(i64::from);
    seconds.map_or(NONE.into(), |seconds| human_duration(seconds).into())
}

fn summary(csr: &Csr) -> String {
    let has = |type_| of_type(csr, type_).next().is_some();
    let decision = if has(DENIED) {
        DENIED
    } else if has(APPROVED) {
        APPROVED
    } else {
        "Pending"
    };
    let failed = if has(FAILED) { ",Failed" } else { "" };
    let issued = if certificate(csr).is_empty() { "" } else { ",Issued" };
    format!("{decision}{failed}{issued}")
}

fn conditions(csr: &Csr) -> &[Condition] {
    csr.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default()
}

fn of_type<'a>(csr: &'a Csr, type_: &'a str) -> impl Iterator<Item = &'a Condition> {
    conditions(csr).iter().filter(move |condition| condition.type_ == type_)
}

fn certificate(csr: &Csr) -> &[u8] {
    let certificate = csr.status.as_ref().and_then(|status| status.certificate.as_ref());
    certificate.map(|bytes| &*bytes.0).unwrap_or_default()
}

struct CsrStrategy;

impl Strategy<Csr> for CsrStrategy {
    /// Kubernetes lets them be called anything; what a path can't have nobody could get.
    fn name_rule(&self) -> NameRule {
        names::path_segment
    }

    fn prepare_create(&self, csr: &mut Csr) {
        csr.status = Some(Status::default());
    }

    fn prepare_update(&self, new: &mut Csr, old: &Csr) {
        new.spec.clone_from(&old.spec);
    }

    /// Decisions are as they were, unless there are more or fewer of them, which is refused.
    fn prepare_status_update(&self, new: &mut Csr, old: &Csr) {
        for type_ in [APPROVED, DENIED] {
            let before: Vec<_> = of_type(old, type_).cloned().collect();
            let Some(all) = new.status.as_mut().and_then(|status| status.conditions.as_mut())
            else {
                continue;
            };
            let now: Vec<_> = all.iter_mut().filter(|condition| condition.type_ == type_).collect();
            if now.len() == before.len() {
                now.into_iter().zip(before).for_each(|(now, before)| *now = before);
            }
        }
    }

    fn approve(&self, csr: &mut Csr, given: &Csr) {
        csr.status.get_or_insert_default().conditions =
            given.status.as_ref().and_then(|status| status.conditions.clone());
    }

    fn validate(&self, csr: &Csr, errors: &mut FieldErrors) {
        let path = FieldPath::new("spec");
        let spec = &csr.spec;
        if let Err(error) = Request::parse(&spec.request.0) {
            let shown = String::from_utf8_lossy(&spec.request.0);
            errors.invalid(&path.child("request"), shown, &error.to_string());
        }
        usages(spec, &path.child("usages"), errors);
        signer(&spec.signer_name, &path.child("signerName"), errors);
        if let Some(seconds) = spec.expiration_seconds.filter(|seconds| *seconds < LEAST_SECONDS) {
            let why = "may not specify a duration less than 600 seconds (10 minutes)";
            errors.invalid(&path.child("expirationSeconds"), seconds, why);
        }
    }

    fn lasting(&self, _: &Csr, old: &Csr) -> FieldErrors {
        self.faults(old)
    }

    fn validate_status(&self, new: &Csr, old: &Csr, errors: &mut FieldErrors) {
        validate_conditions(new, old, errors);
        let path = FieldPath::new("status").child("conditions");
        for type_ in [APPROVED, DENIED] {
            match of_type(new, type_).count().cmp(&of_type(old, type_).count()) {
                std::cmp::Ordering::Greater => {
                    let why = format!("updates may not add a condition of type {type_:?}");
                    errors.forbidden(&path, &why);
                }
                // The one is refused of every update, the other has been undone.
                std::cmp::Ordering::Less | std::cmp::Ordering::Equal => {}
            }
        }
        validate_certificate(new, old, errors);
    }

    fn validate_approval(&self, new: &Csr, old: &Csr, errors: &mut FieldErrors) {
        validate_conditions(new, old, errors);
    }

    fn fields(&self, csr: &Csr) -> Vec<(&'static str, String)> {
        vec![("spec.signerName", csr.spec.signer_name.clone())]
    }
}

fn usages(spec: &Spec, path: &FieldPath, errors: &mut FieldErrors) {
    let usages = spec.usages.as_deref().unwrap_or_default();
    if usages.is_empty() {
        errors.required(path, "");
    }
    let mut seen = BTreeSet::new();
    for (i, usage) in usages.iter().enumerate() {
        if !USAGES.contains(&usage.as_str()) {
            errors.not_supported(&path.index(i), usage, &USAGES);
        }
        rules::unique(&mut seen, usage, &path.index(i), errors);
    }
}

fn signer(name: &str, path: &FieldPath, errors: &mut FieldErrors) {
    if name == LEGACY {
        let why = "the legacy signerName is not allowed via this API version";
        return errors.invalid(path, name, why);
    }
    signer_name::validate(name, path, errors);
}

/// What was there before may stay as it was.
fn validate_conditions(new: &Csr, old: &Csr, errors: &mut FieldErrors) {
    let mut faults = condition_faults(new);
    if !faults.is_empty() {
        faults.forget(&condition_faults(old));
    }
    errors.extend(faults);
    let path = FieldPath::new("status").child("conditions");
    for type_ in [APPROVED, DENIED, FAILED] {
        if of_type(new, type_).count() < of_type(old, type_).count() {
            let why = format!("updates may not remove a condition of type {type_:?}");
            errors.forbidden(&path, &why);
        }
    }
}

fn condition_faults(csr: &Csr) -> FieldErrors {
    let (mut errors, mut seen) = (FieldErrors::default(), BTreeSet::new());
    let path = FieldPath::new("status").child("conditions");
    for (i, condition) in conditions(csr).iter().enumerate() {
        let (at, type_) = (path.index(i), condition.type_.as_str());
        if type_.is_empty() {
            errors.required(&at.child("type"), "");
        }
        let allowed: &[&str] = match type_ {
            APPROVED | DENIED | FAILED => &["True"],
            _ => &["False", "True", "Unknown"],
        };
        if condition.status.is_empty() {
            errors.required(&at.child("status"), "");
        }
        rules::one_of(Some(&condition.status), allowed, &at.child("status"), &mut errors);
        let excluded = match type_ {
            APPROVED => seen.contains(DENIED),
            DENIED => seen.contains(APPROVED),
            _ => false,
        };
        if excluded {
            let why = "Approved and Denied conditions are mutually exclusive";
            errors.invalid(&path, type_, why);
        }
        rules::unique(&mut seen, &condition.type_, &at.child("type"), &mut errors);
    }
    errors
}

fn validate_certificate(new: &Csr, old: &Csr, errors: &mut FieldErrors) {
    let (now, before) = (certificate(new), certificate(old));
    if now == before {
        return;
    }
    let path = FieldPath::new("status").child("certificate");
    if !before.is_empty() {
        errors.forbidden(&path, "updates may not modify existing certificate content");
    } else if let Err(why) = are_certificates(now) {
        errors.invalid(&path, "<certificate data>", &why);
    }
}
