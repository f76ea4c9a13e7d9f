//! What goes wrong in a history, and when.

use std::ops::Range;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{STEPS, steps};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    HostDead,
    KubeletDown,
    ProxyDown,
    HostFromRedis,
    /// Neither REST nor our questions pass.
    HostFromMaster,
    HostFromPeers,
    /// The three above together.
    HostUnreachable,
    /// A firewall drops our questions.
    QuestionsDropped,
    /// The node's clock is wrong.
    NodeClock,
    RedisDown,
    ControllerFromRedis,
    ControllerPaused,
    /// It ends, and at the end of the fault another one begins that knows nothing.
    ControllerRestarted,
    ControllerClock,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    pub(super) node: usize,
    pub(super) start: u32,
    pub(super) length: u32,
}

impl Fault {
    pub(super) fn is_at(&self, step: u32) -> bool {
        (self.start..self.start.saturating_add(self.length)).contains(&step)
    }
}

/// When the first fault may begin: everybody has been heard of by then.
const QUIET: u32 = steps(15);

pub(super) const ANY: &[Kind] = &[
    Kind::ControllerClock,
    Kind::ControllerFromRedis,
    Kind::ControllerPaused,
    Kind::ControllerRestarted,
    Kind::HostDead,
    Kind::HostFromMaster,
    Kind::HostFromPeers,
    Kind::HostFromRedis,
    Kind::KubeletDown,
    Kind::NodeClock,
    Kind::ProxyDown,
    Kind::QuestionsDropped,
    Kind::RedisDown,
];

/// The host can be reached all the while.
pub(super) const HARMLESS: &[Kind] = &[
    Kind::ControllerClock,
    Kind::ControllerFromRedis,
    Kind::ControllerPaused,
    Kind::ControllerRestarted,
    Kind::HostFromPeers,
    Kind::HostFromRedis,
    Kind::KubeletDown,
    Kind::NodeClock,
    Kind::ProxyDown,
    Kind::RedisDown,
];

/// Faults of these kinds anywhere, at any time.
pub(super) fn scattered(
    kinds: &'static [Kind],
    number: Range<usize>,
) -> impl Strategy<Value = Vec<Fault>> {
    let fault = (prop::sample::select(kinds), 0..8_usize, QUIET..STEPS, 1..steps(40));
    vec(fault.prop_map(|(kind, node, start, length)| Fault { kind, node, start, length }), number)
}

/// All that cuts a host off, at about the same time: but one or two of them, so that a path is left, or
/// none. What is wrong with the controller comes on top.
pub(super) fn blackout() -> impl Strategy<Value = Vec<Fault>> {
    use Kind::{
        HostFromMaster, HostFromPeers, HostFromRedis, KubeletDown, ProxyDown, QuestionsDropped,
    };
    let cuts = prop::sample::select(vec![
        vec![ProxyDown, HostFromMaster, HostFromPeers],
        vec![KubeletDown, HostFromMaster, HostFromPeers],
        vec![HostFromRedis, QuestionsDropped, HostFromPeers],
        vec![HostFromRedis, KubeletDown, HostFromPeers],
        vec![HostFromRedis, KubeletDown, HostFromMaster],
        vec![HostFromRedis, HostFromMaster, HostFromPeers],
        vec![HostFromMaster],
    ]);
    let cut = (cuts, 0..8_usize, QUIET..STEPS - steps(20), steps(4)..steps(60));
    let cut = cut.prop_flat_map(|(kinds, node, start, length)| {
        let fault = move |kind: Kind| {
            (0..steps(2), 0..steps(2)).prop_map(move |(later, longer)| Fault {
                kind,
                node,
                start: start + later,
                length: length + longer,
            })
        };
        kinds.into_iter().map(fault).collect::<Vec<_>>()
    });
    (cut, prop::option::of(own_fault()), scattered(ANY, 0..2)).prop_map(|(cut, own, noise)| {
        let start = cut[0].start;
        let own = own.map(|own| Fault { start: start + own.start, ..own });
        cut.into_iter().chain(own).chain(noise).collect()
    })
}

/// What is wrong with the controller while a host is cut off; `start` counts from the cut.
fn own_fault() -> impl Strategy<Value = Fault> {
    use Kind::{ControllerFromRedis, ControllerPaused, RedisDown};
    let kind = prop::sample::select(vec![ControllerPaused, ControllerFromRedis, RedisDown]);
    let fault = (kind, 0..steps(8), steps(1)..steps(15));
    fault.prop_map(|(kind, start, length)| Fault { kind, node: 0, start, length })
}

/// So many of the nodes fall silent within a second or two, and come back one by one, or never.
pub(super) fn together(silent: usize, kinds: &'static [Kind]) -> impl Strategy<Value = Vec<Fault>> {
    let when = (0..steps(2), steps(5)..STEPS);
    (prop::sample::select(kinds), QUIET..STEPS - steps(30), vec(when, silent)).prop_map(
        |(kind, start, all)| {
            let fault =
                |(node, (later, length))| Fault { kind, node, start: start + later, length };
            all.into_iter().enumerate().map(fault).collect()
        },
    )
}

/// Kubelets that are started again, one by one or at once, and are down for up to forty seconds.
pub(super) fn upgrade() -> impl Strategy<Value = Vec<Fault>> {
    let fault = |kind| {
        (0..8_usize, QUIET..STEPS, 1..steps(40)).prop_map(move |(node, start, length)| Fault {
            kind,
            node,
            start,
            length,
        })
    };
    (
        vec(fault(Kind::KubeletDown), 1..8),
        vec(fault(Kind::ProxyDown), 0..8),
        scattered(HARMLESS, 0..6),
    )
        .prop_map(|(kubelets, proxies, noise)| [kubelets, proxies, noise].concat())
}
