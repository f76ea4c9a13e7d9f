//! What of which request is told (Kubernetes: `k8s.io/apiserver/pkg/audit/policy`, `pkg/apis/audit/validation`). Pure.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use api_machinery::{FieldErrors, FieldPath, names};
use serde::Deserialize;

const API_VERSION: &str = "audit.k8s.io/v1";
const KIND: &str = "Policy";

/// How much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    #[default]
    None,
    Metadata,
    Request,
    RequestResponse,
}

impl Level {
    const ALL: [Self; 4] = [Self::None, Self::Metadata, Self::Request, Self::RequestResponse];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Metadata => "Metadata",
            Self::Request => "Request",
            Self::RequestResponse => "RequestResponse",
        }
    }
}

/// When.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    RequestReceived,
    ResponseStarted,
    ResponseComplete,
    Panic,
}

impl Stage {
    pub(super) const ALL: [Self; 4] =
        [Self::RequestReceived, Self::ResponseStarted, Self::ResponseComplete, Self::Panic];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::RequestReceived => "RequestReceived",
            Self::ResponseStarted => "ResponseStarted",
            Self::ResponseComplete => "ResponseComplete",
            Self::Panic => "Panic",
        }
    }
}

/// Why a policy is of no use.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It can't be read.
    #[error("cannot read the audit policy {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is none.
    #[error("the audit policy can't be understood: {0}")]
    Form(String),
    /// It says what can't be done.
    #[error("the audit policy is invalid: {0}")]
    Invalid(FieldErrors),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Policy {
    omitted: Vec<Stage>,
    omits_managed_fields: bool,
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    level: Level,
    omitted: Vec<Stage>,
    given: GivenRule,
}

/// What a rule goes by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) user: &'a str,
    pub(crate) groups: &'a [String],
    pub(crate) verb: &'a str,
    pub(crate) path: &'a str,
    pub(crate) resource: Option<Resource<'a>>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Resource<'a> {
    pub(crate) group: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

/// What is told of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told<'a> {
    pub(crate) level: Level,
    omitted: (&'a [Stage], &'a [Stage]),
    pub(crate) omits_managed_fields: bool,
}

impl Told<'_> {
    pub(crate) fn omits(&self, stage: Stage) -> bool {
        self.omitted.0.contains(&stage) || self.omitted.1.contains(&stage)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Given {
    api_version: String,
    kind: String,
    #[serde(default, rename = "metadata")]
    _metadata: serde_yaml::Value,
    #[serde(default)]
    rules: Vec<GivenRule>,
    #[serde(default)]
    omit_stages: Vec<String>,
    #[serde(default)]
    omit_managed_fields: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct GivenRule {
    level: String,
    users: Vec<String>,
    user_groups: Vec<String>,
    verbs: Vec<String>,
    resources: Vec<GroupResources>,
    namespaces: Vec<String>,
    #[serde(rename = "nonResourceURLs")]
    non_resource_urls: Vec<String>,
    omit_stages: Vec<String>,
    omit_managed_fields: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct GroupResources {
    group: String,
    resources: Vec<String>,
    resource_names: Vec<String>,
}

impl Policy {
    /// That of a file.
    ///
    /// # Errors
    /// If it can't be read, or says what can't be done.
    pub(crate) fn read(path: &Path) -> Result<Self, PolicyError> {
        let error = |source| PolicyError::Read { path: path.to_owned(), source };
        Self::parse(&fs::read_to_string(path).map_err(error)?)
    }

    pub(crate) fn parse(text: &str) -> Result<Self, PolicyError> {
        let given: Given =
            serde_yaml::from_str(text).map_err(|error| PolicyError::Form(error.to_string()))?;
        if (given.api_version.as_str(), given.kind.as_str()) != (API_VERSION, KIND) {
            return Err(PolicyError::Form(format!("it is no {KIND} of {API_VERSION}")));
        }
        // Kubernetes: nothing would be told.
        if given.rules.is_empty() {
            return Err(PolicyError::Form("it has no rules".to_owned()));
        }
        let mut errors = FieldErrors::default();
        let omitted = stages(&given.omit_stages, &FieldPath::new("omitStages"), &mut errors);
        let rules = given.rules.into_iter().enumerate().map(|(i, given)| {
            let path = FieldPath::new("rules").index(i);
            let level = validate(&given, &path, &mut errors);
            let omitted = stages(&given.omit_stages, &path.child("omitStages"), &mut errors);
            Rule { level, omitted, given }
        });
        let rules = rules.collect();
        let omits_managed_fields = given.omit_managed_fields;
        match errors.is_empty() {
            true => Ok(Self { omitted, omits_managed_fields, rules }),
            false => Err(PolicyError::Invalid(errors)),
        }
    }

    /// What is told of a request: the first rule that is for it says so, and without one nothing is.
    pub(crate) fn of(&self, asked: &Asked<'_>) -> Told<'_> {
        let rule = self.rules.iter().find(|rule| is_for(&rule.given, asked));
        let none: &[Stage] = &[];
        Told {
            level: rule.map_or(Level::None, |rule| rule.level),
            omitted: (&self.omitted, rule.map_or(none, |rule| &rule.omitted)),
            omits_managed_fields: rule
                .and_then(|rule| rule.given.omit_managed_fields)
                .unwrap_or(self.omits_managed_fields),
        }
    }
}

fn is_for(rule: &GivenRule, asked: &Asked<'_>) -> bool {
    let has = |list: &[String], value: &str| list.iter().any(|it| it == value);
    let is_open = |list: &[String], value: &str| list.is_empty() || has(list, value);
    let groups = &rule.user_groups;
    if !is_open(&rule.users, asked.user)
        || !(groups.is_empty() || asked.groups.iter().any(|group| has(groups, group)))
        || !is_open(&rule.verbs, asked.verb)
    {
        return false;
    }
    if !rule.namespaces.is_empty() || !rule.resources.is_empty() {
        let Some(resource) = &asked.resource else { return false };
        return is_open(&rule.namespaces, resource.namespace)
            && (rule.resources.is_empty()
                || rule.resources.iter().any(|it| includes(it, resource)));
    }
    rule.non_resource_urls.is_empty()
        || asked.resource.is_none()
            && rule.non_resource_urls.iter().any(|spec| is_of_path(spec, asked.path))
}

fn is_of_path(spec: &str, path: &str) -> bool {
    let is_below = spec.ends_with('*') && path.starts_with(spec.trim_end_matches('*'));
    spec == path || is_below
}

fn includes(of_group: &GroupResources, asked: &Resource<'_>) -> bool {
    let GroupResources { group, resources, resource_names } = of_group;
    if group != asked.group && group != "*" {
        return false;
    }
    let is_it = |name: &String| match (name.as_str(), name.split_once('/')) {
        ("*", _) => true,
        (_, Some(("*", sub))) => !asked.subresource.is_empty() && sub == asked.subresource,
        (_, Some((resource, "*"))) => resource == asked.resource,
        (_, Some((resource, sub))) => (resource, sub) == (asked.resource, asked.subresource),
        (name, None) => asked.subresource.is_empty() && name == asked.resource,
    };
    let is_named = resource_names.is_empty() || resource_names.iter().any(|it| it == asked.name);
    resources.is_empty() || is_named && resources.iter().any(is_it)
}

fn validate(given: &GivenRule, path: &FieldPath, errors: &mut FieldErrors) -> Level {
    let level = Level::ALL.into_iter().find(|level| level.as_str() == given.level);
    match (level, given.level.as_str()) {
        (Some(_), _) => {}
        (None, "") => errors.required(&path.child("level"), ""),
        (None, other) => {
            errors.not_supported(&path.child("level"), other, &Level::ALL.map(Level::as_str));
        }
    }
    let at = path.child("nonResourceURLs");
    for (i, url) in given.non_resource_urls.iter().enumerate().filter(|(_, url)| *url != "*") {
        if !url.starts_with('/') {
            let why = "non-resource URL rules must begin with a '/' character";
            errors.invalid(&at.index(i), url, why);
        }
        if url.trim_end_matches('*').contains('*') || url.ends_with("**") {
            let why = "non-resource URL wildcards '*' must be the final character of the rule";
            errors.invalid(&at.index(i), url, why);
        }
    }
    let is_about_resources = !given.resources.is_empty() || !given.namespaces.is_empty();
    if is_about_resources && !given.non_resource_urls.is_empty() {
        let why = "rules cannot apply to both regular resources and non-resource URLs";
        errors.invalid(&at, &given.non_resource_urls, why);
    }
    validate_resources(&given.resources, &path.child("resources"), errors);
    level.unwrap_or_default()
}

fn validate_resources(given: &[GroupResources], path: &FieldPath, errors: &mut FieldErrors) {
    for GroupResources { group, resources, resource_names } in given {
        if !group.is_empty() && group != "*" {
            let faults = names::dns1123_subdomain(group);
            if !faults.is_empty() {
                errors.invalid(&path.child("group"), group, &faults.join(","));
            }
        }
        if !resource_names.is_empty() && resources.is_empty() {
            let why = "using resourceNames requires at least one resource";
            errors.invalid(&path.child("resourceNames"), resource_names, why);
        }
    }
}

fn stages(given: &[String], path: &FieldPath, errors: &mut FieldErrors) -> Vec<Stage> {
    let mut found = Vec::new();
    for (i, name) in given.iter().enumerate() {
        match Stage::ALL.into_iter().find(|stage| stage.as_str() == name) {
            Some(stage) => found.push(stage),
            None => {
                let why = format!("allowed stages are {}", Stage::ALL.map(Stage::as_str).join(","));
                errors.invalid(&path.index(i), name, &why);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(rest: &str) -> Result<Policy, String> {
        let text = format!("apiVersion: {API_VERSION}\nkind: {KIND}\n{rest}");
        Policy::parse(&text).map_err(|error| error.to_string())
    }

    const RESOURCE: Resource<'static> = Resource {
        group: "",
        resource: "secrets",
        subresource: "",
        namespace: "kube-system",
        name: "s",
    };

    #[track_caller]
    fn check(rule: &str, changed: impl Fn(&mut Asked<'_>), expected: bool) {
        let policy = policy(&format!("rules: [{{level: Metadata, {rule}}}]")).unwrap();
        let groups = ["dev".to_owned()];
        let mut asked = Asked {
            user: "ann",
            groups: &groups,
            verb: "get",
            path: "/api/v1/namespaces/kube-system/secrets/s",
            resource: Some(RESOURCE),
        };
        changed(&mut asked);
        assert_eq!(policy.of(&asked).level == Level::Metadata, expected, "{rule}");
    }

    #[test]
    fn a_rule_is_for_whom_and_what_it_names() {
        let plain = |_: &mut Asked<'_>| {};
        let log = |asked: &mut Asked<'_>| {
            asked.resource = Some(Resource { resource: "pods", subresource: "log", ..RESOURCE });
        };
        let path = |asked: &mut Asked<'_>| (asked.resource, asked.path) = (None, "/healthz/etcd");
        check("", plain, true);
        check("", path, true);
        for (rule, expected) in [
            ("users: [ann]", true),
            ("users: [bob]", false),
            ("userGroups: [ops, dev]", true),
            ("userGroups: [ops]", false),
            ("verbs: [get]", true),
            ("verbs: [list]", false),
            ("namespaces: [kube-system]", true),
            ("namespaces: ['']", false),
            ("resources: [{group: ''}]", true),
            ("resources: [{group: apps}]", false),
            ("resources: [{group: '*', resources: [secrets]}]", true),
            ("resources: [{resources: [secrets], resourceNames: [s]}]", true),
            ("resources: [{resources: [secrets], resourceNames: [t]}]", false),
            ("resources: [{resources: ['secrets/*']}]", true),
            ("nonResourceURLs: ['/api*']", false),
        ] {
            check(rule, plain, expected);
        }
        for (resources, expected) in [
            ("pods", false),
            ("pods/log", true),
            ("pods/*", true),
            ("'*/log'", true),
            ("'*/status'", false),
            ("'*'", true),
        ] {
            check(&format!("resources: [{{resources: [{resources}]}}]"), log, expected);
        }
        check("nonResourceURLs: ['/healthz*']", path, true);
        check("nonResourceURLs: ['/healthz']", path, false);
        check("nonResourceURLs: ['*']", path, true);
        check("namespaces: ['']", path, false);
    }

    #[test]
    fn the_first_rule_counts_and_stages_are_left_out_of_both() {
        let policy = policy(
            "omitStages: [RequestReceived]\nomitManagedFields: true\nrules:\n\
             - {level: None, users: [system:apiserver]}\n\
             - {level: Request, verbs: [get], omitStages: [Panic], omitManagedFields: false}\n\
             - {level: RequestResponse}\n",
        )
        .unwrap();
        let asked = |user: &'static str, verb: &'static str| {
            policy.of(&Asked { user, groups: &[], verb, path: "/", resource: None })
        };
        assert_eq!(asked("system:apiserver", "get").level, Level::None);
        let told = asked("ann", "get");
        assert_eq!((told.level, told.omits_managed_fields), (Level::Request, false));
        assert!(told.omits(Stage::RequestReceived) && told.omits(Stage::Panic));
        let told = asked("ann", "list");
        assert_eq!((told.level, told.omits_managed_fields), (Level::RequestResponse, true));
        assert!(!told.omits(Stage::Panic));
    }

    #[test]
    fn the_policy_of_the_documentation_tells_who_reads_secrets_and_nothing_of_what_is_in_them() {
        let docs = include_str!("../../../docs/installation.md");
        let begin = docs.find("apiVersion: audit.k8s.io/v1\nkind: Policy\n").unwrap();
        let text = docs[begin..].split("```").next().unwrap();
        let policy = Policy::parse(text).unwrap();
        let check = |verb: &str, resource: &str, subresource: &str, expected: Level| {
            let resource = Resource { resource, subresource, ..RESOURCE };
            let asked =
                Asked { user: "ann", groups: &[], verb, path: "", resource: Some(resource) };
            assert_eq!(policy.of(&asked).level, expected, "{verb} {resource:?}");
        };
        check("create", "serviceaccounts", "token", Level::Metadata);
        check("create", "serviceaccounts", "", Level::RequestResponse);
        check("get", "pods", "", Level::Metadata);
        check("watch", "pods", "", Level::None);
        for verb in ["get", "list", "watch", "create", "update", "patch", "delete"] {
            check(verb, "secrets", "", Level::Metadata);
        }
    }

    #[test]
    fn faults_have_their_paths() {
        let told = policy(
            "omitStages: [Never]\nrules:\n\
             - {level: Some, nonResourceURLs: [x, '/a*b'], namespaces: [a]}\n\
             - {resources: [{group: rbac.authorization.k8s.io/v1, resourceNames: [a]}]}\n",
        )
        .unwrap_err();
        for part in [
            "omitStages[0]: Invalid value: \"Never\": allowed stages are RequestReceived,ResponseStarted,ResponseComplete,Panic",
            "rules[0].level: Unsupported value: \"Some\": supported values: \"None\", \"Metadata\", \"Request\", \"RequestResponse\"",
            "rules[0].nonResourceURLs[0]: Invalid value: \"x\": non-resource URL rules must begin with a '/' character",
            "rules[0].nonResourceURLs[1]: Invalid value: \"/a*b\": non-resource URL wildcards '*' must be the final character of the rule",
            "rules[0].nonResourceURLs: Invalid value: [\"x\", \"/a*b\"]: rules cannot apply to both regular resources and non-resource URLs",
            "rules[1].level: Required value",
            "rules[1].resources.group: Invalid value: ",
            "rules[1].resources.resourceNames: Invalid value: [\"a\"]: using resourceNames requires at least one resource",
        ] {
            assert!(told.contains(part), "{part}\n{told}");
        }
        assert!(policy("rules: []").unwrap_err().contains("it has no rules"));
        assert!(policy("rules: [{level: None, user: [a]}]").unwrap_err().contains("user"));
    }
}
