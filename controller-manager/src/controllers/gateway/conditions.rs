//! Conditions as the Gateway API has them, and what of them people are to hear.

use api_machinery::gateway::{CONTROLLER, Problem};
use api_types::gateway::{GatewayClassStatus, GatewayStatus, RouteStatus};
use api_types::jiff::Timestamp;
use api_types::meta::{Condition, Time};
use component::events::EventType;

/// Writes the conditions of one object.
pub(super) struct Conditions<'a> {
    /// Those that it had.
    pub(super) before: &'a [Condition],
    /// Of what generation they tell.
    pub(super) generation: Option<i64>,
    pub(super) now: Timestamp,
}

impl Conditions<'_> {
    /// That all is well, or what is amiss.
    pub(super) fn sound(&self, type_: &str, problem: Option<&Problem>) -> Condition {
        match problem {
            None => self.say(type_, true, type_, String::new()),
            Some(problem) => self.say(type_, false, problem.reason, problem.message.clone()),
        }
    }

    /// What is said now, each where it was said before. Conditions of other types are somebody else's, and stay.
    pub(super) fn beside_others(&self, mut said: Vec<Condition>) -> Vec<Condition> {
        let mut all = Vec::new();
        for old in self.before {
            match said.iter().position(|it| it.type_ == old.type_) {
                Some(at) => all.push(said.remove(at)),
                None => all.push(old.clone()),
            }
        }
        all.extend(said);
        all
    }

    /// One that has kept its status has had it since it got it.
    pub(super) fn say(&self, type_: &str, is: bool, reason: &str, message: String) -> Condition {
        let status = if is { "True" } else { "False" };
        let before = self.before.iter().find(|it| it.type_ == type_ && it.status == status);
        Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message,
            observed_generation: self.generation,
            last_transition_time: before
                .map_or(Time(self.now), |before| before.last_transition_time.clone()),
        }
    }
}

pub(super) fn of_class(status: &GatewayClassStatus) -> Vec<&Vec<Condition>> {
    vec![&status.conditions]
}

pub(super) fn of_gateway(status: &GatewayStatus) -> Vec<&Vec<Condition>> {
    let of_listeners = status.listeners.iter().map(|listener| &listener.conditions);
    [&status.conditions].into_iter().chain(of_listeners).collect()
}

/// Those that are ours.
pub(super) fn of_route(status: &RouteStatus) -> Vec<&Vec<Condition>> {
    let ours = status.parents.iter().filter(|parent| parent.controller_name == CONTROLLER);
    ours.map(|parent| &parent.conditions).collect()
}

/// Those that we say.
const OURS: [&str; 5] =
    ["Accepted", "Conflicted", "PartiallyInvalid", "Programmed", "ResolvedRefs"];
/// Conditions that are bad when they are true.
const BAD: [&str; 2] = ["Conflicted", "PartiallyInvalid"];
/// What waits for something that comes by itself, and what follows from what others say.
const BY_THE_WAY: [&str; 3] = ["AddressNotAssigned", "ListenersNotValid", "Pending"];

/// Of each fault, when it is new or another, and that all is well again.
pub(super) fn news(
    before: &[&Vec<Condition>],
    after: &[&Vec<Condition>],
) -> Vec<(EventType, String, String)> {
    let faults = |all: &[&Vec<Condition>]| {
        let all = all.iter().flat_map(|conditions| conditions.iter());
        let faults = all.filter(|it| is_fault(it));
        let mut faults: Vec<_> = faults.map(|it| (it.reason.clone(), it.message.clone())).collect();
        faults.sort();
        faults.dedup();
        faults
    };
    let (before, after) = (faults(before), faults(after));
    if after.is_empty() && !before.is_empty() {
        let well = "all of it is served".to_owned();
        return vec![(EventType::Normal, "Accepted".to_owned(), well)];
    }
    let new = after.into_iter().filter(|fault| !before.contains(fault));
    new.map(|(reason, message)| (EventType::Warning, reason, message)).collect()
}

fn is_fault(condition: &Condition) -> bool {
    let is_bad = (condition.status == "True") == BAD.contains(&condition.type_.as_str());
    let is_ours = OURS.contains(&condition.type_.as_str());
    is_ours
        && is_bad
        && !condition.message.is_empty()
        && !BY_THE_WAY.contains(&condition.reason.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_of_other_types_stay_where_they_are() {
        let now = Timestamp::UNIX_EPOCH;
        let none = Conditions { before: &[], generation: None, now };
        let say = |type_: &str| none.say(type_, true, "Because", String::new());
        let before = [say("example.test/Counted"), say("Accepted")];
        let conditions = Conditions { before: &before, ..none };
        let said = conditions.beside_others(vec![
            conditions.sound("Accepted", None),
            conditions.sound("Programmed", None),
        ]);
        let told: Vec<_> = said.iter().map(|it| (it.type_.as_str(), it.reason.as_str())).collect();
        let expected = [
            ("example.test/Counted", "Because"),
            ("Accepted", "Accepted"),
            ("Programmed", "Programmed"),
        ];
        assert_eq!(told, expected);
    }
}
