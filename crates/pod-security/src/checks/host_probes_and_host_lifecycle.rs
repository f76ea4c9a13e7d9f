//! A probe or a hook that names a host would have the kubelet call it.

use std::collections::BTreeSet;

use api_types::api::core::v1::{HTTPGetAction, TCPSocketAction};

use crate::{
    Violation,
    check::{Check, Revision},
    pod::{Container, Pod},
    wording::{self, join_quote, pluralize},
};

pub(super) static CHECK: Check = Check {
    id: "hostProbesAndHostLifecycle",
    replaces: None,
    revisions: &[Revision { since: 34, verdict: hosts }],
};

type Actions<'a> = (Option<&'a HTTPGetAction>, Option<&'a TCPSocketAction>);

fn hosts(pod: &Pod<'_>) -> Option<Violation> {
    let mut bad = pod.containers_where(|container| hosts_of(container).next().is_some());
    // By name, unlike in the other checks.
    bad.sort_unstable();
    bad.dedup();
    let forbidden: BTreeSet<&str> = pod.containers.iter().flat_map(hosts_of).collect();
    let nouns = pluralize("probe or lifecycle host", "probe or lifecycle hosts", forbidden.len());
    (!bad.is_empty()).then(|| Violation {
        reason: "probe or lifecycle host",
        detail: format!(
            "{} {} {nouns} {}",
            wording::containers(&bad),
            pluralize("uses", "use", bad.len()),
            join_quote(forbidden)
        ),
    })
}

fn hosts_of<'a>(container: &Container<'a>) -> impl Iterator<Item = &'a str> {
    actions_of(container)
        .flat_map(|(http, tcp)| {
            let http = http.and_then(|action| action.host.as_deref());
            [http, tcp.and_then(|action| action.host.as_deref())]
        })
        .flatten()
        .filter(|host| !host.is_empty())
}

fn actions_of<'a>(container: &Container<'a>) -> impl Iterator<Item = Actions<'a>> {
    let probes = container
        .probes
        .into_iter()
        .flatten()
        .map(|probe| (probe.http_get.as_ref(), probe.tcp_socket.as_ref()));
    let hooks = container
        .lifecycle
        .into_iter()
        .flat_map(|lifecycle| [&lifecycle.post_start, &lifecycle.pre_stop])
        .flatten()
        .map(|hook| (hook.http_get.as_ref(), hook.tcp_socket.as_ref()));
    probes.chain(hooks)
}
