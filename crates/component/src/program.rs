//! From the command line to the program's own code and back to an exit code.

use std::{future::Future, net::SocketAddr, process::ExitCode, time::Duration};

use anyhow::{Context, anyhow};
use axum::Router;
use clap::{FromArgMatches, Parser};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

use crate::{
    configuration::{self, CommonArgs},
    health::{self, Health, Metrics, ServeArgs},
    logging,
    process::ProcessMetrics,
    service_manager,
    tasks::Tasks,
};

/// How long a program may take to end in order after a panic: it may wait for what has died.
const LAST_WORK: Duration = Duration::from_secs(30);

/// What a program is given to run with.
#[derive(Clone, Debug, Default)]
pub struct Runtime {
    /// Cancelled by the first SIGTERM or SIGINT, and when a task of `tasks` panics: finish what cannot be left, then
    /// return.
    pub shutdown: CancellationToken,
    /// What `/readyz` answers.
    pub health: Health,
    /// What `/metrics` answers.
    pub metrics: Metrics,
    /// For work that the program does not wait for itself.
    pub tasks: Tasks,
}

impl Runtime {
    /// Serves health and metrics in the background until shutdown, on the address of the flags or else on
    /// the program's `default`. Returns the address bound. The program has [started](Self::started) by that.
    pub async fn serve(&self, args: &ServeArgs, default: &str) -> anyhow::Result<SocketAddr> {
        if let Some(address) = args.metrics_bind_address {
            let router = health::metrics_router(self.metrics.clone());
            self.serve_at(address, "metrics", router).await?;
        }
        let router = health::router(self.health.clone(), self.metrics.clone());
        let bound = self.serve_at(args.address(default)?, "health", router).await?;
        self.started();
        Ok(bound)
    }

    /// Tells who has started the program, if that waits for it, that it serves. For programs that serve health
    /// themselves.
    pub fn started(&self) {
        service_manager::ready();
    }

    async fn serve_at(
        &self,
        address: SocketAddr,
        what: &'static str,
        router: Router,
    ) -> anyhow::Result<SocketAddr> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot serve {what} on {address}"))?;
        let bound = listener.local_addr()?;
        let stopped = self.shutdown.clone().cancelled_owned();
        self.tasks.spawn("serving health and metrics", async move {
            if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await
            {
                tracing::error!(%error, what, "server failed");
            }
        });
        Ok(bound)
    }
}

/// Runs a program: flags over environment over `--config` file, logs to stderr, a runtime, signals, and
/// one line for the error that ended it.
///
/// Every flag `--some-flag` of `A` may also be given as `MINIK8S_SOME_FLAG`, or as `some-flag` in the
/// file. Exit codes: 0 done, 1 failed, 2 wrong usage.
pub fn main<A: Parser>(
    name: &'static str,
    run: impl AsyncFnOnce(A, Runtime) -> anyhow::Result<()>,
) -> ExitCode {
    main_from(name, std::env::args_os().collect(), run)
}

/// The same with another command line than its own.
pub fn main_from<A: Parser>(
    name: &'static str,
    argv: Vec<std::ffi::OsString>,
    run: impl AsyncFnOnce(A, Runtime) -> anyhow::Result<()>,
) -> ExitCode {
    install_crypto_provider();
    raise_file_limit();
    let (args, common) = match parse::<A>(name, argv) {
        Ok(parsed) => parsed,
        Err(error) => return usage(&error),
    };
    match logging::init(&common.log_level, common.log_format).and_then(|()| block_on(run, args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Makes ring the process's TLS implementation. May be called any number of times.
pub fn install_crypto_provider() {
    // An error means that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Lets the process have as many files and connections as the system allows. The usual limit of 1,024 is there for
/// programs that use select(2); a server would soon turn clients away.
pub fn raise_file_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(error) = raised {
        eprintln!("the limit of open files stays as it is: {error}");
    }
}

fn parse<A: Parser>(
    name: &'static str,
    argv: Vec<std::ffi::OsString>,
) -> Result<(A, CommonArgs), clap::Error> {
    let command = configuration::extend(A::command().name(name));
    let mut matches = configuration::matches(command, argv)?;
    let common = CommonArgs::from_arg_matches_mut(&mut matches)?;
    Ok((A::from_arg_matches_mut(&mut matches)?, common))
}

fn usage(error: &clap::Error) -> ExitCode {
    // Nothing can be done about a closed stderr.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

fn block_on<A>(
    run: impl AsyncFnOnce(A, Runtime) -> anyhow::Result<()>,
    args: A,
) -> anyhow::Result<()> {
    let executor = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    let result = executor.block_on(async {
        let runtime = Runtime::default();
        runtime.metrics.collect(ProcessMetrics);
        until_stopped(runtime.clone(), run(args, runtime)).await
    });
    // A blocking task that does not end (a read of a dead disk) must not keep the process.
    executor.shutdown_background();
    result
}

/// The first signal asks `program` to end, as does a task that panics; the next signal does not wait for it. After a
/// signal whoever sent it decides how long it may take; after a panic nobody else does.
async fn until_stopped(
    Runtime { shutdown, tasks, .. }: Runtime,
    program: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let mut signals = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
    tokio::pin!(program);
    let asked = tokio::select! {
        result = &mut program => return result,
        () = any(&mut signals) => Ok(()),
        panicked = tasks.panicked() => Err(panicked.into()),
    };
    tracing::info!("stopping");
    service_manager::stopping();
    shutdown.cancel();
    let ended = tokio::select! {
        result = program => result,
        () = any(&mut signals) => Err(anyhow!("stopped by a second signal")),
        () = tokio::time::sleep(LAST_WORK), if asked.is_err() => {
            Err(anyhow!("not stopped within {} s", LAST_WORK.as_secs()))
        }
    };
    asked.and(ended)
}

async fn any([one, other]: &mut [Signal; 2]) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    /// A program for tests.
    #[derive(Debug, Parser)]
    #[command(version)]
    struct Args {
        #[arg(long)]
        node_name: String,
        #[arg(long, default_value_t = 110)]
        max_pods: u32,
        #[arg(long)]
        quiet: bool,
        #[arg(long, value_delimiter = ',')]
        labels: Vec<String>,
    }

    fn parse_with(file: &str, flags: &[&str]) -> Result<Args, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.yaml");
        std::fs::write(&path, file).unwrap();
        let argv =
            ["test", "--config", path.to_str().unwrap()].into_iter().chain(flags.iter().copied());
        parse::<Args>("test", argv.map(Into::into).collect())
            .map(|(args, _)| args)
            .map_err(|error| error.to_string())
    }

    async fn ended_by(task: impl Future<Output = ()> + Send + 'static) -> Result<(), String> {
        let runtime = Runtime::default();
        runtime.tasks.spawn("counting", task);
        let shutdown = runtime.shutdown.clone();
        let program = async {
            shutdown.cancelled().await;
            Ok(())
        };
        until_stopped(runtime, program).await.map_err(|error| format!("{error:#}"))
    }

    #[tokio::test]
    async fn a_task_that_panics_ends_the_program_in_order_and_as_a_failure() {
        let panicking = async { panic!("of no use") };
        assert_eq!(ended_by(panicking).await.unwrap_err(), "counting has failed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_program_that_waits_for_the_task_that_panicked_ends_nevertheless() {
        let runtime = Runtime::default();
        runtime.tasks.spawn("counting", async { panic!("of no use") });
        let ended = tokio::time::timeout(2 * LAST_WORK, until_stopped(runtime, pending()));
        assert_eq!(ended.await.unwrap().unwrap_err().to_string(), "counting has failed");
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let args = parse_with("node-name: a\nmax-pods: 7", &["--node-name=b"]).unwrap();
        assert_eq!((args.node_name.as_str(), args.max_pods), ("b", 7));
    }

    #[test]
    fn the_file_may_give_what_is_required_lists_and_switches() {
        let args = parse_with("node-name: a\nquiet: true\nlabels: [x=1, y=2]", &[]).unwrap();
        assert!(args.quiet);
        assert_eq!(args.labels, ["x=1", "y=2"]);
        assert!(!parse_with("node-name: a\nquiet: false", &[]).unwrap().quiet);
    }

    #[test]
    fn an_unknown_key_of_the_file_is_named() {
        let error = parse_with("node-name: a\nmax-pod: 7", &[]).unwrap_err();
        assert!(error.contains("max-pod") && error.contains("config.yaml"), "{error}");
    }

    #[test]
    fn a_wrong_value_in_the_file_is_reported_with_its_flag() {
        let error = parse_with("node-name: a\nmax-pods: many", &[]).unwrap_err();
        assert!(error.contains("--max-pods") && error.contains("many"), "{error}");
    }

    #[test]
    fn help_describes_the_program_and_all_its_flags() {
        let argv = ["test", "--help"].map(Into::into).to_vec();
        let help = parse::<Args>("test", argv).unwrap_err().to_string();
        for text in ["A program for tests", "--node-name", "--config", "--log-format"] {
            assert!(help.contains(text), "{help}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let argv = ["test", "--config", "/no/such/file"].map(Into::into).to_vec();
        let error = parse::<Args>("test", argv).unwrap_err().to_string();
        assert!(error.contains("/no/such/file"), "{error}");
    }
}
