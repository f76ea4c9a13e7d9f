//! The control plane of controller-runtime's `envtest`: this program under the names of those that envtest starts. It finds them in
//! a folder, `KUBEBUILDER_ASSETS` ([`crate::kubebuilder_assets`]).
//!
//! `etcd` answers for its health and says where the store's file is to be; `kube-apiserver` keeps the store there, so that objects
//! live for as long as they would with the original. An `etcd` that is a real one is used as such.
//! <https://book.kubebuilder.io/reference/envtest>

mod etcd;
mod kube_apiserver;
mod line;

use std::{env, path::PathBuf, process::ExitCode};

use crate::kubebuilder_assets::{ETCD, KUBE_APISERVER};

/// Runs as what envtest starts, if it is called so.
#[must_use]
pub fn stand_in() -> Option<ExitCode> {
    let called = PathBuf::from(env::args_os().next()?);
    match called.file_name()?.to_str()? {
        KUBE_APISERVER => Some(kube_apiserver::main()),
        ETCD => Some(etcd::main()),
        _ => None,
    }
}
