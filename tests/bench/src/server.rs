//! The servers under load: an API server of its own, on etcd of its own or on the embedded store.

use std::{ops::Deref, sync::Arc};

use anyhow::Context;
use clap::ValueEnum;
use store::{Store, embedded, etcd};
use tempfile::TempDir;
use testkit::Apiserver;

/// What the API server keeps its objects in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backing {
    Etcd,
    Embedded,
}

/// The bare store, in a folder or on a server of its own.
pub(crate) struct Bare {
    pub(crate) store: Arc<dyn Store>,
    _etcd: Option<testkit::Etcd>,
    _folder: TempDir,
}

impl Bare {
    pub(crate) async fn start(backing: Backing) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let (store, etcd): (Arc<dyn Store>, _) = match backing {
            Backing::Embedded => {
                let path = folder.path().join("bare.redb");
                (Arc::new(embedded::Embedded::open(&path, embedded::Options::default())?), None)
            }
            Backing::Etcd => {
                let etcd = testkit::Etcd::spawn().await;
                (Arc::new(etcd::Etcd::connect(&[etcd.endpoint()]).await?), Some(etcd))
            }
        };
        Ok(Self { store, _etcd: etcd, _folder: folder })
    }
}

/// A running API server, with etcd of its own if it has one.
pub(crate) struct Server {
    program: Apiserver,
    etcd: Option<testkit::Etcd>,
}

impl Server {
    pub(crate) async fn start(backing: Backing) -> anyhow::Result<Self> {
        let etcd = match backing {
            Backing::Etcd => Some(testkit::Etcd::spawn().await),
            Backing::Embedded => None,
        };
        let program = std::env::current_exe()?.with_file_name("apiserver");
        Ok(Self { program: Apiserver::spawn(program, etcd.as_ref()).await, etcd })
    }

    /// The etcd below it.
    pub(crate) async fn store(&self) -> anyhow::Result<etcd::Etcd> {
        let etcd = self.etcd.as_ref().context("it has a file of its own")?;
        Ok(etcd::Etcd::connect(&[etcd.endpoint()]).await?)
    }
}

impl Deref for Server {
    type Target = Apiserver;

    fn deref(&self) -> &Apiserver {
        &self.program
    }
}
