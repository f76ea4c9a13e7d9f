//! The servers under load: an API server of its own, on etcd of its own or on the embedded store.

use std::{ops::Deref, sync::Arc};

use anyhow::Context;
use clap::ValueEnum;
use futures::{StreamExt, TryStreamExt, stream};
use store::{Store, embedded, etcd};
use tempfile::TempDir;
use testkit::{Apiserver, Etcd};

use crate::{client::Client, usage::Meter};

/// How many connections are being opened at once.
const OPENED: usize = 16;

/// What the API server keeps its objects in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backing {
    Etcd,
    Embedded,
}

impl Backing {
    async fn etcd(self) -> Option<Etcd> {
        match self {
            Self::Etcd => Some(Etcd::spawn().await),
            Self::Embedded => None,
        }
    }
}

/// The bare store, in a folder or on a server of its own.
pub(crate) struct Bare {
    pub(crate) store: Arc<dyn Store>,
    etcd: Option<Etcd>,
    _folder: TempDir,
}

impl Bare {
    pub(crate) async fn start(backing: Backing) -> anyhow::Result<Self> {
        let (folder, etcd) = (tempfile::tempdir()?, backing.etcd().await);
        let store: Arc<dyn Store> = match &etcd {
            Some(etcd) => Arc::new(etcd::Etcd::connect(&[etcd.endpoint()]).await?),
            None => {
                let path = folder.path().join("bare.redb");
                Arc::new(embedded::Embedded::open(&path, embedded::Options::default())?)
            }
        };
        Ok(Self { store, etcd, _folder: folder })
    }

    pub(crate) fn meter(&self) -> Meter<'_> {
        Meter::start(None, self.etcd.as_ref())
    }
}

/// A running API server, with etcd of its own if it has one.
pub(crate) struct Server {
    pub(crate) program: Apiserver,
    etcd: Option<Etcd>,
}

impl Server {
    pub(crate) async fn start(backing: Backing) -> anyhow::Result<Self> {
        Self::with(backing, &[]).await
    }

    /// With more flags.
    pub(crate) async fn with(backing: Backing, flags: &[String]) -> anyhow::Result<Self> {
        let etcd = backing.etcd().await;
        let program = std::env::current_exe()?.with_file_name("apiserver");
        Ok(Self { program: Apiserver::spawn_with(program, etcd.as_ref(), flags).await, etcd })
    }

    pub(crate) async fn connect(&self) -> anyhow::Result<Client> {
        Client::open(&self.program).await
    }

    /// So many clients, each with a connection.
    pub(crate) async fn clients(&self, count: usize) -> anyhow::Result<Vec<Client>> {
        stream::iter(0..count)
            .map(async |_| self.connect().await)
            .buffered(OPENED)
            .try_collect()
            .await
    }

    pub(crate) fn meter(&self) -> Meter<'_> {
        Meter::start(Some(&self.program), self.etcd.as_ref())
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
