//! What becomes of a request for a certificate, by whichever path it is written.

use api_machinery::ApiError;
use base64::Engine;
use expect_test::expect;
use registry::Part;
use serde_json::{Value, json};

use crate::{create, def, example, update, update_part, update_status};

const PLURAL: &str = "certificatesigningrequests";

fn csr() -> Value {
    create(&def(PLURAL), example(&def(PLURAL)))
}

fn with(object: &Value, field: &str, value: Value) -> Value {
    let mut changed = object.clone();
    changed["status"][field] = value;
    changed
}

fn condition(type_: &str) -> Value {
    json!({"type": type_, "status": "True", "reason": "Tested"})
}

fn approve(old: &Value, new: Value) -> Result<Value, ApiError> {
    update_part(&def(PLURAL), Part::Approval, old, new)
}

/// Any certificate.
fn certificate() -> Value {
    let text = include_str!("../../../certificates/src/testdata/ca.crt");
    json!(base64::engine::general_purpose::STANDARD.encode(text))
}

#[test]
fn nobody_changes_what_was_asked_for_nor_brings_an_approval_along() {
    let mut given = example(&def(PLURAL));
    given["status"] = json!({"conditions": [condition("Approved")]});
    let created = create(&def(PLURAL), given);
    assert_eq!(created["status"], json!({}));
    let mut other = created.clone();
    other["spec"]["signerName"] = json!("example.com/other");
    other["status"] = json!({"conditions": [condition("Approved")]});
    assert_eq!(update(&def(PLURAL), &created, other).unwrap(), created);
}

#[test]
fn an_approval_changes_conditions_alone_and_is_final() {
    let old = csr();
    let given = with(
        &with(&old, "conditions", json!([condition("Approved")])),
        "certificate",
        json!("eA=="),
    );
    let approved = approve(&old, given).unwrap();
    assert_eq!(approved["status"], json!({"conditions": [condition("Approved")]}));
    let told = |conditions| {
        approve(&approved, with(&approved, "conditions", conditions)).unwrap_err().to_string()
    };
    expect![[r#"CertificateSigningRequest.certificates.k8s.io "example" is invalid: status.conditions: Forbidden: updates may not remove a condition of type "Approved""#]].assert_eq(&told(json!([])));
    expect![[r#"CertificateSigningRequest.certificates.k8s.io "example" is invalid: status.conditions: Invalid value: "Denied": Approved and Denied conditions are mutually exclusive"#]].assert_eq(&told(json!([condition("Approved"), condition("Denied")])));
    let mut unsure = condition("Approved");
    unsure["status"] = json!("Unknown");
    expect![[r#"CertificateSigningRequest.certificates.k8s.io "example" is invalid: status.conditions[0].status: Unsupported value: "Unknown": supported values: "True""#]].assert_eq(&told(json!([unsure])));
}

#[test]
fn a_signer_brings_a_certificate_once_and_decides_nothing() {
    let approved =
        approve(&csr(), with(&csr(), "conditions", json!([condition("Approved")]))).unwrap();
    let status = |old: &Value, new| update_status(&def(PLURAL), old, new);
    let told = |old: &Value, new| status(old, new).unwrap_err().to_string();
    let denied = with(&csr(), "conditions", json!([condition("Denied")]));
    expect![[r#"CertificateSigningRequest.certificates.k8s.io "example" is invalid: status.conditions: Forbidden: updates may not add a condition of type "Denied""#]].assert_eq(&told(&csr(), denied));
    let mut mended = approved.clone();
    mended["status"]["conditions"][0]["reason"] = json!("Other");
    assert_eq!(status(&approved, mended).unwrap(), approved);
    expect![[r#"CertificateSigningRequest.certificates.k8s.io "example" is invalid: status.certificate: Invalid value: "<certificate data>": must contain at least one CERTIFICATE PEM block"#]].assert_eq(&told(&approved, with(&approved, "certificate", json!("eA=="))));
    let issued = status(&approved, with(&approved, "certificate", certificate())).unwrap();
    assert_eq!(issued["status"]["certificate"], certificate());
    expect![[r#"CertificateSigningRequest.certificates.k8s.io "example" is invalid: status.certificate: Forbidden: updates may not modify existing certificate content"#]].assert_eq(&told(&issued, with(&issued, "certificate", Value::Null)));
}
