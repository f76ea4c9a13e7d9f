//! When the clients of a Service with affinity may be forgotten.
//!
//! nginx chooses by a hash of the client's address and the epoch, and remembers nobody. So an epoch ends
//! for all clients at once: when none has come for as long as a client may be away. A client that keeps
//! coming is never moved; one that has been away may be, at the latest once all others have been too.

use std::time::Duration;

use tokio::time::Instant;

use crate::nginx::Epoch;

/// Asking is a connection to a socket of this host.
const MOST_OFTEN: Duration = Duration::from_secs(1);
const LEAST_OFTEN: Duration = Duration::from_secs(60);

/// What nginx has told about its connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clients {
    epoch: Epoch,
    seen: Option<Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    /// The number of the connection that told it.
    connection: u64,
    at: Instant,
    /// When there may last have been a client; nothing if there was none in this epoch.
    client: Option<Instant>,
}

impl Clients {
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Takes in that nginx has answered on its connection of this number. If that is the one after the
    /// last answer's, nobody else has come. An epoch of which this program does not know is one that it
    /// has begun before it was started anew.
    pub(crate) fn seen(&mut self, epoch: Epoch, connection: u64) {
        let at = Instant::now();
        let client = match self.seen {
            Some(before) if before.connection.wrapping_add(1) == connection => before.client,
            _ => Some(at),
        };
        if self.seen.is_none() {
            self.epoch = epoch;
        }
        self.seen = Some(Seen { connection, at, client });
    }

    pub(crate) fn is_to_be_asked(&self, affinity: Duration) -> bool {
        let interval = (affinity / 4).clamp(MOST_OFTEN, LEAST_OFTEN);
        self.seen.is_none_or(|seen| seen.at.elapsed() >= interval || seen.are_away(affinity))
    }

    pub(crate) fn forget(&mut self, affinity: Duration) -> bool {
        let Some(seen) = &mut self.seen else { return false };
        let away = seen.are_away(affinity);
        if away {
            seen.client = None;
            self.epoch = Epoch(self.epoch.0.wrapping_add(1));
        }
        away
    }
}

impl Seen {
    /// As of this answer: who has come since is not known.
    fn are_away(&self, affinity: Duration) -> bool {
        self.client.is_some_and(|client| self.at - client >= affinity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFFINITY: Duration = Duration::from_secs(40);

    /// Seconds pass, then nginx answers on the connection of this number.
    async fn ask(clients: &mut Clients, seconds: u64, connection: u64) -> (bool, u32) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
        clients.seen(Epoch(7), connection);
        (clients.forget(AFFINITY), clients.epoch().0)
    }

    #[tokio::test(start_paused = true)]
    async fn clients_are_forgotten_once_none_has_come_for_long_enough() {
        let mut clients = Clients::default();
        assert_eq!(ask(&mut clients, 0, 1).await, (false, 7));
        assert_eq!(ask(&mut clients, 39, 2).await, (false, 7));
        assert_eq!(ask(&mut clients, 1, 3).await, (true, 8));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_within_the_time_keeps_all() {
        let mut clients = Clients::default();
        ask(&mut clients, 0, 1).await;
        for number in 1..10 {
            // A client's connection, and the one to the endpoint.
            assert_eq!(ask(&mut clients, 30, number * 3 + 1).await, (false, 7));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_clients_there_is_nobody_to_forget() {
        let mut clients = Clients::default();
        ask(&mut clients, 0, 1).await;
        assert_eq!(ask(&mut clients, 40, 2).await, (true, 8));
        assert_eq!(ask(&mut clients, 400, 3).await, (false, 8));
        assert_eq!(ask(&mut clients, 400, 6).await, (false, 8));
        assert_eq!(ask(&mut clients, 40, 7).await, (true, 9));
    }

    #[tokio::test(start_paused = true)]
    async fn an_nginx_that_counts_anew_may_have_had_clients() {
        let mut clients = Clients::default();
        ask(&mut clients, 0, 100).await;
        assert_eq!(ask(&mut clients, 40, 1).await, (false, 7));
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_asked_a_few_times_within_the_time() {
        let mut clients = Clients::default();
        assert!(clients.is_to_be_asked(AFFINITY));
        ask(&mut clients, 0, 1).await;
        tokio::time::advance(Duration::from_secs(9)).await;
        assert!(!clients.is_to_be_asked(AFFINITY));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(clients.is_to_be_asked(AFFINITY));
    }
}
