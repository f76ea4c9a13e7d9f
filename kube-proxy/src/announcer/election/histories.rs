//! Generated histories of a segment, in virtual time, against what is promised of it.

use std::{collections::HashMap, net::Ipv4Addr};

use proptest::prelude::*;

use super::*;

const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 64));
const STEP: Duration = Duration::from_millis(20);
/// The kernel's.
const LATE: Duration = Duration::from_millis(1250);
const HOSTS: usize = 3;

/// What befalls a host.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// Its program is killed.
    Kill,
    /// Its program ends in order.
    Stop,
    Start,
    /// Its cable is pulled.
    Cut,
    Plug,
    /// It has endpoints no more.
    Unable,
    Able,
    /// Its program stands still for so many steps.
    Stall(u16),
}

struct Host {
    mac: Mac,
    /// Nothing while it does not run.
    election: Option<Election>,
    able: bool,
    plugged: bool,
    stalled_until: Instant,
    /// Until when its kernel has the address.
    has: Option<Instant>,
    inbox: Vec<(Said, Mac)>,
}

/// Who says it, to whom if not to all.
type Message = (Said, usize, Option<usize>);

struct Segment {
    now: Instant,
    hosts: Vec<Host>,
    messages: Vec<Message>,
    /// Since when two have it that reach each other, and whether a program of theirs did not run meanwhile.
    doubles: HashMap<(usize, usize), (Instant, bool)>,
}

impl Segment {
    fn new() -> Self {
        let now = Instant::now();
        let host = |number: usize| Host {
            mac: Mac([2, 0, 0, 0, 0, u8::try_from(number).unwrap()]),
            election: None,
            able: true,
            plugged: true,
            stalled_until: now,
            has: None,
            inbox: Vec::new(),
        };
        let hosts = (0..HOSTS).map(host).collect();
        let mut segment = Self { now, hosts, messages: Vec::new(), doubles: HashMap::new() };
        (0..HOSTS).for_each(|of| segment.happen(of, Event::Start));
        segment
    }

    fn happen(&mut self, of: usize, event: Event) {
        let now = self.now;
        let host = &mut self.hosts[of];
        match event {
            Event::Kill => host.election = None,
            Event::Stop => {
                let actions = host.election.take().map(|mut it| it.leave_all());
                self.act(of, actions.unwrap_or_default());
            }
            Event::Start if host.election.is_none() => {
                host.inbox.clear();
                host.election = Some(Election::new(host.mac));
                self.want(of);
            }
            Event::Start => {}
            Event::Cut => host.plugged = false,
            Event::Plug => host.plugged = true,
            Event::Able | Event::Unable => {
                host.able = matches!(event, Event::Able);
                self.want(of);
            }
            Event::Stall(steps) => host.stalled_until = now + STEP * u32::from(steps),
        }
    }

    fn want(&mut self, of: usize) {
        let host = &mut self.hosts[of];
        let wanted = host.able.then_some(ADDRESS).into_iter().collect();
        let actions = host.election.as_mut().map(|it| it.want(&wanted, self.now));
        self.act(of, actions.unwrap_or_default());
    }

    fn act(&mut self, of: usize, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Hold(_) => self.hosts[of].has = Some(self.now + LIFETIME + LATE),
                Action::Release(_) => self.hosts[of].has = None,
                Action::Say(said, _) => self.messages.push((said, of, None)),
            }
        }
    }

    fn step(&mut self) {
        self.now += STEP;
        let now = self.now;
        for host in &mut self.hosts {
            host.has = host.has.filter(|until| *until > now);
        }
        for (said, from, to) in std::mem::take(&mut self.messages) {
            self.deliver(said, from, to);
        }
        for of in 0..HOSTS {
            self.run(of);
        }
        self.look_at_doubles();
    }

    fn deliver(&mut self, said: Said, from: usize, to: Option<usize>) {
        let sender = self.hosts[from].mac;
        let all = (0..HOSTS).filter(|it| *it != from && to.is_none_or(|to| to == *it));
        for of in all.filter(|_| self.hosts[from].plugged).collect::<Vec<_>>() {
            let host = &mut self.hosts[of];
            if !host.plugged {
                continue;
            }
            host.inbox.push((said, sender));
            // The kernel does, whatever becomes of the program.
            if said == Said::Question && host.has.is_some() {
                self.messages.push((Said::Answer, of, Some(from)));
            }
        }
    }

    fn run(&mut self, of: usize) {
        let host = &mut self.hosts[of];
        let Some(election) = host.election.as_mut().filter(|_| host.stalled_until <= self.now)
        else {
            return;
        };
        let inbox = std::mem::take(&mut host.inbox);
        let heard = inbox.into_iter();
        let mut actions: Vec<_> =
            heard.filter_map(|(said, from)| election.hear(said, ADDRESS, from, self.now)).collect();
        if election.next().is_some_and(|next| next <= self.now) {
            actions.extend(election.tick(self.now));
        }
        self.act(of, actions);
    }

    fn look_at_doubles(&mut self) {
        for (one, other) in [(0, 1), (0, 2), (1, 2)] {
            let both = [one, other].map(|of| &self.hosts[of]);
            if !both.iter().all(|host| host.plugged && host.has.is_some()) {
                self.doubles.remove(&(one, other));
                continue;
            }
            let works = |host: &&Host| host.election.is_some() && host.stalled_until <= self.now;
            let double = self.doubles.entry((one, other)).or_insert((self.now, false));
            double.1 |= !both.iter().all(works);
            let limit = if double.1 { LIFETIME + LATE + BEAT } else { BEAT };
            let lasted = self.now - double.0;
            assert!(lasted <= limit + STEP * 5, "{one} and {other} both had it for {lasted:?}");
        }
    }

    fn let_run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.step();
        }
    }

    /// Of those that are plugged, who has it and who should.
    fn holders(&self) -> (Vec<usize>, Vec<usize>) {
        let plugged = || (0..HOSTS).filter(|of| self.hosts[*of].plugged);
        let has = plugged().filter(|of| self.hosts[*of].has.is_some()).collect();
        let able =
            plugged().filter(|of| self.hosts[*of].able && self.hosts[*of].election.is_some());
        let best = able.max_by_key(|of| weight(self.hosts[*of].mac, ADDRESS));
        (has, best.into_iter().collect())
    }
}

fn history() -> impl Strategy<Value = Vec<(usize, Event, u16)>> {
    let event = prop_oneof![
        1 => Just(Event::Kill),
        1 => Just(Event::Stop),
        3 => Just(Event::Start),
        1 => Just(Event::Cut),
        2 => Just(Event::Plug),
        1 => Just(Event::Unable),
        1 => Just(Event::Able),
        1 => (1..300u16).prop_map(Event::Stall),
    ];
    prop::collection::vec((0..HOSTS, event, 1..200u16), 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn one_host_has_it_and_no_two_for_long(history in history()) {
        let mut segment = Segment::new();
        for (of, event, steps) in history {
            segment.happen(of, event);
            segment.let_run(STEP * u32::from(steps));
        }
        segment.let_run(Duration::from_secs(15));
        let (has, should) = segment.holders();
        prop_assert_eq!(has, should);
    }
}

/// How long nobody has it, in the worst case.
#[test]
fn an_address_is_anothers_within_seconds() {
    let check = |event: Event, at_most: u64| {
        for offset in (0..1000).step_by(100) {
            let mut segment = Segment::new();
            segment.let_run(Duration::from_millis(3000 + offset));
            let (has, _) = segment.holders();
            let begin = segment.now;
            segment.happen(has[0], event);
            while !(0..HOSTS).any(|of| of != has[0] && segment.hosts[of].has.is_some()) {
                segment.step();
            }
            let lasted = segment.now - begin;
            assert!(lasted <= Duration::from_millis(at_most), "{event:?}: {lasted:?}");
        }
    };
    check(Event::Cut, 3700);
    check(Event::Kill, 5000);
    check(Event::Stop, 700);
    check(Event::Unable, 700);
}
