//! A client that is made anew when its kubeconfig is: whoever renews a certificate writes it there.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use futures::future::BoxFuture;
use http::{Request, Response};
use kube::{Client, client::Body};
use parking_lot::Mutex;
use tokio::time::Instant;
use tower::{BoxError, Service};

/// How often the file is looked at, at most: when something is asked.
const LOOK: Duration = Duration::from_secs(10);

type Remake = dyn Fn() -> BoxFuture<'static, anyhow::Result<Client>> + Send + Sync;

/// The client of the moment.
#[derive(Clone)]
pub(crate) struct Following(Arc<Shared>);

struct Shared {
    path: PathBuf,
    remake: Box<Remake>,
    current: Mutex<Current>,
}

struct Current {
    client: Client,
    /// When the file was written that the client was made of.
    written: Option<SystemTime>,
    looked: Instant,
}

impl Following {
    /// Begins with a client that was made of the file as it was written then, by [`written`] before it was read.
    pub(crate) fn new(
        (client, written): (Client, Option<SystemTime>),
        path: PathBuf,
        remake: impl Fn() -> BoxFuture<'static, anyhow::Result<Client>> + Send + Sync + 'static,
    ) -> Self {
        let current = Current { client, written, looked: Instant::now() };
        Self(Arc::new(Shared { path, remake: Box::new(remake), current: Mutex::new(current) }))
    }

    async fn client(&self) -> Client {
        let Some(written) = self.0.change() else { return self.0.current.lock().client.clone() };
        match (self.0.remake)().await {
            Ok(client) => {
                let mut current = self.0.current.lock();
                (current.client, current.written) = (client, Some(written));
                tracing::info!(path = %self.0.path.display(), "the kubeconfig has changed");
                current.client.clone()
            }
            Err(error) => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "the kubeconfig that is new is of no use"
                );
                self.0.current.lock().client.clone()
            }
        }
    }
}

impl Shared {
    /// When the file was written, if that is news. Nobody looks twice within a while.
    fn change(&self) -> Option<SystemTime> {
        let mut current = self.current.lock();
        if current.looked.elapsed() < LOOK {
            return None;
        }
        current.looked = Instant::now();
        written(&self.path).filter(|written| current.written != Some(*written))
    }
}

/// When a file was written.
pub(crate) fn written(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|file| file.modified()).ok()
}

impl Service<Request<Body>> for Following {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    /// The client is asked when it is known which.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { this.client().await.send(request).await.map_err(Into::into) })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use http_body_util::BodyExt;

    use super::*;

    /// A client that is answered with this by everybody.
    fn saying(text: &'static str) -> Client {
        let service = tower::service_fn(async move |_: Request<Body>| {
            Ok::<_, std::convert::Infallible>(Response::new(Body::from(text.as_bytes().to_vec())))
        });
        Client::new(service, "default")
    }

    async fn ask(client: &Client) -> String {
        let answer = client.send(Request::get("/").body(Body::empty()).unwrap()).await.unwrap();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_asked_after_the_file_has_changed_is_asked_by_the_new_client() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let remake = || async { Ok(saying("new")) }.boxed();
        let old = (saying("old"), written(file.path()));
        let following = Following::new(old, file.path().to_owned(), remake);
        let client = Client::new(following, "default");
        tokio::time::advance(LOOK).await;
        assert_eq!(ask(&client).await, "old");
        let later = SystemTime::now() + Duration::from_secs(60);
        file.as_file().set_modified(later).unwrap();
        assert_eq!(ask(&client).await, "old", "it was looked at a moment ago");
        tokio::time::advance(LOOK).await;
        assert_eq!((ask(&client).await.as_str(), ask(&client).await.as_str()), ("new", "new"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_changes_while_the_first_client_is_made_of_it_is_news() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let old = (saying("old"), written(file.path()));
        file.as_file().set_modified(SystemTime::now() + Duration::from_secs(60)).unwrap();
        let remake = || async { Ok(saying("new")) }.boxed();
        let following = Following::new(old, file.path().to_owned(), remake);
        tokio::time::advance(LOOK).await;
        assert_eq!(ask(&Client::new(following, "default")).await, "new");
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_of_no_use_changes_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let remake = || async { anyhow::bail!("half a file") }.boxed();
        let old = (saying("old"), written(file.path()));
        let following = Following::new(old, file.path().to_owned(), remake);
        file.as_file().set_modified(SystemTime::now() + Duration::from_secs(60)).unwrap();
        tokio::time::advance(LOOK).await;
        assert_eq!(ask(&Client::new(following, "default")).await, "old");
    }
}
