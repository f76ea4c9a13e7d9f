//! Containers.

use std::collections::HashMap;

use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, KillContainerOptionsBuilder,
    ListContainersOptionsBuilder, RemoveContainerOptionsBuilder, StartContainerOptions,
};

use crate::{
    Docker, Error,
    models::{
        ContainerCreateBody, ContainerInspectResponse, ContainerSummary, ContainerUpdateBody,
    },
};

impl Docker {
    /// All containers with all of these labels (`KEY` or `KEY=VALUE`), whatever they do.
    ///
    /// # Errors
    /// If the daemon does not answer.
    pub async fn containers(&self, labels: &[String]) -> Result<Vec<ContainerSummary>, Error> {
        self.ask(|engine| async move {
            let filters = HashMap::from([("label", labels.to_vec())]);
            let options = ListContainersOptionsBuilder::default().all(true).filters(&filters);
            engine.list_containers(Some(options.build())).await
        })
        .await
    }

    /// All that is known of a container.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn container(&self, id: &str) -> Result<ContainerInspectResponse, Error> {
        self.ask(|engine| async move {
            engine.inspect_container(id, None::<InspectContainerOptions>).await
        })
        .await
    }

    /// Makes a container and does not start it; gives its id. Nothing is pulled.
    ///
    /// # Errors
    /// [`Error::InUse`] if there is one of this name, [`Error::NotFound`] if the image is not there.
    pub async fn create(&self, name: &str, body: &ContainerCreateBody) -> Result<String, Error> {
        let made = self.ask(|engine| async move {
            let options = CreateContainerOptionsBuilder::default().name(name).build();
            engine.create_container(Some(options), body.clone()).await
        });
        made.await.map(|made| made.id).map_err(Error::of_names)
    }

    /// Starts a container; one that runs is fine.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] if what it shares with another container is not there.
    pub async fn start(&self, id: &str) -> Result<(), Error> {
        self.ask(
            |engine| async move { engine.start_container(id, None::<StartContainerOptions>).await },
        )
        .await
    }

    /// Changes what a container may take; what is not said stays as it is.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Refused`] if its processes take more.
    pub async fn update(&self, id: &str, body: &ContainerUpdateBody) -> Result<(), Error> {
        self.ask(|engine| async move { engine.update_container(id, body.clone()).await }).await
    }

    /// Sends a signal to the first process of a container.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] if it does not run.
    pub async fn kill(&self, id: &str, signal: &str) -> Result<(), Error> {
        self.ask(|engine| async move {
            let options = KillContainerOptionsBuilder::default().signal(signal).build();
            engine.kill_container(id, Some(options)).await
        })
        .await
    }

    /// Ends a container at once, if it runs, and removes it with its anonymous volumes.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] if somebody else is about to remove it.
    pub async fn remove(&self, id: &str) -> Result<(), Error> {
        self.ask(|engine| async move {
            let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
            engine.remove_container(id, Some(options)).await
        })
        .await
    }
}
