//! Providers from a file (Kubernetes: `AuthenticationConfiguration` of `apiserver.config.k8s.io`).

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};

use api_machinery::{FieldErrors, FieldPath};
use expressions::{Environment, Program, Type};
use serde::Deserialize;

use super::{
    claims::{Mapping, Rule, Source},
    options::OidcError,
    provider::{ALGORITHMS, OidcProvider, Settings},
};

const VERSIONS: [&str; 2] = ["apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1"];
const KIND: &str = "AuthenticationConfiguration";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Configuration {
    api_version: String,
    kind: String,
    #[serde(default)]
    jwt: Vec<Jwt>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Jwt {
    issuer: Issuer,
    #[serde(default)]
    claim_validation_rules: Vec<ClaimRule>,
    claim_mappings: Mappings,
    #[serde(default)]
    user_validation_rules: Vec<UserRule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Issuer {
    url: String,
    #[serde(rename = "discoveryURL")]
    discovery_url: Option<String>,
    certificate_authority: Option<String>,
    #[serde(default)]
    audiences: Vec<String>,
    audience_match_policy: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ClaimRule {
    claim: String,
    required_value: String,
    expression: String,
    message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserRule {
    expression: String,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mappings {
    username: Origin,
    #[serde(default)]
    groups: Origin,
    #[serde(default)]
    uid: Origin,
    #[serde(default)]
    extra: Vec<Extra>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Origin {
    claim: String,
    prefix: Option<String>,
    expression: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Extra {
    key: String,
    value_expression: String,
}

impl OidcProvider {
    /// Those of an `AuthenticationConfiguration`, as YAML or JSON.
    ///
    /// # Errors
    /// What is wrong with it, or why one of them can't be asked.
    pub fn of_configuration(text: &str) -> Result<Vec<Self>, OidcError> {
        providers(text)
    }

    /// Refuses providers with one of these issuers, whose tokens are known otherwise: theirs would never be asked about.
    ///
    /// # Errors
    /// Which they are.
    pub fn validate_issuers(all: &[Self], disallowed: &[String]) -> Result<(), OidcError> {
        let (mut errors, path) = (FieldErrors::default(), FieldPath::new("jwt"));
        for (index, provider) in all.iter().enumerate() {
            let issuer = &provider.0.issuer;
            if disallowed.contains(issuer) {
                let disallowed = disallowed.join(" ");
                let why = format!("URL must not overlap with disallowed issuers: [{disallowed}]");
                errors.invalid(&path.index(index).child("issuer").child("url"), issuer, &why);
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(OidcError::Configuration(errors.to_string())) }
    }
}

fn providers(text: &str) -> Result<Vec<OidcProvider>, OidcError> {
    let read: Result<Configuration, _> = serde_yaml::from_str(text);
    let read = read.map_err(|error| OidcError::Configuration(error.to_string()))?;
    if read.kind != KIND || !VERSIONS.contains(&read.api_version.as_str()) {
        let (version, kind) = (&read.api_version, &read.kind);
        let why = format!("no kind {kind:?} is registered for version {version:?}");
        return Err(OidcError::Configuration(why));
    }
    let (mut errors, path, mut urls) =
        (FieldErrors::default(), FieldPath::new("jwt"), HashSet::new());
    let mut all = Vec::new();
    for (index, jwt) in read.jwt.into_iter().enumerate() {
        let path = path.index(index);
        if !urls.insert(jwt.issuer.url.clone()) {
            errors.duplicate(&path.child("issuer").child("url"), &jwt.issuer.url);
        }
        all.push(settings(jwt, &path, &mut errors));
    }
    if !errors.is_empty() {
        return Err(OidcError::Configuration(errors.to_string()));
    }
    all.into_iter().flatten().map(OidcProvider::of).collect()
}

/// None if something is wrong with it.
fn settings(jwt: Jwt, path: &FieldPath, errors: &mut FieldErrors) -> Option<Settings> {
    let Jwt { issuer, claim_validation_rules, claim_mappings, user_validation_rules } = jwt;
    validate_issuer(&issuer, &path.child("issuer"), errors);
    let (required, claim_rules) =
        of_claims(claim_validation_rules, &path.child("claimValidationRules"), errors);
    let user_rules = of_user(user_validation_rules, &path.child("userValidationRules"), errors);
    let path = path.child("claimMappings");
    let checks_email =
        claim_rules.iter().any(|(source, _)| source.contains("claims.email_verified"));
    let Mappings { username, groups, uid, extra } = claim_mappings;
    check_email(&username, checks_email, &path.child("username"), errors);
    let mut source = |origin: Origin, name: &str, has_prefix: bool| {
        source(origin, has_prefix, &path.child(name), errors)
    };
    let username = source(username, "username", true);
    let (groups, uid) = (source(groups, "groups", true), source(uid, "uid", false));
    if username.is_none() {
        let why = "claim or expression is required";
        errors.required(&path.child("username"), why);
    }
    let extra = of_extra(extra, &path.child("extra"), errors);
    let claim_rules = claim_rules.into_iter().map(|(_, rule)| rule).collect();
    let mapping =
        Mapping { username: username?, groups, uid, extra, required, claim_rules, user_rules };
    Some(Settings {
        issuer: issuer.url,
        discovery_url: issuer.discovery_url,
        audiences: issuer.audiences,
        authorities: issuer.certificate_authority.filter(|pem| !pem.is_empty()),
        algorithms: ALGORITHMS.map(|(_, algorithm)| algorithm).to_vec(),
        mapping,
    })
}

fn validate_issuer(issuer: &Issuer, path: &FieldPath, errors: &mut FieldErrors) {
    let https = |field: &str, url: &str, errors: &mut FieldErrors| {
        let path = path.child(field);
        if url.is_empty() {
            errors.required(&path, "URL is required");
        } else if !url.starts_with("https://") {
            errors.invalid(&path, url, "URL scheme must be https");
        }
    };
    https("url", &issuer.url, errors);
    if let Some(url) = &issuer.discovery_url {
        https("discoveryURL", url, errors);
        if *url == issuer.url {
            let why = "discoveryURL must be different from URL";
            errors.invalid(&path.child("discoveryURL"), url, why);
        }
    }
    if issuer.audiences.is_empty() {
        errors.required(&path.child("audiences"), "at least one issuer.audiences is required");
    }
    let policy = issuer.audience_match_policy.as_deref().unwrap_or_default();
    let path = path.child("audienceMatchPolicy");
    match (policy, issuer.audiences.len()) {
        ("MatchAny", _) | ("", 0 | 1) => {}
        ("", _) => {
            let why = "audienceMatchPolicy must be MatchAny for multiple audiences";
            errors.invalid(&path, policy, why);
        }
        _ => errors.not_supported(&path, policy, &["MatchAny"]),
    }
}

/// Anybody may have given any address: who is known by it must have it verified.
fn check_email(username: &Origin, checked: bool, path: &FieldPath, errors: &mut FieldErrors) {
    let source = &username.expression;
    let uses = source.replace("claims.email_verified", "").contains("claims.email");
    if uses && !checked && !source.contains("claims.email_verified") {
        let why = "claims.email_verified must be used in claimMappings.username.expression or \
                   claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when \
                   claims.email is used in claimMappings.username.expression";
        errors.invalid(&path.child("expression"), source, why);
    }
}

fn source(
    Origin { claim, prefix, expression }: Origin,
    has_prefix: bool,
    path: &FieldPath,
    errors: &mut FieldErrors,
) -> Option<Source> {
    match (claim.is_empty(), expression.is_empty()) {
        (true, true) => return None,
        (false, false) => errors.invalid(path, "", "claim and expression can't both be set"),
        (true, false) if prefix.is_some() => {
            errors.forbidden(&path.child("prefix"), "prefix can't be set when expression is set");
        }
        (false, true) if has_prefix && prefix.is_none() => {
            let why = "prefix is required when claim is set. It can be set to an empty string to disable prefixing";
            errors.required(&path.child("prefix"), why);
        }
        _ => {}
    }
    if claim.is_empty() {
        let program = of_expression("claims", &expression, &path.child("expression"), errors);
        // A fault of it is told already.
        return program
            .map(Source::Expression)
            .or(Some(Source::Claim { name: claim, prefix: String::new() }));
    }
    Some(Source::Claim { name: claim, prefix: prefix.unwrap_or_default() })
}

type Required = BTreeMap<String, String>;

/// Those that name values, and those that are expressions with their sources.
fn of_claims(
    rules: Vec<ClaimRule>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) -> (Required, Vec<(String, Rule)>) {
    let (mut required, mut all) = (Required::new(), Vec::new());
    for (index, rule) in rules.into_iter().enumerate() {
        let path = path.index(index);
        let ClaimRule { claim, required_value, expression, message } = rule;
        match (claim.is_empty(), expression.is_empty()) {
            (true, true) => errors.required(&path, "claim or expression is required"),
            (false, false) => {
                errors.invalid(&path, &claim, "claim and expression can't both be set");
            }
            (false, true) => drop(required.insert(claim, required_value)),
            (true, false) => {
                let rule = of_rule("claims", &expression, &message, &path, errors);
                all.extend(rule.map(|rule| (expression, rule)));
            }
        }
    }
    (required, all)
}

fn of_user(rules: Vec<UserRule>, path: &FieldPath, errors: &mut FieldErrors) -> Vec<Rule> {
    let rules = rules.into_iter().enumerate();
    let rules = rules.filter_map(|(index, UserRule { expression, message })| {
        of_rule("user", &expression, &message, &path.index(index), errors)
    });
    rules.collect()
}

fn of_rule(
    variable: &str,
    expression: &str,
    message: &str,
    path: &FieldPath,
    errors: &mut FieldErrors,
) -> Option<Rule> {
    let path = path.child("expression");
    let program = of_expression(variable, expression, &path, errors)?;
    if !matches!(program.result(), Type::Bool | Type::Dyn) {
        errors.invalid(
            &path,
            expression,
            &format!("must evaluate to bool but got {}", program.result()),
        );
    }
    let told = format!("validation expression '{expression}' failed");
    Some(Rule {
        program,
        message: if message.is_empty() { told } else { format!("{told}: {message}") },
    })
}

fn of_extra(
    extra: Vec<Extra>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) -> Vec<(String, Program)> {
    let mut programs = Vec::new();
    for (index, Extra { key, value_expression }) in extra.into_iter().enumerate() {
        let path = path.index(index);
        let (domain, rest) = key.split_once('/').unwrap_or((&key, ""));
        if domain.is_empty() || rest.is_empty() || key.to_lowercase() != key {
            let why = "must be a domain-prefixed path (such as \"acme.io/foo\") in lowercase";
            errors.invalid(&path.child("key"), &key, why);
        }
        if programs.iter().any(|(known, _)| *known == key) {
            errors.duplicate(&path.child("key"), &key);
        }
        let at = path.child("valueExpression");
        let program = of_expression("claims", &value_expression, &at, errors);
        programs.extend(program.map(|program| (key, program)));
    }
    programs
}

fn of_expression(
    variable: &str,
    source: &str,
    path: &FieldPath,
    errors: &mut FieldErrors,
) -> Option<Program> {
    if source.is_empty() {
        errors.required(path, "expression is required");
        return None;
    }
    let compiled = Environment::new().with(variable, Type::Dyn).compile(source);
    let fault = |error| errors.invalid(path, source, &format!("compilation failed: {error}"));
    compiled.map_err(fault).ok()
}
