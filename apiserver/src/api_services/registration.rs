//! The APIServices of what this server serves itself (Kubernetes: `kube-aggregator/pkg/controllers/autoregister`). Who
//! names another server for a group version takes its APIService for that, and has it.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use api_machinery::ApiError;
use api_types::apiregistration::v1::APIService;
use futures::{StreamExt, stream};
use http::Method;
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::{PATH, PREFIX, all, trust_map};
use crate::{
    catalogue::Catalogue, changes::Changes, custom_resources, delegates::priority, internal,
    service::InProcess, state::State,
};

/// Says that an APIService is the server's own, and of what.
const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";
/// Of a kind that the program has, and of one that a definition has.
const BUILT_IN: &str = "onstart";
const DEFINED: &str = "true";
/// Those who install a server for this make an APIService of it, which must not be there.
const ELSEWHERE: [&str; 2] = ["metrics.k8s.io", "apiregistration.k8s.io"];

/// How many are written at once.
const WRITES: usize = 16;
/// How often it is made sure that other servers know this one.
const PERIOD: Duration = Duration::from_secs(60);
/// How long nothing is done after a deletion. A server that makes the same again at once is not to keep both busy.
const PAUSE: Duration = Duration::from_secs(1);

/// What is to be done.
#[derive(Debug, PartialEq)]
enum Step {
    Create(Value),
    Replace(Value),
    /// With these preconditions.
    Delete(String, Value),
}

/// Makes what is missing, and mends what is the server's own, at its start.
pub(super) async fn register(api: &InProcess, state: &State) -> Result<(), ApiError> {
    settle(api, state, &[BUILT_IN, DEFINED]).await.map(drop)
}

/// The same of those with one of these labels; whether some were deleted.
async fn settle(api: &InProcess, state: &State, labels: &[&str]) -> Result<bool, ApiError> {
    let mut steps = steps(&wanted(&state.catalogue.load()), &all(state), labels);
    if steps.iter().any(Step::is_deletion) {
        spare(&mut steps, &custom_resources::defined(&state.storage));
    }
    let has_deletions = steps.iter().any(Step::is_deletion);
    let done = stream::iter(steps).map(|step| take(api, step)).buffer_unordered(WRITES);
    let done: Result<(), ApiError> = done.fold(Ok(()), async |all, done| all.and(done)).await;
    done.map(|()| has_deletions)
}

impl Step {
    fn is_deletion(&self) -> bool {
        matches!(self, Self::Delete(..))
    }
}

/// Leaves what has a definition, and only is not served here yet: a server that is ahead would make it again.
fn spare(steps: &mut Vec<Step>, defined: &HashSet<(String, String)>) {
    let names: HashSet<String> =
        defined.iter().map(|(group, version)| format!("{version}.{group}")).collect();
    steps.retain(|step| !matches!(step, Step::Delete(name, _) if names.contains(name)));
}

/// Goes on with it.
pub(crate) async fn keep(state: Arc<State>, api: InProcess) {
    let mut changes = Changes::of(&state.storage, PREFIX).await;
    let mut swaps = state.catalogue.swaps();
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Another server may have other kinds in its program: those that differ would mend each other's for ever.
        let done = settle(&api, &state, &[DEFINED]).await;
        let done = done.inspect_err(|error| tracing::warn!(%error, "APIServices can't be kept"));
        if matches!(done, Ok(true)) {
            sleep(PAUSE).await;
        }
        tokio::select! {
            () = changes.next(done.is_err()) => {}
            // Its sender is the catalogue's own.
            _ = swaps.changed() => {}
            _ = ticks.tick() => {
                let told = trust_map::publish(&api, &state.config).await;
                if let Err(error) = told {
                    tracing::warn!(%error, "other API servers can't be told of this one");
                }
            }
        }
    }
}

async fn take(api: &InProcess, step: Step) -> Result<(), ApiError> {
    let (method, path, object) = match step {
        Step::Create(object) => (Method::POST, PATH.to_owned(), object),
        Step::Replace(object) => {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            (Method::PUT, format!("{PATH}/{name}"), object)
        }
        Step::Delete(name, preconditions) => {
            let options = json!({ "preconditions": preconditions });
            (Method::DELETE, format!("{PATH}/{name}"), options)
        }
    };
    match internal::request(api, method, &path, &object).await {
        // Somebody was faster, which is heard of.
        Err(error) if !matches!(error.code(), 404 | 409) => Err(error),
        _ => Ok(()),
    }
}

/// The label and the priorities of each group version that is served here, by the name of its APIService.
type Wanted = BTreeMap<String, (String, String, &'static str)>;

fn wanted(catalogue: &Catalogue) -> Wanted {
    let built_in = Catalogue::built_in();
    let versions = catalogue.group_versions().into_iter();
    let own = versions.filter(|(group, _)| !ELSEWHERE.contains(group));
    own.map(|(group, version)| {
        let label = if built_in.serves(group, version) { BUILT_IN } else { DEFINED };
        (format!("{version}.{group}"), (group.to_owned(), version.to_owned(), label))
    })
    .collect()
}

fn steps(wanted: &Wanted, there: &[APIService], labels: &[&str]) -> Vec<Step> {
    let name = |it: &APIService| it.metadata.name.clone().unwrap_or_default();
    let missing = wanted.iter().filter(|(wanted, _)| there.iter().all(|it| name(it) != **wanted));
    let mut steps: Vec<Step> =
        missing.map(|(name, wanted)| Step::Create(object(name, wanted))).collect();
    for it in there {
        let Some(label) = managed(it).filter(|label| labels.contains(label)) else { continue };
        let is_local = it.spec.as_ref().is_some_and(|spec| spec.service.is_none());
        match wanted.get(&name(it)) {
            // It names a server: it has become somebody else's.
            _ if !is_local => {}
            None => {
                let (uid, version) = (&it.metadata.uid, &it.metadata.resource_version);
                let preconditions = json!({ "uid": uid, "resourceVersion": version });
                steps.push(Step::Delete(name(it), preconditions));
            }
            Some(wanted) => steps.extend(mended(it, label, wanted).map(Step::Replace)),
        }
    }
    steps
}

fn managed(it: &APIService) -> Option<&str> {
    let label = it.metadata.labels.as_ref()?.get(MANAGED)?.as_str();
    [BUILT_IN, DEFINED].contains(&label).then_some(label)
}

fn object(name: &str, (group, version, label): &(String, String, &str)) -> Value {
    json!({
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": { "name": name, "labels": { MANAGED: label } },
        "spec": spec(group, version),
    })
}

fn spec(group: &str, version: &str) -> Value {
    let (of_group, of_version) = priority(group, version);
    let mut spec = json!({ "version": version, "groupPriorityMinimum": of_group, "versionPriority": of_version });
    if !group.is_empty() {
        spec["group"] = group.into();
    }
    spec
}

/// One that is not as it is to be, as it is to be.
fn mended(
    it: &APIService,
    label: &str,
    (group, version, wanted): &(String, String, &str),
) -> Option<Value> {
    let mut object = json!(it);
    let spec = spec(group, version);
    let is_fine = object["spec"] == spec && label == *wanted;
    object["spec"] = spec;
    object["metadata"]["labels"][MANAGED] = json!(wanted);
    (!is_fine).then_some(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(mut object: Value, change: impl Fn(&mut Value)) -> APIService {
        object["metadata"]["uid"] = json!("u");
        object["metadata"]["resourceVersion"] = json!("7");
        change(&mut object);
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn what_is_served_here_has_an_api_service_unless_it_is_somebody_elses() {
        let wanted = Wanted::from([
            ("v1.apps".to_owned(), ("apps".to_owned(), "v1".to_owned(), BUILT_IN)),
            ("v1.x.io".to_owned(), ("x.io".to_owned(), "v1".to_owned(), DEFINED)),
        ]);
        let steps = |there: &[APIService]| steps(&wanted, there, &[BUILT_IN, DEFINED]);
        let object = |name: &str| object(name, &wanted[name]);
        let (apps, own) = (|| object("v1.apps"), || object("v1.x.io"));
        assert_eq!(steps(&[]), [Step::Create(apps()), Step::Create(own())]);
        let plain = |_: &mut Value| {};
        let both = [stored(apps(), plain), stored(own(), plain)];
        assert_eq!(steps(&both), []);
        let changed = stored(apps(), |it| it["spec"]["versionPriority"] = json!(1));
        let mended = steps(&[changed.clone(), both[1].clone()]);
        let [Step::Replace(mended)] = mended.as_slice() else { panic!("{mended:?}") };
        let later = super::steps(&wanted, &[changed, both[1].clone()], &[DEFINED]);
        assert_eq!(later, [], "another server's program may be the newer one");
        assert_eq!((&mended["spec"], &mended["metadata"]["uid"]), (&apps()["spec"], &json!("u")));
        let remote = stored(apps(), |it| {
            it["spec"]["service"] = json!({"namespace": "a", "name": "b", "port": 443});
        });
        assert_eq!(steps(&[remote, both[1].clone()]), [], "somebody took it");
        let gone = stored(own(), |it| it["metadata"]["name"] = json!("v1.gone.io"));
        let unmanaged = stored(own(), |it| {
            it["metadata"] = json!({"name": "v1.kept.io"});
        });
        let all = [both.to_vec(), vec![gone, unmanaged]].concat();
        let mut steps = steps(&all);
        let preconditions = json!({"uid": "u", "resourceVersion": "7"});
        assert_eq!(steps, [Step::Delete("v1.gone.io".into(), preconditions)]);
        spare(&mut steps, &HashSet::from([("gone.io".to_owned(), "v2".to_owned())]));
        assert_eq!(steps.len(), 1, "that is another version");
        spare(&mut steps, &HashSet::from([("gone.io".to_owned(), "v1".to_owned())]));
        assert_eq!(steps, [], "it is defined, and not served yet");
    }

    #[test]
    fn metrics_are_left_to_who_installs_a_server_for_them() {
        let wanted = wanted(&Catalogue::built_in());
        assert!(wanted.contains_key("v1.") && wanted.contains_key("v2.autoscaling"));
        assert!(!wanted.contains_key("v1beta1.metrics.k8s.io"));
        assert_eq!(wanted["v1.apps"].2, BUILT_IN);
    }
}
