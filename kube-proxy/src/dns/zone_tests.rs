use proptest::prelude::*;

use super::*;

fn zone() -> Zone {
    let ranges = vec!["10.96.0.0/16".parse().unwrap()];
    Zone::new("cluster.local", Ipv4Addr::new(10, 96, 0, 10), ranges).unwrap()
}

fn some_records() -> impl Strategy<Value = Records> {
    let address = || (0u8..4).prop_map(|last| Ipv4Addr::new(10, 244, 0, last));
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
    assert_eq!(address("4.3.2.1.IN-addr.arpa."), Some(Ipv4Addr::new(1, 2, 3, 4)));
    for other in ["3.2.1.in-addr.arpa.", "x.3.2.1.in-addr.arpa.", "5.4.3.2.1.in-addr.arpa.", "a."] {
        assert_eq!(address(other), None, "{other}");
    }
}
