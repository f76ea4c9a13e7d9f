//! Ranges of services' addresses, and who holds these.

use expect_test::expect;
use serde_json::json;

use crate::{
    faults::check,
    immutability::{allowed, refused},
    tables,
};

#[test]
fn an_address_is_called_what_it_is_and_names_its_holder() {
    let bad = "{metadata: {name: '2001:DB8::1'}, spec: {parentRef: {group: a_b, resource: a/b}}}";
    check(
        "ipaddresses",
        bad,
        &expect![[r#"
        metadata.name: Invalid value: "2001:DB8::1": must be in canonical form ("2001:db8::1")
        spec.parentRef.group: Invalid value: "a_b": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.parentRef.resource: Invalid value: "a/b": may not contain '/'
        spec.parentRef.name: Required value
    "#]],
    );
    check(
        "ipaddresses",
        "{metadata: {name: 010.0.0.1}, spec: {}}",
        &expect![[r#"
        metadata.name: Invalid value: "010.0.0.1": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
        spec.parentRef: Required value
    "#]],
    );
    let other = json!({"resource": "services", "name": "other"});
    refused(
        "ipaddresses",
        "/spec/parentRef",
        other,
        &expect![[
            r#"IPAddress.networking.k8s.io "192.0.2.7" is invalid: spec.parentRef: Invalid value: "services/other": field is immutable"#
        ]],
    );
    tables::check(
        "ipaddresses",
        "{metadata: {name: 10.0.0.1}, spec: {parentRef: {group: g.io, resource: Things, namespace: n, name: a}}}",
        &expect![[r#"
            NAME: 10.0.0.1
            PARENTREF: things.g.io/n/a
            AGE: <unknown>
        "#]],
    );
}

#[test]
fn a_range_is_of_each_family_once_and_stays() {
    let with = |cidrs: &str| format!("{{metadata: {{name: a}}, spec: {{cidrs: [{cidrs}]}}}}");
    check(
        "servicecidrs",
        &with(""),
        &expect![[r#"
        spec.cidrs: Required value: at least one CIDR required
    "#]],
    );
    check(
        "servicecidrs",
        &with("10.0.0.0/8, 10.1.0.0/16"),
        &expect![[r#"
        spec.cidrs: Invalid value: ["10.0.0.0/8", "10.1.0.0/16"]: may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64
    "#]],
    );
    check(
        "servicecidrs",
        &with("10.0.0.0, '2001:db8::/64'"),
        &expect![[r#"
        spec.cidrs[0]: Invalid value: "10.0.0.0": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)
    "#]],
    );
    allowed("servicecidrs", "/spec/cidrs", json!(["192.0.2.0/24", "2001:db8::/64"]));
    refused(
        "servicecidrs",
        "/spec/cidrs",
        json!(["192.0.3.0/24"]),
        &expect![[
            r#"ServiceCIDR.networking.k8s.io "example" is invalid: spec.cidrs[0]: Invalid value: "192.0.3.0/24": field is immutable"#
        ]],
    );
}
