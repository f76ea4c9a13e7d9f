//! What is known of one node, and what follows from it. All times are the receiver's: a node with a
//! wrong clock is none the worse for it.
//!
//! Two questions are asked. *Does the kubelet report?* It renews its Lease every 10 s; after Kubernetes'
//! 40 s without, nobody knows how its pods are. *Is the host gone?* That is believed only if nothing at
//! all is heard of it any more, by anybody who heard or reached it before: see [`Evidence::is_host_gone`].

use std::time::Duration;

use tokio::time::Instant;

/// Without a sign of the kubelet over REST its node's status is unknown after so long.
pub(super) const STATUS_PATIENCE: Duration = Duration::from_secs(40);
/// Without any sign its host is gone after so long, if all else agrees. A host that is only paused, or
/// a switch that learns its ports anew, should be back by then; a replacement has to run within 15 s.
pub(super) const HOST_PATIENCE: Duration = Duration::from_secs(7);
/// A host that sends heartbeats is asked after so long without a sign.
const HOST_LATE: Duration = Duration::from_secs(2);
/// So long such a host, or one that answers, is never silent.
const HOST_SILENCE: Duration = Duration::from_millis(3500);
/// So long a kubelet that renews its Lease is never silent.
const STATUS_SILENCE: Duration = Duration::from_secs(20);
/// A host is asked so many times in vain before that says anything.
const ATTEMPTS: u32 = 3;
/// What a peer said counts for so long.
const TESTIMONY: Duration = Duration::from_secs(3);
/// Who had been without a word for longer when all others fell silent is no witness: a heartbeat that
/// was cut off, a port that was closed long before says nothing.
const WITNESS: Duration = Duration::from_secs(20);

/// Something that was seen of a node or its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// The kubelet wrote its Lease or its status.
    Renewed,
    /// A heartbeat of the kubelet.
    KubeletBeat,
    /// A heartbeat of the kube-proxy.
    ProxyBeat,
    /// The host answered us.
    Answered,
    /// It did not.
    Silence,
    /// The host answered a peer.
    ReachedByPeer,
    /// It did not, and had answered the same peer before.
    MissedByPeer,
}

/// Since when silence may be counted at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listening {
    /// For reports of kubelets, since we listen without interruption: we may have been started, or paused.
    pub(super) reports: Instant,
    /// The same for any sign of a host.
    pub(super) hosts: Instant,
    /// Since we listen to Redis without interruption; `None` if we do not.
    pub(super) redis: Option<Instant>,
}

/// What is known of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Evidence {
    /// The last sign over REST; at first, when the node was first seen.
    renewed: Instant,
    kubelet: Option<Instant>,
    proxy: Option<Instant>,
    answered: Option<Instant>,
    /// How often we have asked in vain since.
    in_vain: u32,
    reached: Option<Instant>,
    missed: Option<Instant>,
}

impl Evidence {
    pub(super) fn new(now: Instant) -> Self {
        let (kubelet, proxy, answered, reached, missed) = (None, None, None, None, None);
        Self { renewed: now, kubelet, proxy, answered, in_vain: 0, reached, missed }
    }

    pub(super) fn take(&mut self, sign: Sign, now: Instant) {
        match sign {
            Sign::Renewed => self.renewed = now,
            Sign::KubeletBeat => self.kubelet = Some(now),
            Sign::ProxyBeat => self.proxy = Some(now),
            Sign::ReachedByPeer => self.reached = Some(now),
            Sign::MissedByPeer => self.missed = Some(now),
            Sign::Answered => (self.answered, self.in_vain) = (Some(now), 0),
            Sign::Silence => self.in_vain = self.in_vain.saturating_add(1),
        }
    }

    /// Attempts before an interruption of ours count no more.
    pub(super) fn restart(&mut self) {
        self.in_vain = 0;
        self.missed = None;
    }

    /// Whether the kubelet has not reported for so long that its node's status is unknown.
    pub(super) fn is_status_unknown(&self, listening: Listening, now: Instant) -> bool {
        now >= self.renewed.max(listening.reports) + STATUS_PATIENCE
    }

    /// Whether the host is gone. All of these must hold:
    /// - nothing was heard of it for [`HOST_PATIENCE`]: no heartbeat of its kubelet or its kube-proxy, no
    ///   word over REST, no answer to us or to a peer;
    /// - we have listened all the time, to Redis too;
    /// - the silence means something: its kubelet was heard on Redis until then, and we or a peer have
    ///   asked the host in vain that answered us, or a peer, until then.
    pub(super) fn is_host_gone(&self, listening: Listening, now: Instant) -> bool {
        let Some(redis) = listening.redis else { return false };
        let silent_since = self.newest().max(listening.hosts).max(redis);
        now >= silent_since + HOST_PATIENCE && self.is_witness(self.kubelet) && self.is_missed(now)
    }

    /// Whether the kubelet is late with its report: for the count of those that are silent at a time.
    pub(super) fn is_status_late(&self, listening: Listening, now: Instant) -> bool {
        now >= self.renewed.max(listening.reports) + STATUS_SILENCE
    }

    /// Whether the host is to be asked whether it is still there.
    pub(super) fn is_host_late(&self, listening: Listening, now: Instant) -> bool {
        now >= self.newest().max(listening.hosts) + HOST_LATE
    }

    /// Whether the host is silent at the moment: for the same count.
    pub(super) fn is_host_silent(&self, listening: Listening, now: Instant) -> bool {
        let usual = if self.speaks_on_redis() { HOST_SILENCE } else { STATUS_SILENCE };
        now >= self.newest().max(listening.hosts) + usual
    }

    /// Whether the node has ever sent a heartbeat: only then its host's silence can mean something.
    pub(super) fn speaks_on_redis(&self) -> bool {
        self.kubelet.is_some()
    }

    fn is_missed(&self, now: Instant) -> bool {
        let by_us = self.is_witness(self.answered) && self.in_vain >= ATTEMPTS;
        let missed = self.missed.is_some_and(|missed| now < missed + TESTIMONY);
        by_us || (missed && self.is_witness(self.reached))
    }

    fn is_witness(&self, last: Option<Instant>) -> bool {
        last.is_some_and(|last| last + WITNESS >= self.newest())
    }

    /// The last sign of life of any kind.
    fn newest(&self) -> Instant {
        let others = [self.kubelet, self.proxy, self.answered, self.reached];
        others.into_iter().flatten().fold(self.renewed, Instant::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use Sign::{Answered, KubeletBeat, MissedByPeer, ProxyBeat, ReachedByPeer, Renewed, Silence};

    /// Signs at seconds since the beginning, when the node was first seen; whether the host is gone at `now`.
    /// We listen since second `since`, to Redis since `redis`.
    fn gone(signs: &[(u64, Sign)], since: u64, redis: Option<u64>, now: u64) -> bool {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut evidence = Evidence::new(start);
        signs.iter().for_each(|(time, sign)| evidence.take(*sign, at(*time)));
        evidence.is_host_gone(
            Listening { reports: start, hosts: at(since), redis: redis.map(at) },
            at(now),
        )
    }

    const IN_VAIN: [(u64, Sign); 3] = [(103, Silence), (104, Silence), (105, Silence)];

    const IN_VAIN_LATER: [(u64, Sign); 3] = [(124, Silence), (125, Silence), (126, Silence)];

    fn dead(more: &[(u64, Sign)]) -> Vec<(u64, Sign)> {
        let before = [(92, Renewed), (100, Answered), (100, ProxyBeat), (100, KubeletBeat)];
        before.iter().chain(&IN_VAIN).chain(more).copied().collect()
    }

    #[test]
    fn a_host_that_nobody_hears_of_is_gone() {
        assert!(!gone(&dead(&[]), 0, Some(0), 106));
        assert!(gone(&dead(&[]), 0, Some(0), 107));
    }

    #[test]
    fn any_sign_of_life_puts_it_off() {
        for sign in [Renewed, KubeletBeat, ProxyBeat, ReachedByPeer] {
            assert!(!gone(&dead(&[(105, sign)]), 0, Some(0), 111), "{sign:?}");
            assert!(gone(&dead(&[(105, sign)]), 0, Some(0), 112), "{sign:?}");
        }
    }

    #[test]
    fn an_answer_makes_the_attempts_begin_anew() {
        assert!(!gone(&dead(&[(106, Answered), (112, Silence), (113, Silence)]), 0, Some(0), 120));
    }

    #[test]
    fn only_those_are_witnesses_who_have_heard_or_reached_it_before() {
        let never_heard = [(100, Answered)].iter().chain(&IN_VAIN).copied().collect::<Vec<_>>();
        assert!(!gone(&never_heard, 0, Some(0), 120), "a node that uses no Redis");
        let firewall = [(100, KubeletBeat)].iter().chain(&IN_VAIN).copied().collect::<Vec<_>>();
        assert!(!gone(&firewall, 0, Some(0), 120), "a firewall that drops our packets");
        let missed = [(100, KubeletBeat), (100, ReachedByPeer), (110, MissedByPeer)];
        assert!(gone(&missed, 0, Some(0), 111), "a peer is a witness as well");
        assert!(!gone(&missed, 0, Some(0), 114), "if it still says so");
    }

    #[test]
    fn who_fell_silent_before_all_others_is_no_witness() {
        let (beat, lease) = ((100, KubeletBeat), (121, Renewed));
        assert!(!gone(
            &[&[beat, (121, Answered), lease], &IN_VAIN_LATER[..]].concat(),
            0,
            Some(0),
            130
        ));
        let (beat, answer) = ((121, KubeletBeat), (100, Answered));
        assert!(!gone(&[&[answer, beat, lease], &IN_VAIN_LATER[..]].concat(), 0, Some(0), 130));
        let answer = (111, Answered);
        assert!(gone(&[&[answer, beat, lease], &IN_VAIN_LATER[..]].concat(), 0, Some(0), 130));
    }

    #[test]
    fn silence_that_may_be_ours_does_not_count() {
        assert!(!gone(&dead(&[]), 0, None, 200), "Redis is down");
        assert!(!gone(&dead(&[]), 0, Some(195), 200), "Redis was down");
        assert!(!gone(&dead(&[]), 195, Some(0), 200), "we were paused");
    }

    #[test]
    fn a_kubelet_has_forty_seconds_to_report() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut evidence = Evidence::new(start);
        evidence.take(Renewed, at(100));
        evidence.take(KubeletBeat, at(120));
        let unknown = |since, now| {
            evidence.is_status_unknown(
                Listening { reports: at(since), hosts: start, redis: None },
                at(now),
            )
        };
        assert!(!unknown(0, 139));
        assert!(unknown(0, 140), "heartbeats are no report");
        assert!(!unknown(110, 149));
        assert!(unknown(110, 150));
    }
}
