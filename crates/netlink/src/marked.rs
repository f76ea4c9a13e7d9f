//! Packets with a mark that are for this host wherever they are addressed to, by a rule and a table of routes.

use std::net::IpAddr;

use ipnet::IpNet;
use nix::errno::Errno;
use rtnetlink::{
    IpVersion, RouteMessageBuilder,
    packet_route::{
        AddressFamily,
        route::{RouteProtocol, RouteScope, RouteType},
        rule::{RuleAction, RuleAttribute, RuleMessage},
    },
};

use crate::{
    Error, Netlink,
    error::{failed, unless},
};

/// Which packets, and how they come to stay here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marked {
    /// The bits of the mark, all of which are set.
    pub mark: u32,
    /// The table, which is nobody else's, the rule's place among the others, and who made both.
    pub number: u8,
    /// Where they are addressed to.
    pub to: IpNet,
}

impl Netlink {
    /// Has such packets stay on this host.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn keep_marked(&self, marked: Marked) -> Result<(), Error> {
        let lo = self.link("lo").await?.unwrap_or_default();
        let route = route(marked).output_interface(lo);
        let added = self.handle.route().add(route.build()).replace().execute().await;
        added.map_err(failed("adding a route for marked packets"))?;
        if self.keeps_marked(marked).await? {
            return Ok(());
        }
        let mut request = self.handle.rule().add();
        *request.message_mut() = rule(marked);
        let added = request.execute().await.map_err(failed("adding a rule for marked packets"));
        unless(added, Errno::EEXIST)
    }

    /// Whether they do, as far as the rule says.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub async fn keeps_marked(&self, marked: Marked) -> Result<bool, Error> {
        let version = if marked.to.addr().is_ipv4() { IpVersion::V4 } else { IpVersion::V6 };
        let listed = self.list(|| self.handle.rule().get(version).execute()).await;
        let listed = listed.map_err(failed("listing rules for routes"))?;
        let wanted = rule(marked);
        let is_it = |found: &RuleMessage| {
            found.header.table == wanted.header.table
                && wanted.attributes.iter().all(|it| found.attributes.contains(it))
        };
        Ok(listed.iter().any(is_it))
    }

    /// Has them go their way again.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn let_marked_go(&self, marked: Marked) -> Result<(), Error> {
        if self.keeps_marked(marked).await? {
            let removed = self.handle.rule().del(rule(marked)).execute().await;
            unless(removed.map_err(failed("removing a rule for marked packets")), Errno::ENOENT)?;
        }
        let removed = self.handle.route().del(route(marked).build()).execute().await;
        unless(removed.map_err(failed("removing a route for marked packets")), Errno::ESRCH)
    }
}

fn route(marked: Marked) -> RouteMessageBuilder<IpAddr> {
    RouteMessageBuilder::<IpAddr>::new()
        .destination_prefix(marked.to.network(), marked.to.prefix_len())
        .expect("a network's prefix is no longer than its addresses")
        .table_id(marked.number.into())
        .protocol(RouteProtocol::from(marked.number))
        .scope(RouteScope::Host)
        .kind(RouteType::Local)
}

fn rule(marked: Marked) -> RuleMessage {
    let mut rule = RuleMessage::default();
    rule.header.family = match marked.to {
        IpNet::V4(_) => AddressFamily::Inet,
        IpNet::V6(_) => AddressFamily::Inet6,
    };
    rule.header.table = marked.number;
    rule.header.action = RuleAction::ToTable;
    rule.attributes = vec![
        RuleAttribute::Priority(marked.number.into()),
        RuleAttribute::FwMark(marked.mark),
        RuleAttribute::FwMask(marked.mark),
    ];
    rule
}
