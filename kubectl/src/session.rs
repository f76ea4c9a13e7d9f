//! One run of a command: its flags, streams, connection and knowledge of the server's kinds, each made
//! when it is first needed.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::sync::{Mutex, OnceCell};

use crate::{
    Failure, Io,
    api::{Api, escape},
    discovery::{ApiResource, Mapper},
    environment::Environment,
    flags::Global,
    kubeconfig,
};

/// How long the kinds of a server are believed without asking again. An unknown kind always asks.
const CACHE_LIFE: Duration = Duration::from_secs(10 * 60);

/// See the module.
#[derive(Debug)]
pub struct Session {
    /// Flags of every command.
    pub global: Global,
    /// Where to read and write.
    pub io: Io,
    /// What surrounds the command.
    pub environment: Environment,
    /// The whole command line, for who completes it.
    pub grammar: fn() -> clap::Command,
    connection: OnceCell<Connection>,
    mapper: Mutex<Option<Arc<Mapper>>>,
}

#[derive(Debug)]
struct Connection {
    api: Api,
    namespace: String,
}

impl Session {
    /// A session that has not connected yet.
    #[must_use]
    pub fn new(
        global: Global,
        io: Io,
        environment: Environment,
        grammar: fn() -> clap::Command,
    ) -> Self {
        let (connection, mapper) = (OnceCell::new(), Mutex::new(None));
        Self { global, io, environment, grammar, connection, mapper }
    }

    /// The connection to the server.
    pub async fn api(&self) -> Result<&Api, Failure> {
        Ok(&self.connection().await?.api)
    }

    /// The namespace of this command: the flag's, else the context's, else `default`.
    pub async fn namespace(&self) -> Result<String, Failure> {
        match &self.global.namespace {
            Some(namespace) => Ok(namespace.clone()),
            None => Ok(self.connection().await?.namespace.clone()),
        }
    }

    /// The kind typed as `spelling`, or kubectl's error with the nearest known kind.
    pub async fn resource(&self, spelling: &str) -> Result<ApiResource, Failure> {
        let found = self.look_up(|mapper| mapper.find(spelling).cloned()).await?;
        if let Some(resource) = found {
            return Ok(resource);
        }
        let near = self.mapper().await?.suggest(spelling).map(str::to_owned);
        let near = near.map(|n| format!("\nDid you mean {n:?}?")).unwrap_or_default();
        Err(Failure::message(format!("the server doesn't have a resource type {spelling:?}{near}")))
    }

    /// The kind of a manifest, if the server has it.
    pub async fn resource_of_kind(
        &self,
        group: &str,
        version: &str,
        kind: &str,
    ) -> Result<Option<ApiResource>, Failure> {
        self.look_up(|mapper| mapper.by_kind(group, version, kind).cloned()).await
    }

    /// What the server serves, as remembered or asked now.
    pub async fn mapper(&self) -> Result<Arc<Mapper>, Failure> {
        let mut known = self.mapper.lock().await;
        if let Some(mapper) = known.as_ref() {
            return Ok(mapper.clone());
        }
        let mapper = match self.remembered().await? {
            Some(mapper) => mapper,
            None => self.discover().await?,
        };
        Ok(known.insert(Arc::new(mapper)).clone())
    }

    /// What the server serves, asked now.
    pub async fn fresh_mapper(&self) -> Result<Arc<Mapper>, Failure> {
        let mapper = Arc::new(self.discover().await?);
        *self.mapper.lock().await = Some(mapper.clone());
        Ok(mapper)
    }

    /// Asks what is known; if that does not have it, asks the server, once.
    async fn look_up<T>(&self, find: impl Fn(&Mapper) -> Option<T>) -> Result<Option<T>, Failure> {
        if let Some(found) = find(self.mapper().await?.as_ref()) {
            return Ok(Some(found));
        }
        if self.cache_file().await?.is_none() {
            return Ok(None);
        }
        Ok(find(self.fresh_mapper().await?.as_ref()))
    }

    async fn discover(&self) -> Result<Mapper, Failure> {
        let mapper = Mapper::discover(self.api().await?).await?;
        if let Some(file) = self.cache_file().await? {
            remember(&file, &mapper);
        }
        Ok(mapper)
    }

    async fn remembered(&self) -> Result<Option<Mapper>, Failure> {
        let Some(file) = self.cache_file().await? else { return Ok(None) };
        let young = || {
            let written = std::fs::metadata(&file).and_then(|m| m.modified()).ok()?;
            SystemTime::now().duration_since(written).ok().filter(|age| *age < CACHE_LIFE)
        };
        Ok(young().and_then(|_| serde_json::from_slice(&std::fs::read(&file).ok()?).ok()))
    }

    async fn cache_file(&self) -> Result<Option<PathBuf>, Failure> {
        let Some(folder) = &self.environment.cache else { return Ok(None) };
        Ok(Some(folder.join(format!("{}.json", escape(self.api().await?.server())))))
    }

    async fn connection(&self) -> Result<&Connection, Failure> {
        self.connection.get_or_try_init(|| self.connect()).await
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let (client, server) = match &self.environment.client {
            Some(client) => (client.clone(), "in-process".to_owned()),
            None => self.client().await?,
        };
        let namespace = client.default_namespace().to_owned();
        let timeout = Some(self.global.request_timeout).filter(|t| !t.is_zero());
        let api = Api::new(client, server, timeout, self.io.clone(), self.global.verbosity);
        Ok(Connection { api, namespace })
    }

    async fn client(&self) -> Result<(kube::Client, String), Failure> {
        let mut config = kubeconfig::config(&self.global, &self.environment).await?;
        // What a busy server says is said at once: commands that try again say so.
        config.default_retry = false;
        let server = host_and_port(&config.cluster_url);
        // An error means that one is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = kube::Client::try_from(config)
            .map_err(|e| Failure::message(format!("invalid configuration: {e}")))?;
        Ok((client, server))
    }
}

/// `host:port`, with the scheme's usual port if the address has none.
fn host_and_port(url: &http::Uri) -> String {
    let port = url.port_u16().unwrap_or(if url.scheme_str() == Some("http") { 80 } else { 443 });
    format!("{}:{port}", url.host().unwrap_or("localhost"))
}

/// Writes beside and renames, so that another kubectl never reads half a file; a cache may fail silently.
fn remember(file: &std::path::Path, mapper: &Mapper) {
    let Some(folder) = file.parent() else { return };
    let beside = file.with_extension(format!("{}.tmp", std::process::id()));
    let _ = std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&beside, serde_json::to_vec(mapper).unwrap_or_default()))
        .and_then(|()| std::fs::rename(&beside, file));
}
