//! An account that says so limits its pods to the Secrets that it names itself: the annotation
//! `kubernetes.io/enforce-mountable-secrets` (Kubernetes: `limitSecretReferences`).

use std::collections::BTreeSet;

use api_types::api::core::v1::{EnvFromSource, EnvVar, PodSpec, ServiceAccount};

use crate::encoded::Encoded;

const ANNOTATION: &str = "kubernetes.io/enforce-mountable-secrets";

/// Whether the account has a wish.
pub(super) fn is_said(account: &Encoded) -> bool {
    account.says(ANNOTATION)
}

/// Whether the account wants it.
pub(super) fn are_enforced(account: &ServiceAccount) -> bool {
    let wish = account.metadata.annotations.as_ref().and_then(|all| all.get(ANNOTATION));
    // As Go reads a truth.
    wish.is_some_and(|wish| matches!(&**wish, "1" | "t" | "T" | "true" | "TRUE" | "True"))
}

/// What the pod uses that its account does not name, the first of it.
pub(super) fn misuse(account: &ServiceAccount, spec: &PodSpec) -> Option<String> {
    let name = account.metadata.name.as_deref().unwrap_or_default();
    let secrets = account.secrets.iter().flatten();
    let secrets: BTreeSet<_> = secrets.filter_map(|secret| secret.name.as_deref()).collect();
    let used = of_volumes(spec).chain(of_containers(spec));
    let mut strange = used.filter(|(secret, _)| !secrets.contains(&**secret));
    if let Some((_, how)) = strange.next() {
        let why = format!("because service account {name} does not reference that secret");
        return Some(format!("{how} is not allowed {why}"));
    }
    let allowed = account.image_pull_secrets.iter().flatten();
    let allowed: BTreeSet<_> = allowed.map(|secret| &secret.name).collect();
    let mut pulls = spec.image_pull_secrets.iter().flatten().enumerate();
    let (index, secret) = pulls.find(|(_, secret)| !allowed.contains(&secret.name))?;
    Some(format!(
        "imagePullSecrets[{index}].name={:?} is not allowed because service account {name} does not reference that imagePullSecret",
        secret.name
    ))
}

/// The Secrets that are used, each with the way.
fn of_volumes(spec: &PodSpec) -> impl Iterator<Item = (String, String)> {
    let secrets = spec.volumes.iter().flatten().filter_map(|volume| volume.secret.as_ref());
    secrets.map(|secret| {
        let name = secret.secret_name.clone().unwrap_or_default();
        let how = format!("volume with secret.secretName={name:?}");
        (name, how)
    })
}

fn of_containers(spec: &PodSpec) -> impl Iterator<Item = (String, String)> {
    let init = spec.init_containers.iter().flatten();
    let init = init.flat_map(|it| of_env("init container", &it.name, (&it.env, &it.env_from)));
    let main = spec.containers.iter();
    let main = main.flat_map(|it| of_env("container", &it.name, (&it.env, &it.env_from)));
    let ephemeral = spec.ephemeral_containers.iter().flatten();
    let ephemeral =
        ephemeral.flat_map(|it| of_env("ephemeral container", &it.name, (&it.env, &it.env_from)));
    init.chain(main).chain(ephemeral)
}

fn of_env(
    sort: &str,
    container: &str,
    (env, from): (&Option<Vec<EnvVar>>, &Option<Vec<EnvFromSource>>),
) -> Vec<(String, String)> {
    let variable = |variable: &EnvVar| {
        let secret = variable.value_from.as_ref()?.secret_key_ref.as_ref()?.name.clone();
        let how = format!(
            "{sort} {container} with envVar {} referencing secret.secretName={secret:?}",
            variable.name
        );
        Some((secret, how))
    };
    let all = |source: &EnvFromSource| {
        let secret = source.secret_ref.as_ref()?.name.clone();
        let how =
            format!("{sort} {container} with envFrom referencing secret.secretName={secret:?}");
        Some((secret, how))
    };
    let variables = env.iter().flatten().filter_map(variable);
    variables.chain(from.iter().flatten().filter_map(all)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(pod: &Value, expected: Option<&str>) {
        let account = json!({
            "metadata": {"name": "a"}, "secrets": [{"name": "own"}], "imagePullSecrets": [{"name": "pull"}],
        });
        let account = serde_json::from_value(account).unwrap();
        let mut spec = json!({"containers": [{"name": "c"}]});
        spec.as_object_mut().unwrap().extend(pod.as_object().unwrap().clone());
        let found = misuse(&account, &serde_json::from_value(spec).unwrap());
        let why = "is not allowed because service account a does not reference that";
        assert_eq!(found, expected.map(|expected| expected.replace("%", why)));
    }

    #[test]
    fn what_the_account_does_not_name_is_told() {
        let variable = |secret: &str| json!([{"name": "V", "valueFrom": {"secretKeyRef": {"name": secret, "key": "k"}}}]);
        let all = |secret: &str| json!([{"secretRef": {"name": secret}}]);
        check(&json!({"volumes": [{"name": "v", "secret": {"secretName": "own"}}]}), None);
        check(
            &json!({"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}),
            Some("volume with secret.secretName=\"s\" % secret"),
        );
        check(
            &json!({"containers": [{"name": "c", "env": variable("own"), "envFrom": all("own")}]}),
            None,
        );
        check(
            &json!({"containers": [{"name": "c", "env": variable("s")}]}),
            Some("container c with envVar V referencing secret.secretName=\"s\" % secret"),
        );
        check(
            &json!({"initContainers": [{"name": "i", "envFrom": all("s")}]}),
            Some("init container i with envFrom referencing secret.secretName=\"s\" % secret"),
        );
        check(
            &json!({"ephemeralContainers": [{"name": "e", "envFrom": all("s")}]}),
            Some("ephemeral container e with envFrom referencing secret.secretName=\"s\" % secret"),
        );
        check(&json!({"imagePullSecrets": [{"name": "pull"}]}), None);
        check(
            &json!({"imagePullSecrets": [{"name": "own"}]}),
            Some("imagePullSecrets[0].name=\"own\" % imagePullSecret"),
        );
    }

    #[test]
    fn only_a_truth_enforces_it() {
        for (wish, expected) in [("true", true), ("1", true), ("false", false), ("yes", false)] {
            let account = json!({"metadata": {"annotations": {ANNOTATION: wish}}});
            assert_eq!(are_enforced(&serde_json::from_value(account).unwrap()), expected, "{wish}");
        }
    }
}
