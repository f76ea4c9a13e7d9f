//! What a network policy becomes, and of which faults its writer is told.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use crate::{context, create, def, try_create, yaml};

fn check_stored(spec: &str, expected: &Expect) {
    let given = yaml(&format!("metadata: {{name: a}}\nspec: {spec}"));
    let stored = create(&def("networkpolicies"), given);
    expected.assert_eq(&stored["spec"].to_string());
}

fn check_faults(spec: &str, expected: &Expect) {
    let def = def("networkpolicies");
    let given = yaml(&format!("metadata: {{name: a}}\nspec: {spec}"));
    let error = try_create(&def, given, &context(&def)).unwrap_err();
    let causes = error.status().details.as_ref().and_then(|d| d.causes.as_ref());
    let line = |cause: &api_types::meta::StatusCause| {
        let (field, message) = (cause.field.as_deref(), cause.message.as_deref());
        format!("{}: {}\n", field.unwrap_or_default(), message.unwrap_or_default())
    };
    expected.assert_eq(&causes.into_iter().flatten().map(line).collect::<String>());
}

#[test]
fn types_follow_from_the_rules_if_none_are_given() {
    check_stored(
        "{podSelector: {}}",
        &expect![[r#"{"podSelector":{},"policyTypes":["Ingress"]}"#]],
    );
    check_stored("{}", &expect![[r#"{"podSelector":{},"policyTypes":["Ingress"]}"#]]);
    check_stored(
        "{podSelector: {}, egress: []}",
        &expect![[r#"{"egress":[],"podSelector":{},"policyTypes":["Ingress"]}"#]],
    );
    check_stored(
        "{egress: [{}]}",
        &expect![[r#"{"egress":[{}],"podSelector":{},"policyTypes":["Ingress","Egress"]}"#]],
    );
    check_stored(
        "{egress: [{}], policyTypes: [Egress]}",
        &expect![[r#"{"egress":[{}],"podSelector":{},"policyTypes":["Egress"]}"#]],
    );
    check_stored(
        "{ingress: [{ports: [{port: 1}]}], egress: [{ports: [{port: x, protocol: UDP}, {}]}]}",
        &expect![[
            r#"{"egress":[{"ports":[{"port":"x","protocol":"UDP"},{"protocol":"TCP"}]}],"ingress":[{"ports":[{"port":1,"protocol":"TCP"}]}],"podSelector":{},"policyTypes":["Ingress","Egress"]}"#
        ]],
    );
    let mut without_spec = yaml("{metadata: {name: a}}");
    without_spec["spec"] = Value::Null;
    let stored = create(&def("networkpolicies"), without_spec);
    assert_eq!(stored["spec"]["policyTypes"], json!(["Ingress"]));
}

#[test]
fn faults_of_ports() {
    check_faults(
        "
  ingress:
  - ports:
    - {protocol: ICMP}
    - {protocol: ''}
    - {port: 0}
    - {port: 65536, endPort: 65537}
    - {port: 80, endPort: 79}
    - {port: a--b}
    - {port: web, endPort: 80}
    - {endPort: 80}
",
        &expect![[r#"
            spec.ingress[0].ports[0].protocol: Unsupported value: "ICMP": supported values: "TCP", "UDP", "SCTP"
            spec.ingress[0].ports[1].protocol: Unsupported value: "": supported values: "TCP", "UDP", "SCTP"
            spec.ingress[0].ports[2].port: Invalid value: 0: must be between 1 and 65535, inclusive
            spec.ingress[0].ports[3].port: Invalid value: 65536: must be between 1 and 65535, inclusive
            spec.ingress[0].ports[3].endPort: Invalid value: 65537: must be between 1 and 65535, inclusive
            spec.ingress[0].ports[4].endPort: Invalid value: 80: must be greater than or equal to `port`
            spec.ingress[0].ports[5].port: Invalid value: "a--b": must not contain consecutive hyphens
            spec.ingress[0].ports[6].endPort: Invalid value: 80: may not be specified when `port` is non-numeric
            spec.ingress[0].ports[7].endPort: Invalid value: 80: may not be specified when `port` is not specified
        "#]],
    );
}

#[test]
fn faults_of_peers() {
    check_faults(
        "
  podSelector: {matchLabels: {a: '-'}, matchExpressions: [{key: '', operator: In}, {key: a, operator: Exists, values: [b]}, {key: a, operator: Like}, {key: a, operator: In, values: ['-']}]}
  policyTypes: [Ingress, Sideways]
  ingress:
  - from:
    - {}
    - {podSelector: {matchLabels: {'b@d': a}}, ipBlock: {cidr: 10.0.0.0/8}}
    - {namespaceSelector: {matchExpressions: [{key: a, operator: NotIn}]}, podSelector: {}}
  egress:
  - to: [{}]
",
        &expect![[r#"
            spec.podSelector.matchLabels: Invalid value: "-": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')
            spec.podSelector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'
            spec.podSelector.matchExpressions[0].key: Invalid value: "": name part must be non-empty
            spec.podSelector.matchExpressions[0].key: Invalid value: "": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            spec.podSelector.matchExpressions[1].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'
            spec.podSelector.matchExpressions[2].operator: Invalid value: "Like": not a valid selector operator
            spec.podSelector.matchExpressions[3].values[0]: Invalid value: "-": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')
            spec.ingress[0].from[0]: Required value: must specify a peer
            spec.ingress[0].from[1].podSelector.matchLabels: Invalid value: "b@d": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            spec.ingress[0].from[1]: Forbidden: may not specify both ipBlock and another peer
            spec.ingress[0].from[2].namespaceSelector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'
            spec.egress[0].to[0]: Required value: must specify a peer
            spec.policyTypes[1]: Unsupported value: "Sideways": supported values: "Ingress", "Egress"
        "#]],
    );
    check_faults(
        "{policyTypes: [Ingress, Egress, Ingress]}",
        &expect![[r#"
        spec.policyTypes: Invalid value: ["Ingress","Egress","Ingress"]: may not specify more than two policyTypes
    "#]],
    );
}

#[test]
fn faults_of_blocks() {
    check_faults(
        "
  ingress:
  - from:
    - {ipBlock: {cidr: ''}}
    - {ipBlock: {cidr: 10.0.0.0}}
    - {ipBlock: {cidr: 10.0.0.0/33, except: [10.0.0.0/40]}}
    - {ipBlock: {cidr: 10.0.0.1/8}}
    - {ipBlock: {cidr: 010.0.0.0/8}}
    - {ipBlock: {cidr: 10.0.0.0/08}}
    - {ipBlock: {cidr: '::ffff:10.0.0.0/104'}}
    - {ipBlock: {cidr: '2001:db8::/64', except: ['2001:db8::/96', '2001:db9::/96', 10.0.0.0/8]}}
    - {ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16, 10.0.0.0/8, 11.0.0.0/16, 10.0.0.0, '', 10.1.0.1/16]}}
",
        &expect![[r#"
            spec.ingress[0].from[0].ipBlock.cidr: Required value
            spec.ingress[0].from[1].ipBlock.cidr: Invalid value: "10.0.0.0": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)
            spec.ingress[0].from[2].ipBlock.cidr: Invalid value: "10.0.0.0/33": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)
            spec.ingress[0].from[3].ipBlock.cidr: Invalid value: "10.0.0.1/8": must not have bits set beyond the prefix length
            spec.ingress[0].from[4].ipBlock.cidr: Invalid value: "010.0.0.0/8": must not have leading 0s in IP or prefix length
            spec.ingress[0].from[5].ipBlock.cidr: Invalid value: "10.0.0.0/08": must not have leading 0s in IP or prefix length
            spec.ingress[0].from[6].ipBlock.cidr: Invalid value: "::ffff:10.0.0.0/104": must not have an IPv4-mapped IPv6 address
            spec.ingress[0].from[7].ipBlock.except[1]: Invalid value: "2001:db9::/96": must be a strict subset of `cidr`
            spec.ingress[0].from[7].ipBlock.except[2]: Invalid value: "10.0.0.0/8": must be a strict subset of `cidr`
            spec.ingress[0].from[8].ipBlock.except[1]: Invalid value: "10.0.0.0/8": must be a strict subset of `cidr`
            spec.ingress[0].from[8].ipBlock.except[2]: Invalid value: "11.0.0.0/16": must be a strict subset of `cidr`
            spec.ingress[0].from[8].ipBlock.except[3]: Invalid value: "10.0.0.0": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)
            spec.ingress[0].from[8].ipBlock.except[4]: Invalid value: "": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)
            spec.ingress[0].from[8].ipBlock.except[5]: Invalid value: "10.1.0.1/16": must not have bits set beyond the prefix length
        "#]],
    );
}
