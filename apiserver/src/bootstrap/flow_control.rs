//! The FlowSchemas and PriorityLevelConfigurations that are always there: what is missing is made, what must be as it is is
//! changed back, and the rest kept up to date unless somebody has changed it (Kubernetes: `pkg/registry/flowcontrol/ensurer`).

use std::collections::HashMap;

use api_machinery::ApiError;
use futures::future::join_all;
use http::Method;
use serde_json::{Value, json};

use crate::{
    flow_control::{self, AUTOUPDATE, Standard},
    internal,
    service::InProcess,
};

const PATH: &str = "/apis/flowcontrol.apiserver.k8s.io/v1";
const PLURALS: [(&str, &str); 2] =
    [("PriorityLevelConfiguration", "prioritylevelconfigurations"), ("FlowSchema", "flowschemas")];

/// Makes all as it is to be.
///
/// # Errors
/// The first that was met.
pub(super) async fn reconcile(api: &InProcess) -> Result<(), ApiError> {
    let wanted = flow_control::defaults();
    for (kind, plural) in PLURALS {
        let collection = format!("{PATH}/{plural}");
        let list = internal::request(api, Method::GET, &collection, &Value::Null).await?;
        let there: HashMap<&str, &Value> =
            list["items"].as_array().into_iter().flatten().map(|it| (name(it), it)).collect();
        let wanted: HashMap<&str, &Standard> = wanted
            .iter()
            .filter(|it| it.object["kind"] == kind)
            .map(|it| (name(&it.object), it))
            .collect();
        let made = wanted.iter().map(async |(name, wanted)| match there.get(name) {
            None => internal::ensure(api, &collection, &wanted.object).await,
            Some(there) => match revised(there, wanted) {
                None => Ok(()),
                Some(object) => write(api, &format!("{collection}/{name}"), &object).await,
            },
        });
        let unwanted = there.iter().filter(|(name, it)| {
            !wanted.contains_key(*name) && it["metadata"]["annotations"][AUTOUPDATE] == "true"
        });
        let removed =
            unwanted.map(async |(name, it)| remove(api, &format!("{collection}/{name}"), it).await);
        let (made, removed) = futures::join!(join_all(made), join_all(removed));
        made.into_iter().chain(removed).collect::<Result<(), _>>()?;
    }
    Ok(())
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// The object as it is to be; `None` if it is so.
fn revised(there: &Value, wanted: &Standard) -> Option<Value> {
    let follows = wanted.is_mandatory || follows(there);
    let mut object = there.clone();
    // The note is right even where somebody has removed it.
    object["metadata"]["annotations"][AUTOUPDATE] = follows.to_string().into();
    if follows {
        object["spec"] = wanted.object["spec"].clone();
        // How much is lent of the exempt level is for administrators to say.
        let tuned = &there["spec"]["exempt"];
        if wanted.is_mandatory && tuned.is_object() && object["spec"]["exempt"].is_object() {
            object["spec"]["exempt"] = tuned.clone();
        }
    }
    (object != *there).then_some(object)
}

/// Whether nobody has changed it: it says so, or, if it says nothing, its spec is the first that it had.
fn follows(there: &Value) -> bool {
    match there["metadata"]["annotations"][AUTOUPDATE].as_str() {
        Some("true") => true,
        Some("false") => false,
        _ => there["metadata"]["generation"] == 1,
    }
}

/// Who was faster is looked at next time.
async fn write(api: &InProcess, path: &str, object: &Value) -> Result<(), ApiError> {
    match internal::request(api, Method::PUT, path, object).await {
        Err(error) if !matches!(error.code(), 404 | 409) => Err(error),
        _ => Ok(()),
    }
}

async fn remove(api: &InProcess, path: &str, there: &Value) -> Result<(), ApiError> {
    let metadata = &there["metadata"];
    let (uid, version) = (&metadata["uid"], &metadata["resourceVersion"]);
    let options = json!({ "preconditions": { "uid": uid, "resourceVersion": version } });
    match internal::request(api, Method::DELETE, path, &options).await {
        Err(error) if !matches!(error.code(), 404 | 409) => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(
        is_mandatory: bool,
        annotation: Option<&str>,
        generation: i64,
        spec: i64,
    ) -> Option<Value> {
        let object = |annotation: Option<&str>, spec: i64| {
            let mut object = json!({"metadata": {"generation": generation}, "spec": spec});
            if let Some(annotation) = annotation {
                object["metadata"]["annotations"] = json!({AUTOUPDATE: annotation});
            }
            object
        };
        let wanted = Standard { object: object(Some("true"), 1), is_mandatory };
        let revised = revised(&object(annotation, spec), &wanted)?;
        Some(json!([revised["spec"], revised["metadata"]["annotations"][AUTOUPDATE]]))
    }

    #[test]
    fn what_somebody_has_changed_stays_unless_it_must_not() {
        assert_eq!(of(true, Some("true"), 1, 1), None);
        assert_eq!(of(true, Some("false"), 2, 7), Some(json!([1, "true"])));
        assert_eq!(of(false, Some("true"), 2, 7), Some(json!([1, "true"])));
        assert_eq!(of(false, Some("false"), 2, 7), None);
        assert_eq!(of(false, None, 1, 7), Some(json!([1, "true"])));
        assert_eq!(of(false, None, 2, 7), Some(json!([7, "false"])));
    }

    #[test]
    fn what_an_administrator_lends_of_the_exempt_level_stays() {
        let level = |shares: i32, kind: &str| {
            let spec = json!({"type": kind, "exempt": {"nominalConcurrencyShares": shares}});
            json!({"metadata": {"annotations": {AUTOUPDATE: "true"}}, "spec": spec})
        };
        let wanted = Standard { object: level(0, "Exempt"), is_mandatory: true };
        assert_eq!(revised(&level(9, "Exempt"), &wanted), None);
        assert_eq!(revised(&level(9, "Limited"), &wanted), Some(level(9, "Exempt")));
    }
}
