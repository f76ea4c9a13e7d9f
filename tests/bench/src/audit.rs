//! The same requests with and without an audit log, in turns on two servers. Each asks for rights all the same: RBAC is always on.

use std::{fs, time::Duration};

use crate::{
    Args,
    client::Client,
    load::{Measured, measure},
    objects::{self, PODS},
    report::{Column, Report, Row},
    server::{Backing, Server},
};

/// As clusters have it: who changed what, and nothing of watches and leases.
const POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, resources: [{group: coordination.k8s.io, resources: [leases]}]}
- {level: None, verbs: [watch]}
- {level: Metadata, resources: [{resources: [secrets, configmaps]}]}
- {level: Request, verbs: [create, update, patch, delete]}
- {level: Metadata}
";
/// How often each is measured: a noise of the machine meets both.
const TURNS: usize = 5;

pub(crate) async fn run(args: &Args, backing: Backing) -> anyhow::Result<Report> {
    let mut report = Report::new(format!("Audit, {} at once, {backing:?}", args.concurrency));
    let folder = tempfile::tempdir()?;
    let (policy, log) = (folder.path().join("policy.yaml"), folder.path().join("audit.log"));
    fs::write(&policy, POLICY)?;
    let audited = [
        format!("--audit-policy-file={}", policy.display()),
        format!("--audit-log-path={}", log.display()),
    ];
    let sides = [("no audit", &[][..]), ("audit", &audited[..])];
    let mut servers = Vec::new();
    for (_, flags) in sides {
        let server = Server::with(backing, flags).await?;
        let clients = server.clients(args.concurrency).await?;
        servers.push((server, clients));
    }
    for what in [Work::Create, Work::Get, Work::Patch, Work::Delete] {
        let mut measured = [Vec::new(), Vec::new()];
        let mut cpu = [Duration::ZERO; 2];
        report.step(format!("{what:?}"));
        for turn in 0..TURNS {
            for (side, (server, clients)) in servers.iter_mut().enumerate() {
                let before = server.cpu();
                measured[side].push(what.measure(args.objects / TURNS, turn, clients).await?);
                cpu[side] += server.cpu() - before;
            }
        }
        for (((name, _), measured), cpu) in sides.iter().zip(measured).zip(cpu) {
            let row = Row::new(format!("{what:?}, {name}")).load(&Measured::together(measured));
            let row = row.cpu(Column::ServerCpu, cpu);
            report.add_beside(&format!("{what:?}, no audit"), row);
        }
    }
    report.note(format!("the audit log has {} MiB", fs::metadata(&log)?.len() >> 20));
    Ok(report)
}

#[derive(Clone, Copy, Debug)]
enum Work {
    Create,
    Get,
    Patch,
    Delete,
}

impl Work {
    async fn measure(
        self,
        count: usize,
        turn: usize,
        clients: &mut [Client],
    ) -> anyhow::Result<Measured> {
        let first = turn * count;
        measure(count, clients, async |client: &mut Client, i| {
            let i = first + i;
            match self {
                Self::Create => client.post(PODS, objects::pod(i).to_string()).await,
                Self::Get => client.get(&objects::path(i)).await.map(drop),
                Self::Patch => client.patch(&objects::path(i), objects::change(i)).await,
                Self::Delete => {
                    let request = http::Request::delete(objects::path(i));
                    client.send(request, bytes::Bytes::new()).await.map(drop)
                }
            }
        })
        .await
    }
}
