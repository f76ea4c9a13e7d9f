use proptest::prelude::*;

use super::*;

fn zone() -> Zone {
    let ranges = vec!["10.96.0.0/16".parse().unwrap()];
    Zone::new("cluster.local", Ipv4Addr::new(10, 96, 0, 10).into(), ranges).unwrap()
}

fn some_records() -> impl Strategy<Value = Records> {
    let address = || (0u8..4).prop_map(|last| IpAddr::V4(Ipv4Addr::new(10, 244, 0, last)));
    let endpoint = (0u8..3, address()).prop_map(|(name, address)| EndpointRecord {
        hostname: format!("h{name}"),
        address,
        ports: BTreeSet::new(),
    });
    prop_oneof![
        prop::collection::btree_set(address(), 0..3)
            .prop_map(|addresses| Records::Virtual { addresses, ports: BTreeSet::new() }),
        prop::collection::btree_set(endpoint, 0..4).prop_map(Records::Headless),
        Just(Records::External("example.com".to_owned())),
    ]
}

proptest! {
    /// Whatever came and went: what is told is what is there now.
    #[test]
    fn changes_one_by_one_lead_where_all_at_once_do(
        changes in prop::collection::vec((0u8..2, 0u8..3, prop::option::of(some_records())), 0..40)
    ) {
        let (mut step_by_step, mut last) = (zone(), BTreeMap::new());
        for (namespace, name, records) in changes {
            let key = (format!("ns{namespace}"), format!("s{name}"));
            step_by_step.put(&key.0, &key.1, records.clone());
            match records {
                Some(records) => last.insert(key, records),
                None => last.remove(&key),
            };
        }
        let mut at_once = zone();
        at_once.replace(last);
        prop_assert_eq!(&step_by_step.services, &at_once.services);
        prop_assert_eq!(&step_by_step.pointers, &at_once.pointers);
    }
}

#[test]
fn an_address_is_read_backwards() {
    let address = |name: &str| reversed(&Name::from_ascii(name).unwrap());
    assert_eq!(address("4.3.2.1.IN-addr.arpa."), Some(Ipv4Addr::new(1, 2, 3, 4).into()));
    let digits = "b.A.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.4.4.2.0.0.1.0.0.0.0.d.f";
    let v6 = address(&format!("{digits}.IP6.arpa."));
    assert_eq!(v6, Some("fd00:10:244::ab".parse().unwrap()));
    let others = ["3.2.1.in-addr.arpa.", "x.3.2.1.in-addr.arpa.", "5.4.3.2.1.in-addr.arpa.", "a."];
    let others = others.map(str::to_owned).into_iter().chain([
        format!("0.{digits}.ip6.arpa."),
        format!("{}.ip6.arpa.", &digits[2..]),
        format!("{}.ip6.arpa.", digits.replacen('b', "g", 1)),
        format!("{}.ip6.arpa.", digits.replacen('b', "bb", 1)),
        format!("{digits}.in-addr.arpa."),
    ]);
    for other in others {
        assert_eq!(address(&other), None, "{other}");
    }
}

#[test]
fn a_pods_dashes_are_dots_or_colons() {
    let check = |label: &str, expected: Option<&str>| {
        let expected = expected.map_or(Meaning::Nothing, |ip| Meaning::Pod(ip.parse().unwrap()));
        assert_eq!(pod(label), expected, "{label}");
    };
    check("10-244-0-5", Some("10.244.0.5"));
    check("fd00-10-244--5", Some("fd00:10:244::5"));
    check("1-2-3-4-5-6-7-8", Some("1:2:3:4:5:6:7:8"));
    check("--1", Some("::1"));
    check("10-244-0", None);
    check("web", None);
}
