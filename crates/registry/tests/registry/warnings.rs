//! What whoever writes an object is told though it is taken, in Kubernetes' words.

use registry::{AnyObject, Part, ResourceDef, place};
use serde_json::{Value, json};

use crate::{context, custom_resource::custom, def, example, yaml};

const NO_LABEL: &str = "which can result in surprising behavior; a DNS label is recommended: [a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')]";
const OLD_LABEL: &str = "deprecated since v1.14; use \"kubernetes.io/os\" instead";
/// The kinds with templates of pods, and where these are.
const TEMPLATES: [(&str, &str); 8] = [
    ("cronjobs", "/spec/jobTemplate/spec/template"),
    ("daemonsets", "/spec/template"),
    ("deployments", "/spec/template"),
    ("jobs", "/spec/template"),
    ("podtemplates", "/template"),
    ("replicasets", "/spec/template"),
    ("replicationcontrollers", "/spec/template"),
    ("statefulsets", "/spec/template"),
];

/// A new object, as it is stored.
fn new(def: &ResourceDef, given: Value) -> AnyObject {
    let (mut object, context) = (def.decode(given, None).unwrap().object, context(def));
    place(object.metadata_mut(), context.namespace.as_deref(), None).unwrap();
    def.default(&mut object);
    def.before_create(&mut object, &context).unwrap_or_else(|e| panic!("{e}"));
    object
}

fn told(def: &ResourceDef, part: Part, new: &AnyObject, old: Option<&AnyObject>) -> Vec<String> {
    def.warnings(part, new, old, &|_: [&str; 3], _: &str| true)
}

fn told_of_new(plural: &str, given: Value) -> Vec<String> {
    let def = def(plural);
    told(&def, Part::Main, &new(&def, given), None)
}

/// What is told of a change of a part of an object.
fn told_of_change(
    def: &ResourceDef,
    part: Part,
    old: &AnyObject,
    change: impl FnOnce(&mut Value),
) -> Vec<String> {
    let before = old.to_value().unwrap();
    let mut given = before.clone();
    change(&mut given);
    let mut new = def.decode(given, Some(&before)).unwrap().object;
    def.default(&mut new);
    def.before_update(part, &mut new, old).unwrap_or_else(|e| panic!("{e}"));
    told(def, part, &new, Some(old))
}

fn check(plural: &str, given: &str, expected: &[&str]) {
    assert_eq!(told_of_new(plural, yaml(given)), expected, "{given}");
}

/// Of a pod with a container and something else.
fn check_pod(rest: &str, expected: &[&str]) {
    let pod =
        format!("{{metadata: {{name: a}}, spec: {{containers: [{{name: c, image: x}}], {rest}}}}}");
    check("pods", &pod, expected);
}

fn check_containers(containers: &str, expected: &[&str]) {
    let pod = format!("{{metadata: {{name: a}}, spec: {{containers: [{containers}]}}}}");
    check("pods", &pod, expected);
}

#[test]
fn of_examples_nothing_is_told() {
    // The workflow has a choice without a default.
    for def in registry::all().into_iter().filter(|def| def.names.plural != "workflows") {
        let object = new(&def, example(&def));
        assert_eq!(told(&def, Part::Main, &object, None), [""; 0], "{}", def.names.kind);
        assert_eq!(told(&def, Part::Main, &object, Some(&object)), [""; 0], "{}", def.names.kind);
    }
}

#[test]
fn only_endpoints_are_a_version_that_is_not_to_be_used() {
    let deprecated = registry::all().into_iter().filter_map(|def| def.deprecation_warning);
    let endpoints = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice";
    assert_eq!(deprecated.collect::<Vec<_>>(), [endpoints]);
}

#[test]
fn of_a_pods_name_and_annotations() {
    let warning = format!("metadata.name: this is used in the Pod's hostname, {NO_LABEL}");
    check(
        "pods",
        "{metadata: {name: a.b}, spec: {containers: [{name: c, image: x}]}}",
        &[&warning],
    );
    let with = |spec: &str| {
        format!(
            "
metadata:
  name: a
  annotations:
    scheduler.alpha.kubernetes.io/critical-pod: ''
    security.alpha.kubernetes.io/sysctls: ''
    security.alpha.kubernetes.io/unsafe-sysctls: ''
    seccomp.security.alpha.kubernetes.io/pod: ''
    container.seccomp.security.alpha.kubernetes.io/c: ''
    container.apparmor.security.beta.kubernetes.io/c: runtime/default
spec: {{containers: [{{name: c, image: x}}], {spec}}}
"
        )
    };
    let old = [
        "metadata.annotations[scheduler.alpha.kubernetes.io/critical-pod]: non-functional in v1.16+; use the \"priorityClassName\" field instead",
        "metadata.annotations[security.alpha.kubernetes.io/sysctls]: non-functional in v1.11+; use the \"sysctls\" field instead",
        "metadata.annotations[security.alpha.kubernetes.io/unsafe-sysctls]: non-functional in v1.11+; use the \"sysctls\" field instead",
    ];
    let seccomp = [
        "metadata.annotations[seccomp.security.alpha.kubernetes.io/pod]: non-functional in v1.27+; use the \"seccompProfile\" field instead",
        "metadata.annotations[container.seccomp.security.alpha.kubernetes.io/c]: non-functional in v1.27+; use the \"seccompProfile\" field instead",
    ];
    let app_armor = "metadata.annotations[container.apparmor.security.beta.kubernetes.io/c]: deprecated since v1.30; use the \"appArmorProfile\" field instead";
    check("pods", &with(""), &[&old[..], &seccomp, &[app_armor]].concat());
    let same = "securityContext: {seccompProfile: {type: RuntimeDefault}, appArmorProfile: {type: RuntimeDefault}}";
    check("pods", &with(same), &[&old[..], &seccomp[1..]].concat());
    let other = "securityContext: {seccompProfile: {type: RuntimeDefault}, appArmorProfile: {type: Unconfined}}";
    check("pods", &with(other), &[&old[..], &seccomp[1..], &[app_armor]].concat());
}

#[test]
fn of_a_pods_nodes() {
    check_pod(
        "
  nodeSelector: {beta.kubernetes.io/os: linux},
  affinity: {nodeAffinity: {
    requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [
      {matchExpressions: [{key: failure-domain.beta.kubernetes.io/zone, operator: Exists}]}]},
    preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, preference:
      {matchExpressions: [{key: node-role.kubernetes.io/master, operator: In, values: [-x]}]}}]}},
  topologySpreadConstraints: [
    {maxSkew: 1, topologyKey: failure-domain.beta.kubernetes.io/region, whenUnsatisfiable: DoNotSchedule}]",
        &[
            &format!("spec.nodeSelector[beta.kubernetes.io/os]: {OLD_LABEL}"),
            "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].key: failure-domain.beta.kubernetes.io/zone is deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
            "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[0].key: node-role.kubernetes.io/master is use \"node-role.kubernetes.io/control-plane\" instead",
            "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[0].values[0]: -x is invalid, a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
            "spec.topologySpreadConstraints[0].topologyKey: failure-domain.beta.kubernetes.io/region is deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
            "spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod",
        ],
    );
    check_pod(
        "
  affinity: {
    podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: a}]},
    podAntiAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: a, labelSelector: {}}],
      preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, podAffinityTerm: {topologyKey: a}}]}}",
        &[
            "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector: a null labelSelector results in matching no pod",
            "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.labelSelector: a null labelSelector results in matching no pod",
        ],
    );
}

#[test]
fn of_a_pods_volumes() {
    let gone = [
        (
            "photonPersistentDisk: {pdID: a}",
            "photonPersistentDisk",
            "v1.11, non-functional in v1.16+",
        ),
        ("gitRepo: {repository: a}", "gitRepo", "v1.11, and disabled by default in v1.33+"),
        (
            "scaleIO: {gateway: a, system: a, volumeName: a, secretRef: {name: a}}",
            "scaleIO",
            "v1.16, non-functional in v1.22+",
        ),
        ("flocker: {datasetName: a}", "flocker", "v1.22, non-functional in v1.25+"),
        ("storageos: {volumeName: a}", "storageOS", "v1.22, non-functional in v1.25+"),
        ("quobyte: {registry: 'a:1', volume: a}", "quobyte", "v1.22, non-functional in v1.25+"),
        ("glusterfs: {endpoints: a, path: a}", "glusterfs", "v1.25, non-functional in v1.26+"),
        ("cephfs: {monitors: [a]}", "cephfs", "v1.28, non-functional in v1.31+"),
        ("rbd: {monitors: [a], image: a}", "rbd", "v1.28, non-functional in v1.31+"),
    ];
    for (source, field, since) in gone {
        let expected = format!("spec.volumes[0].{field}: deprecated in {since}");
        check_pod(&format!("volumes: [{{name: v, {source}}}]"), &[&expected]);
    }
    check_pod(
        "
  volumes: [{name: v, ephemeral: {volumeClaimTemplate: {spec: {
    accessModes: [ReadWriteOnce], resources: {requests: {storage: 1}, limits: {storage: 1.5}}}}}}]",
        &[
            "spec.volumes[0].ephemeral.volumeClaimTemplate.spec.resources.limits[storage]: fractional byte value \"1500m\" is invalid, must be an integer",
        ],
    );
}

#[test]
fn of_files_in_each_others_way() {
    check_pod(
        "
  serviceAccountName: a,
  volumes: [
    {name: m, configMap: {name: a, items: [{key: a, path: p}, {key: b, path: p/q}, {key: c, path: pq}]}},
    {name: s, secret: {secretName: b, items: [{key: a, path: p/q}, {key: b, path: p}]}},
    {name: d, downwardAPI: {items: [
      {path: p, fieldRef: {fieldPath: metadata.name}}, {path: p/q, fieldRef: {fieldPath: metadata.name}}]}},
    {name: w, projected: {sources: [
      {configMap: {name: a, items: [{key: a, path: p}]}},
      {serviceAccountToken: {path: p/token}},
      {secret: {name: b, items: [{key: a, path: other}]}}]}}]",
        &[
            "volume \"m\" (ConfigMap \"a\"): overlapping paths: \"p/q\" with \"p\"",
            "volume \"s\" (Secret \"b\"): overlapping paths: \"p\" with \"p/q\"",
            "volume \"d\" (DownwardAPI): overlapping paths: \"p/q\" with \"p\"",
            "volume \"w\" (Projected): overlapping paths: \"p/token\" (ServiceAccountToken) with \"p\" (ConfigMap \"a\")",
        ],
    );
}

#[test]
fn of_what_a_pod_lists_twice() {
    check_pod(
        "
  hostAliases: [{ip: 192.0.2.1, hostnames: [a]}, {ip: 192.0.2.1, hostnames: [b]}],
  imagePullSecrets: [{name: s}, {name: s}, {}]",
        &[
            "spec.hostAliases[1].ip: duplicate ip \"192.0.2.1\"",
            "spec.imagePullSecrets[1].name: duplicate name \"s\"",
            "spec.imagePullSecrets[2].name: invalid empty name \"\"",
        ],
    );
    check_containers(
        "{name: c, image: x, env: [
          {name: A, value: a}, {name: A, value: b}, {name: B, value: a}, {name: B, value: a$(B)},
          {name: B, value: $(B)}, {name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]}",
        &[
            "spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply",
            "spec.containers[0].env[4]: hides previous definition of \"B\", which may be dropped when using apply",
            "spec.containers[0].env[5]: hides previous definition of \"A\", which may be dropped when using apply",
        ],
    );
}

#[test]
fn of_bytes_that_are_no_whole_number() {
    check_pod(
        "overhead: {memory: 500m}",
        &["spec.overhead[memory]: fractional byte value \"500m\" is invalid, must be an integer"],
    );
    check_containers(
        "{name: c, image: x, resources: {
          limits: {memory: 128m, ephemeral-storage: 1.5, cpu: 100m}, requests: {memory: 64m}}}",
        &[
            "spec.containers[0].resources.limits[memory]: fractional byte value \"128m\" is invalid, must be an integer",
            "spec.containers[0].resources.requests[memory]: fractional byte value \"64m\" is invalid, must be an integer",
            "spec.containers[0].resources.limits[ephemeral-storage]: fractional byte value \"1500m\" is invalid, must be an integer",
            "spec.containers[0].resources.requests[ephemeral-storage]: fractional byte value \"1500m\" is invalid, must be an integer",
        ],
    );
}

#[test]
fn of_ports_in_each_others_way() {
    check_containers(
        "{name: c, image: x, ports: [{containerPort: 80, name: http}, {containerPort: 80, hostPort: 8080}]},
         {name: d, image: x, ports: [{containerPort: 80, name: http, hostIP: 127.0.0.1}]}",
        &[
            "spec.containers[0].ports[1]: overlapping port definition with spec.containers[0].ports[0]",
            "spec.containers[1].ports[0]: hostIP set without hostPort: {Name:http HostPort:0 ContainerPort:80 Protocol:TCP HostIP:127.0.0.1}",
            "spec.containers[1].ports[0]: overlapping port definition with spec.containers[0].ports[0]",
            "spec.containers[1].ports[0]: overlapping port definition with spec.containers[0].ports[1]",
            "spec.containers[1].ports[0]: duplicate port name \"http\" with spec.containers[0].ports[0], services and probes that select ports by name will use spec.containers[0].ports[0]",
        ],
    );
    let check_ports = |ports: &str, how: &str| {
        let expected =
            format!("spec.containers[0].ports[1]: {how} with spec.containers[0].ports[0]");
        check_containers(&format!("{{name: c, image: x, ports: [{ports}]}}"), &[&expected]);
    };
    check_ports("{containerPort: 80}, {containerPort: 80}", "duplicate port definition");
    check_ports(
        "{containerPort: 80, hostPort: 80}, {containerPort: 80, hostPort: 80, hostIP: 127.0.0.1}",
        "dangerously ambiguous port definition",
    );
    check_containers(
        "{name: c, image: x, ports: [{containerPort: 80}, {containerPort: 80, protocol: UDP}]}",
        &[],
    );
}

#[test]
fn of_a_pods_addresses() {
    check_pod(
        "dnsConfig: {nameservers: ['FD00::1']}, hostAliases: [{ip: 'fd00:0::2', hostnames: [a]}]",
        &[
            "spec.dnsConfig.nameservers[0]: IPv6 address \"FD00::1\" should be in RFC 5952 canonical format (\"fd00::1\")",
            "spec.hostAliases[0].ip: IPv6 address \"fd00:0::2\" should be in RFC 5952 canonical format (\"fd00::2\")",
        ],
    );
    let def = def("pods");
    let pod = new(&def, example(&def));
    let addresses = json!({
        "podIP": "FD00::1", "podIPs": [{"ip": "FD00::1"}],
        "hostIP": "FD00::2", "hostIPs": [{"ip": "FD00::2"}],
    });
    let told = told_of_change(&def, Part::Status, &pod, |pod| pod["status"] = addresses);
    assert_eq!(
        told,
        [
            "status.podIPs[0].ip: IPv6 address \"FD00::1\" should be in RFC 5952 canonical format (\"fd00::1\")",
            "status.hostIPs[0].ip: IPv6 address \"FD00::2\" should be in RFC 5952 canonical format (\"fd00::2\")",
        ]
    );
}

#[test]
fn a_change_of_a_pod_is_not_worth_a_warning() {
    let def = def("pods");
    let odd = "{metadata: {name: a.b}, spec: {nodeSelector: {beta.kubernetes.io/os: linux}, containers: [{name: c, image: x}]}}";
    let pod = new(&def, yaml(odd));
    assert_eq!(told(&def, Part::Main, &pod, None).len(), 2);
    let change = |pod: &mut Value| pod["spec"]["containers"][0]["image"] = json!("y");
    assert_eq!(told_of_change(&def, Part::Main, &pod, change), [""; 0]);
}

#[test]
fn a_template_is_told_of_when_it_is_new() {
    for (plural, place) in TEMPLATES {
        let def = def(plural);
        let mut given = example(&def);
        let spec = format!("{place}/spec");
        given.pointer_mut(&spec).unwrap()["nodeSelector"] = json!({"beta.kubernetes.io/os": "x"});
        let object = new(&def, given);
        let path = spec.trim_start_matches('/').replace('/', ".");
        let warning = format!("{path}.nodeSelector[beta.kubernetes.io/os]: {OLD_LABEL}");
        assert_eq!(told(&def, Part::Main, &object, None), [&*warning], "{plural}");
        let label = |object: &mut Value| object["metadata"]["labels"] = json!({"a": "b"});
        assert_eq!(told_of_change(&def, Part::Main, &object, label), [""; 0], "{plural}");
        if plural == "jobs" {
            continue;
        }
        let image = |object: &mut Value| {
            object.pointer_mut(&spec).unwrap()["containers"][0]["image"] = json!("y");
        };
        assert_eq!(told_of_change(&def, Part::Main, &object, image), [&*warning], "{plural}");
        assert_eq!(told_of_change(&def, Part::Status, &object, |_| {}), [""; 0], "{plural}");
    }
}

#[test]
fn a_name_that_pods_have_too_is_told_of_once() {
    let warning = format!("metadata.name: this is used in Pod names and hostnames, {NO_LABEL}");
    for plural in ["cronjobs", "deployments", "jobs", "replicasets", "replicationcontrollers"] {
        let def = def(plural);
        let mut given = example(&def);
        given["metadata"]["name"] = json!("a.b");
        let object = new(&def, given);
        assert_eq!(told(&def, Part::Main, &object, None), [&*warning], "{plural}");
        assert_eq!(told(&def, Part::Main, &object, Some(&object)), [""; 0], "{plural}");
    }
}

#[test]
fn of_sets_claims_and_history() {
    let def = def("statefulsets");
    let mut given = example(&def);
    given["spec"]["revisionHistoryLimit"] = json!(-1);
    given["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["limits"] =
        json!({"storage": "2.5"});
    let set = new(&def, given);
    let expected = |place: &str| {
        [
            format!(
                "spec.volumeClaimTemplates[0].{place}resources.limits[storage]: fractional byte value \"2500m\" is invalid, must be an integer"
            ),
            "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended".to_owned(),
        ]
    };
    assert_eq!(told(&def, Part::Main, &set, None), expected(""));
    let scale = |set: &mut Value| set["spec"]["replicas"] = json!(5);
    assert_eq!(told_of_change(&def, Part::Main, &set, scale), expected("Spec."));
}

#[test]
fn of_an_indexed_job_that_is_too_large() {
    let def = def("jobs");
    let mut given = example(&def);
    let spec = given["spec"].as_object_mut().unwrap();
    spec.insert("completionMode".to_owned(), json!("Indexed"));
    spec.insert("completions".to_owned(), json!(100_001));
    spec.insert("parallelism".to_owned(), json!(10_001));
    let warning = "spec: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail";
    assert_eq!(told_of_new("jobs", given.clone()), [warning]);
    given["spec"]["parallelism"] = json!(10_000);
    assert_eq!(told_of_new("jobs", given), [""; 0]);
}

#[test]
fn of_a_service() {
    check(
        "services",
        "
metadata: {name: a, annotations: {service.kubernetes.io/topology-aware-hints: Auto}}
spec:
  clusterIP: None
  sessionAffinity: ClientIP
  externalIPs: [192.0.2.1]
  loadBalancerIP: 192.0.2.2
  ports: [{port: 80}]
",
        &[
            "annotation service.kubernetes.io/topology-aware-hints is deprecated, please use service.kubernetes.io/topology-mode instead",
            "spec.loadBalancerIP is ignored for headless services",
            "spec.externalIPs is ignored for headless services",
            "spec.SessionAffinity is ignored for headless services",
        ],
    );
    check(
        "services",
        "
metadata: {name: a}
spec:
  externalIPs: ['2001:DB8::5']
  externalName: a.example.com
  trafficDistribution: PreferClose
  ports: [{port: 80}]
",
        &[
            "spec.externalIPs[0]: IPv6 address \"2001:DB8::5\" should be in RFC 5952 canonical format (\"2001:db8::5\")",
            "spec.externalIPs is deprecated and may no longer be implemented in some clusters",
            "spec.externalName is ignored when spec.type is not \"ExternalName\"",
            "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"",
        ],
    );
    check(
        "services",
        "{metadata: {name: a}, spec: {type: ExternalName, externalName: a.b, externalIPs: [192.0.2.1]}}",
        &["spec.externalIPs is ignored when spec.type is \"ExternalName\""],
    );
}

#[test]
fn of_the_addresses_of_load_balancers() {
    let def = def("services");
    let given = "
metadata: {name: a}
spec:
  type: LoadBalancer
  loadBalancerIP: '2001:DB8::5'
  loadBalancerSourceRanges: ['FD00::/8']
  ports: [{port: 80}]
";
    let service = new(&def, yaml(given));
    assert_eq!(
        told(&def, Part::Main, &service, None),
        [
            "spec.loadBalancerIP: IPv6 address \"2001:DB8::5\" should be in RFC 5952 canonical format (\"2001:db8::5\")",
            "spec.loadBalancerSourceRanges[0]: IPv6 CIDR value \"FD00::/8\" should be in RFC 5952 canonical format (\"fd00::/8\")",
        ]
    );
    let warning = "status.loadBalancer.ingress[0]: IPv6 address \"2001:DB8::5\" should be in RFC 5952 canonical format (\"2001:db8::5\")";
    let balanced = |ip_mode: Value| json!({"loadBalancer": {"ingress": [{"ip": "2001:DB8::5", "ipMode": ip_mode}]}});
    let change = |service: &mut Value| service["status"] = balanced(json!("VIP"));
    assert_eq!(told_of_change(&def, Part::Status, &service, change), [warning]);
    let def = crate::def("ingresses");
    let ingress = new(&def, example(&def));
    let change = |ingress: &mut Value| ingress["status"] = balanced(Value::Null);
    assert_eq!(told_of_change(&def, Part::Status, &ingress, change), [warning]);
}

#[test]
fn of_an_ingress_class_in_an_annotation() {
    let ingress = |class: &str| {
        format!(
            "
metadata: {{name: a, annotations: {{kubernetes.io/ingress.class: nginx}}}}
spec: {{{class} defaultBackend: {{service: {{name: s, port: {{number: 80}}}}}}}}
"
        )
    };
    let warning = "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead";
    check("ingresses", &ingress(""), &[warning]);
    check("ingresses", &ingress("ingressClassName: nginx,"), &[]);
}

#[test]
fn of_quotas_that_request_more_than_their_limits() {
    let def = def("resourcequotas");
    let given = "{metadata: {name: a}, spec: {hard: {cpu: 2, limits.cpu: 1, requests.memory: 1, limits.memory: 2}}}";
    let quota = new(&def, yaml(given));
    let warning = "ResourceQuota cpu (2) should be less than limits.cpu (1)";
    assert_eq!(told(&def, Part::Main, &quota, None), [warning]);
    assert_eq!(told(&def, Part::Main, &quota, Some(&quota)), [""; 0]);
}

#[test]
fn of_addresses_of_nodes_endpoints_and_policies() {
    check(
        "nodes",
        "{metadata: {name: a}, spec: {configSource: {}, externalID: x, podCIDRs: [10.1.0.1/16, 'FD00::/64']}}",
        &[
            "spec.configSource: the feature is removed",
            "spec.externalID: this field is deprecated, and is unused by Kubernetes",
            "spec.podCIDRs[0]: CIDR value \"10.1.0.1/16\" is ambiguous in this context (should be \"10.1.0.0/16\" or \"10.1.0.1/32\"?)",
            "spec.podCIDRs[1]: IPv6 CIDR value \"FD00::/64\" should be in RFC 5952 canonical format (\"fd00::/64\")",
        ],
    );
    let endpoints = |labels: &str| {
        format!(
            "
metadata: {{name: a, labels: {{{labels}}}}}
subsets: [{{addresses: [{{ip: 192.0.2.1}}, {{ip: 'FD00::1'}}], notReadyAddresses: [{{ip: 'FD00::2'}}]}}]
"
        )
    };
    check(
        "endpoints",
        &endpoints(""),
        &[
            "subsets[0].addresses[1].ip: IPv6 address \"FD00::1\" should be in RFC 5952 canonical format (\"fd00::1\")",
            "subsets[0].notReadyAddresses[0].ip: IPv6 address \"FD00::2\" should be in RFC 5952 canonical format (\"fd00::2\")",
        ],
    );
    let managed = "endpoints.kubernetes.io/managed-by: endpoint-controller";
    check("endpoints", &endpoints(managed), &[]);
    check(
        "endpointslices",
        "{metadata: {name: a}, addressType: IPv6, endpoints: [{addresses: ['FD00::1']}]}",
        &[
            "endpoints[0].addresses[0]: IPv6 address \"FD00::1\" should be in RFC 5952 canonical format (\"fd00::1\")",
        ],
    );
    check(
        "endpointslices",
        "{metadata: {name: a}, addressType: FQDN, endpoints: [{addresses: [a.example.com]}]}",
        &["spec.addressType: FQDN endpoints are deprecated"],
    );
    check(
        "networkpolicies",
        "
metadata: {name: a}
spec:
  ingress: [{from: [{podSelector: {}}, {ipBlock: {cidr: 'FD00::/8', except: ['FD12::/16']}}]}]
  egress: [{to: [{ipBlock: {cidr: 'FD00::/8'}}]}]
",
        &[
            "spec.ingress[0].from[1].ipBlock.cidr: IPv6 CIDR value \"FD00::/8\" should be in RFC 5952 canonical format (\"fd00::/8\")",
            "spec.ingress[0].from[1].ipBlock.except[0]: IPv6 CIDR value \"FD12::/16\" should be in RFC 5952 canonical format (\"fd12::/16\")",
            "spec.egress[0].to[0].ipBlock.cidr: IPv6 CIDR value \"FD00::/8\" should be in RFC 5952 canonical format (\"fd00::/8\")",
        ],
    );
}

#[test]
fn of_storage() {
    check(
        "persistentvolumes",
        "
metadata:
  name: a
  annotations: {volume.beta.kubernetes.io/storage-class: s, volume.beta.kubernetes.io/mount-options: o}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Recycle
  nodeAffinity:
    required: {nodeSelectorTerms: [{matchExpressions: [{key: beta.kubernetes.io/os, operator: Exists}]}]}
  cephfs: {monitors: [m]}
",
        &[
            "metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8; use \"storageClassName\" attribute instead",
            "metadata.annotations[volume.beta.kubernetes.io/mount-options]: deprecated since v1.31; use \"mountOptions\" attribute instead",
            "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.",
            &format!("spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].key: beta.kubernetes.io/os is {OLD_LABEL}"),
            "spec.cephfs: deprecated in v1.28, non-functional in v1.31+",
        ],
    );
    check(
        "persistentvolumeclaims",
        "
metadata: {name: a, annotations: {volume.beta.kubernetes.io/storage-class: s}}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}, limits: {storage: 1.5}}}
",
        &[
            "metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8; use \"storageClassName\" attribute instead",
            "spec.resources.limits[storage]: fractional byte value \"1500m\" is invalid, must be an integer",
        ],
    );
    check(
        "storageclasses",
        "
metadata: {name: a}
provisioner: example.com/disks
allowedTopologies: [{matchLabelExpressions: [{key: beta.kubernetes.io/os, values: [linux]}]}]
",
        &[&format!("allowedTopologies[0].matchLabelExpressions[0].key: {OLD_LABEL}")],
    );
    check(
        "csistoragecapacities",
        "
metadata: {name: a}
storageClassName: s
nodeTopology:
  matchExpressions: [{key: beta.kubernetes.io/os, operator: Exists}]
  matchLabels: {beta.kubernetes.io/os: linux}
",
        &[
            &format!("nodeTopology.matchExpressions[0].key: beta.kubernetes.io/os is {OLD_LABEL}"),
            &format!("nodeTopology.matchLabels.beta.kubernetes.io/os: {OLD_LABEL}"),
        ],
    );
}

#[test]
fn of_a_driver_whose_tokens_are_no_secrets() {
    let def = def("csidrivers");
    let mut given = example(&def);
    given["spec"]["tokenRequests"] = json!([{"audience": "a"}]);
    let driver = new(&def, given);
    let warning = "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible logging of tokens in volume attributes";
    assert_eq!(told(&def, Part::Main, &driver, None), [warning]);
    assert_eq!(told(&def, Part::Main, &driver, Some(&driver)), [""; 0]);
    let request = |driver: &mut Value| driver["spec"]["tokenRequests"][0]["audience"] = json!("b");
    assert_eq!(told_of_change(&def, Part::Main, &driver, request), [warning]);
}

#[test]
fn of_classes_of_runtimes_and_drivers_of_devices() {
    check(
        "runtimeclasses",
        "{metadata: {name: a}, handler: a, scheduling: {nodeSelector: {beta.kubernetes.io/os: linux}}}",
        &[&format!("scheduling.nodeSelector: {OLD_LABEL}")],
    );
    let mut slice = example(&def("resourceslices"));
    slice["spec"]["driver"] = json!("GPU.example.com");
    assert_eq!(
        told_of_new("resourceslices", slice),
        [
            "spec.driver: driver names should be lowercase; \"GPU.example.com\" contains uppercase characters"
        ]
    );
}

#[test]
fn of_a_certificate_without_its_key() {
    check(
        "secrets",
        "{metadata: {name: a}, type: kubernetes.io/tls, stringData: {tls.crt: x, tls.key: x}}",
        &["tls: failed to find any PEM data in certificate input"],
    );
}

#[test]
fn of_an_account_that_is_limited_from_now_on() {
    let def = def("serviceaccounts");
    let limit = |account: &mut Value| {
        account["metadata"]["annotations"] =
            json!({"kubernetes.io/enforce-mountable-secrets": "true"});
    };
    let mut given = example(&def);
    let account = new(&def, given.clone());
    limit(&mut given);
    let limited = new(&def, given);
    let warning = "metadata.annotations[kubernetes.io/enforce-mountable-secrets]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets";
    assert_eq!(told(&def, Part::Main, &limited, None), [warning]);
    assert_eq!(told_of_change(&def, Part::Main, &account, limit), [warning]);
    assert_eq!(told_of_change(&def, Part::Main, &limited, |_| {}), [""; 0]);
}

#[test]
fn of_names_that_servers_keep_for_their_files() {
    for plural in [
        "mutatingadmissionpolicies",
        "mutatingadmissionpolicybindings",
        "mutatingwebhookconfigurations",
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
        "validatingwebhookconfigurations",
    ] {
        let mut given = example(&def(plural));
        given["metadata"]["name"] = json!("a.static.k8s.io");
        let warning = "metadata.name: names ending with \".static.k8s.io\" are reserved for static manifest-based configurations and cannot be managed via the API";
        assert_eq!(told_of_new(plural, given), [warning], "{plural}");
    }
}

#[test]
fn of_formats_that_nothing_is_validated_by() {
    let def = def("customresourcedefinitions");
    let mut given = example(&def);
    let fields = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    let add = |definition: &mut Value, name: &str, schema: Value| {
        definition.pointer_mut(fields).unwrap()[name] = schema;
    };
    for (name, type_, format) in [
        ("a", "string", "date-time"),
        ("b", "string", "k8s-short-name"),
        ("c", "integer", "int32"),
        ("d", "number", "double"),
        ("e", "integer", "uint8"),
    ] {
        add(&mut given, name, json!({"type": type_, "format": format}));
    }
    add(
        &mut given,
        "f",
        json!({"type": "array", "items": {"type": "string", "format": "made-up"}}),
    );
    let definition = new(&def, given);
    assert_eq!(
        told(&def, Part::Main, &definition, None),
        ["unrecognized format \"uint8\"", "unrecognized format \"made-up\""]
    );
    let another = |definition: &mut Value| {
        add(definition, "g", json!({"type": "boolean", "format": "yes-no"}));
    };
    let told = told_of_change(&def, Part::Main, &definition, another);
    assert_eq!(told, ["unrecognized format \"yes-no\""]);
}

#[test]
fn of_finalizers_of_custom_resources_without_a_domain() {
    let def = custom(&json!({"type": "object"})).build().unwrap();
    let with = |finalizers: &[&str]| json!({"metadata": {"name": "a", "finalizers": finalizers}});
    let object = new(&def, with(&["b.c", "a", "kubernetes", "example.com/a"]));
    let prefer = "prefer a domain-qualified finalizer name";
    let why = "to avoid accidental conflicts with other finalizer writers";
    assert_eq!(
        told(&def, Part::Main, &object, None),
        [
            format!("metadata.finalizers: \"a\": {prefer} {why}"),
            format!("metadata.finalizers: \"b.c\": {prefer} including a path (/) {why}"),
        ]
    );
    let another = |object: &mut Value| object["metadata"]["finalizers"][3] = json!("d");
    assert_eq!(
        told_of_change(&def, Part::Main, &object, another),
        [format!("metadata.finalizers: \"d\": {prefer} {why}")]
    );
}
