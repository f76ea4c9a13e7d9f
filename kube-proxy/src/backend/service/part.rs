//! What a Service is in an nginx that serves others, too.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
};

use super::{
    OUTSIDE,
    doors::{Open, from_outside, inside},
    flow::Flow,
    stream::{Server, balancing, own_clients},
};
use crate::{
    family::Family,
    nginx::{Socket, upstream::write_upstream},
    plan::ServicePlan,
};

/// The variable of such an nginx that says from which address it speaks to an endpoint, where clients' are kept.
pub(crate) const CLIENT: &str = "$client";

/// What a Service adds to an nginx that serves others, too.
#[derive(Debug, Default)]
pub(crate) struct Part {
    /// Directives of its own.
    pub(crate) stream: String,
    /// Where it may listen and nothing else is asked, and to which upstream or endpoint that leads.
    pub(crate) ways: BTreeMap<(Flow, Socket), String>,
    /// Its endpoints, of those whose addresses are kept, and where they come by: a pod takes nothing that seems to come
    /// from itself.
    pub(crate) own: BTreeSet<(IpAddr, Socket)>,
}

impl Part {
    /// Of a Service that may listen at these sockets.
    pub(crate) fn of(plan: &ServicePlan, may_listen: impl Fn(&Socket) -> bool) -> Self {
        let mut part = Part::default();
        let both = [("", inside(plan)), (OUTSIDE, from_outside(plan))];
        let own = own_clients(plan, both.iter().flat_map(|(_, open)| open));
        for (suffix, mut all) in both {
            for open in &mut all {
                for door in &mut open.doors {
                    door.sockets.retain(|socket| may_listen(&(open.port.protocol, *socket)));
                }
                open.doors.retain(|door| !door.sockets.is_empty());
            }
            all.retain(|open| !open.doors.is_empty());
            for (number, open) in all.iter().enumerate() {
                let name = format!("{}{suffix}-{number}", plan.uid);
                part.add(plan, open, name).expect("writing to a String does not fail");
                part.add_own(open, &own);
            }
        }
        part
    }

    fn add(&mut self, plan: &ServicePlan, open: &Open<'_>, name: String) -> fmt::Result {
        let upstream = with_length_of_its_own(name);
        let (common, own): (Vec<_>, Vec<_>) =
            open.doors.iter().partition(|door| door.only.is_none());
        let lone = open.endpoints.first().filter(|_| open.endpoints.len() == 1);
        let to = lone.map_or_else(|| upstream.clone(), ToString::to_string);
        if lone.is_none() || !own.is_empty() {
            let balancing = balancing(plan);
            write_upstream(&mut self.stream, &upstream, balancing.as_deref(), &open.endpoints)?;
        }
        let client = (!plan.kept.is_empty()).then_some(CLIENT);
        let server = Server { open, upstream: &upstream, client };
        own.into_iter().try_for_each(|door| server.write(&mut self.stream, door))?;
        let (flow, protocol) = (Flow::of(open.port), open.port.protocol);
        let sockets = common.into_iter().flat_map(|door| &door.sockets);
        self.ways.extend(sockets.map(|socket| ((flow, (protocol, *socket)), to.clone())));
        Ok(())
    }

    fn add_own(&mut self, open: &Open<'_>, own: &BTreeSet<IpAddr>) {
        let protocol = open.port.protocol;
        let own = own.iter().filter(|ip| Family::of(**ip) == open.family);
        for socket in open.doors.iter().flat_map(|door| &door.sockets) {
            self.own.extend(own.clone().map(|ip| (*ip, (protocol, *socket))));
        }
    }
}

/// nginx compares the name of each upstream, and of each that a connection is led to, with those of all others, of which it
/// passes over at once whatever is longer or shorter.
fn with_length_of_its_own(name: String) -> String {
    const LENGTHS: usize = 64;
    let sum: usize = name.bytes().map(usize::from).sum();
    name + &"-".repeat(sum % LENGTHS)
}
