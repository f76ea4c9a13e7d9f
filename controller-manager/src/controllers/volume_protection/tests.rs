//! Who is let go.

use api_types::meta::Time;

use super::*;

#[test]
fn a_pod_uses_its_claims_from_when_it_has_a_node_until_it_has_ended() {
    let check = |node: &str, phase: &str, claim: &str, expected: bool| {
        let volume = json!({"name": "v", "persistentVolumeClaim": {"claimName": "data"}});
        let pod = json!({
            "metadata": {"name": "p"}, "status": {"phase": phase},
            "spec": {"nodeName": node, "containers": [], "volumes": [volume]},
        });
        let pod: Pod = serde_json::from_value(pod).unwrap();
        assert_eq!(uses(&pod, claim), expected, "{node} {phase} {claim}");
    };
    check("n1", "Running", "data", true);
    check("n1", "Pending", "data", true);
    check("", "Pending", "data", false);
    check("n1", "Succeeded", "data", false);
    check("n1", "Running", "other", false);
}

#[test]
fn what_is_to_go_loses_this_finalizer_and_no_other() {
    let of = |finalizers: &[&str], is_going: bool| ObjectMeta {
        finalizers: Some(finalizers.iter().map(|&it| it.to_owned()).collect()),
        deletion_timestamp: is_going.then(|| Time("2026-01-01T00:00:00Z".parse().unwrap())),
        ..ObjectMeta::default()
    };
    assert_eq!(left(&of(&[OF_CLAIMS, "other"], true), OF_CLAIMS), Some(vec!["other".to_owned()]));
    assert_eq!(left(&of(&[OF_CLAIMS], false), OF_CLAIMS), None);
    assert_eq!(left(&of(&["other"], true), OF_CLAIMS), None);
}
