//! Images.

use bollard::{auth::DockerCredentials, query_parameters::CreateImageOptionsBuilder};
use futures::TryStreamExt;

use crate::{Credentials, Docker, Error, models::ImageInspect};

impl Docker {
    /// All that is known of an image.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn image(&self, reference: &str) -> Result<ImageInspect, Error> {
        self.ask(|engine| async move { engine.inspect_image(reference).await }).await
    }

    /// Fetches an image; dropping the future ends the transfer.
    ///
    /// # Errors
    /// [`Error::NotFound`] and [`Error::Refused`] with what the registry said.
    pub async fn pull(
        &self,
        reference: &str,
        credentials: Option<Credentials>,
    ) -> Result<(), Error> {
        let options = CreateImageOptionsBuilder::default().from_image(&tagged(reference)).build();
        let credentials = credentials.map(DockerCredentials::from);
        let progress = self.stream(|engine| engine.create_image(Some(options), None, credentials));
        progress.try_for_each(|_| async { Ok(()) }).await
    }
}

/// Without a tag or digest the daemon would pull every tag there is.
fn tagged(reference: &str) -> String {
    let last = reference.rsplit('/').next().unwrap_or(reference);
    if last.contains([':', '@']) { reference.to_owned() } else { format!("{reference}:latest") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_without_tag_mean_latest() {
        assert_eq!(tagged("nginx"), "nginx:latest");
        assert_eq!(tagged("localhost:5000/nginx"), "localhost:5000/nginx:latest");
        assert_eq!(tagged("nginx:1.27"), "nginx:1.27");
        assert_eq!(tagged("nginx@sha256:00"), "nginx@sha256:00");
    }
}
