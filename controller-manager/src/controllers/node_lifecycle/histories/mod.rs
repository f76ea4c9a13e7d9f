//! Generated histories of a cluster, in virtual time: whatever is lost, cut, paused or killed, nobody who
//! lives is given up fast, who is dead is given up in time, and most of a cluster never.

mod world;

use proptest::collection::vec;
use proptest::prelude::*;
use tokio::time::Duration;

use super::disruption::Eviction;
use super::evidence::HOST_PATIENCE;
use super::observations::NodeHealth;
use world::{Fault, Kind, STEP, STEPS, World, steps};

/// When the first fault may begin: everybody has been heard of by then.
const QUIET: u32 = steps(15);

fn kinds() -> impl Strategy<Value = Kind> {
    use Kind::{
        ControllerFromRedis, ControllerPaused, HostDead, HostFromMaster, HostFromPeers,
        HostFromRedis, KubeletDown, ProxyDown, RedisDown,
    };
    prop::sample::select(vec![
        ControllerFromRedis,
        ControllerPaused,
        HostDead,
        HostFromMaster,
        HostFromPeers,
        HostFromRedis,
        KubeletDown,
        ProxyDown,
        RedisDown,
    ])
}

fn faults(kinds: impl Strategy<Value = Kind>) -> impl Strategy<Value = Vec<Fault>> {
    let fault = (kinds, 0..8_usize, QUIET..STEPS, 1..steps(45));
    vec(fault.prop_map(|(kind, node, start, length)| Fault { kind, node, start, length }), 0..10)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// A path is enough: from the kubelet or its kube-proxy over Redis, over REST, from us to the
    /// host, or from a peer to it. One that has held for ten seconds proves a living host.
    #[test]
    fn nobody_who_can_be_heard_or_reached_on_any_path_is_given_up(
        nodes in 2..8_usize, loss in 0..50_u32, faults in faults(kinds())
    ) {
        let mut world = World::new(nodes, loss, faults);
        while world.step() {
            for node in 0..nodes {
                let health = world.health(node);
                let holding = world.path_for(node, steps(10));
                prop_assert!(health != NodeHealth::HostGone || holding.is_none(),
                    "step {}: node {node} is given up, but {holding:?} holds", world.now());
                let reports = world.is_awake() && world.reports_for(node, steps(13));
                prop_assert!(health != NodeHealth::StatusUnknown || !reports,
                    "step {}: node {node} is marked, but its kubelet reports", world.now());
            }
        }
    }

    #[test]
    fn a_host_that_dies_is_given_up_in_time(
        nodes in 3..8_usize, loss in 0..50_u32, start in QUIET..STEPS - steps(20),
        noise in faults(prop::sample::select(vec![Kind::KubeletDown, Kind::ProxyDown, Kind::HostFromPeers]))
    ) {
        // Its own kubelet beats until it dies. Others who are hardly heard would hide it for a while.
        let noise = noise.into_iter().filter(|fault| fault.node % nodes != 0 && loss < 25);
        let loss = loss.saturating_sub(25);
        let death = Fault { kind: Kind::HostDead, node: 0, start, length: STEPS };
        let mut world = World::new(nodes, 2 * loss, noise.chain([death]).collect());
        let latest = start + steps_in(HOST_PATIENCE + Duration::from_secs(2));
        while world.step() && world.now() < latest {}
        prop_assert_eq!(world.health(0), NodeHealth::HostGone);
    }

    /// Whether most hosts fall silent, or only most kubelets, and however long it lasts.
    #[test]
    fn when_most_fall_silent_at_once_nobody_is_given_up(
        nodes in 1..9_usize, more in 0..8_usize, kind in prop::sample::select(vec![
            Kind::HostDead, Kind::KubeletDown, Kind::HostUnreachable]),
        spread in vec(0..steps(2), 9), length in 1..STEPS, loss in 0..50_u32,
    ) {
        let most = nodes * 55 / 100 + 1;
        let silent = (most + more).min(nodes);
        let fault = |node| Fault { kind, node, start: QUIET + spread[node], length };
        let mut world = World::new(nodes, loss, (0..silent).map(fault).collect());
        while world.step() {}
        prop_assert!(world.admissions.is_empty(), "{:?}", world.admissions);
    }

    #[test]
    fn nodes_are_given_up_one_by_one(nodes in 4..8_usize, faults in faults(kinds())) {
        let mut world = World::new(nodes, 0, faults);
        while world.step() {}
        let times: Vec<u32> = world.admissions.iter().map(|(step, _, _)| *step).collect();
        for (first, begin) in times.iter().enumerate() {
            for (last, end) in times.iter().enumerate().skip(first) {
                let after_the_first = (end - begin) / steps(1);
                prop_assert!(last - first <= after_the_first as usize, "{:?}", world.admissions);
            }
        }
    }
}

/// The whole of it once, so that the properties above cannot hold for want of anything to happen.
#[test]
fn a_dead_host_goes_at_once_and_a_dead_kubelet_after_its_forty_seconds() {
    let fault = |kind, node| Fault { kind, node, start: QUIET, length: STEPS };
    let faults = vec![fault(Kind::HostDead, 0), fault(Kind::KubeletDown, 1)];
    let mut world = World::new(5, 0, faults);
    while world.step() {}
    let given_up: Vec<_> = world.admissions.iter().map(|(_, node, how)| (*node, *how)).collect();
    assert_eq!(given_up, [(0, Eviction::AtOnce), (1, Eviction::Tolerated)]);
    let after = |index: usize| (world.admissions[index].0 - QUIET) / steps(1);
    // Its last sign was up to a second before its end.
    assert!((6..9).contains(&after(0)), "{:?}", world.admissions);
    assert!((30..42).contains(&after(1)), "{:?}", world.admissions);
}

fn steps_in(time: Duration) -> u32 {
    u32::try_from(time.as_millis() / STEP.as_millis()).unwrap()
}
