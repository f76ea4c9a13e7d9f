//! What is true of a history, by the book: what ARCHITECTURE.md promises, in its own numbers, kept apart
//! from what the controller makes of it.

use super::steps;

/// By what a host is heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Renewed,
    KubeletBeat,
    ProxyBeat,
    Answered,
    ReachedByPeer,
}

/// What has come to the controller's ears of one node, and what has become of it. Times are steps.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    words: [Option<u32>; 5],
    asked_in_vain: u32,
    missed: Option<u32>,
    /// Since when it is dead.
    pub(super) dead: Option<u32>,
    /// It says itself that it is not ready.
    pub(super) not_ready: bool,
}

/// Since when counting has gone on undisturbed, of hosts or of kubelets.
#[derive(Clone, Copy, Debug, Default)]
struct Counting {
    since: u32,
    most_are_silent: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Truth {
    pub(super) now: u32,
    pub(super) hosts: Vec<Host>,
    looked: u32,
    /// When the controller was last asleep, be it for a moment.
    pub(super) asleep: u32,
    redis: Option<u32>,
    counting_hosts: Counting,
    counting_kubelets: Counting,
}

impl Host {
    pub(super) fn hear(&mut self, word: Word, now: u32) {
        self.words[word as usize] = Some(now);
        if word == Word::Answered {
            self.asked_in_vain = 0;
        }
    }

    pub(super) fn ask_in_vain(&mut self) {
        self.asked_in_vain += 1;
    }

    pub(super) fn miss(&mut self, now: u32) {
        self.missed = Some(now);
    }

    fn last(&self, word: Word) -> Option<u32> {
        self.words[word as usize]
    }

    fn last_word(&self) -> u32 {
        self.words.iter().flatten().copied().max().unwrap_or_default()
    }

    /// Whether it was heard so until it fell silent.
    fn was_heard(&self, word: Word) -> bool {
        self.last(word).is_some_and(|last| last + steps(20) >= self.last_word())
    }
}

impl Truth {
    pub(super) fn new(nodes: usize) -> Self {
        Self {
            now: 0,
            hosts: vec![Host::default(); nodes],
            looked: 0,
            asleep: 0,
            redis: None,
            counting_hosts: Counting::default(),
            counting_kubelets: Counting::default(),
        }
    }

    /// The controller begins anew.
    pub(super) fn restart(&mut self) {
        for host in &mut self.hosts {
            *host = Host { dead: host.dead, not_ready: host.not_ready, ..Host::default() };
            host.hear(Word::Renewed, self.now);
        }
        let counting = Counting { since: self.now, most_are_silent: false };
        (self.counting_hosts, self.counting_kubelets) = (counting, counting);
        (self.looked, self.redis) = (self.now, None);
    }

    /// The controller looks, and is told whether Redis is connected.
    pub(super) fn look(&mut self, redis_connected: bool) {
        let now = self.now;
        if self.has_slept() {
            self.count_hosts_anew();
            self.counting_kubelets.since = now;
        }
        self.looked = now;
        self.redis = redis_connected.then(|| self.redis.unwrap_or(now));
        let (hosts, kubelets) = (self.most_hosts_are_silent(), self.most_kubelets_are_silent());
        if std::mem::replace(&mut self.counting_hosts.most_are_silent, hosts) && !hosts {
            self.count_hosts_anew();
        }
        if std::mem::replace(&mut self.counting_kubelets.most_are_silent, kubelets) && !kubelets {
            self.counting_kubelets.since = now;
        }
    }

    fn count_hosts_anew(&mut self) {
        self.counting_hosts.since = self.now;
        for host in &mut self.hosts {
            (host.asked_in_vain, host.missed) = (0, None);
        }
    }

    /// The controller has slept for more than two seconds, and not looked around yet.
    pub(super) fn has_slept(&self) -> bool {
        self.now - self.looked > steps(2)
    }

    /// For how long nothing was wrong with the controller, nor with most of the cluster, that would have to
    /// do with hosts.
    pub(super) fn undisturbed(&self) -> u32 {
        let is_mass = self.most_hosts_are_silent() || self.counting_hosts.most_are_silent;
        let Some(redis) = self.redis.filter(|_| !is_mass) else { return 0 };
        self.now - redis.max(self.counting_hosts.since)
    }

    /// Whether nobody is to be evicted for the silence of kubelets.
    pub(super) fn is_stopped(&self) -> bool {
        self.has_slept()
            || self.most_kubelets_are_silent()
            || self.counting_kubelets.most_are_silent
    }

    fn most_hosts_are_silent(&self) -> bool {
        let silent = |host: &Host| self.host_silence(host) >= steps(7) / 2;
        self.are_most(silent)
    }

    fn most_kubelets_are_silent(&self) -> bool {
        self.are_most(|host| host.not_ready || self.kubelet_silence(host) >= steps(20))
    }

    fn are_most(&self, silent: impl Fn(&Host) -> bool) -> bool {
        let silent = self.hosts.iter().filter(|host| silent(host)).count();
        silent * 100 > self.hosts.len() * 55
    }

    fn host_silence(&self, host: &Host) -> u32 {
        self.now - host.last_word().max(self.counting_hosts.since)
    }

    fn kubelet_silence(&self, host: &Host) -> u32 {
        self.now - host.last(Word::Renewed).unwrap_or_default().max(self.counting_kubelets.since)
    }

    /// For how long the kubelet may be said not to report.
    pub(super) fn kubelet_is_silent_for(&self, node: usize) -> u32 {
        if self.has_slept() { 0 } else { self.kubelet_silence(&self.hosts[node]) }
    }

    /// Whether its host may be said to be gone.
    pub(super) fn may_be_gone(&self, node: usize) -> bool {
        let host = &self.hosts[node];
        let missed = host.missed.is_some_and(|missed| self.now < missed + steps(3));
        let by_us = host.was_heard(Word::Answered) && host.asked_in_vain >= 3;
        let by_a_peer = host.was_heard(Word::ReachedByPeer) && missed;
        !self.has_slept()
            && self.undisturbed() >= steps(7)
            && self.host_silence(host) >= steps(7)
            && host.was_heard(Word::KubeletBeat)
            && (by_us || by_a_peer)
    }

    /// Whether its host must be known to be gone by now: it is dead, was well known before, and nothing else
    /// was wrong. What it wrote before may have been read later.
    pub(super) fn must_be_gone(&self, node: usize) -> bool {
        let host = &self.hosts[node];
        let silent = self.host_silence(host).min(self.now - self.asleep) >= steps(8);
        host.dead.is_some()
            && silent
            && self.undisturbed() >= steps(8)
            && host.was_heard(Word::KubeletBeat)
            && host.was_heard(Word::Answered)
    }
}
