//! Creates, gets, patches, lists and deletes, beside the same work on the bare store.

use std::{cell::RefCell, sync::Arc};

use bytes::Bytes;
use http::Request;
use store::{Expect, Query, Revision, Store};

use crate::{
    Args,
    client::Client,
    load::{Measured, measure},
    objects::{self, PODS},
    report::{Report, Row},
    server::{Backing, Bare, Server},
};

pub(crate) async fn run(args: &Args, backing: Backing) -> anyhow::Result<Report> {
    let mut report = Report::new(format!("Requests, {} at once, {backing:?}", args.concurrency));
    bare(args, backing, &mut report).await?;
    api(args, backing, &mut report).await?;
    Ok(report)
}

/// The floor: puts are what creates and patches are compared to; as the server writes, they are transactions.
async fn bare(args: &Args, backing: Backing, report: &mut Report) -> anyhow::Result<()> {
    let bare = Bare::start(backing).await?;
    // As the server stores it: with defaults and metadata it is twice what was sent.
    let value = Bytes::from([objects::pod(0).to_string(), objects::pod(0).to_string()].concat());
    let revisions = RefCell::new(vec![Revision::default(); args.objects]);
    let put = async |store: &Arc<dyn Store>, index, expect| {
        let revision = store.put(&objects::key(index), value.clone(), expect).await?;
        revisions.borrow_mut()[index] = revision;
        Ok(())
    };
    let at = |index: usize| revisions.borrow()[index];
    let mut floor = Floor { args, bare: &bare, report };
    floor.add("put", async |store, i| put(store, i, None).await).await?;
    let update = async |store: &Arc<dyn Store>, i| put(store, i, Some(Expect::At(at(i)))).await;
    floor.add("update", update).await?;
    let get = async |store: &Arc<dyn Store>, i| Ok(store.get(&objects::key(i)).await.map(drop)?);
    floor.add("get", get).await?;
    floor.list().await?;
    let delete = async |store: &Arc<dyn Store>, i| {
        Ok(store.delete(&objects::key(i), Some(at(i))).await.map(drop)?)
    };
    floor.add("delete", delete).await?;
    floor.add("create", async |store, i| put(store, i, Some(Expect::Absent)).await).await
}

struct Floor<'a> {
    args: &'a Args,
    bare: &'a Bare,
    report: &'a mut Report,
}

impl Floor<'_> {
    async fn add(
        &mut self,
        what: &str,
        request: impl AsyncFn(&Arc<dyn Store>, usize) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.report.step(format!("bare {what}"));
        let mut clients = vec![self.bare.store.clone(); self.args.concurrency];
        let meter = self.bare.meter();
        let request = async |store: &mut Arc<dyn Store>, index| request(store, index).await;
        let measured = measure(self.args.objects, &mut clients, request).await?;
        self.row(what, &measured, meter);
        Ok(())
    }

    async fn list(&mut self) -> anyhow::Result<()> {
        let meter = self.bare.meter();
        let list = async |store: &mut Arc<dyn Store>, _| {
            Ok(store.list("/registry/core/pods/", Query::default()).await.map(drop)?)
        };
        let one = &mut [self.bare.store.clone()];
        let measured = measure(self.args.lists, one, list).await?;
        self.row("list all", &measured, meter);
        Ok(())
    }

    fn row(&mut self, what: &str, measured: &Measured, meter: crate::usage::Meter<'_>) {
        self.report.add(Row::new(format!("bare {what}")).load(measured).usage(&meter.read()));
    }
}

async fn api(args: &Args, backing: Backing, report: &mut Report) -> anyhow::Result<()> {
    let server = Server::start(backing).await?;
    let mut clients = server.clients(args.concurrency).await?;
    let idle = server.memory() >> 20;
    let create =
        async |client: &mut Client, i| client.post(PODS, objects::pod(i).to_string()).await;
    let get = async |client: &mut Client, i| client.get(&objects::path(i)).await.map(drop);
    let patch =
        async |client: &mut Client, i| client.patch(&objects::path(i), objects::change(i)).await;
    let list = async |client: &mut Client, _| client.get(PODS).await.map(drop);
    let delete = async |client: &mut Client, i| {
        client.send(Request::delete(objects::path(i)), Bytes::new()).await.map(drop)
    };
    let mut through = Through { server: &server, report };
    through.add("create", "put", args.objects, &mut clients, create).await?;
    through.add("get", "get", args.objects, &mut clients, get).await?;
    through.add("patch", "put", args.objects, &mut clients, patch).await?;
    through.add("list all", "list all", args.lists, &mut clients[..1], list).await?;
    through.add("delete", "delete", args.objects, &mut clients, delete).await?;
    report.note(format!("before the first object, the API server had {idle} MiB"));
    Ok(())
}

/// The work through the API.
struct Through<'a> {
    server: &'a Server,
    report: &'a mut Report,
}

impl Through<'_> {
    async fn add(
        &mut self,
        what: &str,
        bare: &str,
        count: usize,
        clients: &mut [Client],
        request: impl AsyncFn(&mut Client, usize) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.report.step(what);
        let meter = self.server.meter();
        let measured = measure(count, clients, request).await?;
        let row = Row::new(what).load(&measured).usage(&meter.read());
        self.report.add_beside(&format!("bare {bare}"), row);
        Ok(())
    }
}
