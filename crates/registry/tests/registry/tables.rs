//! The tables of all kinds.

use expect_test::{Expect, expect};
use serde_json::Value;

use crate::{def, now, yaml};

/// `HEADING[*]=cell`, a star for columns that are only shown wide.
pub(crate) fn check(plural: &str, object: &str, expected: &Expect) {
    let def = def(plural);
    let cells = def.row(&yaml(object), now()).unwrap();
    let cell = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
    let line = |(c, v): (&registry::Column, &Value)| {
        format!("{}{}: {}\n", c.name.to_uppercase(), if c.priority > 0 { "*" } else { "" }, cell(v))
    };
    expected.assert_eq(&def.columns.iter().zip(&cells).map(line).collect::<String>());
}

const BORN: &str = "creationTimestamp: '2026-01-01T00:00:00Z'";

#[test]
fn pods() {
    let pod = format!(
        "{{metadata: {{name: web, {BORN}}}, spec: {{nodeName: n1, containers: [{{name: a}}]}}, status: {{phase: Running, podIP: 10.244.0.7, containerStatuses: [{{ready: true, state: {{running: {{}}}}}}]}}}}"
    );
    check(
        "pods",
        &pod,
        &expect![[r#"
        NAME: web
        READY: 1/1
        STATUS: Running
        RESTARTS: 0
        AGE: 60m
        IP*: 10.244.0.7
        NODE*: n1
        NOMINATED NODE*: <none>
        READINESS GATES*: <none>
    "#]],
    );
}

#[test]
fn nodes() {
    let node = format!("
metadata: {{name: n1, {BORN}, labels: {{node-role.kubernetes.io/control-plane: '', kubernetes.io/role: worker}}}}
spec: {{unschedulable: true}}
status:
  conditions: [{{type: Ready, status: 'True'}}]
  addresses: [{{type: Hostname, address: h}}, {{type: InternalIP, address: 192.168.0.2}}]
  nodeInfo: {{kubeletVersion: v0.1.0, osImage: Debian 12, kernelVersion: '', containerRuntimeVersion: docker://26}}
");
    check(
        "nodes",
        &node,
        &expect![[r#"
        NAME: n1
        STATUS: Ready,SchedulingDisabled
        ROLES: control-plane,worker
        AGE: 60m
        VERSION: v0.1.0
        INTERNAL-IP*: 192.168.0.2
        EXTERNAL-IP*: <none>
        OS-IMAGE*: Debian 12
        KERNEL-VERSION*: <unknown>
        CONTAINER-RUNTIME*: docker://26
    "#]],
    );
    check(
        "nodes",
        "{metadata: {name: n}, status: {conditions: [{type: Ready, status: Unknown}]}}",
        &expect![[r#"
            NAME: n
            STATUS: NotReady
            ROLES: <none>
            AGE: <unknown>
            VERSION: 
            INTERNAL-IP*: <none>
            EXTERNAL-IP*: <none>
            OS-IMAGE*: <unknown>
            KERNEL-VERSION*: <unknown>
            CONTAINER-RUNTIME*: <unknown>
        "#]],
    );
    check(
        "nodes",
        "{metadata: {name: n}}",
        &expect![[r#"
        NAME: n
        STATUS: Unknown
        ROLES: <none>
        AGE: <unknown>
        VERSION: 
        INTERNAL-IP*: <none>
        EXTERNAL-IP*: <none>
        OS-IMAGE*: <unknown>
        KERNEL-VERSION*: <unknown>
        CONTAINER-RUNTIME*: <unknown>
    "#]],
    );
}

#[test]
fn namespaces() {
    check(
        "namespaces",
        &format!("{{metadata: {{name: default, {BORN}}}, status: {{phase: Active}}}}"),
        &expect![[r#"
            NAME: default
            STATUS: Active
            AGE: 60m
        "#]],
    );
}

#[test]
fn replica_sets() {
    let set = format!("
metadata: {{name: web, {BORN}}}
spec: {{replicas: 3, selector: {{matchLabels: {{app: web}}}}, template: {{spec: {{containers: [{{name: a, image: nginx}}, {{name: b, image: redis}}]}}}}}}
status: {{replicas: 3, readyReplicas: 2}}
");
    check(
        "replicasets",
        &set,
        &expect![[r#"
        NAME: web
        DESIRED: 3
        CURRENT: 3
        READY: 2
        AGE: 60m
        CONTAINERS*: a,b
        IMAGES*: nginx,redis
        SELECTOR*: app=web
    "#]],
    );
}

#[test]
fn deployments() {
    let deployment = format!("
metadata: {{name: web, {BORN}}}
spec: {{replicas: 3, selector: {{matchLabels: {{app: web}}}}, template: {{spec: {{containers: [{{name: a, image: nginx}}]}}}}}}
status: {{replicas: 4, readyReplicas: 3, updatedReplicas: 1, availableReplicas: 2}}
");
    check(
        "deployments",
        &deployment,
        &expect![[r#"
        NAME: web
        READY: 3/3
        UP-TO-DATE: 1
        AVAILABLE: 2
        AGE: 60m
        CONTAINERS*: a
        IMAGES*: nginx
        SELECTOR*: app=web
    "#]],
    );
}

#[test]
fn services() {
    let service = |spec: &str| format!("{{metadata: {{name: web, {BORN}}}, spec: {spec}}}");
    check(
        "services",
        &service(
            "{type: ClusterIP, clusterIP: 10.96.0.9, clusterIPs: [10.96.0.9], selector: {app: web, tier: front}, ports: [{port: 80, protocol: TCP}, {port: 53, protocol: UDP}]}",
        ),
        &expect![[r#"
            NAME: web
            TYPE: ClusterIP
            CLUSTER-IP: 10.96.0.9
            EXTERNAL-IP: <none>
            PORT(S): 80/TCP,53/UDP
            AGE: 60m
            SELECTOR*: app=web,tier=front
        "#]],
    );
    check(
        "services",
        &service(
            "{type: NodePort, clusterIPs: [10.96.0.9], externalIPs: [1.2.3.4], ports: [{port: 80, nodePort: 30080, protocol: TCP}]}",
        ),
        &expect![[r#"
            NAME: web
            TYPE: NodePort
            CLUSTER-IP: 10.96.0.9
            EXTERNAL-IP: 1.2.3.4
            PORT(S): 80:30080/TCP
            AGE: 60m
            SELECTOR*: <none>
        "#]],
    );
    check(
        "services",
        &service("{type: LoadBalancer, clusterIPs: [None]}"),
        &expect![[r#"
        NAME: web
        TYPE: LoadBalancer
        CLUSTER-IP: None
        EXTERNAL-IP: <pending>
        PORT(S): <none>
        AGE: 60m
        SELECTOR*: <none>
    "#]],
    );
    check(
        "services",
        &format!(
            "{{metadata: {{name: web, {BORN}}}, spec: {{type: LoadBalancer, clusterIPs: [10.96.0.9], externalIPs: [1.2.3.4], ports: [{{port: 80, nodePort: 30080, protocol: TCP}}, {{port: 53, nodePort: 30080, protocol: UDP}}]}}, status: {{loadBalancer: {{ingress: [{{ip: 203.0.113.9}}, {{hostname: lb.example}}, {{ip: 203.0.113.10}}]}}}}}}"
        ),
        &expect![[r#"
            NAME: web
            TYPE: LoadBalancer
            CLUSTER-IP: 10.96.0.9
            EXTERNAL-IP: 203.0.113.10,203.0.113.9,lb.example,1.2.3.4
            PORT(S): 80:30080/TCP,53:30080/UDP
            AGE: 60m
            SELECTOR*: <none>
        "#]],
    );
    check(
        "services",
        &service("{type: ExternalName, externalName: example.com}"),
        &expect![[r#"
        NAME: web
        TYPE: ExternalName
        CLUSTER-IP: <none>
        EXTERNAL-IP: example.com
        PORT(S): <none>
        AGE: 60m
        SELECTOR*: <none>
    "#]],
    );
}

#[test]
fn endpoints() {
    check(
        "endpoints",
        &format!("{{metadata: {{name: web, {BORN}}}}}"),
        &expect![[r#"
        NAME: web
        ENDPOINTS: <none>
        AGE: 60m
    "#]],
    );
    check(
        "endpoints",
        "{metadata: {name: web}, subsets: [{addresses: [{ip: 10.0.0.1}, {ip: '::1'}], ports: [{port: 80}, {port: 81}]}]}",
        &expect![[r#"
            NAME: web
            ENDPOINTS: 10.0.0.1:80,[::1]:80,10.0.0.1:81 + 1 more...
            AGE: <unknown>
        "#]],
    );
    check(
        "endpoints",
        "{metadata: {name: web}, subsets: [{addresses: [{ip: 10.0.0.1}]}]}",
        &expect![[r#"
            NAME: web
            ENDPOINTS: 10.0.0.1
            AGE: <unknown>
        "#]],
    );
    check(
        "endpointslices",
        "{metadata: {name: web-1}, addressType: IPv4, ports: [{port: 80}, {}], endpoints: [{addresses: [10.0.0.1]}, {addresses: [10.0.0.2]}, {addresses: [10.0.0.3]}, {addresses: [10.0.0.4]}]}",
        &expect![[r#"
            NAME: web-1
            ADDRESSTYPE: IPv4
            PORTS: 80,*
            ENDPOINTS: 10.0.0.1,10.0.0.2,10.0.0.3 + 1 more...
            AGE: <unknown>
        "#]],
    );
    check(
        "endpointslices",
        "{metadata: {name: web-1}, addressType: IPv4}",
        &expect![[r#"
        NAME: web-1
        ADDRESSTYPE: IPv4
        PORTS: <unset>
        ENDPOINTS: <unset>
        AGE: <unknown>
    "#]],
    );
}

#[test]
fn events() {
    let event = "
metadata: {name: web.1}
involvedObject: {kind: Pod, name: web, fieldPath: 'spec.containers{a}'}
type: Warning
reason: BackOff
message: ' Back-off restarting failed container '
source: {component: kubelet, host: n1}
firstTimestamp: '2026-01-01T00:00:00Z'
lastTimestamp: '2026-01-01T00:58:00Z'
count: 12
";
    check(
        "events",
        event,
        &expect![[r#"
        LAST SEEN: 2m
        TYPE: Warning
        REASON: BackOff
        OBJECT: pod/web
        SUBOBJECT*: spec.containers{a}
        SOURCE*: kubelet, n1
        MESSAGE: Back-off restarting failed container
        FIRST SEEN*: 60m
        COUNT*: 12
        NAME*: web.1
    "#]],
    );
    check(
        "events",
        "{metadata: {name: e}, involvedObject: {kind: Node}, eventTime: '2026-01-01T00:59:00.000000Z', reportingComponent: scheduler}",
        &expect![[r#"
            LAST SEEN: 60s
            TYPE: 
            REASON: 
            OBJECT: node
            SUBOBJECT*: 
            SOURCE*: scheduler
            MESSAGE: 
            FIRST SEEN*: 60s
            COUNT*: 1
            NAME*: e
        "#]],
    );
}

#[test]
fn configuration() {
    check(
        "configmaps",
        "{metadata: {name: a}, data: {a: x, b: x}, binaryData: {c: eA==}}",
        &expect![[r#"
            NAME: a
            DATA: 3
            AGE: <unknown>
        "#]],
    );
    check(
        "secrets",
        "{metadata: {name: a}, type: Opaque, data: {a: eA==}}",
        &expect![[r#"
        NAME: a
        TYPE: Opaque
        DATA: 1
        AGE: <unknown>
    "#]],
    );
    check(
        "serviceaccounts",
        "{metadata: {name: default}}",
        &expect![[r#"
        NAME: default
        SECRETS: 0
        AGE: <unknown>
    "#]],
    );
    check(
        "leases",
        "{metadata: {name: n1}, spec: {holderIdentity: n1}}",
        &expect![[r#"
        NAME: n1
        HOLDER: n1
        AGE: <unknown>
    "#]],
    );
}

#[test]
fn our_kinds() {
    check(
        "dnses",
        "{metadata: {name: shop}, spec: {host: shop.example, paths: [{path: /, service: {name: web, port: 80}}, {path: /api, service: {name: api, port: 8080}}]}, status: {address: 10.96.1.1, conditions: [{type: Ready, status: 'True', reason: '', message: '', lastTransitionTime: '2026-01-01T00:00:00Z'}]}}",
        &expect![[r#"
            NAME: shop
            HOST: shop.example
            PATHS: /→web:80,/api→api:8080
            ADDRESS: 10.96.1.1
            READY: True
            AGE: <unknown>
        "#]],
    );
    check(
        "functions",
        "{metadata: {name: add}, spec: {runtime: python, maxScale: 10}, status: {version: 3, replicas: 2, readyReplicas: 1, url: 'http://host:8081/add', conditions: [{type: Built, status: 'False', reason: '', message: '', lastTransitionTime: '2026-01-01T00:00:00Z'}, {type: Ready, status: 'True', reason: '', message: '', lastTransitionTime: '2026-01-01T00:00:00Z'}]}}",
        &expect![[r#"
            NAME: add
            READY: True
            INSTANCES: 1/2
            URL: http://host:8081/add
            VERSION: 3
            AGE: <unknown>
            RUNTIME*: python
            MAX*: 10
        "#]],
    );
    check(
        "functions",
        "{metadata: {name: new}}",
        &expect![[r#"
            NAME: new
            READY: Unknown
            INSTANCES: 0/0
            URL: <none>
            VERSION: <none>
            AGE: <unknown>
            RUNTIME*: 
            MAX*: null
        "#]],
    );
    check(
        "gpujobs",
        "{metadata: {name: add}, spec: {numGpus: 1}, status: {state: RUNNING, jobId: '4711', partition: dgx2, podName: add-gpu, tasks: [{index: 0, jobId: '4710', elapsedSeconds: 5}, {index: 1, jobId: '4711', startTime: '2026-01-01T00:59:30Z', elapsedSeconds: 20}]}}",
        &expect![[r#"
            NAME: add
            STATE: RUNNING
            JOB ID: 4711
            PARTITION: dgx2
            ELAPSED: 30s
            EXIT CODE: <none>
            AGE: <unknown>
            POD*: add-gpu
            MESSAGE*: <none>
            GPUS*: 1
        "#]],
    );
    check(
        "gpujobs",
        "{metadata: {name: add}, spec: {gres: 'gpu:a100:2'}, status: {state: FAILED, jobId: '4711', exitCode: 0, message: m, tasks: [{index: 0, jobId: '4711', startTime: '2026-01-01T00:59:30Z', endTime: '2026-01-01T00:59:50Z', elapsedSeconds: 19}]}}",
        &expect![[r#"
            NAME: add
            STATE: FAILED
            JOB ID: 4711
            PARTITION: <none>
            ELAPSED: 19s
            EXIT CODE: 0
            AGE: <unknown>
            POD*: <none>
            MESSAGE*: m
            GPUS*: gpu:a100:2
        "#]],
    );
}

#[test]
fn workflows_and_their_runs() {
    check(
        "workflows",
        "{metadata: {name: w}, spec: {startAt: a, nodes: {a: {type: Task}}}, status: {lastRun: {name: w-1, phase: Failed, message: no}, active: 2, conditions: [{type: FunctionsExist, status: 'False', reason: FunctionsNotFound, message: m, lastTransitionTime: '2026-01-01T00:59:30Z'}]}}",
        &expect![[r#"
            NAME: w
            READY: FunctionsNotFound
            STATUS: Failed
            OUTPUT: <none>
            FINISHED: yes
            LAST RUN: w-1
            ACTIVE: 2
            AGE: <unknown>
            MESSAGE*: no
        "#]],
    );
    check(
        "workflowruns",
        "{metadata: {name: w-1}, spec: {workflow: w}, status: {phase: Running, startTime: '2026-01-01T00:59:30Z', steps: [{node: a}]}}",
        &expect![[r#"
            NAME: w-1
            WORKFLOW: w
            PHASE: Running
            STEPS: 1
            DURATION: 30s
            AGE: <unknown>
            OUTPUT*: <none>
            MESSAGE*: 
        "#]],
    );
}

#[test]
fn resource_quotas() {
    let status = "{hard: {pods: '5', limits.cpu: '2'}, used: {pods: '3'}}";
    let quota = format!("{{metadata: {{name: q, {BORN}}}, status: {status}}}");
    check(
        "resourcequotas",
        &quota,
        &expect![[r#"
        NAME: q
        REQUEST: pods: 3/5
        LIMIT: limits.cpu: 0/2
        AGE: 60m
    "#]],
    );
}

#[test]
fn certificate_signing_requests() {
    let check = |spec: &str, status: &str, expected: &Expect| {
        let csr = format!(
            "{{metadata: {{name: a, {BORN}}}, spec: {{signerName: example.com/x, username: jane, request: '', {spec}}}, status: {{{status}}}}}"
        );
        self::check("certificatesigningrequests", &csr, expected);
    };
    check(
        "expirationSeconds: 3600",
        "conditions: [{type: Approved, status: 'True'}], certificate: eA==",
        &expect![[r#"
        NAME: a
        AGE: 60m
        SIGNERNAME: example.com/x
        REQUESTOR: jane
        REQUESTEDDURATION: 60m
        CONDITION: Approved,Issued
    "#]],
    );
    check(
        "usages: []",
        "",
        &expect![[r#"
        NAME: a
        AGE: 60m
        SIGNERNAME: example.com/x
        REQUESTOR: jane
        REQUESTEDDURATION: <none>
        CONDITION: Pending
    "#]],
    );
}

#[test]
fn api_services() {
    let local =
        format!("{{metadata: {{name: v1.a.io, {BORN}}}, spec: {{group: a.io, version: v1}}}}");
    check(
        "apiservices",
        &local,
        &expect![[r#"
        NAME: v1.a.io
        SERVICE: Local
        AVAILABLE: Unknown
        AGE: 60m
    "#]],
    );
    let remote = format!("
metadata: {{name: v1.a.io, {BORN}}}
spec: {{group: a.io, version: v1, service: {{namespace: ns, name: api}}}}
status: {{conditions: [{{type: Other, status: 'True'}}, {{type: Available, status: 'False', reason: MissingEndpoints}}]}}
");
    check(
        "apiservices",
        &remote,
        &expect![[r#"
        NAME: v1.a.io
        SERVICE: ns/api
        AVAILABLE: False (MissingEndpoints)
        AGE: 60m
    "#]],
    );
}
