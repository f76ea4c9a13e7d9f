//! Traffic of the network, by interface.

use super::subject::Subject;
use crate::{
    server::usage::families::{Family, float},
    usage::proc::{Interface, Traffic},
};

/// The metrics.
pub(super) fn network(subjects: &[Subject<'_>]) -> Vec<Family> {
    type Of = fn(&Traffic) -> u64;
    let figures: [(_, _, _, _, Of); 4] = [
        (
            "container_network_receive_bytes",
            "Cumulative count of bytes received",
            "container_network_transmit_bytes",
            "Cumulative count of bytes transmitted",
            |traffic| traffic.bytes,
        ),
        (
            "container_network_receive_packets",
            "Cumulative count of packets received",
            "container_network_transmit_packets",
            "Cumulative count of packets transmitted",
            |traffic| traffic.packets,
        ),
        (
            "container_network_receive_errors",
            "Cumulative count of errors encountered while receiving",
            "container_network_transmit_errors",
            "Cumulative count of errors encountered while transmitting",
            |traffic| traffic.errors,
        ),
        (
            "container_network_receive_packets_dropped",
            "Cumulative count of packets dropped while receiving",
            "container_network_transmit_packets_dropped",
            "Cumulative count of packets dropped while transmitting",
            |traffic| traffic.dropped,
        ),
    ];
    let both = figures.map(|(received, came, transmitted, went, of)| {
        let (mut receive, mut transmit) =
            (Family::counter(received, came), Family::counter(transmitted, went));
        for (subject, interface) in interfaces(subjects) {
            let labels = subject.labels_and([("interface", &interface.name)]);
            receive.add(labels.clone(), Some(float(of(&interface.received))));
            transmit.add(labels, Some(float(of(&interface.transmitted))));
        }
        [receive, transmit]
    });
    both.into_iter().flatten().collect()
}

fn interfaces<'a>(
    subjects: &'a [Subject<'a>],
) -> impl Iterator<Item = (&'a Subject<'a>, &'a Interface)> {
    subjects.iter().flat_map(|subject| subject.interfaces.iter().map(move |found| (subject, found)))
}
