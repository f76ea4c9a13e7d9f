//! The HTTP trigger of functions: `POST /<function>` or `POST /<namespace>/<function>` is passed on to
//! one of the function's instances, and its answer passed back.
//!
//! [`directory`] holds what there is: functions, and the ready pods that serve them, kept up to date
//! by two watches. [`gateway`] answers requests from it. A function without an instance is answered
//! with 503 for now: nothing here starts instances.

mod args;
pub mod directory;
mod error;
mod forward;
pub mod gateway;
mod metrics;
mod watch;

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context;
use component::{Runtime, health};
use listwatch::ListWatch;
use tokio::net::TcpListener;

use crate::{directory::SharedDirectory, gateway::Gateway};

pub use args::Args;
pub use watch::watch;

/// The program: serves until shutdown, then finishes the calls in hand.
///
/// # Errors
///
/// Wrong configuration or an occupied address.
pub async fn main(args: Args, runtime: Runtime) -> anyhow::Result<()> {
    let client = component::client(&args.client).await?;
    let listwatch = ListWatch::new(client, args.client.redis.as_deref())?;
    let address = (args.bind_address, args.port);
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot serve on {}:{}", args.bind_address, args.port))?;

    let directory = Arc::new(SharedDirectory::default());
    let check = runtime.health.check("functions");
    let gateway = Gateway::new(directory.clone(), gateway::INSTANCE_PORT, &runtime.metrics)?;
    let routes = health::router(runtime.health, runtime.metrics).merge(gateway.router());
    let routes = routes.into_make_service_with_connect_info::<SocketAddr>();
    let server =
        axum::serve(listener, routes).with_graceful_shutdown(runtime.shutdown.cancelled_owned());
    tokio::select! {
        served = server => served.context("serving"),
        () = watch(&listwatch, &directory, &check) => Ok(()),
    }
}
