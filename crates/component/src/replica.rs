//! A program of which several may run: one works, the others wait to take over.

use kube::Client;

use crate::{
    Check, ClientArgs, LeaderArgs, Runtime, ServeArgs, client, host,
    leader::{self, Clients},
};

/// The flags of such a program.
#[derive(clap::Args, Clone, Debug)]
pub struct ReplicaArgs {
    /// Where the API server is.
    #[command(flatten)]
    pub client: ClientArgs,
    /// Where health is served.
    #[command(flatten)]
    pub serve: ServeArgs,
    /// Whether there are others.
    #[command(flatten)]
    pub leader: LeaderArgs,
}

/// Such a program.
#[derive(Clone, Copy, Debug)]
pub struct Replica {
    /// The name of the lease that replicas share.
    pub lease: &'static str,
    /// Where health is served unless the flags say otherwise.
    pub health_address: &'static str,
}

/// When it is over, the replica waits again, and is as ready as it can be.
struct Term<'a>(&'a Check);

impl Drop for Term<'_> {
    fn drop(&mut self) {
        self.0.ready();
    }
}

impl Replica {
    /// Serves health, waits for the lease, then works until shutdown; anew for each term, if there are
    /// several. `work` is given the client to use in this term, and the check that says whether it watches
    /// what it works on.
    ///
    /// # Errors
    /// An occupied health address, or the one that `work` ended with.
    pub async fn run(
        self,
        args: &ReplicaArgs,
        runtime: &Runtime,
        work: impl AsyncFn(Client, Check) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let check = runtime.health.check("watching");
        runtime.serve(&args.serve, self.health_address).await?;
        if args.leader.leader_elect {
            // So is one that has not led yet.
            check.ready();
        }
        let lead = |client| async {
            let _term = args.leader.leader_elect.then(|| Term(&check));
            tokio::select! {
                () = runtime.shutdown.cancelled() => Ok(()),
                result = work(client, check.clone()) => result,
            }
        };
        let clients = Clients {
            work: client::client(&args.client).await?,
            lease: client::client(&args.client).await?,
        };
        let identity = leader::identity(&host::name().unwrap_or_default());
        leader::lead(args.leader, clients, self.lease, &identity, &runtime.shutdown, lead)
            .await
            .unwrap_or(Ok(()))
    }
}
