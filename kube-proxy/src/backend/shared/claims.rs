//! Which Service listens where, of those that have an nginx together: nothing but values.

use std::collections::{BTreeMap, BTreeSet};

use crate::nginx::Socket;

/// By socket, the uid of the Service that has it. Who has one keeps it while he wants it.
#[derive(Debug, Default)]
pub(super) struct Claims(BTreeMap<Socket, String>);

impl Claims {
    /// What each wants now, the first before the others; gives what they don't get, by uid.
    pub(super) fn settle(
        &mut self,
        wanted: &[(&str, BTreeSet<Socket>)],
    ) -> BTreeMap<String, BTreeSet<Socket>> {
        let by_uid: BTreeMap<&str, &BTreeSet<Socket>> =
            wanted.iter().map(|(uid, sockets)| (*uid, sockets)).collect();
        self.0.retain(|socket, uid| by_uid.get(uid.as_str()).is_some_and(|it| it.contains(socket)));
        let mut refused = BTreeMap::new();
        for (uid, sockets) in wanted {
            let others = sockets.iter().filter(|socket| {
                let owner = self.0.entry(**socket).or_insert_with(|| (*uid).to_owned());
                owner.as_str() != *uid
            });
            let others: BTreeSet<_> = others.copied().collect();
            if !others.is_empty() {
                refused.insert((*uid).to_owned(), others);
            }
        }
        refused
    }

    /// Whether it is that Service's.
    pub(super) fn has(&self, uid: &str, socket: &Socket) -> bool {
        self.0.get(socket).is_some_and(|owner| owner == uid)
    }

    /// All that somebody has.
    pub(super) fn sockets(&self) -> impl Iterator<Item = (&Socket, &str)> {
        self.0.iter().map(|(socket, uid)| (socket, uid.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Protocol;

    #[test]
    fn who_has_a_socket_keeps_it_and_the_other_gets_it_when_it_is_free() {
        let socket = |text: &str| (Protocol::Tcp, text.parse().unwrap());
        let (mine, both) = (socket("10.96.0.1:80"), socket("192.0.2.1:80"));
        let mut claims = Claims::default();
        let old = || ("old", BTreeSet::from([mine, both]));
        let new = || ("new", BTreeSet::from([both]));
        assert_eq!(claims.settle(&[old()]), BTreeMap::new());
        let refused = BTreeMap::from([("new".to_owned(), [both].into())]);
        assert_eq!(claims.settle(&[new(), old()]), refused);
        assert!(claims.has("old", &both) && !claims.has("new", &both));
        assert_eq!(claims.settle(&[new(), ("old", [mine].into())]), BTreeMap::new());
        assert!(claims.has("new", &both) && claims.has("old", &mine));
        assert_eq!(claims.settle(&[]), BTreeMap::new());
        assert_eq!(claims.sockets().count(), 0);
    }
}
