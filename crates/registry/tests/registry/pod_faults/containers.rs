//! What containers are told, how they are looked after, and what they take.

use super::{of_containers, of_specs};

#[test]
fn of_probes_and_hooks() {
    of_containers(&[
        (
            "livenessProbe: {grpc: {port: 0}, terminationGracePeriodSeconds: 0}",
            "livenessProbe.grpc.port: Invalid value: 0: must be between 1 and 65535, inclusive
livenessProbe.terminationGracePeriodSeconds: Invalid value: 0: must be greater than 0",
        ),
        (
            "livenessProbe: {exec: {command: [a]}, grpc: {port: 0}}",
            "livenessProbe.grpc: Forbidden: may not specify more than 1 handler type",
        ),
        (
            "readinessProbe: {tcpSocket: {port: '-'}, terminationGracePeriodSeconds: 1}",
            "readinessProbe.tcpSocket.port: Invalid value: \"-\": must contain at least one letter (a-z)
readinessProbe.tcpSocket.port: Invalid value: \"-\": must not begin or end with a hyphen
readinessProbe.terminationGracePeriodSeconds: Invalid value: 1: must not be set for readinessProbes",
        ),
        (
            "startupProbe: {successThreshold: 2, httpGet: {port: 80, scheme: FTP, httpHeaders: [{name: a b, value: c}]}}",
            "startupProbe.httpGet.scheme: Unsupported value: \"FTP\": supported values: \"HTTP\", \"HTTPS\"
startupProbe.httpGet.httpHeaders: Invalid value: \"a b\": <header>
startupProbe.successThreshold: Invalid value: 2: must be 1",
        ),
        (
            "{readinessProbe: {successThreshold: 2, httpGet: {port: web}}, livenessProbe: {grpc: {port: 1}, terminationGracePeriodSeconds: 1}}",
            "",
        ),
        ("lifecycle: {postStart: {}}", "lifecycle.postStart: Required value: must specify a handler type"),
        (
            "lifecycle: {preStop: {sleep: {seconds: 31}}}",
            "lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)",
        ),
        (
            "lifecycle: {preStop: {exec: {command: [a]}, sleep: {seconds: -1}}}",
            "lifecycle.preStop.sleep: Forbidden: may not specify more than 1 handler type",
        ),
        ("lifecycle: {preStop: {sleep: {seconds: 0}}}", ""),
        (
            "lifecycle: {stopSignal: SIGTERM}",
            "lifecycle.stopSignal: Forbidden: may not be set for containers with empty `spec.os.name`",
        ),
    ]);
    of_specs(&[
        (
            "{os: {name: windows}, containers: [{name: a, image: x, lifecycle: {stopSignal: SIGHUP}}]}",
            "containers[0].lifecycle.stopSignal: Unsupported value: \"SIGHUP\": supported values: \"SIGKILL\", \"SIGTERM\"",
        ),
        (
            "{os: {name: linux}, containers: [{name: a, image: x, lifecycle: {stopSignal: SIGRTMIN+1}}]}",
            "",
        ),
    ]);
}

#[test]
fn of_variables() {
    for (source, expected) in [
        (
            "fieldRef: {fieldPath: metadata.labels}",
            ".fieldRef.fieldPath: Unsupported value: \"metadata.labels\": supported values: \"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", \"spec.serviceAccountName\", \"status.hostIP\", \"status.hostIPs\", \"status.podIP\", \"status.podIPs\"",
        ),
        (
            "fieldRef: {fieldPath: a, apiVersion: v2}",
            ".fieldRef.fieldPath: Invalid value: \"a\": error converting fieldPath: unsupported pod version: v2",
        ),
        (
            "resourceFieldRef: {resource: limits.disk}",
            ".resourceFieldRef.resource: Unsupported value: \"limits.disk\": supported values: \"limits.cpu\", \"limits.ephemeral-storage\", \"limits.memory\", \"requests.cpu\", \"requests.ephemeral-storage\", \"requests.memory\"",
        ),
        (
            "resourceFieldRef: {resource: limits.memory, divisor: 2Mi}",
            ".resourceFieldRef.divisor: Invalid value: \"limits.memory\": only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the memory resource",
        ),
        (
            "configMapKeyRef: {name: '', key: ''}",
            ".configMapKeyRef.name: Invalid value: \"\": <subdomain>
.configMapKeyRef.key: Required value",
        ),
        (
            "configMapKeyRef: {name: a, key: b}, secretKeyRef: {name: a, key: b}",
            ": Invalid value: \"\": may not have more than one field specified at a time",
        ),
        (
            "fileKeyRef: {volumeName: v, path: ../a, key: A=}",
            ".fileKeyRef.key: Invalid value: \"A=\": <variable>
.fileKeyRef.path: Invalid value: \"../a\": must not contain '..'
.fileKeyRef.volumeName: Not found: \"v\"",
        ),
        ("fieldRef: {fieldPath: \"metadata.annotations['A']\"}", ""),
        ("resourceFieldRef: {resource: requests.hugepages-2Mi, divisor: 1k}", ""),
    ] {
        let given = format!("env: [{{name: A, valueFrom: {{{source}}}}}]");
        let lines = expected.lines().map(|line| format!("env[0].valueFrom{line}"));
        let expected = lines.collect::<Vec<_>>().join("\n");
        of_containers(&[(given.as_str(), expected.as_str())]);
    }
    of_containers(&[
        (
            "envFrom: [{}]",
            "envFrom: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`",
        ),
        (
            "envFrom: [{prefix: A=, configMapRef: {name: ''}, secretRef: {name: A}}]",
            "envFrom[0].prefix: Invalid value: \"A=\": <variable>
envFrom[0].configMapRef.name: Required value
envFrom[0].secretRef.name: Invalid value: \"A\": <subdomain>
envFrom: Invalid value: \"\": may not have more than one field specified at a time",
        ),
        ("envFrom: [{prefix: A_, configMapRef: {name: a}}]", ""),
    ]);
}

#[test]
fn of_files_that_variables_are_in() {
    let variable = "containers: [{name: a, image: x, env: [{name: A, valueFrom: {fileKeyRef: {volumeName: v, path: a/b, key: A}}}]}]";
    let path = "containers[0].env[0].valueFrom.fileKeyRef.volumeName";
    for (source, expected) in [
        ("emptyDir: {}", String::new()),
        (
            "configMap: {name: a}",
            format!("{path}: Invalid value: \"v\": referenced volume must be of type emptyDir"),
        ),
    ] {
        let given = format!("{{{variable}, volumes: [{{name: v, {source}}}]}}");
        of_specs(&[(given.as_str(), expected.as_str())]);
    }
}

#[test]
fn of_ports_and_policies() {
    of_containers(&[
        (
            "ports: [{containerPort: 80, name: web}, {containerPort: 81, name: web, hostPort: 65536}]",
            "ports[1].name: Duplicate value: \"web\"
ports[1].hostPort: Invalid value: 65536: must be between 1 and 65535, inclusive",
        ),
        (
            "ports: [{containerPort: 80, hostPort: 80}, {containerPort: 81, hostPort: 80}, {containerPort: 82, hostPort: 80, protocol: UDP}, {containerPort: 83, hostPort: 80, hostIP: 127.0.0.1}]",
            "ports[1].hostPort: Duplicate value: \"TCP//80\"",
        ),
        (
            "terminationMessagePolicy: A",
            "terminationMessagePolicy: Unsupported value: \"A\": supported values: \"File\", \"FallbackToLogsOnError\"",
        ),
        (
            "restartPolicy: Sometimes",
            "restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"Never\", \"OnFailure\"",
        ),
        (
            "restartPolicyRules: [{action: Restart}]",
            "restartPolicy: Required value: must specify restartPolicy when restart rules are used
restartPolicyRules[0].exitCodes: Required value: must be specified",
        ),
        (
            "{restartPolicy: Never, restartPolicyRules: [{action: Stop, exitCodes: {operator: Is, values: [1]}}]}",
            "restartPolicyRules[0].action: Unsupported value: \"Stop\": supported values: \"Restart\", \"RestartAllContainers\"
restartPolicyRules[0].exitCodes.operator: Unsupported value: \"Is\": supported values: \"In\", \"NotIn\"",
        ),
        (
            "{restartPolicy: Never, restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [1]}}]}",
            "",
        ),
    ]);
    of_specs(&[
        (
            "initContainers: [{name: b, image: x, resizePolicy: [{resourceName: cpu, restartPolicy: RestartContainer}]}]",
            "initContainers[0].resizePolicy[0].restartPolicy: Invalid value: \"RestartContainer\": must not be set to 'RestartContainer' for non-sidecar initContainers",
        ),
        (
            "initContainers: [{name: b, image: x, restartPolicy: Always, livenessProbe: {exec: {}}}]",
            "initContainers[0].livenessProbe.exec.command: Required value",
        ),
    ]);
}

#[test]
fn of_what_containers_take() {
    of_containers(&[
        (
            "resources: {requests: {example.com/gpu: 1}}",
            "resources.limits: Required value: Limit must be set for non overcommitable resources",
        ),
        (
            "resources: {requests: {example.com/gpu: 1}, limits: {example.com/gpu: 2}}",
            "resources.requests: Invalid value: \"1\": must be equal to example.com/gpu limit of 2",
        ),
        (
            "resources: {limits: {example.com/gpu: 500m}}",
            "resources.limits[example.com/gpu]: Invalid value: \"500m\": must be an integer
resources.requests[example.com/gpu]: Invalid value: \"500m\": must be an integer",
        ),
        (
            "resources: {limits: {requests.example.com/gpu: 1}}",
            "resources.limits[requests.example.com/gpu]: Invalid value: \"requests.example.com/gpu\": doesn't follow extended resource name standard
resources.requests[requests.example.com/gpu]: Invalid value: \"requests.example.com/gpu\": doesn't follow extended resource name standard",
        ),
        (
            "resources: {limits: {hugepages-2Mi: 2Mi}}",
            "resources: Forbidden: HugePages require cpu or memory",
        ),
        (
            "resources: {limits: {hugepages-2Mi: 3Mi, memory: 1Gi}}",
            "resources.limits[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not positive integer multiple of hugepages-2Mi
resources.requests[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not positive integer multiple of hugepages-2Mi",
        ),
        (
            "resources: {limits: {pods: 1}}",
            "resources.limits[pods]: Invalid value: \"pods\": must be a standard resource for containers
resources.requests[pods]: Invalid value: \"pods\": must be a standard resource for containers",
        ),
        (
            "resources: {claims: [{name: a}]}",
            "resources.claims[0]: Not found: \"a\": must be one of the names in pod.spec.resourceClaims which is empty",
        ),
        (
            "resources: {limits: {cpu: 1, hugepages-2Mi: 4Mi, example.com/gpu: 2}, requests: {cpu: 500m}}",
            "",
        ),
    ]);
}

#[test]
fn of_claims_to_devices() {
    let containers = |claims: &str| {
        format!("containers: [{{name: a, image: x, resources: {{claims: [{claims}]}}}}]")
    };
    of_specs(&[
        (
            "resourceClaims: [{name: a}]",
            "resourceClaims[0]: Invalid value: {\"name\":\"a\"}: must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
        ),
        (
            "resourceClaims: [{name: a, resourceClaimName: b, resourceClaimTemplateName: c}]",
            "resourceClaims[0]: Invalid value: {\"name\":\"a\",\"resourceClaimName\":\"b\",\"resourceClaimTemplateName\":\"c\"}: at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified",
        ),
        (
            "resourceClaims: [{name: A, resourceClaimName: B}, {name: A, resourceClaimName: b}]",
            "resourceClaims[0].name: Invalid value: \"A\": <label>
resourceClaims[0].resourceClaimName: Invalid value: \"B\": <subdomain>
resourceClaims[1].name: Duplicate value: \"A\"",
        ),
    ]);
    for (claims, expected) in [
        ("{name: a}, {name: b, request: r}", ""),
        (
            "{name: a}, {name: a, request: r}",
            "containers[0].resources.claims[1]: Duplicate value: \"a\"",
        ),
        (
            "{name: a, request: r}, {name: a, request: r}",
            "containers[0].resources.claims[1]: Duplicate value: \"a/r\"",
        ),
        (
            "{name: a, request: r}, {name: a}",
            "containers[0].resources.claims[1]: Duplicate value: \"a\"",
        ),
        (
            "{name: c}",
            "containers[0].resources.claims[0]: Not found: \"c\": must be one of the names in pod.spec.resourceClaims: a, b",
        ),
    ] {
        let all = "[{name: a, resourceClaimName: a}, {name: b, resourceClaimTemplateName: b}]";
        let given = format!("{{resourceClaims: {all}, {}}}", containers(claims));
        of_specs(&[(given.as_str(), expected)]);
    }
}
