//! What this host knows of others: every second it asks the nodes that follow it by name whether their
//! hosts answer, and says so over Redis. The node controller believes nobody dead who is reached by a
//! peer: it may be its own network that is cut. That it speaks at all is the sign of life of this host.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use api_types::api::core::v1::Node;
use component::host_probe::{Answer, Target};
use futures::future::join_all;
use kube::runtime::reflector::Store;
use listwatch::{ListWatch, Testimony, topics};
use tokio::time::{MissedTickBehavior, interval};

const PERIOD: Duration = Duration::from_secs(1);
/// How many peers each host asks.
const PEERS: usize = 3;

/// Asks and says until dropped.
pub(crate) async fn run(node: &str, nodes: &Store<Node>, listwatch: &ListWatch) {
    let mut answered = BTreeSet::new();
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if !listwatch.redis_connected() {
            continue;
        }
        let targets: BTreeMap<String, Target> =
            nodes.state().iter().filter_map(|n| target(n)).collect();
        let peers = peers(node, targets.keys()).into_iter().map(|peer| ask(peer, targets[peer]));
        let answers = join_all(peers).await;
        listwatch.announce(topics::PROXY_STATUS, &testify(node, &answers, &mut answered));
    }
}

async fn ask(peer: &str, target: Target) -> (&str, Answer) {
    (peer, target.probe().await)
}

fn target(node: &Node) -> Option<(String, Target)> {
    Some((node.metadata.name.clone()?, Target::of(node)?))
}

/// The next ones by name, as in a ring.
fn peers<'a>(node: &str, all: impl Iterator<Item = &'a String>) -> Vec<&'a String> {
    let (before, after): (Vec<_>, Vec<_>) =
        all.filter(|name| *name != node).partition(|name| name.as_str() < node);
    after.into_iter().chain(before).take(PEERS).collect()
}

/// What is to be said. `answered` are the peers that have answered before: a firewall that drops
/// packets is no sign of death.
fn testify(node: &str, answers: &[(&str, Answer)], answered: &mut BTreeSet<String>) -> Testimony {
    let of =
        |wanted| answers.iter().filter(move |(_, answer)| *answer == wanted).map(|(peer, _)| *peer);
    answered.extend(of(Answer::Answered).map(str::to_owned));
    Testimony {
        node: node.to_owned(),
        reached: of(Answer::Answered).map(str::to_owned).collect(),
        missed: of(Answer::Silence)
            .filter(|peer| answered.contains(*peer))
            .map(str::to_owned)
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_asks_those_that_follow_it() {
        let all = ["a", "b", "c", "d", "e"].map(str::to_owned);
        assert_eq!(peers("b", all.iter()), ["c", "d", "e"]);
        assert_eq!(peers("d", all.iter()), ["e", "a", "b"]);
        assert_eq!(peers("a", all[..2].iter()), ["b"]);
        assert!(peers("a", all[..1].iter()).is_empty());
    }

    #[test]
    fn only_who_has_answered_before_is_missed() {
        let mut answered = BTreeSet::new();
        let strings =
            |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let mut check = |answers: &[(&str, Answer)], reached: &[&str], missed: &[&str]| {
            let said = testify("me", answers, &mut answered);
            assert_eq!((said.reached, said.missed), (strings(reached), strings(missed)));
        };
        check(&[("a", Answer::Silence), ("b", Answer::Answered)], &["b"], &[]);
        check(&[("a", Answer::Silence), ("b", Answer::Silence)], &[], &["b"]);
        check(&[("a", Answer::Answered), ("b", Answer::NotAsked)], &["a"], &[]);
        check(&[("a", Answer::Silence), ("b", Answer::Silence)], &[], &["a", "b"]);
    }
}
