//! How what is announced on the segment differs from what should be.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use anyhow::Context;
use api_machinery::load_balancer::pool_of;
use api_types::api::core::v1::Node;
use kube::runtime::reflector::Store;
use netlink::{Link, Mac, Netlink};
use tokio::time::{Instant, timeout_at};

use super::{
    election::{ANSWERING, BEAT, Said},
    wanted::{Given, given, is_lent, may_serve, of_hosts, segment},
    wire::Wire,
};
use crate::{
    announced::Announced,
    family::Family,
    world::{Here, World},
};

/// Between two hosts there may be nobody for a moment.
const PATIENCE: Duration = BEAT.saturating_add(ANSWERING);

/// The differences; what `announced` is given is what this host has.
pub(crate) async fn differences(
    here: &Here,
    world: &World,
    nodes: &Store<Node>,
    announced: &Announced,
) -> anyhow::Result<Vec<String>> {
    let netlink = Netlink::open().context("cannot look at the kernel's addresses")?;
    let (addresses, links) = (netlink.addresses().await?, netlink.links().await?);
    let local: BTreeSet<_> = addresses.iter().map(|it| it.address).collect();
    let place = world.place(here, &local);
    let nodes = nodes.state();
    let hosts = of_hosts(nodes.iter().map(AsRef::as_ref), &addresses);
    let given = given(&place, &world.services_where(|it| pool_of(it).is_some()), &hosts);
    let held = given.keys().filter(|address| local.contains(address)).copied();
    announced.set(given.keys().copied(), held.collect());
    let can_serve = may_serve(&place.nodes, nodes.iter().map(AsRef::as_ref));
    let own = nodes.iter().find(|node| node.metadata.name.as_ref() == Some(&here.node));
    let mut found = Vec::new();
    for family in Family::BOTH {
        let segment = own.and_then(|node| segment(family, node, &addresses, &links));
        let Some((link, mac)) = segment else { continue };
        let given = given.iter().filter(|(address, _)| family.has(**address));
        let given: BTreeMap<_, _> = given.map(|(address, of)| (*address, of.clone())).collect();
        let answers = match given.is_empty() {
            true => BTreeMap::new(),
            false => ask(family, &link, mac, &given).await.context("cannot ask on the segment")?,
        };
        let lent = addresses.iter().filter(|it| it.link == link.index && is_lent(it));
        let lent = lent.map(|it| it.address).filter(|address| family.has(*address)).collect();
        found.extend(compare(&given, can_serve, &lent, &answers, &link.name));
    }
    Ok(found)
}

/// Who else answers for each address.
async fn ask(
    family: Family,
    link: &Link,
    mac: Mac,
    given: &BTreeMap<IpAddr, Given>,
) -> anyhow::Result<BTreeMap<IpAddr, BTreeSet<Mac>>> {
    let wire = Wire::open(family, link, mac)?;
    for address in given.keys() {
        wire.say(Said::Question, *address)?;
    }
    let (until, mut answers) = (Instant::now() + PATIENCE, BTreeMap::<_, BTreeSet<_>>::new());
    while let Ok(heard) = timeout_at(until, wire.hear()).await {
        let heard = heard?;
        if heard.said != Said::Question && heard.from != mac {
            answers.entry(heard.address).or_default().insert(heard.from);
        }
    }
    Ok(answers)
}

/// `lent`: what this host has of the segment's addresses for a while.
fn compare(
    given: &BTreeMap<IpAddr, Given>,
    can_serve: bool,
    lent: &BTreeSet<IpAddr>,
    answers: &BTreeMap<IpAddr, BTreeSet<Mac>>,
    link: &str,
) -> Vec<String> {
    let left = lent.iter().filter(|address| !given.contains_key(address));
    let mut found: Vec<_> =
        left.map(|address| format!("{address} is left over on {link}")).collect();
    for (address, Given { service, served, .. }) in given {
        let is_here = lent.contains(address);
        let others = answers.get(address).into_iter().flatten();
        let mut all: Vec<_> = others.map(ToString::to_string).collect();
        all.extend(is_here.then(|| "this host".to_owned()));
        let what = format!("{address} of {service}");
        match all.len() {
            0 if can_serve && *served => found.push(format!("{what} is announced by nobody")),
            0 | 1 => {}
            _ => found.push(format!("{what} is announced by several: {}", all.join(", "))),
        }
        if is_here && !(can_serve && *served) {
            found.push(format!("{what} is announced here, where it can't be served"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_announced_by_one_host_that_can_serve_it() {
        let address: IpAddr = [192, 0, 2, 64].into();
        let check = |served, can_serve, here: bool, others: &[u8], expected: &[&str]| {
            let given =
                Given { service: "default/web".to_owned(), object: Default::default(), served };
            let answers = others.iter().map(|last| Mac([2, 0, 0, 0, 0, *last])).collect();
            let lent = here.then_some(address).into_iter().collect();
            let (given, answers) = ([(address, given)].into(), [(address, answers)].into());
            assert_eq!(compare(&given, can_serve, &lent, &answers, "eth0"), expected);
        };
        check(true, true, true, &[], &[]);
        check(true, true, false, &[7], &[]);
        check(true, true, false, &[], &["192.0.2.64 of default/web is announced by nobody"]);
        check(false, true, false, &[], &[]);
        check(true, false, false, &[], &[]);
        let several =
            "192.0.2.64 of default/web is announced by several: 02:00:00:00:00:07, this host";
        check(true, true, true, &[7], &[several]);
        let not_here = "192.0.2.64 of default/web is announced here, where it can't be served";
        check(false, true, true, &[], &[not_here]);
        check(true, false, true, &[], &[not_here]);
        let lent = [address].into();
        let left = compare(&BTreeMap::new(), true, &lent, &BTreeMap::new(), "eth0");
        assert_eq!(left, ["192.0.2.64 is left over on eth0"]);
    }
}
