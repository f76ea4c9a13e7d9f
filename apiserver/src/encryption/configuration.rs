//! What an `EncryptionConfiguration` says (Kubernetes: `pkg/apis/apiserver/validation/validation_encryption.go`).

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use api_machinery::{FieldErrors, FieldPath, duration};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;

use super::{
    form::Form,
    kms::Kms,
    provider::{Key, Provider},
};

const API_VERSION: &str = "apiserver.config.k8s.io/v1";
const KIND: &str = "EncryptionConfiguration";
/// What no client of the API sees.
const NOT_SERVED: [&str; 3] =
    ["apiserveripinfo", "serviceipallocations", "servicenodeportallocations"];

/// Why a configuration is of no use.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// It can't be read.
    #[error("cannot read the encryption's configuration {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is none. What is wrong is told without the text, which has keys in it.
    #[error("the encryption's configuration can't be understood{0}")]
    Form(String),
    /// It says what can't be done.
    #[error("the encryption's configuration is invalid: {0}")]
    Invalid(FieldErrors),
    /// Who keeps the keys is not well.
    #[error("{0}")]
    Kms(String),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Configuration(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    /// Groups and plurals, each maybe `*`.
    resources: Vec<(String, String)>,
    providers: Vec<Provider>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Given {
    api_version: String,
    kind: String,
    #[serde(default)]
    resources: Vec<GivenRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenRule {
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    providers: Vec<GivenProvider>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct GivenProvider {
    aesgcm: Option<GivenKeys>,
    aescbc: Option<GivenKeys>,
    secretbox: Option<GivenKeys>,
    identity: Option<Empty>,
    kms: Option<GivenKms>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct GivenKms {
    api_version: String,
    name: String,
    #[serde(rename = "cachesize")]
    cache_size: Option<i32>,
    endpoint: String,
    timeout: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Empty {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenKeys {
    #[serde(default)]
    keys: Vec<GivenKey>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct GivenKey {
    name: String,
    secret: String,
}

/// The text of a file.
pub(super) fn read(path: &Path) -> Result<String, ConfigurationError> {
    let error = |source| ConfigurationError::Read { path: path.to_owned(), source };
    fs::read_to_string(path).map_err(error)
}

impl Configuration {
    pub(super) fn parse(text: &str) -> Result<Self, ConfigurationError> {
        let given: Given = serde_yaml::from_str(text).map_err(|error| {
            let place = error.location();
            let place = place.map(|at| format!(": line {}, column {}", at.line(), at.column()));
            ConfigurationError::Form(place.unwrap_or_default())
        })?;
        if (given.api_version.as_str(), given.kind.as_str()) != (API_VERSION, KIND) {
            let why = format!(": it is no {KIND} of {API_VERSION}");
            return Err(ConfigurationError::Form(why));
        }
        let (mut errors, path) = (FieldErrors::default(), FieldPath::new("resources"));
        if given.resources.is_empty() {
            errors.required(&path, "at least one resources is required");
        }
        let rules = given.resources.iter().enumerate();
        let mut names = HashSet::new();
        let rules =
            rules.map(|(i, given)| rule(given, &path.index(i), &mut names, &mut errors)).collect();
        if errors.is_empty() { Ok(Self(rules)) } else { Err(ConfigurationError::Invalid(errors)) }
    }

    /// Those whose keys somebody else keeps.
    pub(super) fn kms(&self) -> impl Iterator<Item = &Arc<Kms>> {
        let providers = self.0.iter().flat_map(|rule| &rule.providers);
        providers.filter_map(|provider| match provider {
            Provider::Kms(kms) => Some(kms),
            Provider::Identity | Provider::Keyed { .. } => None,
        })
    }

    /// The providers for a key of the store: those of the first rule that is for its kind.
    pub(super) fn of_key(&self, key: &str) -> Option<&[Provider]> {
        let mut parts = key.strip_prefix("/registry/")?.split('/');
        let (group, plural) = match (parts.next()?, parts.next()?) {
            ("core", plural) => ("", plural),
            // Where IPAddresses are, which claim Services' virtual IPs.
            ("ranges", "serviceips") => ("networking.k8s.io", "ipaddresses"),
            named => named,
        };
        let is_for = |rule: &&Rule| {
            rule.resources.iter().any(|(of_group, of_plural)| {
                (of_group == "*" || of_group == group) && (of_plural == "*" || of_plural == plural)
            })
        };
        self.0.iter().find(is_for).map(|rule| rule.providers.as_slice())
    }
}

/// `secrets`, `deployments.apps`, `*.`, `*.apps`, `*.*`: the group and the plural.
fn resource(text: &str) -> (String, String) {
    let (plural, group) = text.split_once('.').unwrap_or((text, ""));
    (group.to_owned(), plural.to_owned())
}

fn rule(
    given: &GivenRule,
    path: &FieldPath,
    names: &mut HashSet<String>,
    errors: &mut FieldErrors,
) -> Rule {
    let at = path.child("resources");
    if given.resources.is_empty() {
        errors.required(&at, &format!("at least one {at} is required"));
    }
    let resources: Vec<_> = given.resources.iter().map(|text| resource(text)).collect();
    validate_overlap(given, &resources, &at, errors);
    for (i, text) in given.resources.iter().enumerate() {
        if let Some(why) = fault_of(text) {
            errors.invalid(&at.index(i), text, why);
        }
    }
    let at = path.child("providers");
    if given.providers.is_empty() {
        errors.required(&at, &format!("at least one {at} is required"));
    }
    let providers = given.providers.iter().enumerate();
    let providers = providers.filter_map(|(i, given)| provider(given, &at.index(i), names, errors));
    Rule { resources, providers: providers.collect() }
}

fn fault_of(text: &str) -> Option<&'static str> {
    let (group, plural) = resource(text);
    if text.chars().any(char::is_uppercase) {
        return Some("resource name should not contain capital letters");
    }
    match (group.as_str(), plural.as_str()) {
        ("", "*") if text == "*" => Some(
            "use '*.' to encrypt all the resources from core API group or *.* to encrypt all resources",
        ),
        ("", name) if NOT_SERVED.contains(&name) => {
            Some("resources which do not have REST API/s cannot be encrypted")
        }
        ("events.k8s.io", _) => Some(
            "'*.events.k8s.io' objects are stored using the 'events' API group in etcd. Use 'events' instead in the config file",
        ),
        ("extensions", _) => {
            Some("'extensions' group has been removed and cannot be used for encryption")
        }
        ("*", plural) if plural != "*" => {
            Some("encrypting the same resource across groups is not supported")
        }
        _ => None,
    }
}

fn validate_overlap(
    given: &GivenRule,
    resources: &[(String, String)],
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let (mut is_repeated, mut masks) = (false, false);
    for (i, one) in resources.iter().enumerate() {
        for other in resources.iter().skip(i + 1) {
            let is_all = |it: &(String, String)| it.0 == "*" && it.1 == "*";
            let is_wide = one.0 == other.0 && (one.1 == "*" || other.1 == "*");
            is_repeated |= one == other;
            masks |= one != other && (is_all(one) || is_all(other) || is_wide);
        }
    }
    for (found, why) in [
        (is_repeated, "the same resource cannot be specified multiple times"),
        (
            masks,
            "using overlapping resources such as 'secrets' and '*.' in the same resource list is not allowed as they will be masked",
        ),
    ] {
        if found {
            errors.invalid(path, &given.resources, why);
        }
    }
}

fn provider(
    given: &GivenProvider,
    path: &FieldPath,
    names: &mut HashSet<String>,
    errors: &mut FieldErrors,
) -> Option<Provider> {
    let keyed = [
        (Form::AesGcm, &given.aesgcm),
        (Form::AesCbc, &given.aescbc),
        (Form::SecretBox, &given.secretbox),
    ];
    let mut keyed: Vec<_> =
        keyed.iter().filter_map(|(form, it)| Some((*form, it.as_ref()?))).collect();
    let others = usize::from(given.identity.is_some()) + usize::from(given.kms.is_some());
    match keyed.len() + others {
        0 => {
            let why = "provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, Secretbox, Identity";
            errors.wrong(path, why);
        }
        1 => {}
        _ => errors.wrong(
            path,
            "more than one provider specified in a single element, should split into different list elements",
        ),
    }
    if let Some(given) = &given.kms {
        return kms(given, &path.child("kms"), names, errors)
            .map(|kms| Provider::Kms(Arc::new(kms)));
    }
    match keyed.pop() {
        Some((form, given)) => {
            let path = path.child(form.name()).child("keys");
            Some(Provider::Keyed { form, keys: keys(form, given, &path, errors) })
        }
        None => given.identity.is_some().then_some(Provider::Identity),
    }
}

fn kms(
    given: &GivenKms,
    path: &FieldPath,
    names: &mut HashSet<String>,
    errors: &mut FieldErrors,
) -> Option<Kms> {
    let (at, name) = (path.child("name"), given.name.as_str());
    if name.is_empty() {
        errors.required(&at, "name is a mandatory field for a provider");
    }
    if name.contains(':') {
        let why = format!("invalid KMS provider name {name}, must not contain ':'");
        errors.invalid(&at, name, &why);
    }
    if !names.insert(name.to_owned()) {
        let why = format!("duplicate KMS provider name {name}, names must be unique");
        errors.invalid(&at, name, &why);
    }
    let timeout = duration::parse(given.timeout.as_deref().unwrap_or("3s")).unwrap_or_default();
    if timeout.is_zero() {
        let why = "timeout should be a positive value";
        errors.invalid(&path.child("timeout"), given.timeout.as_deref().unwrap_or_default(), why);
    }
    let (at, endpoint) = (path.child("endpoint"), given.endpoint.as_str());
    let socket = endpoint.strip_prefix("unix://").filter(|socket| socket.starts_with('/'));
    match (endpoint, endpoint.split_once("://")) {
        ("", _) => errors.invalid(&at, "", "endpoint is a mandatory field for a kms"),
        (_, Some((scheme, _))) if scheme != "unix" => {
            let why =
                format!("unsupported scheme {scheme:?} for KMS provider, only unix is supported");
            errors.invalid(&at, endpoint, &why);
        }
        _ if socket.is_none() => {
            errors.invalid(&at, endpoint, "must be unix:// and the path of a socket");
        }
        _ => {}
    }
    if let Some(size) = given.cache_size {
        errors.invalid(&path.child("cachesize"), size, "cachesize is not supported in v2");
    }
    // Kubernetes: it is v1 where nothing is said, which is off by default.
    if given.api_version != "v2" {
        let version = if given.api_version.is_empty() { "v1" } else { &given.api_version };
        let why =
            format!("unsupported apiVersion {version} for KMS provider, only v2 is supported");
        errors.invalid(&path.child("apiVersion"), version, &why);
    }
    Some(Kms::new(name, Path::new(socket?), timeout))
}

fn keys(form: Form, given: &GivenKeys, path: &FieldPath, errors: &mut FieldErrors) -> Vec<Key> {
    if given.keys.is_empty() {
        errors.required(path, "at least one keys is required");
    }
    let keys = given.keys.iter().enumerate();
    keys.filter_map(|(i, given)| key(form, given, &path.index(i), errors)).collect()
}

fn key(form: Form, given: &GivenKey, path: &FieldPath, errors: &mut FieldErrors) -> Option<Key> {
    if given.name.is_empty() {
        errors.required(&path.child("name"), "name is a mandatory field for a key");
    }
    let at = path.child("secret");
    if given.secret.is_empty() {
        errors.required(&at, "secret is a mandatory field for a key");
        return None;
    }
    let Ok(secret) = STANDARD.decode(given.secret.trim()) else {
        errors.invalid(&at, "REDACTED", "secrets must be base64 encoded");
        return None;
    };
    let cipher = form.cipher(&secret);
    if cipher.is_none() {
        let lengths: Vec<String> = form.key_lengths().iter().map(ToString::to_string).collect();
        let why = format!(
            "secret is not of the expected length, got {}, expected one of [{}]",
            secret.len(),
            lengths.join(" ")
        );
        errors.invalid(&at, "REDACTED", &why);
    }
    Some(Key { name: given.name.clone(), cipher: cipher? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(resources: &str) -> Result<Configuration, String> {
        let text = format!("apiVersion: {API_VERSION}\nkind: {KIND}\nresources:\n{resources}");
        Configuration::parse(&text).map_err(|error| error.to_string())
    }

    #[test]
    fn the_first_rule_for_a_kind_counts() {
        let key = |name: &str, secret: &str| {
            format!("{{aesgcm: {{keys: [{{name: {name}, secret: {}}}]}}}}", STANDARD.encode(secret))
        };
        let (a, b) = (key("a", &"a".repeat(16)), key("b", &"b".repeat(32)));
        let text = format!(
            "- {{resources: [secrets, deployments.apps], providers: [{a}]}}\n\
             - {{resources: ['*.'], providers: [identity: {{}}]}}\n\
             - {{resources: ['*.example.com', ipaddresses.networking.k8s.io], providers: [{b}]}}\n"
        );
        let configuration = configuration(&text).unwrap();
        let of = |key: &str| {
            match configuration.of_key(key).map(|it| &it[0]) {
                None => "-",
                Some(Provider::Identity) => "identity",
                Some(Provider::Keyed { keys, .. }) => keys[0].name.as_str(),
                Some(Provider::Kms(_)) => "kms",
            }
            .to_owned()
        };
        assert_eq!(of("/registry/core/secrets/default/x"), "a");
        assert_eq!(of("/registry/apps/deployments/default/x"), "a");
        assert_eq!(of("/registry/core/configmaps/default/x"), "identity");
        assert_eq!(of("/registry/example.com/frogs/x"), "b");
        assert_eq!(of("/registry/ranges/serviceips/10.96.0.1"), "b");
        assert_eq!(of("/registry/ranges/servicenodeports/30000"), "-");
        assert_eq!(of("/registry/apps/replicasets/x"), "-");
        assert_eq!(of("elsewhere"), "-");
    }

    #[track_caller]
    fn check(resources: &str, expected: &[&str]) {
        let told = configuration(resources).unwrap_err();
        for part in expected {
            assert!(told.contains(part), "{told}");
        }
        assert!(!told.contains("c2VjcmV0"), "a key is told: {told}");
    }

    #[tokio::test]
    async fn a_plugin_has_a_name_of_its_own_and_a_socket() {
        let kms = |rest: &str| format!("{{kms: {{apiVersion: v2, {rest}}}}}");
        let of = |first: &str, second: &str| {
            format!("- {{resources: [secrets], providers: [{}, {}]}}", kms(first), kms(second))
        };
        let fine = "name: a, endpoint: 'unix:///run/kms.sock'";
        let both = configuration(&of(fine, "name: b, endpoint: 'unix:///b', timeout: 5s")).unwrap();
        assert_eq!(both.kms().count(), 2);
        let path = "resources[0].providers[1].kms";
        for (given, told) in [
            (
                fine,
                "name: Invalid value: \"a\": duplicate KMS provider name a, names must be unique",
            ),
            (
                "name: 'b:c', endpoint: 'unix:///b'",
                "name: Invalid value: \"b:c\": invalid KMS provider name b:c, must not contain ':'",
            ),
            (
                "endpoint: 'unix:///b'",
                "name: Required value: name is a mandatory field for a provider",
            ),
            (
                "name: b, endpoint: 'tcp://b'",
                "endpoint: Invalid value: \"tcp://b\": unsupported scheme \"tcp\" for KMS provider, only unix is supported",
            ),
            (
                "name: b, endpoint: 'unix:///b', timeout: 0s",
                "timeout: Invalid value: \"0s\": timeout should be a positive value",
            ),
            (
                "name: b, endpoint: 'unix:///b', cachesize: 10",
                "cachesize: Invalid value: 10: cachesize is not supported in v2",
            ),
        ] {
            check(&of(fine, given), &[&format!("{path}.{told}")]);
        }
    }

    #[test]
    fn faults_are_told_with_their_paths_and_without_the_keys() {
        check("", &["resources: Required value: at least one resources is required"]);
        check(
            "- {resources: ['*', Secrets, pods.*], providers: []}",
            &[
                "resources[0].resources[0]: Invalid value: \"*\": use '*.' to encrypt all the resources from core API group",
                "resources[0].resources[1]: Invalid value: \"Secrets\": resource name should not contain capital letters",
                "resources[0].resources[2]: Invalid value: \"pods.*\": encrypting the same resource across groups is not supported",
                "resources[0].providers: Required value: at least one resources[0].providers is required",
            ],
        );
        check(
            "- {resources: [secrets, '*.'], providers: [{aesgcm: {keys: [{name: a, secret: c2VjcmV0}]}, identity: {}}, {kms: {name: k}}, {}]}",
            &[
                "using overlapping resources such as 'secrets' and '*.'",
                "resources[0].providers[0]: Invalid value: more than one provider specified in a single element",
                "resources[0].providers[0].aesgcm.keys[0].secret: Invalid value: \"REDACTED\": secret is not of the expected length, got 6, expected one of [16 24 32]",
                "resources[0].providers[1].kms.endpoint: Invalid value: \"\": endpoint is a mandatory field for a kms",
                "resources[0].providers[1].kms.apiVersion: Invalid value: \"v1\": unsupported apiVersion v1 for KMS provider, only v2 is supported",
                "resources[0].providers[2]: Invalid value: provider does not contain any",
            ],
        );
        check(
            "- {resources: [secrets, secrets], providers: [{secretbox: {keys: [{secret: '!c2VjcmV0'}]}}, {aescbc: {}}]}",
            &[
                "the same resource cannot be specified multiple times",
                "providers[0].secretbox.keys[0].name: Required value: name is a mandatory field for a key",
                "providers[0].secretbox.keys[0].secret: Invalid value: \"REDACTED\": secrets must be base64 encoded",
                "providers[1].aescbc.keys: Required value: at least one keys is required",
            ],
        );
        check("- {resources: [secrets], secret: c2VjcmV0}", &["can't be understood: line"]);
    }
}
