//! Talking to servers in pods, about which nothing is known but their addresses.

use std::{sync::OnceLock, time::Duration};

use reqwest::{Client, redirect::Policy};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct PodClient(OnceLock<Client>);

impl PodClient {
    /// The client.
    pub(crate) fn get(&self) -> reqwest::Result<&Client> {
        if let Some(client) = self.0.get() {
            return Ok(client);
        }
        let client = build()?;
        Ok(self.0.get_or_init(|| client))
    }
}

fn build() -> reqwest::Result<Client> {
    component::install_crypto_provider();
    Client::builder()
        // Kubernetes: an address has no name that a certificate could be of.
        .tls_danger_accept_invalid_certs(true)
        .no_proxy()
        // Where a server sends its clients is for the client to see: it may be anywhere.
        .redirect(Policy::none())
        // An address soon is another pod's, and nobody may answer on a connection to the one before.
        .pool_max_idle_per_host(0)
        .http1_only()
        .connect_timeout(Duration::from_secs(10))
        .build()
}
