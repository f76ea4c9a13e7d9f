//! A pod as the runtime shows it at one moment.

use super::Container;

/// The sandboxes and containers of one pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Oldest attempt first.
    pub sandboxes: Vec<Container>,
    /// Oldest attempt first.
    pub containers: Vec<Container>,
}

impl Observed {
    /// Sorts what the runtime listed.
    pub fn new(mut found: Vec<Container>) -> Self {
        found.sort_by(|a, b| (&a.name, a.attempt).cmp(&(&b.name, b.attempt)));
        let (sandboxes, containers) = found.into_iter().partition(Container::is_sandbox);
        Self { sandboxes, containers }
    }

    /// The sandbox that runs.
    pub fn sandbox(&self) -> Option<&Container> {
        self.sandboxes.iter().rev().find(|sandbox| sandbox.is_running())
    }

    /// The latest container of that name.
    pub fn latest(&self, name: &str) -> Option<&Container> {
        self.containers.iter().rev().find(|container| container.name == name)
    }

    /// The container of that name before the latest.
    pub fn previous(&self, name: &str) -> Option<&Container> {
        self.containers.iter().rev().filter(|container| container.name == name).nth(1)
    }

    /// Containers whose process runs.
    pub fn running(&self) -> impl Iterator<Item = &Container> {
        self.containers.iter().filter(|container| container.is_running())
    }

    /// Whether nothing is left of the pod.
    pub fn is_empty(&self) -> bool {
        self.sandboxes.is_empty() && self.containers.is_empty()
    }
}
