//! `kubectl expose`: a Service in front of the pods of an object.

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::{choice, creation::Options, target::Target};
use crate::{
    Failure,
    failure::Failures,
    flags::{self, Files},
    object::{self, list, text},
    session::Session,
};

/// Make a Service of a pod, ReplicaSet, Deployment or Service
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl expose deployment web --port=80\n  kubectl expose pod/db --port=5432 --name=database\n  kubectl expose rs web --port=80 --target-port=8080 --type=ClusterIP --dry-run=client -o yaml"
)]
pub struct Expose {
    /// TYPE NAME or TYPE/NAME
    words: Vec<String>,
    #[command(flatten)]
    files: Files,
    /// The Service's name; usually the object's
    #[arg(long)]
    name: Option<String>,
    /// The port that it serves; usually those that the containers have
    #[arg(long)]
    port: Option<u16>,
    /// The number or name of the pods' port; usually the same
    #[arg(long)]
    target_port: Option<String>,
    /// Of the ports; usually what the containers say
    #[arg(long, value_enum, ignore_case = true)]
    protocol: Option<Protocol>,
    /// ClusterIP, NodePort, LoadBalancer or ExternalName
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// None for a Service without an address of its own
    #[arg(long)]
    cluster_ip: Option<String>,
    /// The labels of the pods, KEY=VALUE,…; usually what the object selects, or has
    #[arg(long)]
    selector: Option<String>,
    /// The Service's labels, KEY=VALUE,…; usually the object's
    #[arg(short, long)]
    labels: Option<String>,
    #[command(flatten)]
    options: Options,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "UPPER")]
enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl Expose {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let mut failures = Failures::default();
        let everything = Default::default();
        let targets =
            choice::named(session, &self.files, &self.words, false, &everything, &mut failures)
                .await?;
        for target in targets {
            let exposed = self.expose(session, &target).await;
            failures.keep(exposed)?;
        }
        failures.finish(&session.io)
    }

    async fn expose(&self, session: &Session, target: &Target) -> Result<(), Failure> {
        if target.name.is_none() {
            return Err(Failure::message("resource(s) were provided, but no name was specified"));
        }
        let object = target.fetch(session).await?;
        let mut service = self.service(&object)?;
        // As a file says it; otherwise it is that of the command.
        if target.namespace != Some(session.namespace().await?) {
            service["metadata"]["namespace"] = json!(target.namespace);
        }
        self.options.create_one(session, service, "exposed").await
    }

    fn service(&self, object: &Value) -> Result<Value, Failure> {
        let name = self.name.as_deref().unwrap_or_else(|| object::name(object));
        let labels = match &self.labels {
            Some(labels) => flags::labels(labels)?,
            None => object.pointer("/metadata/labels").cloned().unwrap_or_else(|| json!({})),
        };
        let mut spec = json!({"selector": self.selector(object)?, "ports": self.ports(object)?});
        for (field, given) in [("type", &self.kind), ("clusterIP", &self.cluster_ip)] {
            if let Some(given) = given {
                spec[field] = json!(given);
            }
        }
        let metadata = json!({"name": name, "labels": labels});
        Ok(json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}))
    }

    fn selector(&self, object: &Value) -> Result<Value, Failure> {
        if let Some(selector) = &self.selector {
            return flags::labels(selector);
        }
        let (what, given) = match object::kind(object) {
            "Pod" => ("labels", object.pointer("/metadata/labels")),
            "Service" | "ReplicationController" => ("a selector", object.pointer("/spec/selector")),
            "ReplicaSet" | "Deployment" => {
                if !list(object, "/spec/selector/matchExpressions").is_empty() {
                    let why = "couldn't convert expressions - to map-based selector format: give --selector";
                    return Err(Failure::message(why));
                }
                ("labels that it selects", object.pointer("/spec/selector/matchLabels"))
            }
            kind => return Err(Failure::message(format!("cannot expose a {kind}"))),
        };
        let given = given.filter(|given| given.as_object().is_some_and(|given| !given.is_empty()));
        given.cloned().ok_or_else(|| {
            Failure::message(format!("couldn't retrieve selectors via --selector flag or introspection: {} has no {what}", object::name(object)))
        })
    }

    fn ports(&self, object: &Value) -> Result<Vec<Value>, Failure> {
        let given = self.protocol.and_then(|protocol| protocol.to_possible_value());
        let mut ports = ports_of(object);
        if let Some(port) = self.port.map(u64::from) {
            let protocol = ports.iter().find(|(own, _)| *own == port).map_or("TCP", |(_, it)| it);
            ports = vec![(port, protocol)];
        }
        if ports.is_empty() {
            let why = "couldn't find port via --port flag or introspection";
            return Err(Failure::message(why));
        }
        let several = ports.len() > 1;
        let one = |(index, (port, protocol)): (usize, (u64, &str))| {
            let target = self.target_port.as_deref().map_or(json!(port), |given| {
                given.parse::<u16>().map_or_else(|_| json!(given), |number| json!(number))
            });
            let protocol = given.as_ref().map_or(protocol, |given| given.get_name());
            let mut port = json!({"port": port, "protocol": protocol, "targetPort": target});
            if several {
                port["name"] = json!(format!("port-{}", index + 1));
            }
            port
        };
        Ok(ports.into_iter().enumerate().map(one).collect())
    }
}

/// Those of the containers, or of the Service.
fn ports_of(object: &Value) -> Vec<(u64, &str)> {
    let port = |port: &'_ Value, field: &str| port.get(field).and_then(Value::as_u64);
    let protocol = |port| match text(port, "/protocol") {
        "" => "TCP",
        protocol => protocol,
    };
    if object::kind(object) == "Service" {
        let ports = list(object, "/spec/ports").iter();
        return ports.filter_map(|p| Some((port(p, "port")?, protocol(p)))).collect();
    }
    let containers = match object::kind(object) {
        "Pod" => list(object, "/spec/containers"),
        _ => list(object, "/spec/template/spec/containers"),
    };
    let ports = containers.iter().flat_map(|container| list(container, "/ports"));
    ports.filter_map(|p| Some((port(p, "containerPort")?, protocol(p)))).collect()
}
