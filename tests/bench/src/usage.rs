//! What a measurement costs the processes that take part in it.

use std::time::Duration;

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};
use testkit::{Apiserver, Etcd};

/// CPU time, and resident memory at the end in bytes.
pub(crate) struct Usage {
    /// Of this process: CPU time only.
    pub(crate) client: Duration,
    pub(crate) server: Option<(Duration, u64)>,
    pub(crate) store: Option<(Duration, u64)>,
}

/// Looks at processes from its start on.
pub(crate) struct Meter<'a> {
    server: Option<(&'a Apiserver, Duration)>,
    store: Option<(&'a Etcd, Duration)>,
    client: Duration,
}

impl<'a> Meter<'a> {
    pub(crate) fn start(server: Option<&'a Apiserver>, store: Option<&'a Etcd>) -> Self {
        let server = server.map(|server| (server, server.cpu()));
        let store = store.map(|store| (store, store.cpu()));
        Self { server, store, client: own() }
    }

    pub(crate) fn read(self) -> Usage {
        let server = self.server.map(|(server, before)| (server.cpu() - before, server.memory()));
        let store = self.store.map(|(store, before)| (store.cpu() - before, store.memory()));
        Usage { client: own() - self.client, server, store }
    }
}

fn own() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("there is this process");
    let time = usage.user_time() + usage.system_time();
    Duration::from_micros(time.num_microseconds().unsigned_abs())
}
