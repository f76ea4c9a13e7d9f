//! What a function's status says of its versions and of itself: pure.

use api_types::jiff::Timestamp;
use api_types::meta::{Condition, Time};
use api_types::minik8s::{
    Function, FunctionSpec, FunctionStatus, FunctionVersion, FunctionVersionPhase as Phase,
};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::instances;

/// The version that the spec asks for; a new one is written down.
pub(super) fn wanted(
    spec: &FunctionSpec,
    versions: &mut Vec<FunctionVersion>,
    now: Timestamp,
) -> i64 {
    if let Some(version) = recorded(spec, versions) {
        return version.version;
    }
    let digest = image_digest(spec);
    let same = versions.iter().find(|version| version.digest == digest);
    let image = spec.image.clone().or_else(|| same.and_then(|version| version.image.clone()));
    let number = versions.iter().map(|version| version.version).max().unwrap_or_default() + 1;
    versions.push(FunctionVersion {
        version: number,
        digest,
        template_digest: template_digest(spec),
        runtime: spec.runtime.clone(),
        container_concurrency: spec.container_concurrency,
        timeout_seconds: spec.timeout_seconds,
        image,
        created_at: Some(Time(now)),
        ..FunctionVersion::default()
    });
    number
}

/// The version that the spec asks for, if it is written down.
pub(super) fn recorded<'a>(
    spec: &FunctionSpec,
    versions: &'a [FunctionVersion],
) -> Option<&'a FunctionVersion> {
    let earlier = spec.rollback_to.and_then(|number| find(versions, number));
    let digest = template_digest(spec);
    let of_spec = || versions.iter().find(|version| version.template_digest == digest);
    earlier.filter(|version| version.image.is_some()).or_else(of_spec)
}

/// Whether the version is what the spec describes, and not an earlier one.
pub(super) fn is_of(version: &FunctionVersion, spec: &FunctionSpec) -> bool {
    version.template_digest == template_digest(spec)
}

/// The numbers of the versions that stay: the one that serves, the one that is wanted, the newest (whose number no
/// other may get), and so many more as the spec says.
pub(super) fn kept(status: &FunctionStatus, wanted: i64, spec: &FunctionSpec) -> Vec<i64> {
    let mut numbers: Vec<i64> = status.versions.iter().map(|version| version.version).collect();
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    let newest = numbers.first().copied();
    let needed = [Some(wanted), status.version, newest];
    let limit = usize::try_from(spec.history_limit.unwrap_or_default()).unwrap_or_default();
    let others = numbers.iter().copied().filter(|n| !needed.contains(&Some(*n))).take(limit);
    needed.into_iter().flatten().chain(others).collect()
}

pub(super) fn find(versions: &[FunctionVersion], number: i64) -> Option<&FunctionVersion> {
    versions.iter().find(|version| version.version == number)
}

pub(super) fn find_mut(
    versions: &mut [FunctionVersion],
    number: i64,
) -> Option<&mut FunctionVersion> {
    versions.iter_mut().find(|version| version.version == number)
}

/// What an image is made of.
#[derive(Serialize)]
struct Made<'a> {
    runtime: Option<&'a String>,
    source: Option<&'a api_types::minik8s::FunctionSource>,
    image: Option<&'a String>,
    entry_point: Option<&'a String>,
}

fn image_digest(spec: &FunctionSpec) -> String {
    digest(&Made {
        runtime: spec.runtime.as_ref(),
        source: spec.source.as_ref(),
        image: spec.image.as_ref(),
        entry_point: spec.entry_point.as_ref(),
    })
}

fn template_digest(spec: &FunctionSpec) -> String {
    digest(&spec.template())
}

fn digest(value: &impl Serialize) -> String {
    let bytes = serde_json::to_vec(value).expect("plain data has an encoding");
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The wanted version, as its set shows it.
pub(super) enum State {
    /// What keeps its instances from being ready, if anything does.
    Kept(Option<String>),
    /// Its set is gone, and with it what it was made of.
    Lost,
}

/// Tells whether the image of the wanted version is there, and whether that version serves.
pub(super) fn set_conditions(
    status: &mut FunctionStatus,
    wanted: i64,
    state: State,
    function: &Function,
    now: Timestamp,
) {
    let Some(version) = find(&status.versions, wanted).cloned() else { return };
    let ready = match state {
        State::Kept(trouble) => ready(status, &version, trouble),
        State::Lost => lost(function, status, &version),
    };
    let told = [built(&version), ready];
    for condition in told {
        set(&mut status.conditions, condition, function, now);
    }
}

/// What is told: type, status, reason, message.
type Told = (&'static str, &'static str, &'static str, String);

fn built(version: &FunctionVersion) -> Told {
    let number = version.version;
    match (&version.image, version.phase) {
        (Some(image), _) => ("Built", "True", "ImageBuilt", format!("version {number} is {image}")),
        (None, Phase::Failed) => {
            let why = version.message.clone().unwrap_or_default();
            ("Built", "False", "BuildFailed", format!("version {number} cannot be built: {why}"))
        }
        (None, _) => {
            let why = version.message.as_ref().map(|why| format!("; so far: {why}"));
            let message = format!("version {number} is being built{}", why.unwrap_or_default());
            ("Built", "Unknown", "Building", message)
        }
    }
}

fn lost(function: &Function, status: &FunctionStatus, version: &FunctionVersion) -> Told {
    let number = version.version;
    let set = instances::name(function.metadata.name.as_deref().unwrap_or_default(), number);
    let message = format!(
        "version {number} cannot serve again: its ReplicaSet {set} is gone; take spec.rollbackTo \
         back, or roll back to another version{}",
        still(status, version)
    );
    ("Ready", "False", "VersionLost", message)
}

/// Which other version serves.
fn still(status: &FunctionStatus, version: &FunctionVersion) -> String {
    match status.version {
        Some(serving) if serving != version.version => format!("; version {serving} serves"),
        _ => String::new(),
    }
}

fn ready(status: &FunctionStatus, version: &FunctionVersion, trouble: Option<String>) -> Told {
    let number = version.version;
    let still = still(status, version);
    let trouble = trouble.or_else(|| version.message.clone());
    match (version.phase, trouble) {
        (Phase::Ready, _) if still.is_empty() => {
            ("Ready", "True", "VersionReady", format!("version {number} serves"))
        }
        (Phase::Building, _) => {
            let message = format!("version {number} is not ready yet{still}");
            ("Ready", "Unknown", "Deploying", message)
        }
        (_, Some(why)) => {
            ("Ready", "False", "VersionFailed", format!("version {number}: {why}{still}"))
        }
        (_, None) => {
            ("Ready", "Unknown", "Deploying", format!("version {number} is being started{still}"))
        }
    }
}

fn set(conditions: &mut Vec<Condition>, told: Told, function: &Function, now: Timestamp) {
    let (type_, status, reason, message) = told;
    let before = conditions.iter().position(|condition| condition.type_ == type_);
    let before = before.map(|position| conditions.remove(position));
    let since = before.filter(|before| before.status == status);
    conditions.push(Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: function.metadata.generation,
        last_transition_time: since.map_or(Time(now), |before| before.last_transition_time),
    });
    conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
}
