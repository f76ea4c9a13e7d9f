//! What is said of classes, Gateways and routes.

use std::collections::{BTreeMap, BTreeSet};

use api_machinery::gateway::{
    CONTROLLER, JudgedListener, Parent, Problem, References, Rules, attach, is_its_service,
    is_meant, refusal,
};
use api_types::api::core::v1::Service;
use api_types::gateway::{
    Gateway, GatewayClass, GatewayClassStatus, GatewayStatus, GatewayStatusAddress, HttpRoute,
    ListenerStatus, ParentReference, RouteParentStatus, RouteStatus,
};
use api_types::jiff::Timestamp;
use api_types::meta::Condition;

use super::conditions::Conditions;

/// How many routes each listener has, by the places of its Gateway and of itself.
#[derive(Debug, Default)]
pub(super) struct Attached(BTreeMap<(usize, usize), i32>);

impl Attached {
    /// Those of one Gateway, by listener.
    pub(super) fn of(&self, gateway: usize) -> BTreeMap<usize, i32> {
        let ours = self.0.range((gateway, 0)..=(gateway, usize::MAX));
        ours.map(|((_, listener), count)| (*listener, *count)).collect()
    }
}

pub(super) fn of_class(class: &GatewayClass, now: Timestamp) -> GatewayClassStatus {
    let before = class.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let conditions = Conditions { before, generation: class.metadata.generation, now };
    let parameters = class.spec.parameters_ref.is_some().then(|| Problem {
        reason: "InvalidParameters",
        message: "there are no parameters".to_owned(),
    });
    let accepted = conditions.sound("Accepted", parameters.as_ref());
    GatewayClassStatus { conditions: conditions.beside_others(vec![accepted]) }
}

/// `service`: the one of its Service's name. `attached`: how many routes each listener has.
pub(super) fn of_gateway(
    parent: &Parent<'_>,
    service: Option<&Service>,
    attached: &BTreeMap<usize, i32>,
    now: Timestamp,
) -> GatewayStatus {
    let gateway = parent.gateway;
    let refused = refusal(gateway);
    let addresses = match service {
        Some(service) if refused.is_none() && is_its_service(service, gateway) => {
            addresses(service)
        }
        _ => Vec::new(),
    };
    let unaddressed = addresses.is_empty().then(|| unaddressed(gateway, service));
    let before = gateway.status.as_ref();
    let conditions = Conditions {
        before: before.map_or(&[][..], |status| &status.conditions),
        generation: gateway.metadata.generation,
        now,
    };
    let listeners = parent.listeners.iter().enumerate().map(|(place, judged)| {
        let of_it = before.into_iter().flat_map(|status| &status.listeners);
        let mut of_it = of_it.filter(|it| it.name == judged.listener.name);
        let before = of_it.next().map_or(&[][..], |status| &status.conditions);
        let conditions = Conditions { before, ..conditions };
        let pending = refused.as_ref().or(unaddressed.as_ref());
        ListenerStatus {
            name: judged.listener.name.clone(),
            supported_kinds: judged.kinds.clone(),
            attached_routes: attached.get(&place).copied().unwrap_or_default(),
            conditions: of_listener(judged, pending, &conditions),
        }
    });
    GatewayStatus {
        listeners: listeners.collect(),
        conditions: of_whole(parent.listeners, refused, unaddressed, &conditions),
        addresses,
    }
}

/// A Gateway is accepted if one of its listeners is, and in force if one is served.
fn of_whole(
    listeners: &[JudgedListener<'_>],
    refused: Option<Problem>,
    unaddressed: Option<Problem>,
    conditions: &Conditions<'_>,
) -> Vec<Condition> {
    let is_valid = |it: &&JudgedListener<'_>| it.is_served() && it.unresolved.is_none();
    let all_valid = listeners.iter().all(|it| is_valid(&it));
    let any_served = listeners.iter().any(JudgedListener::is_served);
    let not_valid = || "what is amiss is said of the listeners".to_owned();
    let accepted = match &refused {
        Some(problem) => conditions.sound("Accepted", Some(problem)),
        None if all_valid => conditions.sound("Accepted", None),
        None => conditions.say("Accepted", any_served, "ListenersNotValid", not_valid()),
    };
    let none_served = (!any_served).then(|| Problem { reason: "Invalid", message: String::new() });
    let invalid = refused.map(|_| Problem { reason: "Invalid", message: String::new() });
    let amiss = invalid.or(none_served).or(unaddressed);
    conditions.beside_others(vec![accepted, conditions.sound("Programmed", amiss.as_ref())])
}

fn of_listener(
    judged: &JudgedListener<'_>,
    pending: Option<&Problem>,
    conditions: &Conditions<'_>,
) -> Vec<Condition> {
    let conflict = judged.conflict.as_ref();
    let conflicted = match conflict {
        Some(Problem { reason, message }) => {
            conditions.say("Conflicted", true, reason, message.clone())
        }
        None => conditions.say("Conflicted", false, "NoConflicts", String::new()),
    };
    let invalid = || Problem { reason: "Invalid", message: String::new() };
    let waits = || Problem { reason: "Pending", message: String::new() };
    let amiss = match (judged.is_served(), pending) {
        (false, _) => Some(invalid()),
        (true, Some(_)) => Some(waits()),
        (true, None) => None,
    };
    conditions.beside_others(vec![
        conditions.sound("Accepted", judged.refused.as_ref().or(conflict)),
        conflicted,
        conditions.sound("Programmed", amiss.as_ref()),
        conditions.sound("ResolvedRefs", judged.unresolved.as_ref()),
    ])
}

/// Of a load balancer, if there is one; or else inside of the cluster.
fn addresses(service: &Service) -> Vec<GatewayStatusAddress> {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let points = status.iter().flat_map(|it| it.ingress.iter().flatten());
    let mut values: Vec<_> = points.filter_map(|point| point.ip.clone()).collect();
    let spec = service.spec.as_ref();
    values.extend(spec.iter().flat_map(|spec| spec.external_ips.iter().flatten().cloned()));
    if values.is_empty() {
        let own = spec.iter().flat_map(|spec| spec.cluster_ips.iter().flatten().cloned());
        values.extend(own.filter(|ip| !ip.is_empty() && ip != "None"));
    }
    let address = |value| GatewayStatusAddress { type_: Some("IPAddress".to_owned()), value };
    values.into_iter().map(address).collect()
}

fn unaddressed(gateway: &Gateway, service: Option<&Service>) -> Problem {
    match service {
        Some(service) if !is_its_service(service, gateway) => {
            let name = service.metadata.name.as_deref().unwrap_or_default();
            let message =
                format!("the service {name:?} is somebody else's, and the Gateway needs that name");
            Problem { reason: "AddressNotUsable", message }
        }
        _ => {
            let message = "its service has no address yet".to_owned();
            Problem { reason: "AddressNotAssigned", message }
        }
    }
}

/// What others say of it stays. `attached` is told what it has.
pub(super) fn of_route(
    route: &HttpRoute,
    parents: &[Parent<'_>],
    references: &References<'_>,
    attached: &mut Attached,
    now: Timestamp,
) -> RouteStatus {
    let before = route.status.as_ref().map_or(&[][..], |status| &status.parents);
    let (mut said, mut rules) = (Vec::new(), None);
    let mut counted = BTreeSet::new();
    for reference in &route.spec.parent_refs {
        let meant =
            parents.iter().enumerate().find(|(_, it)| is_meant(reference, route, it.gateway));
        let Some((place, parent)) = meant else { continue };
        let rules = rules.get_or_insert_with(|| Rules::read(route, references));
        let found = attach(route, reference, parent);
        if let Ok(found) = found.as_ref().map(|all| all.iter().filter(|_| rules.any_is_sound)) {
            counted.extend(found.map(|it| (place, it.listener)));
        }
        let ours = before.iter().filter(|it| it.controller_name == CONTROLLER);
        let mut ours = ours.filter(|it| it.parent_ref == *reference);
        let conditions = Conditions {
            before: ours.next().map_or(&[][..], |it| &it.conditions),
            generation: route.metadata.generation,
            now,
        };
        said.push(of_parent(reference, found.err(), rules, &conditions));
    }
    for listener in counted {
        *attached.0.entry(listener).or_default() += 1;
    }
    RouteStatus { parents: in_place(before, said) }
}

/// What is said, each where it was said before: with an order of its own, a controller would write whenever another one
/// has.
fn in_place(
    before: &[RouteParentStatus],
    mut said: Vec<RouteParentStatus>,
) -> Vec<RouteParentStatus> {
    let mut all = Vec::new();
    for old in before {
        if old.controller_name != CONTROLLER {
            all.push(old.clone());
        } else if let Some(at) = said.iter().position(|it| it.parent_ref == old.parent_ref) {
            all.push(said.remove(at));
        }
    }
    all.extend(said);
    all
}

fn of_parent(
    reference: &ParentReference,
    refused: Option<Problem>,
    rules: &Rules,
    conditions: &Conditions<'_>,
) -> RouteParentStatus {
    let told = joined(rules.unsupported.iter().map(String::as_str));
    let unsupported =
        (!told.is_empty()).then_some(Problem { reason: "UnsupportedValue", message: told });
    let nothing_is_served = unsupported.clone().filter(|_| !rules.any_is_sound);
    let accepted = refused.or(nothing_is_served);
    let unresolved = rules.unresolved.first().map(|first| Problem {
        reason: first.reason,
        message: joined(rules.unresolved.iter().map(|it| it.message.as_str())),
    });
    let mut all = vec![
        conditions.sound("Accepted", accepted.as_ref()),
        conditions.sound("ResolvedRefs", unresolved.as_ref()),
    ];
    if let Some(Problem { reason, message }) = unsupported.filter(|_| rules.any_is_sound) {
        all.push(conditions.say("PartiallyInvalid", true, reason, message));
    }
    RouteParentStatus {
        parent_ref: reference.clone(),
        controller_name: CONTROLLER.to_owned(),
        conditions: all,
    }
}

/// No more than a condition's message may have.
fn joined<'a>(messages: impl Iterator<Item = &'a str>) -> String {
    let all: Vec<_> = messages.collect();
    let shown = all.len().min(8);
    let more =
        if shown < all.len() { format!("; and {} more", all.len() - shown) } else { String::new() };
    all[..shown].join("; ") + &more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_route_stays_where_it_was_beside_what_others_say() {
        let of = |controller: &str, parent: &str| RouteParentStatus {
            parent_ref: ParentReference { name: parent.to_owned(), ..ParentReference::default() },
            controller_name: controller.to_owned(),
            conditions: Vec::new(),
        };
        let before = [of(CONTROLLER, "a"), of("x.test/y", "b"), of(CONTROLLER, "gone")];
        let after = in_place(&before, vec![of(CONTROLLER, "new"), of(CONTROLLER, "a")]);
        let expected = [of(CONTROLLER, "a"), of("x.test/y", "b"), of(CONTROLLER, "new")];
        assert_eq!(after, expected);
        assert_eq!(in_place(&after, vec![of(CONTROLLER, "new"), of(CONTROLLER, "a")]), after);
    }
}
