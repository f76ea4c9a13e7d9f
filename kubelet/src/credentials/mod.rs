//! Who this kubelet is: a host that joins shows a bootstrap token, is given a certificate for it, and has it renewed before
//! it ends; and so with the certificate that its server shows (Kubernetes: kubelet TLS bootstrapping).

mod bootstrap;
mod client;
mod files;
mod issue;
mod renewal;
mod serving;

pub(crate) use bootstrap::bootstrap;
pub(crate) use client::keep_client;
pub(crate) use serving::{Serving, keep_serving};

#[cfg(test)]
mod tests;
