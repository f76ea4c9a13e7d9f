//! Generated histories of a cluster, in virtual time, against what is promised: whatever is lost, cut,
//! paused or killed, nobody who lives is given up fast, who is dead is given up in time, and most of a
//! cluster never.

mod check;
mod controller;
mod faults;
mod truth;
mod world;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use tokio::time::Duration;

use check::Checker;
use controller::Role;
use faults::{ANY, Fault, HARMLESS, Kind, blackout, scattered, together, upgrade};
use world::World;

const STEP: Duration = Duration::from_millis(250);
/// How long a history is.
const STEPS: u32 = steps(120);

const fn steps(seconds: u32) -> u32 {
    seconds * 4
}

/// Plays a history, and has every step checked. Returns who was evicted when.
fn play(
    nodes: usize,
    loss: u32,
    faults: Vec<Fault>,
) -> Result<Vec<(u32, usize, Role)>, TestCaseError> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(async {
        let (mut world, mut checker) = (World::new(nodes, loss, faults), Checker::default());
        let mut evicted = Vec::new();
        while world.step().await {
            checker.check(&world)?;
            let now = world.truth.now;
            evicted.extend(world.evicted.iter().map(|(node, role)| (now, *node, *role)));
        }
        Ok(evicted)
    })
}

fn histories() -> ProptestConfig {
    ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(histories())]

    #[test]
    fn whatever_happens_nodes_are_judged_by_what_is_heard_of_them(
        nodes in 1..8_usize, loss in 0..50_u32, faults in scattered(ANY, 0..12)
    ) {
        play(nodes, loss, faults)?;
    }

    /// From the kubelet or its kube-proxy over Redis, over REST, from us to the host, or from a peer.
    #[test]
    fn a_host_that_is_cut_off_but_for_one_path_is_not_given_up(
        nodes in 3..8_usize, loss in 0..30_u32, faults in blackout()
    ) {
        play(nodes, loss, faults)?;
    }

    #[test]
    fn who_is_started_again_or_cut_off_from_redis_loses_nothing(
        nodes in 1..8_usize, loss in 0..30_u32, faults in upgrade()
    ) {
        let evicted = play(nodes, loss, faults)?;
        let lost: Vec<_> = evicted.iter().filter(|(_, _, role)| *role != Role::Patient).collect();
        prop_assert!(lost.is_empty(), "{lost:?}");
    }

    #[test]
    fn hosts_that_die_are_given_up_in_time_and_one_by_one(
        first in (1..5_usize).prop_flat_map(|dead| together(dead, &[Kind::HostDead])),
        again in (1..5_usize).prop_flat_map(|dead| together(dead, &[Kind::HostDead])),
        noise in scattered(HARMLESS, 0..3),
    ) {
        play(8, 0, [first, again, noise].concat())?;
    }

    /// We, or its peers: the others are never heard.
    #[test]
    fn one_who_has_reached_a_dead_host_before_is_witness_enough(
        start in steps(15)..STEPS - steps(15), without_us in any::<bool>()
    ) {
        let always = |kind, node| Fault { kind, node, start: 0, length: STEPS };
        let mut faults: Vec<_> = match without_us {
            true => vec![always(Kind::QuestionsDropped, 0)],
            false => (1..5).map(|node| always(Kind::ProxyDown, node)).collect(),
        };
        faults.push(Fault { kind: Kind::HostDead, node: 0, start, length: STEPS });
        let evicted = play(5, 0, faults)?;
        prop_assert_eq!(evicted.first().map(|(_, node, role)| (*node, *role)), Some((0, Role::Replica)));
        prop_assert!(evicted[0].0 - start <= steps(8), "{evicted:?}");
    }

    /// A firewall, or a network that was cut long before: their silence about it says nothing.
    #[test]
    fn a_host_that_could_not_be_reached_before_is_not_given_up_with_its_programs(
        start in steps(15)..steps(60), before in steps(23)..steps(40), loss in 0..30_u32
    ) {
        let fault = |kind, start| Fault { kind, node: 0, start, length: STEPS };
        let unreached = [Kind::QuestionsDropped, Kind::HostFromPeers].map(|kind| fault(kind, start));
        let down = [Kind::KubeletDown, Kind::ProxyDown].map(|kind| fault(kind, start + before));
        let evicted = play(5, loss, [unreached, down].concat())?;
        let lost: Vec<_> = evicted.iter().filter(|(_, _, role)| *role == Role::Replica).collect();
        prop_assert!(lost.is_empty(), "{lost:?}");
    }

    /// Whether most hosts fall silent, or only most kubelets, and however long it lasts.
    #[test]
    fn when_most_fall_silent_at_once_nobody_is_given_up(
        (nodes, faults) in (1..8_usize).prop_flat_map(|nodes| {
            let kinds = &[Kind::HostDead, Kind::KubeletDown, Kind::HostUnreachable];
            (nodes * 55 / 100 + 1..=nodes).prop_flat_map(move |most| (Just(nodes), together(most, kinds)))
        }),
        loss in 0..30_u32,
    ) {
        play(nodes, loss, faults)?;
    }

    #[test]
    fn who_was_given_up_alone_is_spared_once_most_others_are_silent_too(
        (nodes, starts) in (4..8_usize).prop_flat_map(|nodes| {
            let most = nodes * 55 / 100..nodes;
            (Just(nodes), most.prop_flat_map(|most| vec(steps(58)..steps(80), most)))
        }),
    ) {
        let down = |node, start| Fault { kind: Kind::KubeletDown, node, start, length: STEPS };
        let others = starts.into_iter().enumerate().map(|(other, start)| down(other + 1, start));
        play(nodes, 0, std::iter::once(down(0, steps(15))).chain(others).collect())?;
    }
}

/// Once by hand, so that the properties above cannot hold for want of anything to happen.
#[test]
fn a_dead_host_goes_at_once_and_a_dead_kubelet_after_its_forty_seconds() {
    let start = steps(15);
    let fault = |kind, node| Fault { kind, node, start, length: STEPS };
    let faults = vec![fault(Kind::HostDead, 0), fault(Kind::KubeletDown, 1)];
    let evicted = play(5, 0, faults).unwrap();
    let who: Vec<_> = evicted.iter().map(|(_, node, role)| (*node, *role)).collect();
    assert_eq!(who, [(0, Role::Replica), (0, Role::Patient), (1, Role::Patient)]);
    let after = |index: usize| (evicted[index].0 - start) / steps(1);
    // The last sign was up to a second before the end of the host, and up to ten before that of the kubelet.
    assert!((6..9).contains(&after(0)), "{evicted:?}");
    assert!((50..62).contains(&after(2)), "{evicted:?}");
}
