//! `kubectl describe`: fetches an object and what belongs to it; the page is made in [`crate::describe`].

use api_types::jiff::{Timestamp, tz::TimeZone};
use clap::Args;
use serde_json::Value;

use super::{choice::Choice, target::Target};
use crate::{
    Failure,
    api::{Api, Call},
    describe::{self, Needs, Related},
    failure::Failures,
    object::{self, text},
    session::Session,
};

/// Show details of one or many resources, with their events
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl describe pod web\n  kubectl describe pod web-               # every pod whose name begins so\n  kubectl describe node\n  kubectl describe rs/web service/web\n  kubectl describe -f web.yaml"
)]
pub struct Describe {
    /// TYPE, TYPE NAME…, TYPE/NAME… or the beginning of names
    words: Vec<String>,
    #[command(flatten)]
    choice: Choice,
    /// With the events of the object
    #[arg(long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    show_events: bool,
}

impl Describe {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        if self.choice.is_empty(&self.words) {
            return Err(Failure::message(
                "You must specify the type of resource to describe. Use \"kubectl api-resources\" for a complete list of supported resources.",
            ));
        }
        let mut failures = Failures::default();
        let mut pages = Vec::new();
        let targets = self.choice.targets(session, &self.words, &mut failures).await?;
        for target in &targets {
            let found = self.objects(session, target).await;
            for object in failures.keep(found)?.into_iter().flatten() {
                let related = self.related(session.api().await?, &object).await;
                if let Some(related) = failures.keep(related)? {
                    pages.push(describe::describe(&object, &related));
                }
            }
        }
        if pages.is_empty() && failures.is_empty() {
            self.choice.nothing_found(session, &targets).await?;
        }
        session.io.raw(pages.join("\n\n").as_bytes())?;
        failures.finish(&session.io)
    }

    async fn objects(&self, session: &Session, target: &Target) -> Result<Vec<Value>, Failure> {
        let api = session.api().await?;
        match &target.name {
            None => items(api, self.choice.call(target)).await,
            Some(name) => match target.fetch(session).await {
                Ok(object) => Ok(vec![object]),
                Err(failure) if failure.is_not_found() => {
                    begins_with(api, target, name, failure).await
                }
                Err(failure) => Err(failure),
            },
        }
    }

    async fn related(&self, api: &Api, object: &Value) -> Result<Related, Failure> {
        let mut related = Related::new(Timestamp::now(), TimeZone::system());
        if self.show_events {
            related.events = events(api, object).await?;
        }
        let namespace = text(object, "/metadata/namespace");
        match describe::needs(object) {
            Needs::Events => {}
            Needs::Node => {
                let field = format!("spec.nodeName={}", object::name(object));
                related.pods =
                    items(api, Call::get("/api/v1/pods").query("fieldSelector", field)).await?;
                related.lease = lease(api, object::name(object)).await;
            }
            Needs::SelectedPods => {
                let pods = format!("/api/v1/namespaces/{namespace}/pods");
                related.pods = selected(api, object, pods).await?;
            }
            Needs::ReplicaSets => {
                let sets = format!("/apis/apps/v1/namespaces/{namespace}/replicasets");
                related.sets = selected(api, object, sets).await?;
            }
            Needs::Instances => {
                let call = Call::get(format!("/api/v1/namespaces/{namespace}/pods"));
                let label = format!("minik8s.io/function={}", object::name(object));
                related.pods = items(api, call.query("labelSelector", label)).await?;
            }
            Needs::EndpointSlices => {
                let path =
                    format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices");
                let label = format!("kubernetes.io/service-name={}", object::name(object));
                related.slices = items(api, Call::get(path).query("labelSelector", label)).await?;
            }
            Needs::Limits => {
                let of = |plural| {
                    Call::get(format!("/api/v1/namespaces/{}/{plural}", object::name(object)))
                };
                related.quotas = items(api, of("resourcequotas")).await?;
                related.limit_ranges = items(api, of("limitranges")).await?;
            }
        }
        Ok(related)
    }
}

/// The objects whose names begin with what was typed; the refusal if there is none.
async fn begins_with(
    api: &Api,
    target: &Target,
    name: &str,
    refusal: Failure,
) -> Result<Vec<Value>, Failure> {
    let collection = Target { name: None, ..target.clone() };
    let all = items(api, Call::get(collection.path())).await?;
    let found: Vec<_> = all.into_iter().filter(|o| object::name(o).starts_with(name)).collect();
    if found.is_empty() { Err(refusal) } else { Ok(found) }
}

/// The objects of the collection that the object's selector selects.
async fn selected(api: &Api, object: &Value, collection: String) -> Result<Vec<Value>, Failure> {
    match object::selector(object) {
        Some(selector) => {
            let call = Call::get(collection).query("labelSelector", selector.to_string());
            items(api, call).await
        }
        None => Ok(Vec::new()),
    }
}

async fn items(api: &Api, call: Call) -> Result<Vec<Value>, Failure> {
    Ok(object::items(api.call(call).await?))
}

/// The events about the object. Those about nodes and other objects without a namespace are in `default`.
async fn events(api: &Api, object: &Value) -> Result<Vec<Value>, Failure> {
    let mut fields = vec![
        format!("involvedObject.name={}", object::name(object)),
        format!("involvedObject.kind={}", object::kind(object)),
    ];
    let path = match object::namespace(object) {
        Some(namespace) => format!("/api/v1/namespaces/{namespace}/events"),
        None => "/api/v1/events".to_owned(),
    };
    let uid = text(object, "/metadata/uid");
    // Nodes report with their name as uid, as Kubernetes' kubelets do.
    if object::kind(object) != "Node" && !uid.is_empty() {
        fields.push(format!("involvedObject.uid={uid}"));
    }
    items(api, Call::get(path).query("fieldSelector", fields.join(","))).await
}

/// A node that never renewed has none.
async fn lease(api: &Api, node: &str) -> Option<Value> {
    let path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    api.call(Call::get(format!("{path}/{node}"))).await.ok()
}
