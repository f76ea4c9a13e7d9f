//! The faults of volumes of several sources (Kubernetes: `validateProjectionSources`).

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::api::core::v1::{
    ClusterTrustBundleProjection, PodCertificateProjection, ProjectedVolumeSource,
    ServiceAccountTokenProjection, VolumeProjection,
};

use super::files::{self, Paths};
use crate::{label_selector, rules, signer_name};

const KEY_TYPES: [&str; 6] =
    ["RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"];
const HOUR: i32 = 60 * 60;
const DAY: i32 = 24 * HOUR;

pub(super) fn validate(source: &ProjectedVolumeSource, path: &FieldPath, errors: &mut FieldErrors) {
    files::mode(source.default_mode, &path.child("defaultMode"), errors);
    let mut paths = Paths::default();
    for (i, projection) in source.sources.iter().flatten().enumerate() {
        one(projection, &mut paths, path, &path.child("sources").index(i), errors);
    }
}

/// `whole` is the path of the volume, where Kubernetes tells of some faults of its sources.
fn one<'a>(
    projection: &'a VolumeProjection,
    paths: &mut Paths<'a>,
    whole: &FieldPath,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let VolumeProjection {
        secret,
        config_map,
        downward_api,
        service_account_token,
        cluster_trust_bundle,
        pod_certificate,
    } = projection;
    let secret = secret.as_ref().map(|it| ("secret", &it.name, it.items.as_deref()));
    let config_map = config_map.as_ref().map(|it| ("configMap", &it.name, it.items.as_deref()));
    let keys: Vec<_> = [secret, config_map].into_iter().flatten().collect();
    for (field, name, items) in &keys {
        let path = path.child(field);
        rules::required(name, &path.child("name"), errors);
        files::of_keys(*items, &path.child("items"), errors);
        for item in items.unwrap_or_default() {
            paths.add(&item.path, name, whole, errors);
        }
    }
    if let Some(source) = downward_api {
        files::of_fields(source.items.as_deref(), &path.child("downwardAPI"), errors);
        for item in source.items.iter().flatten() {
            paths.add(&item.path, &item.path, whole, errors);
        }
    }
    if let Some(source) = service_account_token {
        token(source, whole, &path.child("serviceAccountToken"), errors);
    }
    if let Some(source) = cluster_trust_bundle {
        trust_bundle(source, &path.child("clusterTrustBundle"), errors);
        paths.add(&source.path, &source.path, whole, errors);
    }
    if let Some(source) = pod_certificate {
        certificate(source, paths, whole, &path.child("podCertificate"), errors);
    }
    let others = [
        downward_api.is_some(),
        service_account_token.is_some(),
        cluster_trust_bundle.is_some(),
        pod_certificate.is_some(),
    ];
    if keys.len() + others.iter().filter(|is_given| **is_given).count() > 1 {
        errors.forbidden(path, "may not specify more than 1 volume type per source");
    }
}

fn token(
    source: &ServiceAccountTokenProjection,
    whole: &FieldPath,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    const SHORTEST: i64 = 600;
    const LONGEST: i64 = 1 << 32;
    let at = path.child("expirationSeconds");
    match source.expiration_seconds {
        Some(seconds) if seconds < SHORTEST => {
            errors.invalid(&at, seconds, "may not specify a duration less than 10 minutes");
        }
        Some(seconds) if seconds > LONGEST => {
            errors.invalid(&at, seconds, "may not specify a duration larger than 2^32 seconds");
        }
        _ => {}
    }
    files::required(&source.path, &whole.child("path"), errors);
}

fn trust_bundle(source: &ClusterTrustBundleProjection, path: &FieldPath, errors: &mut FieldErrors) {
    match (&source.name, &source.signer_name) {
        (Some(_), Some(_)) => {
            let why = "only one of name and signerName may be used";
            errors.invalid(path, rules::json(source), why);
        }
        (Some(name), None) => {
            bundle_name(name, &path.child("name"), errors);
            if let Some(selector) = &source.label_selector {
                let why = "labelSelector must be unset if name is specified";
                errors.invalid(&path.child("labelSelector"), rules::json(selector), why);
            }
        }
        (None, Some(signer)) => {
            if signer.is_empty() {
                errors.required(&path.child("signerName"), "must be a valid signer name");
            }
            signer_name::validate(signer, &path.child("signerName"), errors);
            if let Some(selector) = &source.label_selector {
                label_selector::validate(selector, &path.child("labelSelector"), errors);
            }
        }
        (None, None) => errors.required(path, "either name or signerName must be specified"),
    }
    files::required(&source.path, &path.child("path"), errors);
}

/// That of a bundle of a signer begins with the signer's, with colons for slashes.
fn bundle_name(name: &str, path: &FieldPath, errors: &mut FieldErrors) {
    if name.is_empty() {
        errors.required(path, "must be a valid object name");
    }
    let own = name.rsplit_once(':').map_or(name, |(_, own)| own);
    for fault in names::dns1123_subdomain(own) {
        errors.invalid(path, name, &format!("not a valid clustertrustbundlename: {fault}"));
    }
}

fn certificate<'a>(
    source: &'a PodCertificateProjection,
    paths: &mut Paths<'a>,
    whole: &FieldPath,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    signer_name::validate(&source.signer_name, &path.child("signerName"), errors);
    for key in source.user_annotations.iter().flat_map(|all| all.keys()) {
        annotation(&key.to_lowercase(), &path.child("userAnnotations"), errors);
    }
    rules::supported(Some(&source.key_type), &KEY_TYPES, &path.child("keyType"), errors);
    lifetime(source, &path.child("maxExpirationSeconds"), errors);
    let given = [
        ("credentialBundlePath", &source.credential_bundle_path),
        ("keyPath", &source.key_path),
        ("certificateChainPath", &source.certificate_chain_path),
    ]
    .map(|(field, file)| (field, file.as_deref().unwrap_or_default()));
    for (field, file) in given.into_iter().filter(|(_, file)| !file.is_empty()) {
        files::unreserved(file, &path.child(field), errors);
        paths.add(file, file, whole, errors);
    }
    if given.iter().all(|(_, file)| file.is_empty()) {
        let why = "specify at least one of credentialBundlePath, keyPath, and certificateChainPath";
        errors.required(path, why);
    }
}

/// Kubernetes: `IsDomainPrefixedKey`.
fn annotation(key: &str, path: &FieldPath, errors: &mut FieldErrors) {
    let faults = names::qualified_name(key);
    if key.is_empty() {
        errors.required(path, "");
    } else if faults.is_empty() && !key.contains('/') {
        errors.invalid(path, key, "must be a domain-prefixed key (such as \"acme.io/foo\")");
    } else {
        faults.iter().for_each(|fault| errors.invalid(path, key, fault));
    }
}

/// Kubernetes' own signers sign for a day at most.
fn lifetime(source: &PodCertificateProjection, path: &FieldPath, errors: &mut FieldErrors) {
    let Some(seconds) = source.max_expiration_seconds else { return };
    let longest = if signer_name::is_kubernetes(&source.signer_name) { DAY } else { 91 * DAY };
    if seconds < HOUR {
        let why = format!("if provided, maxExpirationSeconds must be >= {HOUR}");
        errors.invalid(path, seconds, &why);
    }
    if seconds > longest {
        let why = format!("if provided, maxExpirationSeconds must be <= {longest}");
        errors.invalid(path, seconds, &why);
    }
}
