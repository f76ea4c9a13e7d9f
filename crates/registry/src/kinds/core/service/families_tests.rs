use super::super::{cluster_ips, transition};
use super::*;

/// From its short form: a policy's first word, the digits of families, `ip=` and addresses, `none` without addresses, `free`
/// without a selector, `external` with a name alone.
fn spec(short: &str) -> ServiceSpec {
    let mut spec = ServiceSpec {
        type_: Some("ClusterIP".to_owned()),
        selector: Some([("app".to_owned(), "web".to_owned())].into()),
        ..ServiceSpec::default()
    };
    let set_ips = |spec: &mut ServiceSpec, ips: &str| {
        let ips: Vec<_> = ips.split(',').map(str::to_owned).collect();
        (spec.cluster_ip, spec.cluster_ips) = (Some(ips[0].clone()), Some(ips));
    };
    for word in short.split_whitespace() {
        match word {
            "single" => spec.ip_family_policy = Some(SINGLE.to_owned()),
            "prefer" => spec.ip_family_policy = Some(PREFER.to_owned()),
            "require" => spec.ip_family_policy = Some(REQUIRE.to_owned()),
            "none" => set_ips(&mut spec, "None"),
            "free" => spec.selector = None,
            "external" => spec.type_ = Some("ExternalName".to_owned()),
            word => match word.strip_prefix("ip=") {
                Some(ips) => set_ips(&mut spec, ips),
                None => {
                    let names = word.chars().map(|digit| format!("IPv{digit}"));
                    spec.ip_families = Some(names.collect());
                }
            },
        }
    }
    spec
}

fn short(spec: &ServiceSpec) -> String {
    let policy = match policy(spec) {
        SINGLE => "single",
        PREFER => "prefer",
        REQUIRE => "require",
        other => other,
    };
    let digits: String = families(spec).iter().filter_map(|name| name.chars().last()).collect();
    let ips = match ips(spec).join(",") {
        ips if ips == "None" => "none".to_owned(),
        ips if ips.is_empty() => ips,
        ips => format!("ip={ips}"),
    };
    let free = if has_no_selector(spec) { "free" } else { "" };
    let external = if has_cluster_ip(spec) { "" } else { "external" };
    let words = [external, policy, &digits, &ips, free];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// On a cluster of families, primary first; what comes of the Service in its short form, or its faults.
#[track_caller]
fn check(cluster: &str, old: Option<&str>, new: &str, expected: &str) {
    let primary = if cluster.starts_with('4') { IpFamily::V4 } else { IpFamily::V6 };
    let cluster_has = ClusterFamilies { primary, has_both: cluster.len() == 2 };
    let (old, mut changed) = (old.map(spec), spec(new));
    if let Some(old) = &old {
        transition::update(&mut changed, old);
    }
    let completed = complete(&mut changed, old.as_ref(), cluster_has).and_then(|()| {
        collect(|errors| {
            if let Some(old) = &old {
                cluster_ips::update(&changed, old, &FieldPath::new("spec"), errors);
            }
        })
    });
    let shown = match completed {
        Ok(()) => short(&changed),
        Err(errors) => errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
    };
    assert_eq!(shown, expected, "{old:?} -> {new} on {cluster}");
}

const NOT_DUAL: &str = r#"spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services"#;

fn wrong(policy: &str, why: &str) -> String {
    format!("spec.ipFamilyPolicy: Invalid value: {policy:?}: {why}")
}

fn of_multiple(what: &str) -> String {
    let why = format!(
        "must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified"
    );
    wrong(SINGLE, &why)
}

#[test]
fn on_a_cluster_of_one_family_services_have_that_one() {
    let v4 = |new: &str, expected: &str| check("4", None, new, expected);
    v4("", "single 4");
    v4("single", "single 4");
    v4("prefer", "prefer 4");
    v4("require", NOT_DUAL);
    v4("ip=10.0.0.1", "single 4 ip=10.0.0.1");
    v4(
        "ip=fd00::1",
        r#"spec.clusterIPs[0]: Invalid value: ["fd00::1"]: IPv6 is not configured on this cluster"#,
    );
    v4("6", r#"spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster"#);
    v4("prefer 46", r#"spec.ipFamilies[1]: Invalid value: "IPv6": not configured on this cluster"#);
    v4("46", &of_multiple("IP families"));
    v4("external", "external");
    check("6", None, "", "single 6");
    check("6", None, "prefer", "prefer 6");
    check("6", None, "ip=fd00::1", "single 6 ip=fd00::1");
    check(
        "6",
        None,
        "4",
        r#"spec.ipFamilies[0]: Invalid value: "IPv4": not configured on this cluster"#,
    );
}

#[test]
fn services_without_addresses_and_selector_may_have_families_that_the_cluster_has_not() {
    for cluster in ["4", "46"] {
        let of = |new: &str, expected: &str| check(cluster, None, new, expected);
        of("none", "single 4 none");
        of("none free", "require 46 none free");
        of("none free single", "single 4 none free");
        of("none free prefer", "prefer 46 none free");
        of("none free 6", "require 64 none free");
        of("none free single 6", "single 6 none free");
        of("none free single 46", &of_multiple("IP families"));
    }
    check("64", None, "none free", "require 64 none free");
    check("4", None, "none require", NOT_DUAL);
    check("46", None, "none prefer", "prefer 46 none");
    check("46", None, "none require 64", "require 64 none");
}

#[test]
fn on_a_cluster_of_both_families_services_have_what_they_say() {
    let of = |new: &str, expected: &str| check("46", None, new, expected);
    of("", "single 4");
    of("6", "single 6");
    of("prefer", "prefer 46");
    of("prefer 6", "prefer 64");
    of("require", "require 46");
    of("require 64", "require 64");
    of("ip=fd00::1", "single 6 ip=fd00::1");
    of("prefer ip=fd00::1", "prefer 64 ip=fd00::1");
    of("require ip=10.0.0.1,fd00::1", "require 46 ip=10.0.0.1,fd00::1");
    of("46", &of_multiple("IP families"));
    of("ip=10.0.0.1,fd00::1", &of_multiple("cluster IPs"));
    check("64", None, "", "single 6");
    check("64", None, "prefer", "prefer 64");
    check("64", None, "prefer 4", "prefer 46");
}

#[test]
fn what_contradicts_itself_is_refused() {
    let of = |new: &str, expected: &str| check("46", None, new, expected);
    of(
        "4 ip=fd00::1",
        r#"spec.clusterIPs[0]: Invalid value: "fd00::1": expected an IPv4 value as indicated by `ipFamilies[0]`"#,
    );
    of(
        "require 46 ip=10.0.0.1,10.0.0.2",
        "spec.clusterIPs: Invalid value: [\"10.0.0.1\",\"10.0.0.2\"]: may specify no more than one IP for each IP family\n\
        spec.clusterIPs[1]: Invalid value: \"10.0.0.2\": expected an IPv6 value as indicated by `ipFamilies[1]`",
    );
    of(
        "require ip=10.0.0.1,fd00::1,10.0.0.2",
        r#"spec.clusterIPs: Invalid value: ["10.0.0.1","fd00::1","10.0.0.2"]: may only hold up to 2 values"#,
    );
    of("require 44", r#"spec.ipFamilies[1]: Duplicate value: "IPv4""#);
    of("5", r#"spec.ipFamilies[0]: Unsupported value: "IPv5": supported values: "IPv4", "IPv6""#);
}

#[test]
fn a_change_of_the_policy_adds_the_secondary_family_or_gives_it_up() {
    let of = |old: &str, new: &str, expected: &str| check("46", Some(old), new, expected);
    let one = "single 4 ip=10.0.0.1";
    of(one, "", one);
    of(one, "prefer", "prefer 46 ip=10.0.0.1");
    of(one, "prefer 4 ip=10.0.0.1", "prefer 46 ip=10.0.0.1");
    of(one, "require 4 ip=10.0.0.1", "require 46 ip=10.0.0.1");
    of(one, "require 46 ip=10.0.0.1,fd00::1", "require 46 ip=10.0.0.1,fd00::1");
    of(one, "single 46 ip=10.0.0.1", &of_multiple("IP families"));
    of(one, "single 4 ip=10.0.0.1,fd00::1", &of_multiple("cluster IPs"));
    let two = "prefer 46 ip=10.0.0.1,fd00::1";
    of(two, "", two);
    of(two, two, two);
    of(two, "require", "require 46 ip=10.0.0.1,fd00::1");
    for single in [
        "single",
        "single 46 ip=10.0.0.1,fd00::1",
        "single 4 ip=10.0.0.1,fd00::1",
        "single 46 ip=10.0.0.1",
        "single 4 ip=10.0.0.1",
    ] {
        of(two, single, one);
    }
    let no_ip = wrong(PREFER, "must be 'SingleStack' to release the secondary cluster IP");
    let no_family = wrong(PREFER, "must be 'SingleStack' to release the secondary IP family");
    of(two, "prefer 46 ip=10.0.0.1", &no_ip);
    of(two, "prefer 4 ip=10.0.0.1,fd00::1", &no_family);
    of(two, "4 ip=10.0.0.1", &format!("{no_ip}\n{no_family}"));
}

#[test]
fn what_was_given_stays() {
    let of = |old: &str, new: &str, expected: &str| check("46", Some(old), new, expected);
    let stays = |field: &str, shown: &str| {
        format!("spec.{field}: Invalid value: {shown}: may not change once set")
    };
    of("single 4 ip=10.0.0.1", "single 4 ip=10.0.0.2", &stays("clusterIPs[0]", r#"["10.0.0.2"]"#));
    let two = "prefer 46 ip=10.0.0.1,fd00::1";
    let other = stays("clusterIPs[1]", r#"["10.0.0.1","fd00::2"]"#);
    of(two, "prefer 46 ip=10.0.0.1,fd00::2", &other);
    let turned = stays("clusterIPs[0]", r#"["fd00::1","10.0.0.1"]"#);
    let turned = [
        turned,
        stays("clusterIPs[1]", r#"["fd00::1","10.0.0.1"]"#),
        stays("ipFamilies[0]", r#"["IPv6","IPv4"]"#),
    ];
    of(two, "prefer 64 ip=fd00::1,10.0.0.1", &turned.join("\n"));
    of("single 4 ip=10.0.0.1", "single none", &stays("clusterIPs[0]", r#"["None"]"#));
    // Families of those without addresses may change.
    of("prefer 46 none", "prefer 64 none", "prefer 64 none");
    of("prefer 46 none", "single 46 none", "single 4 none");
    of("single 4 none", "prefer 4 none", "prefer 46 none");
}

#[test]
fn a_change_of_the_cluster_changes_no_service_that_prefers_both() {
    let (one, two) = ("prefer 4 ip=10.0.0.1", "prefer 46 ip=10.0.0.1,fd00::1");
    check("46", Some(one), one, one);
    check("46", Some(one), "require 4 ip=10.0.0.1", "require 46 ip=10.0.0.1");
    check("4", Some(two), two, two);
    check("4", Some(two), "single 46 ip=10.0.0.1,fd00::1", "single 4 ip=10.0.0.1");
    let refused = format!(
        "{NOT_DUAL}\nspec.ipFamilies[1]: Invalid value: \"IPv6\": not configured on this cluster"
    );
    check("4", Some(two), "require 46 ip=10.0.0.1,fd00::1", &refused);
}

#[test]
fn a_name_alone_has_no_families_and_gets_some_with_its_type() {
    let two = "prefer 46 ip=10.0.0.1,fd00::1";
    check("46", Some(two), &format!("external {two}"), "external");
    check("46", Some("external"), "", "single 4");
    check("46", Some("external"), "prefer", "prefer 46");
    check("46", Some("external"), "none", "single 4 none");
}
