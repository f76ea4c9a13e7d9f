use serde_json::{Value, json};

use super::*;

fn pod(of_pod: &Value, own: &Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "u"},
        "spec": {
            "securityContext": of_pod,
            "containers": [{"name": "c", "securityContext": own}],
        },
    }))
    .unwrap()
}

fn found(of_pod: &Value, own: &Value, image_user: &str) -> Result<Security, SecurityError> {
    let pod = pod(of_pod, own);
    let container = spec::containers(&pod).next().unwrap();
    security(&pod, container, image_user, |path| match path.to_str() {
        Some("ok.json") => Ok("{}".to_owned()),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    })
}

#[test]
fn the_containers_word_wins_over_the_pods() {
    let of_pod = json!({"runAsUser": 1000, "runAsGroup": 3000, "fsGroup": 2000,
        "seccompProfile": {"type": "Unconfined"}});
    let own = json!({"runAsUser": 7, "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}});
    let found = found(&of_pod, &own, "").unwrap();
    assert_eq!(found.user.as_deref(), Some("7:3000"));
    assert_eq!(found.groups, ["2000"]);
    assert!(found.read_only_root && found.drop == ["ALL"] && !found.privileged);
    assert_eq!(found.seccomp, Seccomp::RuntimeDefault);
}

#[test]
fn a_group_alone_keeps_the_images_user() {
    let check = |user: &str, expected: &str| {
        let found = found(&json!({"runAsGroup": 3000}), &json!({}), user).unwrap();
        assert_eq!(found.user.as_deref(), Some(expected), "image user {user:?}");
    };
    check("nginx", "nginx:3000");
    check("101:101", "101:3000");
    check("", "0:3000");
    assert_eq!(found(&json!({}), &json!({}), "nginx").unwrap().user, None, "the engine knows");
}

#[test]
fn only_what_is_surely_not_root_runs_under_run_as_non_root() {
    let check = |own: &Value, image_user: &str, expected: Result<(), &str>| {
        let outcome = found(&json!({"runAsNonRoot": true}), own, image_user);
        let outcome = outcome.map(drop).map_err(|error| error.to_string());
        assert_eq!(
            outcome,
            expected.map_err(|start| { format!("{start} (pod: \"web_shop(u)\", container: c)") }),
            "{own} {image_user:?}"
        );
    };
    let root = "container has runAsNonRoot and image will run as root";
    check(&json!({}), "", Err(root));
    check(&json!({}), "0", Err(root));
    check(&json!({}), "0:5", Err(root));
    check(&json!({}), "5", Ok(()));
    check(&json!({}), "5:0", Ok(()));
    let name = "container has runAsNonRoot and image has non-numeric user (nginx), \
                cannot verify user is non-root";
    check(&json!({}), "nginx", Err(name));
    check(&json!({"runAsUser": 0}), "5", Err("container's runAsUser breaks non-root policy"));
    check(&json!({"runAsUser": 5}), "", Ok(()));
    check(&json!({"runAsNonRoot": false}), "", Ok(()));
}

#[test]
fn the_image_is_asked_only_when_its_user_counts() {
    let asked = |of_pod: &Value| {
        let pod = pod(of_pod, &json!({}));
        needs_image_user(&pod, spec::containers(&pod).next().unwrap())
    };
    assert!(asked(&json!({"runAsGroup": 1})) && asked(&json!({"runAsNonRoot": true})));
    assert!(!asked(&json!({})) && !asked(&json!({"runAsGroup": 1, "runAsUser": 1})));
}

#[test]
fn a_profile_of_the_node_is_one_of_its_directory() {
    let profile = |profile: Value| {
        let found = found(&json!({}), &json!({"seccompProfile": profile}), "");
        found.map(|found| found.seccomp).map_err(|error| error.to_string())
    };
    let local = |path: &str| profile(json!({"type": "Localhost", "localhostProfile": path}));
    assert_eq!(local("ok.json"), Ok(Seccomp::Localhost("{}".to_owned())));
    assert_eq!(profile(json!({"type": "Unconfined"})), Ok(Seccomp::Unconfined));
    for bad in ["", "../x", "/etc/x", "none.json"] {
        assert!(local(bad).is_err(), "{bad}");
    }
}
