//! Ingresses and their classes: which are refused, what goes without saying, and how tables show them.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use crate::{context, create, def, now, try_create, update, update_status, yaml};

fn faults(error: &api_machinery::ApiError) -> String {
    let causes = error.status().details.as_ref().unwrap().causes.clone().unwrap_or_default();
    let line = |cause: &api_types::meta::StatusCause| {
        format!("{}: {}\n", cause.field.as_ref().unwrap(), cause.message.as_ref().unwrap())
    };
    causes.iter().map(line).collect()
}

fn check(plural: &str, object: &str, expected: &Expect) {
    let def = def(plural);
    expected.assert_eq(&faults(&try_create(&def, yaml(object), &context(&def)).unwrap_err()));
}

fn row(plural: &str, object: &str) -> Vec<String> {
    let cells = def(plural).row(&yaml(object), now()).unwrap();
    cells.iter().map(|cell| cell.as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_ingress_leads_somewhere() {
    check(
        "ingresses",
        "{metadata: {name: a}, spec: {}}",
        &expect![[r#"
            spec: Invalid value: null: either `defaultBackend` or `rules` must be specified
        "#]],
    );
    let rules = "
metadata: {name: a}
spec:
  ingressClassName: A_b
  defaultBackend: {}
  rules:
  - {host: 10.0.0.1, http: {paths: []}}
  - {host: 'a.*.b', http: {paths: [{path: /, backend: {service: {name: web, port: {number: 80}}}}]}}
  - {host: '*.Foo', http: {paths: [{path: '', pathType: Prefix, backend: {service: {name: web}}}]}}
  - {host: foo_bar, http: {paths: [{path: x, pathType: ImplementationSpecific, backend: {resource: {kind: '', name: a/b}}}]}}
  tls: [{hosts: ['*', ok.example], secretName: A}, {secretName: ''}]
";
    check(
        "ingresses",
        rules,
        &expect![[r#"
            spec.defaultBackend: Invalid value: "": resource or service backend is required
            spec.rules[0].host: Invalid value: "10.0.0.1": must be a DNS name, not an IP address
            spec.rules[0].http.paths: Required value
            spec.rules[1].host: Invalid value: "a.*.b": a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.rules[1].http.paths[0].pathType: Required value: pathType must be specified
            spec.rules[2].host: Invalid value: "*.Foo": a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.rules[2].http.paths[0].path: Invalid value: "": must be an absolute path
            spec.rules[2].http.paths[0].backend: Required value: port name or number is required
            spec.rules[3].host: Invalid value: "foo_bar": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.rules[3].http.paths[0].path: Invalid value: "x": must be an absolute path
            spec.rules[3].http.paths[0].backend.resource.kind: Required value
            spec.rules[3].http.paths[0].backend.resource.name: Invalid value: "a/b": may not contain '/'
            spec.tls[0].hosts[0]: Invalid value: "*": a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.tls[0].secretName: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.ingressClassName: Invalid value: "A_b": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        "#]],
    );
}

#[test]
fn a_backend_is_a_service_with_a_port_or_a_resource() {
    let both = "{service: {name: a, port: {number: 1}}, resource: {kind: K, name: n}}";
    let backends = [
        "{service: {name: '', port: {number: 80, name: http}}}",
        "{service: {name: -a, port: {number: 70000}}}",
        "{service: {name: 1a, port: {name: '-'}}}",
        both,
        "{resource: {apiGroup: A, kind: K, name: n}}",
    ];
    let path = |backend: &&str| format!("{{path: /, pathType: Exact, backend: {backend}}}");
    let paths: Vec<_> = backends.iter().map(path).collect();
    let object = format!(
        "{{metadata: {{name: a}}, spec: {{rules: [{{http: {{paths: [{}]}}}}]}}}}",
        paths.join(", ")
    );
    check(
        "ingresses",
        &object,
        &expect![[r#"
        spec.rules[0].http.paths[0].backend.service.name: Required value
        spec.rules[0].http.paths[0].backend: Invalid value: "": cannot set both port name & port number
        spec.rules[0].http.paths[1].backend.service.name: Invalid value: "-a": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        spec.rules[0].http.paths[1].backend.service.port.number: Invalid value: 70000: must be between 1 and 65535, inclusive
        spec.rules[0].http.paths[2].backend.service.port.name: Invalid value: "-": must contain at least one letter (a-z)
        spec.rules[0].http.paths[2].backend.service.port.name: Invalid value: "-": must not begin or end with a hyphen
        spec.rules[0].http.paths[3].backend: Invalid value: "": cannot set both resource and service backends
        spec.rules[0].http.paths[4].backend.resource.apiGroup: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
    "#]],
    );
}

#[test]
fn a_path_is_one_that_servers_understand_unless_the_implementation_says_what_it_means() {
    let object = |path: &str, type_: &str| {
        let backend = "{service: {name: a, port: {number: 80}}}";
        format!(
            "{{metadata: {{name: a}}, spec: {{rules: [{{http: {{paths: [{{path: '{path}', pathType: {type_}, backend: {backend}}}]}}}}]}}}}"
        )
    };
    check(
        "ingresses",
        &object("/a//b/./c%2fd/..", "Prefix"),
        &expect![[r#"
        spec.rules[0].http.paths[0].path: Invalid value: "/a//b/./c%2fd/..": must not contain '//'
        spec.rules[0].http.paths[0].path: Invalid value: "/a//b/./c%2fd/..": must not contain '/./'
        spec.rules[0].http.paths[0].path: Invalid value: "/a//b/./c%2fd/..": must not contain '%2f'
        spec.rules[0].http.paths[0].path: Invalid value: "/a//b/./c%2fd/..": cannot end with '/..'
    "#]],
    );
    check(
        "ingresses",
        &object("a/.", "Exact"),
        &expect![[r#"
        spec.rules[0].http.paths[0].path: Invalid value: "a/.": must be an absolute path
        spec.rules[0].http.paths[0].path: Invalid value: "a/.": cannot end with '/.'
    "#]],
    );
    check(
        "ingresses",
        &object("/", "Regex"),
        &expect![[r#"
        spec.rules[0].http.paths[0].pathType: Unsupported value: "Regex": supported values: "Exact", "ImplementationSpecific", "Prefix"
    "#]],
    );
    create(&def("ingresses"), yaml(&object("/a//b(.*)", "ImplementationSpecific")));
    create(&def("ingresses"), yaml(&object("", "ImplementationSpecific")));
}

/// One of before there was a field may be given both ways, if they agree; an update is not asked, as in Kubernetes.
#[test]
fn class_and_annotation_of_a_new_ingress_agree() {
    let ingress = |class: &str| {
        yaml(&format!(
            "{{metadata: {{name: a, annotations: {{kubernetes.io/ingress.class: x}}}}, spec: {{ingressClassName: {class}, defaultBackend: {{service: {{name: web, port: {{number: 80}}}}}}}}}}"
        ))
    };
    let def = def("ingresses");
    let error = try_create(&def, ingress("y"), &context(&def)).unwrap_err();
    expect![[r#"
        annotations.kubernetes.io/ingress.class: Invalid value: "x": must match `ingressClassName` when both are specified
    "#]]
    .assert_eq(&faults(&error));
    let made = create(&def, ingress("x"));
    let mut other = made.clone();
    other["spec"]["ingressClassName"] = json!("y");
    assert_eq!(update(&def, &made, other).unwrap()["metadata"]["generation"], 2);
}

#[test]
fn a_status_has_addresses() {
    let def = def("ingresses");
    let made = create(&def, crate::example(&def));
    assert_eq!(made["status"], json!({"loadBalancer": {}}));
    let with = |points: Value| {
        let mut object = made.clone();
        object["status"] = json!({"loadBalancer": {"ingress": points}});
        update_status(&def, &made, object)
    };
    with(json!([{"ip": "10.0.0.1"}, {"hostname": "a.example"}])).unwrap();
    let error = with(json!([{"ip": "x"}, {"hostname": "10.0.0.1"}, {"hostname": "A"}]));
    expect![[r#"
        status.loadBalancer.ingress[0].ip: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
        status.loadBalancer.ingress[1].hostname: Invalid value: "10.0.0.1": must be a DNS name, not an IP address
        status.loadBalancer.ingress[2].hostname: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
    "#]]
    .assert_eq(&faults(&error.unwrap_err()));
}

#[test]
fn a_table_has_hosts_addresses_and_ports() {
    let born = "creationTimestamp: '2026-01-01T00:00:00Z'";
    let ingress = |spec: &str, status: &str| {
        format!("{{metadata: {{name: web, {born}}}, spec: {{{spec}}}, status: {status}}}")
    };
    let names: Vec<_> = def("ingresses").columns.iter().map(|it| it.name.clone()).collect();
    assert_eq!(names, ["Name", "Class", "Hosts", "Address", "Ports", "Age"]);
    let plain = ingress("defaultBackend: {}", "{}");
    assert_eq!(row("ingresses", &plain), ["web", "<none>", "*", "", "80", "60m"]);
    let status = "{loadBalancer: {ingress: [{ip: 10.0.0.2}, {hostname: b}, {ip: 10.0.0.1}]}}";
    let three = "ingressClassName: c, tls: [{}], rules: [{host: a}, {}, {host: b}, {host: c}]";
    let row_of_three = row("ingresses", &ingress(three, status));
    assert_eq!(row_of_three, ["web", "c", "a,b,c", "10.0.0.1,10.0.0.2,b", "80, 443", "60m"]);
    let four = "rules: [{host: a}, {}, {host: b}, {host: c}, {host: d}]";
    assert_eq!(row("ingresses", &ingress(four, "{}"))[2], "a,b,c + 2 more...");
}

#[test]
fn a_class_names_its_controller_for_good() {
    let class = |spec: &str| format!("{{metadata: {{name: a}}, spec: {{{spec}}}}}");
    let plural = "ingressclasses";
    check(
        plural,
        &class(""),
        &expect![[r#"
        spec.controller: Required value
    "#]],
    );
    check(
        plural,
        &class("controller: nginx"),
        &expect![[r#"
        spec.controller: Invalid value: "nginx": must be a domain-prefixed path (such as "acme.io/foo")
    "#]],
    );
    check(
        plural,
        &class("controller: 'A.b/x y'"),
        &expect![[r#"
        spec.controller: Invalid value: "A.b": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.controller: Invalid value: "x y": Invalid path (regex used for validation is '[A-Za-z0-9/\-._~%!$&'()*+,;=:]+')
    "#]],
    );
    let parameters = |given: &str| class(&format!("controller: a/b, parameters: {{{given}}}"));
    check(
        plural,
        &parameters("scope: Galaxy"),
        &expect![[r#"
        spec.parameters.kind: Required value
        spec.parameters.name: Required value
        spec.parameters.scope: Unsupported value: "Galaxy": supported values: "Cluster", "Namespace"
    "#]],
    );
    check(
        plural,
        &parameters("kind: K, name: n, scope: Namespace"),
        &expect![[r#"
        spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'
    "#]],
    );
    check(
        plural,
        &parameters("kind: K, name: n, namespace: x"),
        &expect![[r#"
        spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'
    "#]],
    );
    let def = def(plural);
    let made = create(&def, yaml(&parameters("kind: K, name: n")));
    assert_eq!(made["spec"]["parameters"]["scope"], "Cluster");
    let mut other = made.clone();
    other["spec"]["controller"] = json!("a/c");
    expect![[r#"
        spec.controller: Invalid value: "a/c": field is immutable
    "#]]
    .assert_eq(&faults(&update(&def, &made, other).unwrap_err()));
}

#[test]
fn a_table_tells_the_default_class() {
    let class = "
metadata: {name: a, annotations: {ingressclass.kubernetes.io/is-default-class: 'true'}}
spec: {controller: a/b, parameters: {apiGroup: g, kind: K, name: n}}
";
    assert_eq!(row("ingressclasses", class), ["a (default)", "a/b", "K.g/n", "<unknown>"]);
    let plain = "{metadata: {name: a}, spec: {controller: a/b}}";
    assert_eq!(row("ingressclasses", plain), ["a", "a/b", "<none>", "<unknown>"]);
}
