//! Which functions a waiting instance can become, and what it has to be told for that: pure.
//!
//! A pod that runs cannot be given what its container is made of. So whatever of a function makes the container, or is read
//! by the programs in it when they start, has a container of its own.

use std::collections::BTreeMap;

use api_types::api::core::v1::EnvVar;
use api_types::minik8s::{Function, FunctionSource, FunctionSpec, Runtime};
use serde_json::{Value, json};

use super::super::{instances, status};

/// The longest calls that waiting instances are made for: they get as long to end.
pub(super) const LONGEST_CALL: i32 = 900;
const REQUIREMENTS: &str = "requirements.txt";
/// Beginnings of the names of variables that say something to the interpreter or its libraries at their start.
const READ_AT_START: [&str; 8] =
    ["GLIBC_", "LANG", "LC_", "LD_", "MALLOC_", "MINIK8S_", "PYTHON", "TZ"];

/// The load of the version that serves, if that can be loaded and is what the spec describes.
pub(super) fn load(function: &Function) -> Option<Value> {
    let known = function.status.as_ref()?;
    let version = status::find(&known.versions, known.version?)?;
    let spec = &function.spec;
    (can_be_loaded(spec) && status::is_of(version, spec)).then(|| request(spec))
}

/// Whether a function may ever need one: it can be loaded, and may be without instances.
pub(super) fn may_need_one(function: &Function) -> bool {
    let may_be_idle = function.spec.min_scale.unwrap_or_default() == 0;
    let stays = function.metadata.deletion_timestamp.is_none();
    stays && may_be_idle && can_be_loaded(&function.spec)
}

fn can_be_loaded(spec: &FunctionSpec) -> bool {
    let is_plain = |variable: &EnvVar| {
        let value = variable.value.as_deref().unwrap_or_default();
        let is_early = READ_AT_START.iter().any(|start| variable.name.starts_with(start));
        variable.value_from.is_none() && !value.contains("$(") && !is_early
    };
    Runtime::named(spec.runtime.as_deref()).is_some_and(|runtime| runtime.is_poolable)
        && spec.source.as_ref().is_some_and(|source| !names_packages(source))
        && spec.env.iter().all(is_plain)
        && spec.env_from.is_empty()
        && spec.resources.as_ref().is_none_or(|resources| *resources == Default::default())
        && instances::timeout(spec) <= LONGEST_CALL
}

/// An archive has the names of its files uncompressed; that another file's text has this name costs a faster start only.
fn names_packages(source: &FunctionSource) -> bool {
    let archive = source.archive.as_ref().map_or(&[][..], |archive| &archive.0);
    source.files.contains_key(REQUIREMENTS)
        || archive.windows(REQUIREMENTS.len()).any(|bytes| bytes == REQUIREMENTS.as_bytes())
}

fn request(spec: &FunctionSpec) -> Value {
    let mut request = json!(spec.source);
    let value = |variable: &EnvVar| variable.value.clone().unwrap_or_default();
    let env: BTreeMap<_, _> = spec.env.iter().map(|v| (v.name.clone(), value(v))).collect();
    request["entryPoint"] = json!(instances::entry_point(spec));
    request["env"] = json!(env);
    request["timeoutSeconds"] = json!(instances::timeout(spec));
    request["concurrency"] = json!(instances::concurrency(spec));
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(spec: Value) -> Function {
        let mut whole = json!({"source": {"files": {"func.py": "def main(p): pass"}}});
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let function = json!({"metadata": {"name": "add"}, "spec": whole});
        let mut function: Function = serde_json::from_value(function).unwrap();
        let mut known = api_types::minik8s::FunctionStatus::default();
        known.version = Some(status::wanted(
            &function.spec,
            &mut known.versions,
            "2026-01-01T00:00:00Z".parse().unwrap(),
        ));
        function.status = Some(known);
        function
    }

    #[test]
    fn a_load_is_what_the_runtime_takes() {
        let load = load(&function(json!({
            "env": [{"name": "WHO", "value": "me"}, {"name": "NONE"}],
            "timeoutSeconds": 5, "containerConcurrency": 3,
        })));
        let expected = json!({
            "files": {"func.py": "def main(p): pass"}, "entryPoint": "func:main",
            "env": {"WHO": "me", "NONE": ""}, "timeoutSeconds": 5, "concurrency": 3,
        });
        assert_eq!(load, Some(expected));
        let archive = super::load(&function(json!({"source": {"archive": "UEsDBA=="}}))).unwrap();
        let expected = (&json!("UEsDBA=="), &Value::Null, &Value::Null);
        assert_eq!(
            (&archive["archive"], &archive["entryPoint"], &archive["concurrency"]),
            expected
        );
    }

    #[test]
    fn what_makes_the_container_or_is_read_at_its_start_cannot_be_loaded() {
        let check = |spec: Value, can: bool| {
            let function = function(spec.clone());
            assert_eq!(load(&function).is_some(), can, "{spec}");
            assert_eq!(may_need_one(&function), can, "{spec}");
        };
        let env = |name: &str, value: &str| json!({"env": [{"name": name, "value": value}]});
        check(json!({}), true);
        check(
            json!({"runtime": "python", "imagePullSecrets": [{"name": "s"}], "resources": {}}),
            true,
        );
        check(json!({"runtime": "container", "image": "i", "source": null}), false);
        check(json!({"resources": {"limits": {"memory": "1Gi"}}}), false);
        check(json!({"envFrom": [{"secretRef": {"name": "s"}}]}), false);
        let from = json!({"fieldRef": {"fieldPath": "metadata.name"}});
        check(json!({"env": [{"name": "A", "valueFrom": from}]}), false);
        check(env("A", "$(B)"), false);
        check(env("PYTHONHASHSEED", "1"), false);
        check(env("TZ", "UTC"), false);
        check(env("WHO", "TZ"), true);
        check(json!({"timeoutSeconds": 900}), true);
        check(json!({"timeoutSeconds": 901}), false);
        check(json!({"source": {"files": {"func.py": "", "requirements.txt": ""}}}), false);
        // A zip's directory with the one name.
        check(json!({"source": {"archive": "UEsBAnJlcXVpcmVtZW50cy50eHQ="}}), false);
    }

    #[test]
    fn only_what_serves_is_loaded_and_only_who_may_be_idle_needs_it() {
        let mut function = function(json!({}));
        function.spec.entry_point = Some("func:other".to_owned());
        assert_eq!(load(&function), None, "the version that serves is another one");
        assert!(may_need_one(&function));
        function.spec.min_scale = Some(1);
        assert!(!may_need_one(&function));
    }
}
