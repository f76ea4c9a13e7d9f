//! One host, and what it hears.

use std::net::Ipv4Addr;

use super::*;

const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 64));
const HOLD: Action = Action::Hold(ADDRESS);
const RELEASE: Action = Action::Release(ADDRESS);
const MINE: Action = Action::Say(Said::Mine, ADDRESS);
const QUESTION: Action = Action::Say(Said::Question, ADDRESS);

/// A host, and others with a lesser and a greater weight.
struct Host {
    election: Election,
    worse: Mac,
    better: Mac,
    start: Instant,
}

impl Host {
    fn new() -> Self {
        let mut all: Vec<_> = (1..4).map(|last| Mac([2, 0, 0, 0, 0, last])).collect();
        all.sort_by_key(|mac| weight(*mac, ADDRESS));
        let (start, [worse, own, better]) = (Instant::now(), all.try_into().unwrap());
        let mut host = Self { election: Election::new(own), worse, better, start };
        assert_eq!(host.election.want(&[ADDRESS].into(), start), []);
        host
    }

    /// One that has the address, at 500 ms.
    fn holding() -> Self {
        let mut host = Self::new();
        for (at, expected) in [(0, vec![QUESTION]), (200, vec![QUESTION]), (400, vec![QUESTION])] {
            assert_eq!(host.tick(at), expected, "at {at}");
        }
        assert_eq!(host.tick(500), [HOLD, MINE]);
        host
    }

    fn at(&self, at: u64) -> Instant {
        self.start + Duration::from_millis(at)
    }

    fn tick(&mut self, at: u64) -> Vec<Action> {
        self.election.tick(self.at(at))
    }

    fn hear(&mut self, said: Said, from: Mac, at: u64) -> Option<Action> {
        self.election.hear(said, ADDRESS, from, self.at(at))
    }

    fn next(&self) -> u64 {
        let next = self.election.next().unwrap() - self.start;
        next.as_millis().try_into().unwrap()
    }
}

#[test]
fn an_address_that_nobody_answers_for_is_taken_and_told_of_every_second() {
    let mut host = Host::holding();
    assert_eq!((host.next(), host.tick(1499)), (1500, vec![]));
    assert_eq!(host.tick(1500), [HOLD, MINE]);
    assert_eq!(host.election.held(), [ADDRESS].into());
}

#[test]
fn who_could_not_ask_in_time_asks_before_it_takes() {
    let mut host = Host::new();
    assert_eq!(host.tick(2000), [QUESTION]);
    assert_eq!(host.tick(2499), [QUESTION]);
    assert_eq!(host.tick(2500), [HOLD, MINE]);
}

#[test]
fn an_address_that_a_kernel_answers_for_is_not_taken() {
    let mut host = Host::new();
    for at in (0..5000).step_by(200) {
        assert_eq!(host.tick(at), [QUESTION], "at {at}");
        host.hear(Said::Answer, host.better, at + 1);
    }
    assert_eq!((host.tick(5000), host.tick(5301)), (vec![QUESTION], vec![HOLD, MINE]));
}

#[test]
fn the_greater_weight_has_it_once_both_have_heard_of_each_other() {
    let mut host = Host::holding();
    let worse = host.worse;
    assert_eq!(host.hear(Said::Mine, worse, 510), None);
    // It is told at once, but not as often as it is contradicted.
    assert_eq!((host.next(), host.tick(700)), (700, vec![HOLD, MINE]));
    assert_eq!(host.hear(Said::Mine, worse, 710), None);
    assert_eq!(host.next(), 900);
    let better = host.better;
    assert_eq!(host.hear(Said::Mine, better, 720), Some(RELEASE));
    assert_eq!(host.election.held(), [].into());
    assert_eq!(host.hear(Said::Mine, worse, 730), None, "the better one will see to it");
}

#[test]
fn who_takes_over_from_one_that_is_there_lets_it_go_on_until_its_own_servers_are_ready() {
    let mut host = Host::new();
    let worse = host.worse;
    assert_eq!(host.hear(Said::Mine, worse, 10), Some(HOLD));
    assert_eq!(host.hear(Said::Mine, worse, 400), None);
    assert_eq!((host.tick(509), host.tick(510)), (vec![], vec![HOLD, MINE]));
}

#[test]
fn an_address_of_which_nothing_is_heard_is_asked_for() {
    let mut host = Host::new();
    let better = host.better;
    assert_eq!(host.hear(Said::Mine, better, 10), Some(RELEASE), "left by the program before");
    assert_eq!(host.hear(Said::Mine, better, 1010), None);
    assert_eq!((host.next(), host.tick(4010)), (4010, vec![QUESTION]));
    assert_eq!(host.tick(4300), [QUESTION]);
    assert_eq!(host.tick(4510), [HOLD, MINE]);
}

#[test]
fn who_leaves_says_so_and_the_others_ask_at_once() {
    let mut host = Host::holding();
    assert_eq!(host.election.leave_all(), [RELEASE, QUESTION]);
    let mut other = Host::new();
    let better = other.better;
    other.hear(Said::Mine, better, 10);
    assert_eq!(other.hear(Said::Question, better, 1000), None);
    assert_eq!(other.tick(1000), [QUESTION]);
    // A better one asks too, and will have it.
    other.hear(Said::Question, better, 1100);
    assert_eq!(other.tick(1500), [QUESTION]);
    assert_eq!(other.next(), 1600);
}

#[test]
fn who_has_slept_asks_anew() {
    let mut host = Host::holding();
    assert_eq!(host.tick(500 + 3000), [RELEASE, QUESTION]);
    assert_eq!(host.tick(4000), [HOLD, MINE]);
}

#[test]
fn what_can_not_be_had_is_left_to_others_for_a_while() {
    let mut host = Host::holding();
    let (now, worse) = (host.at(600), host.worse);
    host.election.failed(ADDRESS, now);
    assert_eq!(host.hear(Said::Mine, worse, 700), None);
    assert_eq!(host.next(), 3600);
}

/// Else one host would have all.
#[test]
fn hosts_have_another_order_for_each_address_of_either_family() {
    let best = |address: IpAddr| {
        (1..4).map(|last| Mac([2, 0, 0, 0, 0, last])).max_by_key(|mac| weight(*mac, address))
    };
    for template in ["192.0.2.", "fd00::"] {
        let addresses = (1..20).map(|last| format!("{template}{last}").parse().unwrap());
        let chosen: BTreeSet<_> = addresses.map(best).collect();
        assert_eq!(chosen.len(), 3, "{template}");
    }
}
