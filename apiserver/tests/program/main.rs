//! The program as it is run: what only a process has, a death, memory, connections by the thousand.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod cis;
mod connections;
mod duties;
mod encrypting;
mod envtest;
mod front_proxies;
mod histories;
mod hostile;
mod kills;
mod secured;
mod watchers;

use testkit::Apiserver;

async fn spawn() -> Apiserver {
    Apiserver::spawn(env!("CARGO_BIN_EXE_apiserver"), None).await
}
