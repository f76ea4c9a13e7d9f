//! Where pods run, and how they are found.

use serde_json::json;

use super::{of_specs, pod, told};
use crate::{create, def};

#[test]
fn of_which_nodes_are_wanted() {
    const TERMS: &str = "affinity.nodeAffinity.<required>.nodeSelectorTerms";
    let required = |terms: &str| {
        format!("affinity: {{nodeAffinity: {{<required>: {{nodeSelectorTerms: [{terms}]}}}}}}")
    };
    let check = |terms: &str, expected: &str| {
        let expected =
            if expected.is_empty() { String::new() } else { format!("{TERMS}{expected}") };
        of_specs(&[(required(terms).as_str(), expected.as_str())]);
    };
    check("", ": Required value: must have at least one node selector term");
    for (expression, expected) in [
        (
            "key: a, operator: In",
            ".values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
        ),
        (
            "key: a, operator: Exists, values: [b]",
            ".values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
        ),
        (
            "key: a, operator: Gt, values: ['1', '2']",
            ".values: Required value: must be specified single value when `operator` is 'Lt' or 'Gt'",
        ),
        (
            "key: a, operator: Near",
            ".operator: Invalid value: \"Near\": not a valid selector operator",
        ),
        ("key: a, operator: In, values: ['b c']", ".values[0]: Invalid value: \"b c\": <value>"),
        ("key: -a, operator: Exists", ".key: Invalid value: \"-a\": <key>"),
    ] {
        let terms = format!("{{matchExpressions: [{{{expression}}}]}}");
        check(&terms, &format!("[0].matchExpressions[0]{expected}"));
    }
    for (field, expected) in [
        (
            "key: metadata.name, operator: In, values: [a, b]",
            ".values: Required value: must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
        ),
        (
            "key: metadata.name, operator: Gt, values: ['1']",
            ".operator: Invalid value: \"Gt\": not a valid selector operator",
        ),
        (
            "key: spec.x, operator: In, values: [a]",
            ".key: Invalid value: \"spec.x\": not a valid field selector key",
        ),
        (
            "key: metadata.name, operator: In, values: [A]",
            ".values[0]: Invalid value: \"A\": <subdomain>",
        ),
    ] {
        let terms = format!("{{matchFields: [{{{field}}}]}}");
        check(&terms, &format!("[0].matchFields[0]{expected}"));
    }
    check("{matchExpressions: [{key: a, operator: In, values: [b]}]}", "");
}

#[test]
fn of_which_nodes_are_rather_wanted() {
    of_specs(&[
        (
            "affinity: {nodeAffinity: {<preferred>: [{weight: 0, preference: {matchExpressions: [{key: a, operator: In}]}}]}}",
            "affinity.nodeAffinity.<preferred>[0].weight: Invalid value: 0: must be in the range 1-100
affinity.nodeAffinity.<preferred>[0].preference.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
        ),
        (
            "affinity: {nodeAffinity: {<preferred>: [{weight: 101, preference: {}}]}}",
            "affinity.nodeAffinity.<preferred>[0].weight: Invalid value: 101: must be in the range 1-100",
        ),
        (
            "affinity: {nodeAffinity: {<preferred>: [{weight: 100, preference: {matchExpressions: [{key: a, operator: In, values: ['no label']}]}}]}}",
            "",
        ),
    ]);
}

#[test]
fn of_pods_to_be_near() {
    for (term, expected) in [
        (
            "topologyKey: ''",
            ".topologyKey: Required value: can not be empty
.topologyKey: Invalid value: \"\": name part must be non-empty
.topologyKey: Invalid value: \"\": <key>",
        ),
        ("topologyKey: a, namespaces: [A]", ".namespace: Invalid value: \"A\": <label>"),
        (
            "topologyKey: a, labelSelector: {matchExpressions: [{key: a, operator: Near}]}",
            ".labelSelector.matchExpressions[0].operator: Invalid value: \"Near\": not a valid selector operator",
        ),
        (
            "topologyKey: a, namespaceSelector: {matchLabels: {a: -b}}",
            ".namespaceSelector.matchLabels: Invalid value: \"-b\": <value>",
        ),
        (
            "topologyKey: a, matchLabelKeys: [b]",
            ".matchLabelKeys: Forbidden: must not be specified when labelSelector is not set",
        ),
        (
            "topologyKey: a, labelSelector: {}, mismatchLabelKeys: [-b]",
            ".mismatchLabelKeys[0]: Invalid value: \"-b\": <key>",
        ),
        (
            "topologyKey: a, labelSelector: {}, matchLabelKeys: [b], mismatchLabelKeys: [b]",
            ".matchLabelKeys[0]: Invalid value: \"b\": exists in both matchLabelKeys and mismatchLabelKeys",
        ),
        (
            "topologyKey: a, labelSelector: {matchLabels: {app: web}}, matchLabelKeys: [app]",
            "[0]: Invalid value: \"app\": exists in both matchLabelKeys and labelSelector",
        ),
        ("topologyKey: a, labelSelector: {matchLabels: {app: web}}, namespaces: [b]", ""),
    ] {
        let whole = |path: &str| {
            let lines = expected.lines().map(|line| format!("{path}{line}"));
            lines.collect::<Vec<_>>().join("\n")
        };
        let near = format!("affinity: {{podAffinity: {{<required>: [{{{term}}}]}}}}");
        let far = format!(
            "affinity: {{podAntiAffinity: {{<preferred>: [{{weight: 1, podAffinityTerm: {{{term}}}}}]}}}}"
        );
        let near_expected = whole("affinity.podAffinity.<required>[0]");
        let far_expected = whole("affinity.podAntiAffinity.<preferred>[0].podAffinityTerm");
        of_specs(&[(near.as_str(), near_expected.as_str()), (far.as_str(), far_expected.as_str())]);
    }
    of_specs(&[(
        "affinity: {podAffinity: {<preferred>: [{weight: 101, podAffinityTerm: {topologyKey: a}}]}}",
        "affinity.podAffinity.<preferred>[0].weight: Invalid value: 101: must be in the range 1-100",
    )]);
}

#[test]
fn a_pods_labels_say_which_others_are_meant() {
    let mut pod = pod();
    let keys = json!({"topologyKey": "a", "labelSelector": {}, "matchLabelKeys": ["app", "none"]});
    pod["spec"]["topologySpreadConstraints"] = json!([{"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {}, "matchLabelKeys": ["app"]}]);
    pod["spec"]["affinity"] = json!({
        "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [keys]},
        "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 1, "podAffinityTerm":
                {"topologyKey": "a", "labelSelector": {}, "mismatchLabelKeys": ["app"]}},
        ]},
    });
    let pod = create(&def("pods"), pod);
    let said = |operator: &str| json!([{"key": "app", "operator": operator, "values": ["web"]}]);
    for (pointer, expected) in [
        ("/topologySpreadConstraints/0", said("In")),
        ("/affinity/podAffinity/requiredDuringSchedulingIgnoredDuringExecution/0", said("In")),
        (
            "/affinity/podAntiAffinity/preferredDuringSchedulingIgnoredDuringExecution/0/podAffinityTerm",
            said("NotIn"),
        ),
    ] {
        let term = pod["spec"].pointer(pointer).unwrap();
        assert_eq!(term["labelSelector"]["matchExpressions"], expected, "{pointer}");
    }
}

#[test]
fn of_how_pods_are_spread() {
    const USUAL: &str = "maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule";
    for (constraints, expected) in [
        (
            "{maxSkew: 0, topologyKey: '', whenUnsatisfiable: Perhaps}".to_owned(),
            "[0].maxSkew: Invalid value: 0: must be greater than zero
[0].topologyKey: Required value: can not be empty
[0].whenUnsatisfiable: Unsupported value: \"Perhaps\": supported values: \"DoNotSchedule\", \"ScheduleAnyway\"",
        ),
        (
            format!("{{{USUAL}}}, {{{USUAL}}}"),
            "[0].{topologyKey, whenUnsatisfiable}: Duplicate value: \"{zone, DoNotSchedule}\"",
        ),
        (
            format!("{{{USUAL}, minDomains: 0}}"),
            "[0].minDomains: Invalid value: 0: must be greater than zero",
        ),
        (
            "{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway, minDomains: 2}"
                .to_owned(),
            "[0].minDomains: Invalid value: 2: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway",
        ),
        (
            format!("{{{USUAL}, nodeAffinityPolicy: Perhaps, nodeTaintsPolicy: ''}}"),
            "[0].nodeAffinityPolicy: Unsupported value: \"Perhaps\": supported values: \"Honor\", \"Ignore\"
[0].nodeTaintsPolicy: Unsupported value: \"\": supported values: \"Honor\", \"Ignore\"",
        ),
        (
            format!("{{{USUAL}, matchLabelKeys: [a]}}"),
            "[0].matchLabelKeys: Forbidden: must not be specified when labelSelector is not set",
        ),
        (
            format!("{{{USUAL}, labelSelector: {{matchLabels: {{a: -b}}}}}}"),
            "[0].labelSelector.matchLabels: Invalid value: \"-b\": <value>",
        ),
        (
            format!("{{{USUAL}, minDomains: 2, nodeTaintsPolicy: Honor, labelSelector: {{}}, matchLabelKeys: [app]}}"),
            "",
        ),
    ] {
        let lines = expected.lines().map(|line| format!("topologySpreadConstraints{line}"));
        let expected = lines.collect::<Vec<_>>().join("\n");
        let given = format!("topologySpreadConstraints: [{constraints}]");
        of_specs(&[(given.as_str(), expected.as_str())]);
    }
}

#[test]
fn of_how_others_are_found() {
    of_specs(&[
        (
            "dnsPolicy: None",
            "dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
        ),
        (
            "{dnsPolicy: None, dnsConfig: {searches: [a]}}",
            "dnsConfig.nameservers: Required value: must provide at least one DNS nameserver when `dnsPolicy` is None",
        ),
        (
            "dnsConfig: {nameservers: [10.0.0.1, 10.0.0.2, 10.0.0.3, '::1']}",
            "dnsConfig.nameservers: Invalid value: [\"10.0.0.1\",\"10.0.0.2\",\"10.0.0.3\",\"::1\"]: must not have more than 3 nameservers",
        ),
        (
            "dnsConfig: {nameservers: [one, 010.0.0.1, '::ffff:10.0.0.1']}",
            "dnsConfig.nameservers[0]: Invalid value: \"one\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
dnsConfig.nameservers[1]: Invalid value: \"010.0.0.1\": must not have leading 0s
dnsConfig.nameservers[2]: Invalid value: \"::ffff:10.0.0.1\": must not be an IPv4-mapped IPv6 address",
        ),
        (
            "dnsConfig: {searches: [a b.c], options: [{value: x}]}",
            "dnsConfig.searches[0]: Invalid value: \"a b.c\": <search>
dnsConfig.options[0]: Required value: must not be empty",
        ),
        (
            "{dnsPolicy: None, dnsConfig: {nameservers: [10.0.0.1], searches: ['.', _tcp.a_b., c], options: [{name: x}]}}",
            "",
        ),
        (
            "hostAliases: [{ip: 1.2.3, hostnames: [a, A]}]",
            "hostAliases[0].ip: Invalid value: \"1.2.3\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
hostAliases[0].hostnames[1]: Invalid value: \"A\": <subdomain>",
        ),
    ]);
    let told_of = |searches: Vec<String>| {
        let mut pod = pod();
        pod["spec"]["dnsConfig"] = json!({"searches": searches});
        told(pod, "spec.dnsConfig.searches: Invalid value: ")
    };
    assert!(told_of(vec!["a".to_owned(); 33]).ends_with("must not have more than 32 search paths"));
    let long = told_of(vec!["a".repeat(250); 9]);
    let why = "must not have more than 2048 characters (including spaces) in the search list";
    assert!(long.ends_with(why), "{long}");
    assert_eq!(told_of(vec!["a".to_owned(); 32]), "");
}

#[test]
fn of_names() {
    of_specs(&[
        (
            "readinessGates: [{conditionType: a b}]",
            "readinessGates[0].conditionType: Invalid value: \"a b\": <key>",
        ),
        ("priorityClassName: A", "priorityClassName: Invalid value: \"A\": <subdomain>"),
        ("runtimeClassName: ''", "runtimeClassName: Invalid value: \"\": <subdomain>"),
        (
            "preemptionPolicy: Perhaps",
            "preemptionPolicy: Unsupported value: \"Perhaps\": supported values: \"PreemptLowerPriority\", \"Never\"",
        ),
        ("hostname: a.b", "hostname: Invalid value: \"a.b\": <label>"),
        ("subdomain: A", "subdomain: Invalid value: \"A\": <label>"),
        ("nodeName: A", "nodeName: Invalid value: \"A\": <subdomain>"),
        ("serviceAccountName: A", "serviceAccountName: Invalid value: \"A\": <subdomain>"),
        (
            "{hostnameOverride: A, setHostnameAsFQDN: true, hostNetwork: true}",
            "hostnameOverride: Forbidden: may not be specified when setHostnameAsFQDN is true
hostnameOverride: Forbidden: may not be specified when hostNetwork is true
hostnameOverride: Invalid value: \"A\": <subdomain>",
        ),
        (
            "hostnameOverride: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "hostnameOverride: Too long: may not be more than 64 bytes",
        ),
        (
            "schedulingGroup: {}",
            "schedulingGroup.podGroupName: Invalid value: null: must specify one of: `podGroupName`",
        ),
        (
            "{readinessGates: [{conditionType: example.com/ready}], priorityClassName: a, runtimeClassName: b, preemptionPolicy: Never, hostname: c, subdomain: d, hostnameOverride: e.f, imagePullSecrets: [{name: ''}]}",
            "",
        ),
        (
            "activeDeadlineSeconds: 2147483648",
            "activeDeadlineSeconds: Invalid value: 2147483648: must be between 1 and 2147483647, inclusive",
        ),
        ("terminationGracePeriodSeconds: -1", ""),
        (
            "overhead: {example.com/x: 1500m}",
            "overhead.limits[example.com/x]: Invalid value: \"1500m\": must be an integer",
        ),
    ]);
}

#[test]
fn of_what_is_tolerated() {
    for (toleration, expected) in [
        (
            "key: a, operator: Exists, tolerationSeconds: 1",
            ".effect: Invalid value: \"\": effect must be 'NoExecute' when `tolerationSeconds` is set",
        ),
        (
            "key: a, operator: Lt, value: '1'",
            ".operator: Unsupported value: \"Lt\": supported values: \"Equal\", \"Exists\", \"Lt\", \"Gt\"",
        ),
        (
            "key: a, operator: Exists, value: b",
            ".operator: Invalid value: \"b\": value must be empty when `operator` is 'Exists'",
        ),
        ("key: a, value: b c", ".operator: Invalid value: \"b c\": <value>"),
        ("key: -a, value: b", ".key: Invalid value: \"-a\": <key>"),
        ("operator: Exists, effect: NoExecute, tolerationSeconds: -1", ""),
    ] {
        let lines = expected.lines().map(|line| format!("tolerations[0]{line}"));
        let expected = lines.collect::<Vec<_>>().join("\n");
        let given = format!("tolerations: [{{{toleration}}}]");
        of_specs(&[(given.as_str(), expected.as_str())]);
    }
}

#[test]
fn of_an_operating_system() {
    of_specs(&[
        ("os: {name: ''}", "os.name: Required value"),
        (
            "os: {name: plan9}",
            "os: Unsupported value: \"plan9\": supported values: \"linux\", \"windows\"",
        ),
        (
            "{os: {name: linux}, securityContext: {windowsOptions: {runAsUserName: a}}}",
            "securityContext.windowsOptions: Forbidden: windows options cannot be set for a linux pod",
        ),
        (
            "{os: {name: windows}, hostPID: true, shareProcessNamespace: false, securityContext: {fsGroup: 1, sysctls: []}}",
            "hostPID: Forbidden: cannot be set for a windows pod
securityContext.fsGroup: Forbidden: cannot be set for a windows pod
shareProcessNamespace: Forbidden: cannot be set for a windows pod",
        ),
        (
            "{os: {name: windows}, containers: [{name: a, image: x, securityContext: {privileged: false, runAsUser: 1}}]}",
            "containers[0].securityContext.privileged: Forbidden: cannot be set for a windows pod
containers[0].securityContext.runAsUser: Forbidden: cannot be set for a windows pod",
        ),
        (
            "{os: {name: windows}, resources: {limits: {cpu: 1}}}",
            "resources: Forbidden: may not be set for a windows pod",
        ),
        (
            "{securityContext: {windowsOptions: {hostProcess: true}}, containers: [{name: a, image: x, securityContext: {windowsOptions: {hostProcess: false}}}, {name: b, image: x}]}",
            "containers[0].securityContext.windowsOptions.hostProcess: Invalid value: false: pod hostProcess value must be identical if both are specified, was true
spec: Invalid value: \"\": If pod contains any hostProcess containers then all containers must be HostProcess containers
hostNetwork: Invalid value: false: hostNetwork must be true if pod contains any hostProcess containers",
        ),
        ("{os: {name: linux}, securityContext: {fsGroup: 1}}", ""),
        ("{os: {name: windows}, hostNetwork: true, securityContext: {windowsOptions: {hostProcess: true}}}", ""),
    ]);
}
