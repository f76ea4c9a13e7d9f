//! Of which faults a client is told: all at once, with Kubernetes' paths and words.

use expect_test::{Expect, expect};

use crate::{context, def, try_create, yaml};

pub(crate) fn check(plural: &str, given: &str, expected: &Expect) {
    let def = def(plural);
    let error = try_create(&def, yaml(given), &context(&def)).unwrap_err();
    let causes =
        error.status().details.as_ref().and_then(|d| d.causes.as_ref()).into_iter().flatten();
    let lines = causes.map(|c| {
        format!(
            "{}: {}\n",
            c.field.as_deref().unwrap_or_default(),
            c.message.as_deref().unwrap_or_default()
        )
    });
    let text: String = lines.collect();
    expected.assert_eq(if text.is_empty() {
        error.status().message.as_deref().unwrap()
    } else {
        &text
    });
}

#[test]
fn of_a_pod_without_anything() {
    check(
        "pods",
        "{metadata: {name: a}, spec: {}}",
        &expect![[r#"
        spec.containers: Required value
    "#]],
    );
    check(
        "pods",
        "{metadata: {name: a}, spec: {containers: [{}]}}",
        &expect![[r#"
        spec.containers[0].name: Required value
        spec.containers[0].image: Required value
    "#]],
    );
}

#[test]
fn of_a_pod_as_a_whole() {
    let pod = "
metadata: {name: a, labels: {'b@d': '-x'}}
spec:
  restartPolicy: Sometimes
  dnsPolicy: Magic
  activeDeadlineSeconds: 0
  nodeSelector: {disk: 's s d'}
  volumes:
  - {name: w, hostPath: {path: ''}, emptyDir: {}}
  - {name: v}
  - {name: v}
  - {name: c, configMap: {}}
  - {name: h, hostPath: {path: /a/../b, type: Folder}}
  - {name: p, hostPath: {path: ''}}
  containers:
  - {name: a, image: x}
  tolerations:
  - {operator: Sometimes, key: a, effect: Never}
  - {value: x}
";
    check(
        "pods",
        pod,
        &expect![[r#"
        metadata.labels: Invalid value: "b@d": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        metadata.labels: Invalid value: "-x": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')
        spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type
        spec.volumes[2].name: Duplicate value: "v"
        spec.volumes[3].configMap.name: Required value
        spec.volumes[4].hostPath.path: Invalid value: "/a/../b": must not contain '..'
        spec.volumes[4].hostPath.type: Unsupported value: "Folder": supported values: "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"
        spec.volumes[5].hostPath.path: Required value
        spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"
        spec.dnsPolicy: Unsupported value: "Magic": supported values: "ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"
        spec.nodeSelector: Invalid value: "s s d": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')
        spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive
        spec.tolerations[0].operator: Unsupported value: "Sometimes": supported values: "Equal", "Exists"
        spec.tolerations[0].effect: Unsupported value: "Never": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"
        spec.tolerations[1].operator: Invalid value: "": operator must be Exists when `key` is empty, which means "match all values and all keys"
    "#]],
    );
}

#[test]
fn of_a_mirror_pod_without_a_node() {
    check(
        "pods",
        "{metadata: {name: a, annotations: {kubernetes.io/config.mirror: x}}, spec: {containers: [{name: a, image: a}]}}",
        &expect![[r#"
        metadata.annotations[kubernetes.io/config.mirror]: Invalid value: "x": must set spec.nodeName if mirror pod annotation is set
    "#]],
    );
}

#[test]
fn of_what_a_pod_takes_as_a_whole() {
    let pod = "
metadata: {name: a}
spec:
  overhead: {cpu: -1}
  resources:
    claims: [{name: c}]
    requests: {cpu: 1, memory: -1, example.com/gpu: 1, hugepages-2Mi: 2Mi}
    limits: {cpu: 2, hugepages-2Mi: 2Mi}
  containers:
  - {name: a, image: x, resources: {requests: {cpu: 500m, example.com/gpu: 1}, limits: {cpu: 3, example.com/gpu: 1}}}
  - {name: b, image: x, resources: {requests: {cpu: 1, hugepages-2Mi: 4Mi}, limits: {hugepages-2Mi: 4Mi}}}
";
    check(
        "pods",
        pod,
        &expect![[r#"
            spec.resources.claims: Forbidden: claims may not be set for Resources at pod-level
            spec.resources.requests[example.com/gpu]: Unsupported value: "example.com/gpu": supported values: "cpu", "hugepages-", "memory"
            spec.resources.requests[memory]: Invalid value: "-1": must be greater than or equal to 0
            spec.resources.limits: Required value: Limit must be set for non overcommitable resources
            spec.resources.claims[0]: Not found: "c": must be one of the names in pod.spec.resourceClaims which is empty
            spec.resources.requests[cpu]: Invalid value: "1": must be greater than or equal to aggregate container requests of 1500m
            spec.resources.requests[hugepages-2Mi]: Invalid value: "2Mi": must be greater than or equal to aggregate container requests of 4Mi
            spec.resources.limits[hugepages-2Mi]: Invalid value: "2Mi": must be greater than or equal to aggregate container limits of 4Mi
            spec.resources.containers[0][cpu].limits: Invalid value: "3": must be less than or equal to pod limits of 2
            spec.resources.containers[1][hugepages-2Mi].limits: Invalid value: "4Mi": must be less than or equal to pod limits of 2Mi
            spec.overhead.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0
        "#]],
    );
}

#[test]
fn of_a_projected_volume() {
    let pod = "
metadata: {name: a}
spec:
  serviceAccountName: default
  volumes:
  - name: p
    projected:
      sources:
      - {}
      - {configMap: {}, secret: {name: s}}
      - secret: {name: s, items: [{key: a, path: a/b}, {key: b, path: ../b}]}
      - serviceAccountToken: {path: '', expirationSeconds: 599}
      - serviceAccountToken: {path: ..data, expirationSeconds: 4294967297}
      - downwardAPI: {items: [{path: a/b, fieldRef: {fieldPath: metadata.name}}, {path: /c}]}
  containers:
  - {name: a, image: x}
";
    check(
        "pods",
        pod,
        &expect![[r#"
            spec.volumes[0].projected.sources[1].configMap.name: Required value
            spec.volumes[0].projected.sources[1]: Forbidden: may not specify more than 1 volume type per source
            spec.volumes[0].projected.sources[2].secret.items[1].path: Invalid value: "../b": must not contain '..'
            spec.volumes[0].projected.sources[3].serviceAccountToken.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes
            spec.volumes[0].projected.path: Required value
            spec.volumes[0].projected.sources[4].serviceAccountToken.expirationSeconds: Invalid value: 4294967297: may not specify a duration larger than 2^32 seconds
            spec.volumes[0].projected.path: Invalid value: "..data": must not start with '..'
            spec.volumes[0].projected.sources[5].downwardAPI.path: Invalid value: "/c": must be a relative path
            spec.volumes[0].projected.sources[5].downwardAPI: Required value: one of fieldRef and resourceFieldRef is required
            spec.volumes[0].projected: Invalid value: "a/b": conflicting duplicate paths
        "#]],
    );
}

#[test]
fn of_the_modes_of_files() {
    let pod = "
metadata: {name: a}
spec:
  volumes:
  - name: c
    configMap: {name: c, defaultMode: 512, items: [{key: a, path: a, mode: -1}, {key: b, path: b, mode: 511}]}
  - name: s
    secret: {secretName: s, defaultMode: 1000}
  - name: p
    projected:
      defaultMode: 1000
      sources:
      - downwardAPI: {items: [{path: a, mode: 1000, fieldRef: {fieldPath: metadata.name}}]}
  containers:
  - {name: a, image: x}
";
    check(
        "pods",
        pod,
        &expect![[r#"
            spec.volumes[0].configMap.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive
            spec.volumes[0].configMap.items[0].mode: Invalid value: -1: must be a number between 0 and 0777 (octal), both inclusive
            spec.volumes[1].secret.defaultMode: Invalid value: 1000: must be a number between 0 and 0777 (octal), both inclusive
            spec.volumes[2].projected.defaultMode: Invalid value: 1000: must be a number between 0 and 0777 (octal), both inclusive
            spec.volumes[2].projected.sources[0].downwardAPI.mode: Invalid value: 1000: must be a number between 0 and 0777 (octal), both inclusive
        "#]],
    );
}

#[test]
fn of_roles() {
    let role = "
metadata: {name: a}
rules:
- {apiGroups: [''], resources: [pods], verbs: []}
- {verbs: [get]}
- {nonResourceURLs: [/metrics], resources: [pods], verbs: [get]}
";
    check(
        "roles",
        role,
        &expect![[r#"
        rules[0].verbs: Required value: verbs must contain at least one value
        rules[1].apiGroups: Required value: resource rules must supply at least one api group
        rules[1].resources: Required value: resource rules must supply at least one resource
        rules[2].nonResourceURLs: Invalid value: ["/metrics"]: namespaced rules cannot apply to non-resource URLs
        rules[2].nonResourceURLs: Invalid value: ["/metrics"]: rules cannot apply to both regular resources and non-resource URLs
    "#]],
    );
    check(
        "clusterroles",
        &format!("{role}aggregationRule: {{}}"),
        &expect![[r#"
        rules[0].verbs: Required value: verbs must contain at least one value
        rules[1].apiGroups: Required value: resource rules must supply at least one api group
        rules[1].resources: Required value: resource rules must supply at least one resource
        rules[2].nonResourceURLs: Invalid value: ["/metrics"]: rules cannot apply to both regular resources and non-resource URLs
        aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if aggregationRule is non-nil
    "#]],
    );
}

#[test]
fn of_bindings_of_roles() {
    let binding = "
metadata: {name: a}
roleRef: {apiGroup: other, kind: Pod, name: ''}
subjects:
- {kind: ServiceAccount, name: 'A B', apiGroup: x}
- {kind: User, apiGroup: x, name: jane}
- {kind: Robot, name: ''}
";
    check(
        "rolebindings",
        binding,
        &expect![[r#"
        roleRef.apiGroup: Unsupported value: "other": supported values: "rbac.authorization.k8s.io"
        roleRef.kind: Unsupported value: "Pod": supported values: "Role", "ClusterRole"
        roleRef.name: Required value
        subjects[0].name: Invalid value: "A B": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        subjects[0].apiGroup: Unsupported value: "x": supported values: ""
        subjects[1].apiGroup: Unsupported value: "x": supported values: "rbac.authorization.k8s.io"
        subjects[2].name: Required value
        subjects[2].kind: Unsupported value: "Robot": supported values: "ServiceAccount", "User", "Group"
    "#]],
    );
    check(
        "clusterrolebindings",
        binding,
        &expect![[r#"
        roleRef.apiGroup: Unsupported value: "other": supported values: "rbac.authorization.k8s.io"
        roleRef.kind: Unsupported value: "Pod": supported values: "ClusterRole"
        roleRef.name: Required value
        subjects[0].name: Invalid value: "A B": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        subjects[0].apiGroup: Unsupported value: "x": supported values: ""
        subjects[0].namespace: Required value
        subjects[1].apiGroup: Unsupported value: "x": supported values: "rbac.authorization.k8s.io"
        subjects[2].name: Required value
        subjects[2].kind: Unsupported value: "Robot": supported values: "ServiceAccount", "User", "Group"
    "#]],
    );
}

#[test]
fn of_a_pods_containers() {
    let pod = "
metadata: {name: a}
spec:
  volumes: [{name: v}]
  containers:
  - name: One
    image: ' nginx'
    imagePullPolicy: Seldom
    ports:
    - {containerPort: 0}
    - {containerPort: 70000, hostPort: 80, protocol: HTTP, name: way-too-long-a-name}
    - {containerPort: 81, hostPort: 80, protocol: HTTP}
    env: [{name: ''}, {name: 'A=B', value: x, valueFrom: {fieldRef: {fieldPath: a}}}, {name: C, valueFrom: {}}]
    volumeMounts: [{name: v, mountPath: /a}, {name: w, mountPath: /a, subPath: ../x}]
  - {name: two}
  - {name: two, image: x}
  initContainers:
  - {name: two, image: x, livenessProbe: {exec: {command: [x]}}}
";
    check(
        "pods",
        pod,
        &expect![[r#"
        spec.containers[0].name: Invalid value: "One": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        spec.containers[0].ports[0].containerPort: Required value
        spec.containers[0].ports[1].name: Invalid value: "way-too-long-a-name": must be no more than 15 characters
        spec.containers[0].ports[1].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive
        spec.containers[0].ports[1].protocol: Unsupported value: "HTTP": supported values: "SCTP", "TCP", "UDP"
        spec.containers[0].ports[2].protocol: Unsupported value: "HTTP": supported values: "SCTP", "TCP", "UDP"
        spec.containers[0].env[0].name: Required value
        spec.containers[0].env[1].name: Invalid value: "A=B": a valid environment variable name must consist only of printable ASCII characters other than '='
        spec.containers[0].env[1].valueFrom.fieldRef.fieldPath: Invalid value: "a": error converting fieldPath: field label not supported: a
        spec.containers[0].env[1].valueFrom: Invalid value: "": may not be specified when `value` is not empty
        spec.containers[0].env[2].valueFrom: Invalid value: "": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`
        spec.containers[0].volumeMounts[1].name: Not found: "w"
        spec.containers[0].volumeMounts[1].mountPath: Invalid value: "/a": must be unique
        spec.containers[0].volumeMounts.subPath: Invalid value: "../x": must not contain '..'
        spec.containers[0].imagePullPolicy: Unsupported value: "Seldom": supported values: "Always", "IfNotPresent", "Never"
        spec.containers[1].image: Required value
        spec.containers[2].name: Duplicate value: "two"
        spec.containers[0].ports[2].hostPort: Duplicate value: "HTTP//80"
        spec.initContainers[0].name: Duplicate value: "two"
        spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always
        spec.containers[0].image: Invalid value: " nginx": must not have leading or trailing whitespace
    "#]],
    );
}

#[test]
fn of_resources_and_probes() {
    let pod = "
metadata: {name: a}
spec:
  containers:
  - name: a
    image: x
    resources:
      limits: {cpu: 1, colour: 3}
      requests: {cpu: 1500m, memory: -1}
    livenessProbe: {successThreshold: 2, periodSeconds: -1, httpGet: {port: 0}, tcpSocket: {port: http}}
    readinessProbe: {}
    lifecycle: {preStop: {exec: {}}}
";
    check(
        "pods",
        pod,
        &expect![[r#"
        spec.containers[0].resources.limits[colour]: Invalid value: "colour": must be a standard resource type or fully qualified
        spec.containers[0].resources.limits[colour]: Invalid value: "colour": must be a standard resource for containers
        spec.containers[0].resources.requests[colour]: Invalid value: "colour": must be a standard resource type or fully qualified
        spec.containers[0].resources.requests[colour]: Invalid value: "colour": must be a standard resource for containers
        spec.containers[0].resources.requests[memory]: Invalid value: "-1": must be greater than or equal to 0
        spec.containers[0].resources.requests: Invalid value: "1500m": must be less than or equal to cpu limit of 1
        spec.containers[0].lifecycle.preStop.exec.command: Required value
        spec.containers[0].livenessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive
        spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type
        spec.containers[0].livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0
        spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1
        spec.containers[0].readinessProbe: Required value: must specify a handler type
    "#]],
    );
}

#[test]
fn of_a_pod_on_the_network_of_its_node() {
    let pod = "{metadata: {name: a}, spec: {hostNetwork: true, containers: [{name: a, image: a, ports: [{containerPort: 80, hostPort: 81}]}]}}";
    check(
        "pods",
        pod,
        &expect![[r#"
        spec.containers[0].ports[0].hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is true
    "#]],
    );
}

#[test]
fn of_a_value_of_the_wrong_type() {
    check(
        "pods",
        "{metadata: {name: a}, spec: {containers: [{name: a, image: a, ports: [{containerPort: x}]}]}}",
        &expect![[
            r#"Pod in version "v1" cannot be handled as a Pod: spec.containers[0].ports[0].containerPort: invalid type: string "x", expected i32"#
        ]],
    );
    check(
        "services",
        "{metadata: {name: a}, spec: {ports: [{port: '80'}]}}",
        &expect![[
            r#"Service in version "v1" cannot be handled as a Service: spec.ports[0].port: invalid type: string "80", expected i32"#
        ]],
    );
    check(
        "workflows",
        "{metadata: {name: a}, spec: {startAt: a, nodes: {a: {type: Parallel}}}}",
        &expect![[
            r#"Workflow in version "v1" cannot be handled as a Workflow: spec.nodes.a.type: unknown variant `Parallel`, expected `Task` or `Choice`"#
        ]],
    );
    check(
        "dnses",
        "{apiVersion: v1, kind: DNS, metadata: {name: a}}",
        &expect![
            "the API version in the data (v1) does not match the expected API version (minik8s.io/v1)"
        ],
    );
}

#[test]
fn of_a_replica_set() {
    check(
        "replicasets",
        "{metadata: {name: a}, spec: {replicas: -1}}",
        &expect![[r#"
            spec.replicas: Invalid value: -1: must be greater than or equal to 0
            spec.selector: Required value: must select the pods of the template by their labels
            spec.template: Required value
        "#]],
    );
    let set = "
metadata: {name: a}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: other}}
    spec: {restartPolicy: Never, containers: [{name: a}]}
";
    check(
        "replicasets",
        set,
        &expect![[r#"
        spec.template.metadata.labels: Invalid value: {"app":"other"}: `selector` does not match template `labels`
        spec.template.spec.containers[0].image: Required value
        spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"
    "#]],
    );
    check(
        "replicasets",
        "{metadata: {name: a}, spec: {selector: {matchExpressions: [{key: a, operator: Near}]}, template: {spec: {containers: [{name: a, image: a}]}}}}",
        &expect![[r#"
            spec.selector: Invalid value: {"matchExpressions":[{"key":"a","operator":"Near"}]}: "Near" is not a valid label selector operator
        "#]],
    );
}

#[test]
fn of_a_deployment() {
    let check = |spec: &str, expected: &Expect| {
        let selector = "selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: a}]}}";
        check(
            "deployments",
            &format!("{{metadata: {{name: a}}, spec: {{{selector}, {spec}}}}}"),
            expected,
        );
    };
    check(
        "replicas: -1, minReadySeconds: -1, revisionHistoryLimit: -1, progressDeadlineSeconds: -2",
        &expect![[r#"
            spec.replicas: Invalid value: -1: must be greater than or equal to 0
            spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0
            spec.revisionHistoryLimit: Invalid value: -1: must be greater than or equal to 0
            spec.progressDeadlineSeconds: Invalid value: -2: must be greater than or equal to 0
            spec.progressDeadlineSeconds: Invalid value: -2: must be greater than minReadySeconds
        "#]],
    );
    check(
        "strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 0%}}",
        &expect![[r#"
            spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "0%": may not be 0 when `maxSurge` is 0
        "#]],
    );
    check(
        "strategy: {rollingUpdate: {maxSurge: -1, maxUnavailable: 101%}}",
        &expect![[r#"
            spec.strategy.rollingUpdate.maxSurge: Invalid value: -1: must be greater than or equal to 0
            spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "101%": must not be greater than 100%
        "#]],
    );
    check(
        "strategy: {rollingUpdate: {maxSurge: half}}",
        &expect![[r#"
            spec.strategy.rollingUpdate.maxSurge: Invalid value: "half": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')
        "#]],
    );
    check(
        "strategy: {type: Recreate, rollingUpdate: {maxSurge: 1}}",
        &expect![[r#"
            spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'
        "#]],
    );
    check(
        "strategy: {type: Slowly}",
        &expect![[r#"
            spec.strategy.type: Unsupported value: "Slowly": supported values: "Recreate", "RollingUpdate"
        "#]],
    );
}

#[test]
fn of_a_service() {
    check(
        "services",
        "{metadata: {name: 1_a}, spec: {type: Cloud}}",
        &expect![[r#"
        metadata.name: Invalid value: "1_a": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        spec.type: Unsupported value: "Cloud": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"
        spec.ports: Required value
    "#]],
    );
    let service = "
metadata: {name: a}
spec:
  clusterIP: nowhere
  sessionAffinity: Maybe
  ports:
  - {port: 0}
  - {port: 80, name: Web, nodePort: 30000, targetPort: 70000}
  - {port: 80, name: web, protocol: TCP}
  - {port: 81, name: web, protocol: QUIC, targetPort: way-too-long-a-name}
";
    check(
        "services",
        service,
        &expect![[r#"
            spec.sessionAffinity: Unsupported value: "Maybe": supported values: "ClientIP", "None"
            spec.clusterIPs[0]: Invalid value: "nowhere": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
            spec.ports[0].name: Required value
            spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive
            spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive
            spec.ports[1].name: Invalid value: "Web": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            spec.ports[1].targetPort: Invalid value: 70000: must be between 1 and 65535, inclusive
            spec.ports[2]: Duplicate value: {"name":"web","port":80,"protocol":"TCP","targetPort":80}
            spec.ports[3].name: Duplicate value: "web"
            spec.ports[3].protocol: Unsupported value: "QUIC": supported values: "SCTP", "TCP", "UDP"
            spec.ports[3].targetPort: Invalid value: "way-too-long-a-name": must be no more than 15 characters
            spec.ports[1].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'
        "#]],
    );
    check(
        "services",
        "{metadata: {name: a}, spec: {type: ExternalName}}",
        &expect![[r#"
        spec.externalName: Required value
    "#]],
    );
}

#[test]
fn of_config_maps_and_secrets() {
    check(
        "configmaps",
        "{metadata: {name: a}, data: {'a b': x, '..': x, c: x}, binaryData: {c: eA==}}",
        &expect![[r#"
            data[..]: Invalid value: "..": must not be '..'
            data[a b]: Invalid value: "a b": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')
            data[c]: Invalid value: "c": duplicate of key present in binaryData
        "#]],
    );
    check(
        "secrets",
        "{metadata: {name: a}, type: kubernetes.io/tls, stringData: {'a/b': x, tls.crt: x}}",
        &expect![[r#"
            data[a/b]: Invalid value: "a/b": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')
            data[tls.key]: Required value
        "#]],
    );
}

#[test]
fn of_a_secret_of_a_type() {
    let check = |type_: &str, data: &str, expected: &str| {
        let given =
            format!("{{metadata: {{name: a}}, type: kubernetes.io/{type_}, stringData: {data}}}");
        let def = def("secrets");
        let made = try_create(&def, yaml(&given), &context(&def));
        let told = made.map_or_else(|error| error.to_string(), |_| String::new());
        assert_eq!(
            told.strip_prefix("Secret \"a\" is invalid: ").unwrap_or(&told),
            expected,
            "{given}"
        );
    };
    let account = "metadata.annotations[kubernetes.io/service-account.name]: Required value";
    check("service-account-token", "{}", account);
    check("basic-auth", "{}", "[data[username]: Required value, data[password]: Required value]");
    check("basic-auth", "{password: ''}", "");
    check("ssh-auth", "{ssh-privatekey: ''}", "data[ssh-privatekey]: Required value");
    check("tls", "{}", "[data[tls.crt]: Required value, data[tls.key]: Required value]");
    for (type_, key) in [("dockercfg", ".dockercfg"), ("dockerconfigjson", ".dockerconfigjson")] {
        check(type_, "{}", &format!("data[{key}]: Required value"));
        let wrong = |why: &str| {
            format!("data[{key}]: Invalid value: \"<secret contents redacted>\": {why}")
        };
        let of = |text: &str| format!("{{{key}: '{text}'}}");
        check(type_, &of("{"), &wrong("unexpected end of JSON input"));
        check(type_, &of(""), &wrong("unexpected end of JSON input"));
        check(type_, &of("x"), &wrong("expected value at line 1 column 1"));
        let list = "json: cannot unmarshal array into Go value of type map[string]interface {}";
        check(type_, &of("[]"), &wrong(list));
        check(type_, &of("{\"auths\": {}}"), "");
        check(type_, &of("null"), "");
    }
}

#[test]
fn of_the_cluster_s_own_kinds() {
    check(
        "namespaces",
        "{metadata: {name: a.b}}",
        &expect![[r#"
        metadata.name: Invalid value: "a.b": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
    "#]],
    );
    check(
        "nodes",
        "{metadata: {name: n}, spec: {podCIDRs: [10.0.0.1], taints: [{key: a}, {key: 'a b', effect: Never}]}}",
        &expect![[r#"
            spec.podCIDRs[0]: Invalid value: "10.0.0.1": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)
            spec.taints[0].effect: Required value
            spec.taints[1].key: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            spec.taints[1].effect: Unsupported value: "Never": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"
        "#]],
    );
    check(
        "leases",
        "{metadata: {name: a}, spec: {leaseDurationSeconds: 0, leaseTransitions: -1}}",
        &expect![[r#"
            spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0
            spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0
        "#]],
    );
    check(
        "events",
        "{metadata: {name: a}, involvedObject: {namespace: other}}",
        &expect![[r#"
        involvedObject.namespace: Invalid value: "other": does not match event.namespace
    "#]],
    );
    check(
        "endpoints",
        "{metadata: {name: a}, subsets: [{}, {addresses: [{ip: x}], ports: [{port: 0}, {port: 80}]}]}",
        &expect![[r#"
            subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`
            subsets[1].addresses[0].ip: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
            subsets[1].ports[0].name: Required value
            subsets[1].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive
            subsets[1].ports[1].name: Required value
        "#]],
    );
    check(
        "endpointslices",
        "{metadata: {name: a}, endpoints: [{addresses: []}]}",
        &expect![[r#"
        addressType: Required value
        endpoints[0].addresses: Required value: must contain at least 1 address
    "#]],
    );
    check(
        "endpointslices",
        "{metadata: {name: a}, addressType: IPv4, endpoints: [{addresses: ['::1']}]}",
        &expect![[r#"
            endpoints[0].addresses[0]: Invalid value: "::1": must be a valid IPv4 address
        "#]],
    );
    check(
        "endpointslices",
        "{metadata: {name: a}, addressType: IPv6, endpoints: [{addresses: ['fd00::1', '::1', 'fe80::1', '::ffff:10.244.1.5']}]}",
        &expect![[r#"
            endpoints[0].addresses[1]: Invalid value: "::1": may not be in the loopback range (127.0.0.0/8, ::1/128)
            endpoints[0].addresses[2]: Invalid value: "fe80::1": may not be in the link-local range (169.254.0.0/16, fe80::/10)
            endpoints[0].addresses[3]: Invalid value: "::ffff:10.244.1.5": must not be an IPv4-mapped IPv6 address
        "#]],
    );
    check(
        "endpoints",
        "{metadata: {name: a}, subsets: [{addresses: [{ip: 127.0.0.1}, {ip: 169.254.169.254}]}]}",
        &expect![[r#"
            subsets[0].addresses[1].ip: Invalid value: "169.254.169.254": may not be in the link-local range (169.254.0.0/16, fe80::/10)
        "#]],
    );
}

fn check_function(spec: &str, expected: &Expect) {
    check("functions", &format!("{{metadata: {{name: a}}, spec: {spec}}}"), expected);
}

#[test]
fn of_functions() {
    check_function(
        "{runtime: cobol, minScale: 3, maxScale: 2, timeoutSeconds: 0, targetConcurrency: 0, containerConcurrency: -1, idleSeconds: -1, scaleDownDelaySeconds: -1, historyLimit: -1, rollbackTo: 0}",
        &expect![[r#"
            spec.runtime: Unsupported value: "cobol": supported values: "python", "container"
            spec.targetConcurrency: Invalid value: 0: must be greater than 0
            spec.timeoutSeconds: Invalid value: 0: must be greater than 0
            spec.containerConcurrency: Invalid value: -1: must be greater than or equal to 0
            spec.idleSeconds: Invalid value: -1: must be greater than or equal to 0
            spec.scaleDownDelaySeconds: Invalid value: -1: must be greater than or equal to 0
            spec.historyLimit: Invalid value: -1: must be greater than or equal to 0
            spec.rollbackTo: Invalid value: 0: must be greater than 0
            spec.maxScale: Invalid value: 2: must be greater than or equal to `minScale`
        "#]],
    );
    check_function(
        "{runtime: container, image: i, env: [{name: ''}, {name: A, valueFrom: {secretKeyRef: {name: s}}}], envFrom: [{}], imagePullSecrets: [{name: _}], resources: {requests: {cpu: 2}, limits: {cpu: 1}}}",
        &expect![[r#"
            spec.env[0].name: Required value
            spec.env[1].valueFrom.secretKeyRef.key: Required value
            spec.envFrom: Invalid value: "": must specify one of: `configMapRef` or `secretRef`
            spec.resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1
            spec.imagePullSecrets[0].name: Invalid value: "_": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        "#]],
    );
}

#[test]
fn of_the_source_of_functions() {
    check_function(
        "{}",
        &expect![[r#"
        spec.source: Required value
    "#]],
    );
    check_function(
        "{source: {}, image: x}",
        &expect![[r#"
        spec.image: Forbidden: may only be set when `runtime` is container
        spec.source: Required value: must specify one of: `files` or `archive`
    "#]],
    );
    check_function(
        "{source: {files: {a.py: '', /b.py: '', c/../d.py: '', \"e\\n.py\": ''}, archive: UEs=}}",
        &expect![[r#"
            spec.source: Forbidden: may not have more than one field specified at a time
            spec.source.files[/b.py]: Invalid value: "/b.py": must be a relative path without empty parts, `.` and `..`
            spec.source.files[c/../d.py]: Invalid value: "c/../d.py": must be a relative path without empty parts, `.` and `..`
            spec.source.files[e
            .py]: Invalid value: "e\n.py": must not contain control characters
        "#]],
    );
    check_function(
        "{source: {archive: bm8=}, entryPoint: main}",
        &expect![[r#"
        spec.source.archive: Invalid value: "": must be a zip archive
        spec.entryPoint: Invalid value: "main": must be of the form `module:function`
    "#]],
    );
    check_function(
        "{source: {archive: UEsDBA==}, entryPoint: a:main, maxScale: 0}",
        &expect![[r#"
        spec.maxScale: Invalid value: 0: must be greater than 0
    "#]],
    );
    check_function(
        "{source: {files: {a.py: ''}}, entryPoint: b:main}",
        &expect![[r#"
        spec.entryPoint: Invalid value: "b:main": the source has no file `b.py`
    "#]],
    );
    check_function(
        &format!("{{source: {{files: {{a.py: '{}'}}}}}}", "x".repeat(1024 * 1024)),
        &expect![[r#"
            spec.source: Too long: may not be more than 1048576 bytes
        "#]],
    );
    check_function(
        "{runtime: container, source: {files: {a.py: ''}}, entryPoint: a:main}",
        &expect![[r#"
            spec.source: Forbidden: may not be set when `runtime` is container
            spec.entryPoint: Forbidden: may not be set when `runtime` is container
            spec.image: Required value
        "#]],
    );
}

#[test]
fn of_the_length_and_the_characters_of_a_hosts_paths() {
    let long = "x".repeat(255);
    check(
        "dnses",
        &format!(
            "{{metadata: {{name: a}}, spec: {{host: h, paths: [{{path: /{long}, service: {{name: s}}}}, {{path: \"/a\\x07b\", service: {{name: s}}}}, {{path: '/{}', service: {{name: s}}}}]}}}}",
            &long[1..]
        ),
        &expect![[r#"
            spec.paths[0].path: Too long: may not be more than 255 bytes
            spec.paths[1].path: Invalid value: "/a\u{7}b": must not contain whitespace, control characters, quotes, braces, or any of `;\#?%`
        "#]],
    );
}

#[test]
fn of_our_kinds() {
    check(
        "dnses",
        "{metadata: {name: a}, spec: {host: A_b, paths: [{path: x, service: {port: -1}}, {path: '/a b', service: {name: s, port: 80}}, {path: x, service: {name: s}}, {path: '/x%2f', service: {name: s}}]}}",
        &expect![[r#"
            spec.host: Invalid value: "A_b": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.paths[0].path: Invalid value: "x": must be an absolute path
            spec.paths[0].service.name: Required value
            spec.paths[0].service.port: Invalid value: -1: must be between 1 and 65535, inclusive
            spec.paths[1].path: Invalid value: "/a b": must not contain whitespace, control characters, quotes, braces, or any of `;\#?%`
            spec.paths[2].path: Invalid value: "x": must be an absolute path
            spec.paths[2].path: Duplicate value: "x"
            spec.paths[3].path: Invalid value: "/x%2f": must not contain whitespace, control characters, quotes, braces, or any of `;\#?%`
        "#]],
    );
    check(
        "dnses",
        "{metadata: {name: a}, spec: {host: 10.0.0.1, paths: [{path: /a/, service: {name: s}}, {path: /a, service: {name: s}}, {path: '/b/../a', service: {name: s}}, {path: '/..', service: {name: s}}]}}",
        &expect![[r#"
            spec.host: Invalid value: "10.0.0.1": must be a DNS name, not an IP address
            spec.paths[1].path: Duplicate value: "/a"
            spec.paths[2].path: Invalid value: "/b/../a": must not contain '/../'
            spec.paths[3].path: Invalid value: "/..": must not end with '/..'
        "#]],
    );
    let workflow = "
metadata: {name: a}
spec:
  startAt: nowhere
  nodes:
    a: {type: Task, next: b, choices: [{}], retry: {maxAttempts: 0, intervalSeconds: -1}}
    c: {type: Choice, next: a, default: d}
    d: {type: Choice, choices: [{next: a}, {variable: x, numericEquals: 1, stringEquals: a, next: z}]}
";
    check(
        "workflows",
        workflow,
        &expect![[r#"
            spec.nodes[a].retry.maxAttempts: Invalid value: 0: must be a whole number of at least 1
            spec.nodes[a].retry.intervalSeconds: Invalid value: -1: must be a whole number of at least 0
            spec.nodes[a].choices: Forbidden: no field of a node of this type
            spec.nodes[c].choices: Required value
            spec.nodes[c].next: Forbidden: no field of a node of this type
            spec.nodes[d].choices[0].variable: Required value
            spec.nodes[d].choices[0]: Required value: must specify an operator, e.g. `numericEquals`
            spec.nodes[d].choices[1]: Forbidden: may not specify more than 1 operator
            spec.startAt: Not found: "nowhere"
            spec.nodes[a].next: Not found: "b"
            spec.nodes[d].choices[1].next: Not found: "z"
        "#]],
    );
    let definition = "
metadata: {name: a}
spec:
  startAt: a
  historyLimit: 0
  historySeconds: -1
  definition:
    StartAt: A
    States: {A: {Type: Task, Next: B}}
";
    check(
        "workflows",
        definition,
        &expect![[r#"
        spec.historyLimit: Invalid value: 0: must be greater than 0
        spec.historySeconds: Invalid value: -1: must be greater than 0
        spec.definition: Forbidden: may not be set with `startAt` and `nodes`
        spec.definition.States[A].Resource: Required value
        spec.definition.States[A].Next: Not found: "B"
    "#]],
    );
    check(
        "workflowruns",
        "{metadata: {name: a}}",
        &expect![[r#"
        spec.workflow: Required value
    "#]],
    );
}

#[test]
fn of_inputs_that_no_step_may_be_given() {
    let long = "x".repeat(256 * 1024);
    check(
        "workflows",
        &format!(
            "{{metadata: {{name: a}}, spec: {{startAt: a, nodes: {{a: {{}}}}, params: {long}}}}}"
        ),
        &expect![[r#"
        spec.params: Too long: may not be more than 262144 bytes
    "#]],
    );
    check(
        "workflowruns",
        &format!("{{metadata: {{name: a}}, spec: {{workflow: a, input: {long}}}}}"),
        &expect![[r#"
        spec.input: Too long: may not be more than 262144 bytes
    "#]],
    );
    let deep = "[".repeat(65) + &"]".repeat(65);
    check(
        "workflowruns",
        &format!("{{metadata: {{name: a}}, spec: {{workflow: a, input: {deep}}}}}"),
        &expect![[r#"
        spec.input: Forbidden: must not be nested deeper than 64 levels
    "#]],
    );
}

#[test]
fn of_metadata() {
    let map = "
metadata:
  name: a
  labels: {'/x': a, ok: 'two words'}
  annotations: {'a b': x}
  finalizers: [not/a/name]
  ownerReferences: [{controller: true}, {apiVersion: v1, kind: Pod, name: a, uid: u, controller: true}]
";
    check(
        "configmaps",
        map,
        &expect![[r#"
        metadata.labels: Invalid value: "/x": prefix part must be non-empty
        metadata.labels: Invalid value: "two words": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')
        metadata.annotations: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        metadata.finalizers[0]: Invalid value: "not/a/name": a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')
        metadata.ownerReferences[0].apiVersion: Invalid value: "": must not be empty
        metadata.ownerReferences[0].kind: Invalid value: "": must not be empty
        metadata.ownerReferences[0].name: Invalid value: "": must not be empty
        metadata.ownerReferences[0].uid: Invalid value: "": must not be empty
        metadata.ownerReferences: Invalid value: 2: Only one reference can have Controller set to true
    "#]],
    );
}

#[test]
fn of_the_addresses_of_a_service() {
    let of = |spec: &str, expected: &str| {
        let service = format!("{{metadata: {{name: a}}, spec: {{ports: [{{port: 80}}], {spec}}}}}");
        let error =
            try_create(&def("services"), yaml(&service), &context(&def("services"))).unwrap_err();
        let message = error.to_string();
        assert!(message.ends_with(&format!("is invalid: spec.{expected}")), "{message}");
    };
    of(
        "clusterIP: 10.0.0.1, clusterIPs: [10.0.0.2]",
        r#"clusterIPs: Invalid value: ["10.0.0.2"]: first value must match `clusterIP`"#,
    );
    of(
        "clusterIPs: [10.0.0.2]",
        r#"clusterIPs: Invalid value: ["10.0.0.2"]: must be empty when `clusterIP` is not specified"#,
    );
    of(
        "clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1, 10.0.0.2]",
        r#"clusterIPs: Invalid value: ["10.0.0.1","10.0.0.2"]: may specify no more than one IP for each IP family"#,
    );
    of(
        "clusterIP: None, clusterIPs: [None, 10.0.0.2]",
        r#"clusterIPs: Invalid value: ["None","10.0.0.2"]: 'None' must be the first and only value"#,
    );
}

#[test]
fn of_what_leads_to_a_service() {
    let of = |spec: &str, expected: &expect_test::Expect| {
        check("services", &format!("{{metadata: {{name: a}}, spec: {spec}}}"), expected);
    };
    of(
        "{ports: [{port: 80}], externalTrafficPolicy: Local, healthCheckNodePort: 30500, internalTrafficPolicy: Near, trafficDistribution: Near,
        allocateLoadBalancerNodePorts: true, loadBalancerClass: x, loadBalancerSourceRanges: [10.0.0.0/8]}",
        &expect![[r#"
            spec.allocateLoadBalancerNodePorts: Forbidden: may only be used when `type` is 'LoadBalancer'
            spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'
            spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'
            spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services
            spec.internalTrafficPolicy: Unsupported value: "Near": supported values: "Cluster", "Local"
            spec.trafficDistribution: Unsupported value: "Near": supported values: "PreferClose", "PreferSameNode", "PreferSameZone"
            spec.healthCheckNodePort: Invalid value: 30500: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'
        "#]],
    );
    of(
        "{type: LoadBalancer, ports: [{port: 10250, appProtocol: 'a b'}], externalTrafficPolicy: Far, loadBalancerClass: 'a b', loadBalancerSourceRanges: [' 10.0.0.0/8', 10.0.0.1]}",
        &expect![[r#"
            spec.ports[0].appProtocol: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            spec.ports[0]: Invalid value: 10250: may not expose port 10250 externally since it is used by kubelet
            spec.loadBalancerClass: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            spec.LoadBalancerSourceRanges[1]: Invalid value: "10.0.0.1": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)
            spec.externalTrafficPolicy: Unsupported value: "Far": supported values: "Cluster", "Local"
        "#]],
    );
    of(
        "{type: NodePort, ports: [{name: a, port: 1, nodePort: 30001}, {name: b, port: 2, nodePort: 30001}, {name: c, port: 3, nodePort: 30001, protocol: UDP}, {name: d, port: 4, nodePort: 70000}]}",
        &expect![[r#"
            spec.ports[1].nodePort: Duplicate value: 30001
            spec.ports[3].nodePort: Invalid value: 70000: must be between 1 and 65535, inclusive
        "#]],
    );
    of(
        "{ports: [{port: 80}], externalIPs: [10.0.0.1, 0.0.0.0, 127.0.0.1, 169.254.1.1, 224.0.0.1, nowhere]}",
        &expect![[r#"
            spec.externalIPs[1]: Invalid value: "0.0.0.0": may not be unspecified (0.0.0.0)
            spec.externalIPs[2]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)
            spec.externalIPs[3]: Invalid value: "169.254.1.1": may not be in the link-local range (169.254.0.0/16, fe80::/10)
            spec.externalIPs[4]: Invalid value: "224.0.0.1": may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)
            spec.externalIPs[5]: Invalid value: "nowhere": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
        "#]],
    );
    of(
        "{type: ExternalName, externalName: a.example, ipFamilies: [IPv4], ipFamilyPolicy: SingleStack, clusterIP: 10.0.0.1}",
        &expect![[r#"
            spec.clusterIPs: Forbidden: may not be set for ExternalName services
            spec.ipFamilies: Forbidden: may not be set for ExternalName services
            spec.ipFamilyPolicy: Forbidden: may not be set for ExternalName services
        "#]],
    );
}

#[test]
fn of_a_gpu_job() {
    check(
        "gpujobs",
        "{metadata: {name: a}, spec: {sources: {}}}",
        &expect![[r#"
        spec.runScripts: Required value
        spec.sources: Required value: must specify one of: `configMap`, `secret`, `archive` or `hostPath`
        spec.credentials.secretRef.name: Required value
    "#]],
    );
    let job = r#"
metadata: {name: a}
spec:
  numProcess: -1
  numGpus: 2
  gres: "gpu:a100:2 --exclusive"
  partition: "a b"
  account: ""
  qos: "a\"b"
  timeLimit: 1h
  memory: 4 GB
  array: 5-1%0
  directives: [exclusive, "--exclusive", "--constraint=a100", "--part=x", "--nodes 2", "--job-n=x", "--mail-type=END --wait", "--mail-user=a\nb", "--Q", '--exclusive "--job-name=x"', '--exclusive=user\ --output=x', '--constraint="a100&ib"', '--constraint="a"b']
  env: [{name: A, value: "1\n2"}, {name: a.b}, {name: JOB_COMPLETION_INDEX}, {name: S, valueFrom: {secretKeyRef: {name: s, key: k}}}, {value: x}]
  compileScripts: ["a\0b"]
  sources: {configMap: {}, archive: "", hostPath: a/../b}
  volume: x
  nodeSelector: {"a b": c}
  workDir: /root
  outputFile: "a\nb"
  errorFile: ../x
  results: ["", "out/../../*", "out/*.csv"]
  cluster: {configMapRef: {}, host: "a b", port: 0, hostKey: "SHA256:x", knownHosts: "a b", directory: x}
  completions: 1001
  parallelism: -1
  backoffLimit: -1
  activeDeadlineSeconds: -1
  ttlSecondsAfterFinished: -1
"#;
    check(
        "gpujobs",
        job,
        &expect![[r#"
        spec.numProcess: Invalid value: -1: must be greater than 0
        spec.parallelism: Invalid value: -1: must be greater than or equal to 0
        spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0
        spec.activeDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0
        spec.ttlSecondsAfterFinished: Invalid value: -1: must be greater than or equal to 0
        spec.completions: Invalid value: 1001: must be less than or equal to 1000
        spec.gres: Invalid value: "gpu:a100:2 --exclusive": must be printable ASCII characters without blanks, quotes, '\' and '#'
        spec.partition: Invalid value: "a b": must be printable ASCII characters without blanks, quotes, '\' and '#'
        spec.account: Required value
        spec.qos: Invalid value: "a\"b": must be printable ASCII characters without blanks, quotes, '\' and '#'
        spec.numGpus: Forbidden: may not be specified with `gres`
        spec.timeLimit: Invalid value: "1h": must be a time as Slurm writes it, (e.g. '90' for minutes, or '01:30:00', or '2-12:00:00', or 'UNLIMITED')
        spec.memory: Invalid value: "4 GB": must be an amount of memory as Slurm writes it, (e.g. '4G', or '512M', or '0' for all of a node)
        spec.array: Invalid value: "5-1%0": must be indexes as Slurm writes them, (e.g. '0-15', or '0,6,16-32', or '0-15:4%2')
        spec.directives[0]: Invalid value: "exclusive": must begin with '--'
        spec.directives[3]: Invalid value: "--part=x": must not be an option that has a field: use `partition`
        spec.directives[4]: Invalid value: "--nodes 2": must not be an option that has a field: use `numProcess`
        spec.directives[5]: Invalid value: "--job-n=x": must not be an option that is set for every job
        spec.directives[6]: Invalid value: "--mail-type=END --wait": must be one option: give each its own entry
        spec.directives[7]: Invalid value: "--mail-user=a\nb": must not contain control characters
        spec.directives[8]: Invalid value: "--Q": must name a long option of sbatch
        spec.directives[9]: Invalid value: "--exclusive \"--job-name=x\"": must be one option: give each its own entry
        spec.directives[10]: Invalid value: "--exclusive=user\\ --output=x": must be one option: give each its own entry
        spec.directives[12]: Invalid value: "--constraint=\"a\"b": must not contain '\' and '#', and quotes only around the whole value (e.g. '--constraint="a100&ib"')
        spec.env[1].name: Invalid value: "a.b": a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_' (e.g. 'my_name', or 'MY_NAME', or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')
        spec.env[2].name: Invalid value: "JOB_COMPLETION_INDEX": must not be a variable that every task has
        spec.env[3].valueFrom: Forbidden: may not be set: what it names would be written into the batch script on the Slurm cluster; use `value`
        spec.env[4].name: Required value
        spec.runScripts: Required value
        spec.compileScripts[0]: Invalid value: "a\0b": must not contain NUL
        spec.sources.archive: Forbidden: may not specify more than 1 kind of sources
        spec.sources.hostPath: Forbidden: may not specify more than 1 kind of sources
        spec.sources.configMap.name: Required value
        spec.sources.archive: Required value
        spec.sources.hostPath: Invalid value: "a/../b": must be an absolute path
        spec.sources.hostPath: Invalid value: "a/../b": must not contain '..'
        spec.volume: Invalid value: "x": must be an absolute path
        spec.workDir: Invalid value: "/root": must be a relative path
        spec.outputFile: Invalid value: "a\nb": must not contain control characters
        spec.errorFile: Invalid value: "../x": must not contain '..'
        spec.results[0]: Required value
        spec.results[1]: Invalid value: "out/../../*": must not contain '..'
        spec.nodeSelector: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        spec.cluster.configMapRef.name: Required value
        spec.cluster.host: Invalid value: "a b": must be a DNS name or a valid IP address
        spec.cluster.port: Invalid value: 0: must be between 1 and 65535, inclusive
        spec.cluster.hostKey: Invalid value: "SHA256:x": must be a fingerprint or a public key, (e.g. 'SHA256:…' as `ssh-keygen -l` prints it, or 'ssh-ed25519 AAAA…' as `ssh-keyscan` does)
        spec.cluster.knownHosts: Invalid value: "a b": must be lines of OpenSSH's known_hosts, (e.g. 'login.example.org ssh-ed25519 AAAA…')
        spec.cluster.directory: Invalid value: "x": must be an absolute path
        spec.credentials.secretRef.name: Required value
    "#]],
    );
}

#[test]
fn of_a_gpu_jobs_name_and_sources() {
    let archive = api_types::ByteString(vec![0; 768 * 1024 + 1]);
    let job = format!(
        "{{metadata: {{name: {}}}, spec: {{runScripts: [a], outputFile: out/, sources: {{archive: {}}}, credentials: {{secretRef: {{name: s}}}}}}}}",
        "n".repeat(64),
        serde_json::to_string(&archive).unwrap()
    );
    check(
        "gpujobs",
        &job,
        &expect![[r#"
        metadata.name: Invalid value: "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn": must be no more than 63 characters
        spec.sources.archive: Too long: may not be more than 786432 bytes
        spec.outputFile: Invalid value: "out/": must be the path of a file
    "#]],
    );
}

#[test]
fn of_a_resource_quota() {
    let quota = "
metadata: {name: a}
spec:
  hard: {pods: 1500m, cpu: '-1', storage: 1Gi, nonsense: '1', example.com/x: 500m, requests.example.com/x: '1'}
  scopes: [BestEffort, NotBestEffort, Sometimes]
  scopeSelector:
    matchExpressions:
    - {scopeName: Terminating, operator: DoesNotExist}
    - {scopeName: PriorityClass, operator: In}
    - {scopeName: PriorityClass, operator: Exists, values: [high]}
    - {scopeName: PriorityClass, operator: Like}
";
    check(
        "resourcequotas",
        quota,
        &expect![[r#"
        spec.hard[cpu]: Invalid value: "-1": must be greater than or equal to 0
        spec.hard[example.com/x]: Invalid value: "500m": must be an integer
        spec.hard[nonsense]: Invalid value: "nonsense": must be a standard resource type or fully qualified
        spec.hard[nonsense]: Invalid value: "nonsense": must be a standard resource for quota
        spec.hard[pods]: Invalid value: "1500m": must be an integer
        spec.hard[storage]: Invalid value: "storage": must be a standard resource for quota
        spec.scopes: Invalid value: ["BestEffort", "NotBestEffort", "Sometimes"]: unsupported scope applied to resource
        spec.scopes: Invalid value: ["BestEffort", "NotBestEffort", "Sometimes"]: unsupported scope
        spec.scopes: Invalid value: ["BestEffort", "NotBestEffort", "Sometimes"]: conflicting scopes
        spec.scopeSelector.matchExpressions.operator: Invalid value: "DoesNotExist": must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity
        spec.scopeSelector.matchExpressions.values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector
        spec.scopeSelector.matchExpressions.values: Invalid value: ["high"]: must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector
        spec.scopeSelector.matchExpressions.operator: Invalid value: "Like": not a valid selector operator
    "#]],
    );
}

#[test]
fn of_a_limit_range() {
    let range = "
metadata: {name: a}
spec:
  limits:
  - {type: Pod, default: {cpu: '1'}, max: {pods: '1'}}
  - type: Container
    min: {cpu: '2'}
    max: {cpu: '1', memory: 1Gi}
    default: {memory: 2Gi, example.com/x: '2'}
    defaultRequest: {example.com/x: '1'}
    maxLimitRequestRatio: {cpu: 500m}
  - {type: Container}
  - {type: PersistentVolumeClaim}
  - {type: Sometimes}
";
    check(
        "limitranges",
        range,
        &expect![[r#"
        spec.limits[0].max[pods]: Invalid value: "pods": must be a standard resource for containers
        spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'
        spec.limits[1].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1
        spec.limits[1].defaultRequest[cpu]: Invalid value: "1": min value 2 is greater than default request value 1
        spec.limits[1].default[cpu]: Invalid value: "2": min value 2 is greater than default value 1
        spec.limits[1].maxLimitRequestRatio[cpu]: Invalid value: "500m": ratio 500m is less than 1
        spec.limits[1].defaultRequest[example.com/x]: Invalid value: "1": default value 2 must equal to defaultRequest value 1 in example.com/x
        spec.limits[1].defaultRequest[memory]: Invalid value: "2Gi": default request value 2Gi is greater than max value 1Gi
        spec.limits[1].default[memory]: Invalid value: "2Gi": default value 2Gi is greater than max value 1Gi
        spec.limits[2].type: Duplicate value: "Container"
        spec.limits[3].limits: Required value: either minimum or maximum storage value is required, but neither was provided
        spec.limits[4].type: Invalid value: "Sometimes": must be a standard limit type or fully qualified
    "#]],
    );
    let ratio = |ratio: &str| {
        let bounds = "min: {cpu: 100m}, max: {cpu: 300m}";
        let limit =
            format!("{{type: Container, {bounds}, maxLimitRequestRatio: {{cpu: {ratio}}}}}");
        yaml(&format!("{{metadata: {{name: a}}, spec: {{limits: [{limit}]}}}}"))
    };
    let ranges = def("limitranges");
    try_create(&ranges, ratio("3"), &context(&ranges)).unwrap();
    let error = try_create(&ranges, ratio("3001m"), &context(&ranges)).unwrap_err();
    assert!(
        error.to_string().ends_with("ratio 3001m is greater than max/min = 3.000000"),
        "{error}"
    );
}

#[test]
fn of_a_flow_schema_s_rules() {
    let schema = "
metadata: {name: a}
spec:
  matchingPrecedence: 1
  priorityLevelConfiguration: {name: a}
  rules:
  - {subjects: []}
  - subjects:
    - {kind: Robot}
    - {kind: User, group: {name: a}}
    - {kind: ServiceAccount, serviceAccount: {name: A, namespace: ''}}
    - {kind: Group, group: {name: ''}}
    resourceRules:
    - {verbs: [], apiGroups: [], resources: []}
    - {verbs: [get, look], apiGroups: ['*', a], resources: ['*'], namespaces: [Not_A]}
    nonResourceRules:
    - {verbs: ['*'], nonResourceURLs: [healthz, /a//b, /a*b, /ok/*, /*, /]}
";
    check(
        "flowschemas",
        schema,
        &expect![[r#"
        spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1
        spec.rules[0].subjects: Required value: subjects must contain at least one value
        spec.rules[0]: Required value: at least one of resourceRules and nonResourceRules has to be non-empty
        spec.rules[1].subjects[0].kind: Unsupported value: "Robot": supported values: "Group", "ServiceAccount", "User"
        spec.rules[1].subjects[1].user: Required value: user is required when subject kind is 'User'
        spec.rules[1].subjects[1].group: Forbidden: group is forbidden when subject kind is not 'Group'
        spec.rules[1].subjects[2].serviceAccount.name: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.rules[1].subjects[2].serviceAccount.namespace: Required value: must specify namespace for service account
        spec.rules[1].subjects[3].group.name: Required value
        spec.rules[1].resourceRules[0].verbs: Required value: verbs must contain at least one value
        spec.rules[1].resourceRules[0].apiGroups: Required value: resource rules must supply at least one api group
        spec.rules[1].resourceRules[0].resources: Required value: resource rules must supply at least one resource
        spec.rules[1].resourceRules[0].namespaces: Required value: resource rules that are not cluster scoped must supply at least one namespace
        spec.rules[1].resourceRules[1].verbs: Unsupported value: "get,look": supported values: "create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"
        spec.rules[1].resourceRules[1].apiGroups: Invalid value: ["*", "a"]: if '*' is present, must not specify other api groups
        spec.rules[1].resourceRules[1].namespaces[0]: Invalid value: "Not_A": each member of this list must be '*' or a DNS-1123 label; a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        spec.rules[1].nonResourceRules[0].nonResourceURLs[0]: Invalid value: "healthz": must start with slash
        spec.rules[1].nonResourceRules[0].nonResourceURLs[1]: Invalid value: "/a//b": must not contain double slash
        spec.rules[1].nonResourceRules[0].nonResourceURLs[2]: Invalid value: "/a*b": wildcard can only do suffix matching
    "#]],
    );
}

#[test]
fn of_a_request_for_a_certificate() {
    let csr = "
metadata: {name: a/b}
spec:
  request: eA==
  signerName: Example.com/x
  expirationSeconds: 60
  usages: [client auth, client auth, cooking]";
    check(
        "certificatesigningrequests",
        csr,
        &expect![[r#"
        metadata.name: Invalid value: "a/b": may not contain '/'
        spec.request: Invalid value: "x": PEM block type must be CERTIFICATE REQUEST
        spec.usages[1]: Duplicate value: "client auth"
        spec.usages[2]: Unsupported value: "cooking": supported values: "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment", "decipher only", "digital signature", "email protection", "encipher only", "ipsec end system", "ipsec tunnel", "ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime", "server auth", "signing", "timestamping"
        spec.signerName: Invalid value: "Example.com": validating label "Example": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        spec.expirationSeconds: Invalid value: 60: may not specify a duration less than 600 seconds (10 minutes)
    "#]],
    );
    check(
        "certificatesigningrequests",
        "{metadata: {name: a}, spec: {request: eA==, signerName: kubernetes.io/legacy-unknown}}",
        &expect![[r#"
            spec.request: Invalid value: "x": PEM block type must be CERTIFICATE REQUEST
            spec.usages: Required value
            spec.signerName: Invalid value: "kubernetes.io/legacy-unknown": the legacy signerName is not allowed via this API version
        "#]],
    );
}

#[test]
fn of_an_api_service() {
    check(
        "apiservices",
        "
metadata: {name: v1.a.io}
spec: {group: A_b, version: 1v, caBundle: eA==, insecureSkipTLSVerify: true, versionPriority: 1001}
",
        &expect![[r#"
            metadata.name: Invalid value: "v1.a.io": must be `spec.version+"."+spec.group`: "1v.A_b"
            spec.group: Invalid value: "A_b": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.version: Invalid value: "1v": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')
            spec.groupPriorityMinimum: Invalid value: 0: must be positive and less than 20000
            spec.versionPriority: Invalid value: 1001: must be positive and less than 1000
            spec.caBundle: Invalid value: "1 bytes": local APIServices may not have a caBundle
            spec.insecureSkipTLSVerify: Invalid value: true: local APIServices may not have insecureSkipTLSVerify
        "#]],
    );
    check(
        "apiservices",
        "
metadata: {name: v2.}
spec:
  version: v2
  caBundle: eA==
  insecureSkipTLSVerify: true
  groupPriorityMinimum: 1
  versionPriority: 1
  service: {port: 0}
",
        &expect![[r#"
            spec.group: Required value: only v1 may have an empty group and it better be legacy kube
            spec.service.namespace: Required value
            spec.service.name: Required value
            spec.service.port: Invalid value: 0: port is not valid: must be between 1 and 65535, inclusive
            spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is present
        "#]],
    );
}

#[test]
fn of_the_kernels_settings_of_a_pod() {
    let pod = "
metadata: {name: a}
spec:
  hostNetwork: true
  securityContext:
    sysctls:
    - {name: kernel.shm_rmid_forced, value: '1'}
    - {name: kernel/shm_rmid_forced, value: '1'}
    - {name: kernel.shm_rmid_forced, value: '1'}
    - {name: net/ipv4/tcp_syncookies, value: '1'}
    - {name: foo-, value: '1'}
    - {name: bar.., value: '1'}
    - {value: '1'}
  containers: [{name: a, image: b}]
";
    check(
        "pods",
        pod,
        &expect![[r#"
        spec.securityContext.sysctls[2].name: Duplicate value: "kernel.shm_rmid_forced"
        spec.securityContext.sysctls[3].name: Invalid value: "net/ipv4/tcp_syncookies": may not be specified when 'hostNetwork' is true
        spec.securityContext.sysctls[4].name: Invalid value: "foo-": must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$
        spec.securityContext.sysctls[5].name: Invalid value: "bar..": must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$
        spec.securityContext.sysctls[6].name: Required value
    "#]],
    );
}
