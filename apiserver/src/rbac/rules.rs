//! What rules allow, and which rules say more than others. Pure (Kubernetes: `pkg/apis/rbac/v1/evaluation_helpers.go` and
//! `pkg/registry/rbac/validation/policy_comparator.go`).

use api_machinery::FieldSelector;
use api_types::api::rbac::v1::PolicyRule;

/// Stands for everything.
const ALL: &str = "*";

/// What somebody wants to do, in RBAC's words.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asked<'a> {
    Resource(Action<'a>),
    /// A path that names no resource.
    Path {
        verb: &'a str,
        path: &'a str,
    },
}

/// Something to be done with a resource.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Action<'a> {
    pub(crate) verb: &'a str,
    pub(crate) group: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) subresource: Option<&'a str>,
    pub(crate) namespace: Option<&'a str>,
    pub(crate) name: &'a str,
    /// What a list, a watch or the deletion of many selects by.
    pub(crate) fields: Option<&'a FieldSelector>,
}

/// Whether a rule allows it.
pub(crate) fn allows(rule: &PolicyRule, asked: Asked<'_>) -> bool {
    match asked {
        Asked::Resource(action) => {
            holds(&rule.verbs, action.verb)
                && holds(list(&rule.api_groups), action.group)
                && has_resource(rule, action)
                && has_name(rule, action.name)
        }
        Asked::Path { verb, path } => {
            holds(&rule.verbs, verb)
                && list(&rule.non_resource_urls).iter().any(|url| covers_url(url, path))
        }
    }
}

/// What of the rules `wanted` is not in the rules `held`, taken to pieces: a verb, a group, a resource each.
pub(crate) fn missing(held: &[&PolicyRule], wanted: &[PolicyRule]) -> Vec<PolicyRule> {
    let pieces = wanted.iter().flat_map(pieces);
    pieces.filter(|piece| !held.iter().any(|rule| covers(rule, piece))).collect()
}

/// Rules for everything.
pub(super) fn everything() -> [PolicyRule; 2] {
    let all = || Some(vec![ALL.to_owned()]);
    let verbs = vec![ALL.to_owned()];
    [
        PolicyRule {
            verbs: verbs.clone(),
            api_groups: all(),
            resources: all(),
            ..PolicyRule::default()
        },
        PolicyRule { verbs, non_resource_urls: all(), ..PolicyRule::default() },
    ]
}

/// The pieces of rules as people read them: those that differ by their verbs alone are one (Kubernetes: `CompactRules`,
/// `CompactString`).
pub(super) fn described(pieces: &[PolicyRule]) -> String {
    let mut joined: Vec<PolicyRule> = Vec::new();
    for piece in pieces {
        let same = |rule: &&mut PolicyRule| {
            PolicyRule { verbs: Vec::new(), ..(**rule).clone() }
                == PolicyRule { verbs: Vec::new(), ..piece.clone() }
        };
        match joined.iter_mut().find(same) {
            Some(rule) => rule.verbs.extend(piece.verbs.iter().cloned()),
            None => joined.push(piece.clone()),
        }
    }
    let mut lines: Vec<String> = joined.iter().map(line).collect();
    lines.sort();
    lines.dedup();
    lines.join("\n")
}

fn line(rule: &PolicyRule) -> String {
    let parts = [
        ("APIGroups", list(&rule.api_groups)),
        ("Resources", list(&rule.resources)),
        ("NonResourceURLs", list(&rule.non_resource_urls)),
        ("ResourceNames", list(&rule.resource_names)),
        ("Verbs", &rule.verbs),
    ];
    let parts = parts.into_iter().filter(|(_, values)| !values.is_empty());
    let parts: Vec<_> = parts.map(|(name, values)| format!("{name}:{}", quoted(values))).collect();
    format!("{{{}}}", parts.join(", "))
}

/// As Go prints a list of texts.
pub(super) fn quoted(texts: &[String]) -> String {
    let texts: Vec<_> = texts.iter().map(|text| format!("{text:?}")).collect();
    format!("[{}]", texts.join(" "))
}

fn list(list: &Option<Vec<String>>) -> &[String] {
    list.as_deref().unwrap_or_default()
}

fn has(values: &[String], value: &str) -> bool {
    values.iter().any(|held| held == value)
}

fn holds(values: &[String], value: &str) -> bool {
    values.iter().any(|held| held == ALL || held == value)
}

fn has_resource(rule: &PolicyRule, action: Action<'_>) -> bool {
    list(&rule.resources).iter().any(|held| match (held.split_once('/'), action.subresource) {
        _ if held == ALL => true,
        (None, None) => held == action.resource,
        (Some((resource, sub)), Some(asked)) => {
            sub == asked && (resource == ALL || resource == action.resource)
        }
        _ => false,
    })
}

fn has_name(rule: &PolicyRule, name: &str) -> bool {
    let names = list(&rule.resource_names);
    names.is_empty() || has(names, name)
}

fn covers_url(held: &str, url: &str) -> bool {
    held == url || held.strip_suffix(ALL).is_some_and(|start| url.starts_with(start))
}

fn pieces(rule: &PolicyRule) -> Vec<PolicyRule> {
    let one = |value: &String| Some(vec![value.clone()]);
    let mut pieces = Vec::new();
    for verb in &rule.verbs {
        let of_verb = PolicyRule { verbs: vec![verb.clone()], ..PolicyRule::default() };
        for group in list(&rule.api_groups) {
            for resource in list(&rule.resources) {
                let piece = PolicyRule {
                    api_groups: one(group),
                    resources: one(resource),
                    ..of_verb.clone()
                };
                let names = list(&rule.resource_names).iter();
                let named =
                    names.map(|name| PolicyRule { resource_names: one(name), ..piece.clone() });
                pieces.extend(named);
                if list(&rule.resource_names).is_empty() {
                    pieces.push(piece);
                }
            }
        }
        let urls = list(&rule.non_resource_urls).iter();
        pieces
            .extend(urls.map(|url| PolicyRule { non_resource_urls: one(url), ..of_verb.clone() }));
    }
    pieces
}

/// Whether a rule allows all that a piece of another does.
fn covers(held: &PolicyRule, piece: &PolicyRule) -> bool {
    let all = |held: &[String], wanted: &[String]| wanted.iter().all(|value| holds(held, value));
    let of_path = |resource: &String| {
        let sub = resource.split_once('/').map(|(_, sub)| format!("{ALL}/{sub}"));
        holds(list(&held.resources), resource)
            || sub.is_some_and(|sub| has(list(&held.resources), &sub))
    };
    let held_names = list(&held.resource_names);
    let wanted_names = list(&piece.resource_names);
    let names = held_names.is_empty()
        || !wanted_names.is_empty() && wanted_names.iter().all(|name| has(held_names, name));
    let urls = list(&piece.non_resource_urls)
        .iter()
        .all(|url| list(&held.non_resource_urls).iter().any(|held| covers_url(held, url)));
    all(&held.verbs, &piece.verbs)
        && all(list(&held.api_groups), list(&piece.api_groups))
        && list(&piece.resources).iter().all(of_path)
        && names
        && urls
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::subsequence};
    use serde_json::{Value, json};

    use super::*;

    fn rule(rule: Value) -> PolicyRule {
        serde_json::from_value(rule).unwrap()
    }

    fn action<'a>(verb: &'a str, resource: &'a str, name: &'a str) -> Asked<'a> {
        let (resource, subresource) = match resource.split_once('/') {
            Some((resource, sub)) => (resource, Some(sub)),
            None => (resource, None),
        };
        Asked::Resource(Action { verb, resource, subresource, name, ..Action::default() })
    }

    #[test]
    fn a_resource_is_named_whole_or_by_its_subresource_or_by_a_star() {
        let check = |resources: &[&str], asked: &str, expected: bool| {
            let rule = rule(json!({"apiGroups": [""], "resources": resources, "verbs": ["get"]}));
            assert_eq!(allows(&rule, action("get", asked, "x")), expected, "{resources:?} {asked}");
        };
        check(&["pods"], "pods", true);
        check(&["pods"], "pods/log", false);
        check(&["pods/log"], "pods/log", true);
        check(&["pods/log"], "pods", false);
        check(&["*/log"], "pods/log", true);
        check(&["*/log"], "pods/exec", false);
        check(&["pods/*"], "pods/log", false);
        check(&["*"], "pods/log", true);
        check(&["secrets", "pods"], "pods", true);
    }

    #[test]
    fn a_rule_with_names_is_for_these_alone() {
        let named = rule(json!({
            "apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "resourceNames": ["a", "b"],
        }));
        assert!(allows(&named, action("get", "pods", "b")));
        assert!(!allows(&named, action("get", "pods", "c")));
        assert!(!allows(&named, action("get", "pods", "")), "a list names nothing");
    }

    #[test]
    fn paths_are_named_whole_or_by_their_beginning() {
        let rule = rule(json!({"nonResourceURLs": ["/metrics", "/apis/*"], "verbs": ["get"]}));
        let check = |verb: &str, path: &str, expected: bool| {
            assert_eq!(allows(&rule, Asked::Path { verb, path }), expected, "{verb} {path}");
        };
        check("get", "/metrics", true);
        check("get", "/metrics/x", false);
        check("get", "/apis/apps", true);
        check("get", "/apis", false);
        check("post", "/metrics", false);
        assert!(!allows(&rule, action("get", "pods", "")));
    }

    #[test]
    fn what_is_missing_is_told_in_few_words() {
        let held =
            rule(json!({"apiGroups": [""], "resources": ["pods", "*/scale"], "verbs": ["get"]}));
        let wanted = [
            rule(
                json!({"apiGroups": [""], "resources": ["pods", "secrets"], "verbs": ["get", "list"]}),
            ),
            rule(json!({"apiGroups": [""], "resources": ["x/scale"], "verbs": ["get"]})),
            rule(json!({"nonResourceURLs": ["/metrics"], "verbs": ["get"]})),
        ];
        let missing = missing(&[&held], &wanted);
        let expected = [
            r#"{APIGroups:[""], Resources:["pods"], Verbs:["list"]}"#,
            r#"{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}"#,
            r#"{NonResourceURLs:["/metrics"], Verbs:["get"]}"#,
        ];
        assert_eq!(described(&missing), expected.join("\n"));
    }

    const VERBS: [&str; 4] = ["get", "list", "delete", "*"];
    const GROUPS: [&str; 3] = ["", "apps", "*"];
    const RESOURCES: [&str; 6] = ["pods", "secrets", "pods/log", "*/log", "pods/exec", "*"];
    const NAMES: [&str; 2] = ["a", "b"];

    fn some(of: &'static [&'static str], least: usize) -> impl Strategy<Value = Vec<String>> {
        let chosen = subsequence(of, least..=of.len());
        chosen.prop_map(|chosen| chosen.into_iter().map(str::to_owned).collect())
    }

    fn any_rule() -> impl Strategy<Value = PolicyRule> {
        (some(&VERBS, 1), some(&GROUPS, 1), some(&RESOURCES, 1), some(&NAMES, 0)).prop_map(
            |(verbs, groups, resources, names)| PolicyRule {
                verbs,
                api_groups: Some(groups),
                resources: Some(resources),
                resource_names: (!names.is_empty()).then_some(names),
                ..PolicyRule::default()
            },
        )
    }

    /// Everything that can be asked in this small world.
    fn questions() -> Vec<Action<'static>> {
        let mut all = Vec::new();
        for verb in ["get", "list", "delete"] {
            for group in ["", "apps"] {
                for resource in ["pods", "secrets"] {
                    for subresource in [None, Some("log"), Some("exec")] {
                        let names = ["a", "b", "c"].into_iter();
                        all.extend(names.map(|name| Action {
                            verb,
                            group,
                            resource,
                            subresource,
                            name,
                            ..Action::default()
                        }));
                    }
                }
            }
        }
        all
    }

    proptest! {
        /// A rule grants exactly its product: what it says, said otherwise.
        #[test]
        fn a_rule_grants_exactly_its_product(rule in any_rule()) {
            let star = |list: &[String], value: &str| list.contains(&"*".to_owned()) || list.contains(&value.to_owned());
            for asked in questions() {
                let whole = asked.subresource.map_or(asked.resource.to_owned(), |sub| format!("{}/{sub}", asked.resource));
                let of_any = asked.subresource.map(|sub| format!("*/{sub}"));
                let resources = list(&rule.resources);
                let expected = star(&rule.verbs, asked.verb)
                    && star(list(&rule.api_groups), asked.group)
                    && (star(resources, &whole) || of_any.is_some_and(|any| resources.contains(&any)))
                    && rule.resource_names.as_ref().is_none_or(|names| names.contains(&asked.name.to_owned()));
                prop_assert_eq!(allows(&rule, Asked::Resource(asked)), expected, "{:?}", asked);
            }
        }

        /// Who holds all that a rule says may do all that it allows: nothing is gained by giving it to oneself.
        #[test]
        fn what_is_not_missing_is_allowed_already(held in prop::collection::vec(any_rule(), 0..4), wanted in any_rule()) {
            let rules: Vec<&PolicyRule> = held.iter().collect();
            let lacks = missing(&rules, std::slice::from_ref(&wanted));
            for asked in questions() {
                let asked = Asked::Resource(asked);
                let may = held.iter().any(|rule| allows(rule, asked));
                let is_missing = lacks.iter().any(|piece| allows(piece, asked));
                prop_assert!(!allows(&wanted, asked) || may || is_missing, "{asked:?}");
            }
            prop_assert!(missing(&[&wanted], std::slice::from_ref(&wanted)).is_empty());
        }
    }
}
