//! The functions that can be called, for calls to find, while watches change what is known of them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::SocketAddr,
    sync::Arc,
};

use api_types::{
    api::core::v1::{ObjectReference, Pod},
    minik8s,
};
use component::events::{EventType, Recorder};
use kube::runtime::watcher::Event;
use listwatch::FunctionDemand;
use parking_lot::{Mutex, RwLock};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, interval},
};

use crate::{
    directory::{Directory, Key, Settings},
    dispatch::{Dispatcher, Endpoint},
    failures::{self, Failures},
    metrics::{FunctionMetrics, Metrics},
};

/// All functions. Clones share them.
#[derive(Clone, Debug)]
pub struct Functions(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    directory: Mutex<Directory>,
    /// By `namespace/name`; made of the directory.
    table: RwLock<HashMap<String, Arc<Function>>>,
    complete: watch::Sender<bool>,
    /// Told when a call waits for a function that has no instance.
    wake: Arc<Notify>,
    port: u16,
    queue_length: usize,
    metrics: Metrics,
}

/// A function that can be called.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) key: Key,
    settings: RwLock<Arc<Settings>>,
    pub(crate) dispatcher: Arc<Dispatcher>,
    pub(crate) metrics: Arc<FunctionMetrics>,
    pub(crate) failures: Failures,
}

/// Why there is nothing to call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The first lists are not complete, so nothing is known to be absent.
    NotYetKnown,
    /// There is no such function.
    Unknown,
}

impl Functions {
    /// None yet. Instances serve on `port`; so many calls of a function may wait.
    pub fn new(port: u16, queue_length: usize, metrics: &component::Metrics) -> Self {
        Functions(Arc::new(Inner {
            directory: Mutex::default(),
            table: RwLock::default(),
            complete: watch::Sender::new(false),
            wake: Arc::default(),
            port,
            queue_length,
            metrics: Metrics::register(metrics),
        }))
    }

    /// Takes in news about functions.
    pub fn function(&self, event: Event<minik8s::Function>) {
        self.change(|directory| directory.function(event));
    }

    /// Takes in news about pods.
    pub fn pod(&self, event: Event<Pod>) {
        self.change(|directory| directory.pod(event, Instant::now()));
    }

    /// Whether it is known which functions and instances there are.
    pub fn are_known(&self) -> bool {
        *self.0.complete.borrow()
    }

    /// Waits until it is known which functions and instances there are.
    pub(crate) async fn known(&self) {
        // The sender lives as long as this.
        let _ = self.0.complete.subscribe().wait_for(|complete| *complete).await;
    }

    pub(crate) fn find(&self, namespace: &str, name: &str) -> Result<Arc<Function>, Missing> {
        if !self.are_known() {
            return Err(Missing::NotYetKnown);
        }
        let table = self.0.table.read();
        table.get(&format!("{namespace}/{name}")).cloned().ok_or(Missing::Unknown)
    }

    /// Waits until a watch tells of a function.
    pub(crate) async fn heard_of(&self, (namespace, name): &Key) -> Arc<Function> {
        let mut changes = self.0.complete.subscribe();
        loop {
            if let Ok(function) = self.find(namespace, name) {
                return function;
            }
            // The sender, which is told of every change, lives as long as this.
            let _ = changes.changed().await;
        }
    }

    /// Why a function has no instance that can be called.
    pub(crate) fn why_not(&self, function: &Key) -> Option<String> {
        self.0.directory.lock().why_not(function)
    }

    /// The calls in hand of all functions.
    pub(crate) fn demand(&self) -> BTreeMap<String, FunctionDemand> {
        let table = self.0.table.read();
        table.iter().map(|(name, function)| (name.clone(), function.dispatcher.demand())).collect()
    }

    /// Tells of calls that fail, by events of their functions, for as long as it is polled.
    pub async fn tell_failures(&self, recorder: &Recorder) {
        let mut ticks = interval(failures::PERIOD);
        loop {
            ticks.tick().await;
            for (function, message) in self.take_failures() {
                recorder.replace(&function, EventType::Warning, failures::REASON, message);
            }
        }
    }

    fn take_failures(&self) -> Vec<(ObjectReference, String)> {
        let table = self.0.table.read();
        let told =
            |function: &Arc<Function>| Some((function.reference(), function.failures.take()?));
        table.values().filter_map(told).collect()
    }

    /// Waits until a call waits for a function that has no instance.
    pub(crate) async fn woken(&self) {
        self.0.wake.notified().await;
    }

    /// Updates are made in the order of the events, under the directory's lock.
    fn change(&self, change: impl FnOnce(&mut Directory) -> BTreeSet<Key>) {
        let mut directory = self.0.directory.lock();
        for function in change(&mut directory) {
            self.update(&directory, &function);
        }
        self.0.complete.send_replace(directory.is_complete());
    }

    fn update(&self, directory: &Directory, key: &Key) {
        let name = format!("{}/{}", key.0, key.1);
        let Some(settings) = directory.settings(key) else {
            if let Some(function) = self.0.table.write().remove(&name) {
                function.dispatcher.close();
                self.0.metrics.forget(&function.metrics);
            }
            return;
        };
        let known = self.0.table.read().get(&name).cloned();
        let function = known.unwrap_or_else(|| {
            let function = Arc::new(self.function_of(key, settings));
            self.0.table.write().insert(name, function.clone());
            function
        });
        *function.settings.write() = Arc::new(settings.clone());
        let endpoint = |instance: &crate::directory::Instance| {
            let address = SocketAddr::new(instance.address?, self.0.port);
            let endpoint = Endpoint::new(instance.uid.clone(), address, instance.milestones);
            Some(Arc::new(endpoint))
        };
        let serving: Vec<_> = directory.serving(key).filter_map(endpoint).collect();
        function.dispatcher.update(&serving, settings.concurrency, directory.is_hopeless(key));
    }

    fn function_of(&self, key: &Key, settings: &Settings) -> Function {
        Function {
            key: key.clone(),
            settings: RwLock::new(Arc::new(settings.clone())),
            dispatcher: Dispatcher::new(self.0.queue_length, self.0.wake.clone()),
            metrics: Arc::new(self.0.metrics.of_function(key)),
            failures: Failures::default(),
        }
    }
}

impl Function {
    /// `namespace/name`.
    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.key.0, self.key.1)
    }

    fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some(minik8s::API_VERSION.to_owned()),
            kind: Some("Function".to_owned()),
            namespace: Some(self.key.0.clone()),
            name: Some(self.key.1.clone()),
            uid: self.settings().uid.clone(),
            ..ObjectReference::default()
        }
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.settings.read().clone()
    }
}
