//! The HTTP trigger of functions: `POST /<function>` or `POST /<namespace>/<function>/…` is passed on to
//! one of the function's instances, and its answer passed back.
//!
//! [`functions`] holds what there is: functions, and the ready pods of the version that serves, kept up to date
//! by two watches ([`directory`] is the plain data of it); of what they have not told of yet, [`unheard`] asks. [`calls`] is the path of a call, which [`gateway`] opens to
//! HTTP. In it a function's [`dispatch`] gives each call an instance, or lets it wait for one; [`demand`] tells what
//! waits, so that instances are made, [`failures`] what has failed. The steps of [`workflows`] take the same path.

mod access;
mod answer;
mod args;
mod calls;
mod cold_start;
mod demand;
mod directory;
mod dispatch;
mod error;
mod failures;
mod functions;
mod gateway;
mod lease;
mod message;
mod metrics;
mod route;
mod unheard;
mod watch;
pub mod workflows;

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context;
use api_types::minik8s::Function;
use axum::serve::ListenerExt;
use component::{Runtime, events::Recorder, health, host};
use listwatch::ListWatch;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::workflows::Runs;

pub use access::{Access, Tokens};
pub use args::Args;
pub use calls::{Calls, Limits};
pub use demand::tell;
pub use functions::Functions;
pub use gateway::Gateway;
pub use watch::watch;

/// The component of the gateway's events.
const NAME: &str = "serverless-gateway";

/// The program: serves until shutdown, then finishes the calls in hand.
///
/// # Errors
///
/// Wrong configuration or an occupied address.
pub async fn main(args: Args, runtime: Runtime) -> anyhow::Result<()> {
    let access = Arc::new(args.access()?);
    let client = component::client(&args.client).await?;
    let redis = args.client.redis.server()?;
    let listwatch = ListWatch::new(client, redis.as_ref(), &runtime.tasks)?;
    let address = (args.bind_address, args.port);
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot serve on {}:{}", args.bind_address, args.port))?;
    // Answers are small, and are not to wait for one another.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));

    runtime.started();
    let functions = Functions::new(Function::PORT, args.queue_length, &runtime.metrics);
    let check = runtime.health.check("functions");
    let calls = Calls::new(functions.clone(), args.limits()).asking(listwatch.client().clone());
    let identity = identity();
    let driving = runtime.shutdown.child_token();
    let client = listwatch.client().clone();
    let recorder = Recorder::new(&runtime.tasks, client.clone(), NAME, "");
    let ending = (&runtime.metrics, driving.clone());
    let runs = Runs::new(client, Arc::new(calls.clone()), &identity, ending);
    let gateway = Gateway::new(calls, access.clone(), &args.default_namespace);
    let routes = health::router(runtime.health, runtime.metrics)
        .merge(workflows::router(runs.clone(), access))
        .merge(gateway.router());
    let routes = routes.into_make_service_with_connect_info::<SocketAddr>();
    let server =
        axum::serve(listener, routes).with_graceful_shutdown(runtime.shutdown.cancelled_owned());
    // Demand is told, and the Lease held, until the last call is finished, those of runs included.
    let (alive, served) = (CancellationToken::new(), CancellationToken::new());
    let telling = tell(&functions, &listwatch, &identity, (&alive, &served));
    let serving = async {
        let result = tokio::select! {
            served = server => served.context("serving"),
            () = watch(&listwatch, &functions, &check) => Ok(()),
            () = functions.tell_failures(&recorder) => Ok(()),
        };
        driving.cancel();
        result
    };
    let working = async {
        let (result, ()) = tokio::join!(serving, runs.drive(&listwatch, &alive));
        served.cancel();
        result
    };
    tokio::join!(working, telling).0
}

/// Another one after each start; part of a Lease's name.
fn identity() -> String {
    let id = uuid::Uuid::new_v4().simple().to_string();
    let host = host::name().unwrap_or_default().to_lowercase();
    let host: String = host.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    format!("{}-{}", host.trim_matches('-'), &id[..8]).trim_start_matches('-').to_owned()
}
