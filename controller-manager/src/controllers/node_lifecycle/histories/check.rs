//! Whether a history goes as it should, step by step.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::super::NodeHealth;
use super::super::disruption::Eviction;
use super::controller::{Role, TOLERATION_SECONDS, name};
use super::steps;
use super::world::World;
use crate::nodes;

/// For how many steps on end something has been so.
#[derive(Default)]
struct Lasting(BTreeMap<(usize, &'static str), u32>);

impl Lasting {
    fn count(&mut self, node: usize, what: &'static str, is_so: bool) -> u32 {
        let steps = self.0.entry((node, what)).or_default();
        *steps = if is_so { *steps + 1 } else { 0 };
        *steps
    }
}

/// Remembers what the next step is compared with.
#[derive(Default)]
pub(super) struct Checker {
    lasting: Lasting,
    /// Who was given up how since it was last well.
    given_up: Vec<(usize, Eviction)>,
    last_turn: Option<u32>,
    evicted: Vec<(usize, Role)>,
}

impl Checker {
    pub(super) fn check(&mut self, world: &World) -> Result<(), TestCaseError> {
        self.evicted.extend(&world.evicted);
        for node in 0..world.nodes() {
            let tainted = self.lasting.count(node, "tainted", drives_away(world, node));
            let not_ready = world.truth.hosts[node].not_ready;
            let not_ready = self.lasting.count(node, "not ready", not_ready);
            if !world.is_awake() {
                continue;
            }
            let health = world.controller.monitor.health(&name(node)).unwrap();
            let believed = health != NodeHealth::Reachable || not_ready >= steps(5);
            prop_assert!(tainted != 1 || believed, "{node} is tainted without cause");
            self.spared(world, node, health)?;
            judged_rightly(world, node, health)?;
            self.judged_in_time(world, node, health)?;
            self.given_up_in_turn(world, node)?;
            self.pods_go_rightly(world, node, health, tainted)?;
        }
        Ok(())
    }

    /// Whoever must be given up is, at one turn a second.
    fn judged_in_time(
        &mut self,
        world: &World,
        node: usize,
        health: NodeHealth,
    ) -> Result<(), TestCaseError> {
        let truth = &world.truth;
        let object = &world.stored[node];
        let turns = steps(2 * u32::try_from(world.nodes()).unwrap() + 2);
        let is_gone = health == NodeHealth::HostGone;
        let gone = self.lasting.count(node, "gone", is_gone);
        prop_assert!(
            gone < turns || nodes::is_marked_gone(object),
            "{node} is gone, and not marked"
        );
        let believed = health != NodeHealth::Reachable && !truth.is_stopped();
        let silent = self.lasting.count(node, "silent", believed);
        prop_assert!(silent < turns || drives_away(world, node), "{node} is not tainted");
        Ok(())
    }

    /// While most are silent, those keep no taint either that had theirs before.
    fn spared(
        &mut self,
        world: &World,
        node: usize,
        health: NodeHealth,
    ) -> Result<(), TestCaseError> {
        let spared = world.truth.is_stopped() && health != NodeHealth::HostGone;
        let spared = spared && !nodes::is_ready(&world.stored[node]);
        let spared = self.lasting.count(node, "spared", spared);
        prop_assert!(spared < steps(4) || !drives_away(world, node), "{node} keeps its taint");
        Ok(())
    }

    /// A turn a second. To be marked as gone is a turn of its own, after that of one who is only silent.
    fn given_up_in_turn(&mut self, world: &World, node: usize) -> Result<(), TestCaseError> {
        let object = &world.stored[node];
        if nodes::is_ready(object) {
            self.given_up.retain(|(of, _)| *of != node);
        }
        let turn = match nodes::is_marked_gone(object) {
            true => Eviction::AtOnce,
            false if drives_away(world, node) => Eviction::Tolerated,
            false => return Ok(()),
        };
        let mut had = self.given_up.iter().filter(|(of, _)| *of == node);
        if had.any(|(_, had)| *had >= turn) {
            return Ok(());
        }
        let now = world.truth.now;
        let soon = self.last_turn.is_some_and(|last| now - last < steps(1));
        prop_assert!(!soon, "step {now}: {node} is given up out of turn");
        self.last_turn = Some(now);
        self.given_up.push((node, turn));
        Ok(())
    }

    fn pods_go_rightly(
        &mut self,
        world: &World,
        node: usize,
        health: NodeHealth,
        tainted: u32,
    ) -> Result<(), TestCaseError> {
        let truth = &world.truth;
        let is_gone = health == NodeHealth::HostGone && nodes::is_marked_gone(&world.stored[node]);
        let is_tainted = is_unreachable(world, node);
        let gone = self.lasting.count(node, "marked", is_gone && is_tainted);
        let counts = health != NodeHealth::Reachable && (is_gone || !truth.is_stopped());
        let counted = self.lasting.count(node, "counted", is_tainted && counts);
        for (_, role) in world.evicted.iter().filter(|(of, _)| *of == node) {
            let rightly = match role {
                Role::Replica => is_gone && truth.may_be_gone(node),
                // A taint's time is written in whole seconds.
                Role::Patient => {
                    let is_down = health != NodeHealth::Reachable || truth.hosts[node].not_ready;
                    let counts = is_gone || (is_down && !truth.is_stopped());
                    tainted >= steps(TOLERATION_SECONDS - 1) && counts
                }
                Role::Bare | Role::Tolerant => false,
            };
            prop_assert!(rightly, "step {}: {role:?} of {node} is evicted", truth.now);
        }
        let is_there = |role| !self.evicted.contains(&(node, role));
        prop_assert!(
            gone < steps(2) || !is_there(Role::Replica),
            "{node} is marked and tainted, and its replica is there"
        );
        let long = steps(TOLERATION_SECONDS + 3);
        prop_assert!(counted < long || !is_there(Role::Patient), "nothing is tolerated for ever");
        Ok(())
    }
}

fn judged_rightly(world: &World, node: usize, health: NodeHealth) -> Result<(), TestCaseError> {
    let truth = &world.truth;
    let (is_gone, is_known) = (health == NodeHealth::HostGone, health != NodeHealth::Reachable);
    prop_assert!(
        !is_gone || truth.may_be_gone(node),
        "step {}: {node} is not gone: {truth:?}",
        truth.now
    );
    prop_assert!(
        is_gone || !truth.must_be_gone(node),
        "step {}: {node} is gone: {truth:?}",
        truth.now
    );
    let silence = truth.kubelet_is_silent_for(node);
    prop_assert!(
        is_gone || !is_known || silence >= steps(40),
        "step {}: {node} reports",
        truth.now
    );
    prop_assert!(is_known || silence < steps(41), "step {}: {node} does not report", truth.now);
    Ok(())
}

fn drives_away(world: &World, node: usize) -> bool {
    nodes::has_no_execute(&world.stored[node])
}

fn is_unreachable(world: &World, node: usize) -> bool {
    nodes::taints(&world.stored[node])
        .iter()
        .any(|taint| taint.effect == "NoExecute" && taint.key == nodes::UNREACHABLE)
}
