//! The addresses of a pod and of its node in its status: one, or one of each family.

use api_machinery::{FieldErrors, FieldPath, IpFamily};
use api_types::api::core::v1::{PodIP, PodStatus};

use crate::rules::{self, json, text};

/// `podIP` and `podIPs` say the same; who says but one of them means both (Kubernetes:
/// `Convert_v1_PodStatus_To_core_PodStatus`).
pub(super) fn complete(status: &mut PodStatus) {
    let first = status.pod_ips.as_ref().and_then(|ips| ips.first()).map(|it| it.ip.clone());
    match (text(status.pod_ip.as_ref()), first) {
        ("", Some(first)) => status.pod_ip = Some(first),
        (ip, first) if !ip.is_empty() && first.as_deref() != Some(ip) => {
            status.pod_ips = Some(vec![PodIP { ip: ip.to_owned() }]);
        }
        _ => {}
    }
}

/// What is wrong with them.
pub(super) fn validate(status: &PodStatus, errors: &mut FieldErrors) {
    let path = FieldPath::new("status");
    let pod_ips: Vec<_> = status.pod_ips.iter().flatten().map(|it| &*it.ip).collect();
    list(&pod_ips, json(&status.pod_ips), &path.child("podIPs"), errors);
    let host_ips: Vec<_> = status.host_ips.iter().flatten().map(|it| &*it.ip).collect();
    let path = path.child("hostIPs");
    if let Some(first) = host_ips.first().filter(|first| **first != text(status.host_ip.as_ref())) {
        errors.invalid(&path.index(0).child("ip"), first, "must be equal to `hostIP`");
    }
    list(&host_ips, json(&status.host_ips), &path, errors);
}

fn list(ips: &[&str], shown: impl std::fmt::Debug, path: &FieldPath, errors: &mut FieldErrors) {
    for (i, ip) in ips.iter().enumerate() {
        rules::ip(ip, &path.index(i), errors);
    }
    let families: Vec<_> = ips.iter().filter_map(|ip| IpFamily::of_text(ip)).collect();
    if families.len() > 2 || matches!(families[..], [one, other] if one == other) {
        errors.invalid(path, shown, "may specify no more than one IP for each IP family");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn status(value: &Value) -> PodStatus {
        serde_json::from_value(value.clone()).unwrap()
    }

    #[test]
    fn who_says_one_of_the_fields_means_both() {
        let check = |given: Value, expected: Value| {
            let mut completed = status(&given);
            complete(&mut completed);
            assert_eq!(completed, status(&expected), "{given}");
        };
        let one = || json!({"podIP": "10.244.0.2", "podIPs": [{"ip": "10.244.0.2"}]});
        check(one(), one());
        check(json!({"podIP": "10.244.0.2"}), one());
        check(json!({"podIPs": [{"ip": "10.244.0.2"}]}), one());
        let both =
            || json!({"podIP": "10.244.0.2", "podIPs": [{"ip": "10.244.0.2"}, {"ip": "fd00::2"}]});
        check(both(), both());
        let other =
            json!({"podIP": "10.244.0.2", "podIPs": [{"ip": "10.244.0.3"}, {"ip": "fd00::2"}]});
        check(other, one());
        check(json!({}), json!({}));
    }

    #[test]
    fn there_is_one_of_each_family_and_the_host_s_are_told_twice() {
        let check = |given: Value, expected: &[&str]| {
            let mut errors = FieldErrors::default();
            validate(&status(&given), &mut errors);
            let told: Vec<_> = errors.iter().map(ToString::to_string).collect();
            assert_eq!(told, expected, "{given}");
        };
        let ips = |ips: &[&str]| ips.iter().map(|ip| json!({"ip": ip})).collect::<Vec<_>>();
        let both = ips(&["10.244.0.2", "fd00::2"]);
        check(json!({"podIPs": both, "hostIP": "10.244.0.2", "hostIPs": both}), &[]);
        let why = "may specify no more than one IP for each IP family";
        check(
            json!({"podIPs": ips(&["10.244.0.2", "10.244.0.3"])}),
            &[&format!(
                r#"status.podIPs: Invalid value: [{{"ip":"10.244.0.2"}},{{"ip":"10.244.0.3"}}]: {why}"#
            )],
        );
        check(
            json!({"podIPs": ips(&["n1"]), "hostIP": "10.0.0.1", "hostIPs": ips(&["10.0.0.2"])}),
            &[
                r#"status.podIPs[0]: Invalid value: "n1": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"#,
                r#"status.hostIPs[0].ip: Invalid value: "10.0.0.2": must be equal to `hostIP`"#,
            ],
        );
    }
}
