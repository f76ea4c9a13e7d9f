//! The paths of a kind with their operations: what `request.rs` takes, told.

use http::Method;
use registry::{ResourceDef, Scope, Subresource};

use super::{
    operation::{Body, Operation, Schema, group_version_kind, schema_name},
    parameters::{self, Parameter},
};
use crate::request::{self, Verb};

/// Any form of an object that the server reads.
const ANY: &[&str] = &["*/*"];
const PATCHES: [&str; 4] = [
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];
/// What is led on by its path alone.
const PROXIED: [Method; 7] = [
    Method::GET,
    Method::PUT,
    Method::POST,
    Method::DELETE,
    Method::OPTIONS,
    Method::HEAD,
    Method::PATCH,
];
const OK: (&str, &str) = ("200", "OK");
const CREATED: (&str, &str) = ("201", "Created");

/// The paths of a kind.
pub(super) fn of(def: &ResourceDef) -> Vec<(String, Vec<Operation>)> {
    let kind = Kind::new(def);
    let collection = kind.collection();
    if def.is_review {
        return vec![(collection, vec![kind.create()])];
    }
    let mut paths = vec![
        (collection.clone(), kind.collection_operations()),
        (format!("{collection}/{{name}}"), kind.object_operations()),
    ];
    for &sub in &def.subresources {
        let path = format!("{collection}/{{name}}/{}", sub.name());
        if sub == Subresource::Proxy {
            paths.push((format!("{path}/{{path}}"), kind.proxy("ProxyWithPath")));
        }
        paths.push((path, kind.subresource_operations(sub)));
    }
    if def.scope == Scope::Namespaced {
        let everywhere = format!("{}/{}", kind.root(), def.names.plural);
        let list = kind.list(format!("list{}{}ForAllNamespaces", kind.prefix, def.names.kind));
        paths.push((everywhere, vec![list]));
    }
    if def.has(Subresource::Binding) {
        let path = format!("{}/namespaces/{{namespace}}/bindings", kind.root());
        let id = format!("create{}NamespacedBinding", kind.prefix);
        paths.push((path, vec![kind.bind(id)]));
    }
    paths
}

/// A kind, and the words that its operations' names are made of.
struct Kind<'a> {
    def: &'a ResourceDef,
    /// `CoreV1`
    prefix: String,
    /// `NamespacedPod`
    scoped: String,
}

impl<'a> Kind<'a> {
    fn new(def: &'a ResourceDef) -> Self {
        let names = &def.names;
        let group = def.names.group_segment();
        let group = group.split('.').next().unwrap_or_default();
        let scope = if def.scope == Scope::Namespaced { "Namespaced" } else { "" };
        Self {
            def,
            prefix: format!("{}{}", capital(group), capital(&names.version)),
            scoped: format!("{scope}{}", names.kind),
        }
    }

    fn root(&self) -> String {
        let names = &self.def.names;
        match names.group.as_str() {
            "" => format!("/api/{}", names.version),
            group => format!("/apis/{group}/{}", names.version),
        }
    }

    fn collection(&self) -> String {
        let namespace =
            if self.def.scope == Scope::Namespaced { "/namespaces/{namespace}" } else { "" };
        format!("{}{namespace}/{}", self.root(), self.def.names.plural)
    }

    fn own(&self) -> Schema {
        Schema::Named(schema_name(self.def))
    }

    fn list_schema(&self) -> Schema {
        Schema::Named(format!("{}List", schema_name(self.def)))
    }

    fn id(&self, verb: &str, subresource: &str) -> String {
        format!("{verb}{}{}{}", self.prefix, self.scoped, capital(subresource))
    }

    /// An operation on objects of the kind's own.
    fn operation(&self, method: Method, action: &'static str, id: String) -> Operation {
        let names = &self.def.names;
        let group = self.def.names.group_segment();
        Operation {
            method,
            id,
            tag: format!("{}_{}", group.split('.').next().unwrap_or_default(), names.version),
            action,
            kind: group_version_kind(&names.group, &names.version, &names.kind),
            query: Vec::new(),
            body: None,
            answers: &[OK],
            answer: self.own(),
        }
    }

    fn list(&self, id: String) -> Operation {
        Operation {
            query: all(parameters::LIST),
            answer: self.list_schema(),
            ..self.operation(Method::GET, "list", id)
        }
    }

    fn collection_operations(&self) -> Vec<Operation> {
        let verbs = request::resource_verbs(self.def);
        let mut operations = vec![self.list(self.id("list", ""))];
        if verbs.contains(&Verb::Create) {
            operations.push(self.create());
        }
        if verbs.contains(&Verb::DeleteCollection) {
            operations.push(self.delete_collection());
        }
        operations
    }

    fn create(&self) -> Operation {
        Operation {
            query: all(parameters::WRITE),
            body: Some(whole(self.own())),
            answers: &[OK, CREATED, ("202", "Accepted")],
            ..self.operation(Method::POST, "post", self.id("create", ""))
        }
    }

    fn delete_collection(&self) -> Operation {
        let id = format!("delete{}Collection{}", self.prefix, self.scoped);
        Operation {
            query: all(parameters::DELETE).into_iter().chain(parameters::SELECTION).collect(),
            body: Some(options()),
            answer: self.list_schema(),
            ..self.operation(Method::DELETE, "deletecollection", id)
        }
    }

    fn object_operations(&self) -> Vec<Operation> {
        let delete = Operation {
            query: all(parameters::DELETE),
            body: Some(options()),
            answers: &[OK, ("202", "Accepted")],
            answer: self.deleted(),
            ..self.operation(Method::DELETE, "delete", self.id("delete", ""))
        };
        let verbs = request::resource_verbs(self.def);
        let mut operations = self.view("", &self.own(), verbs);
        operations.extend(verbs.contains(&Verb::Delete).then_some(delete));
        operations
    }

    /// Kubernetes' documents do not say of namespaces that they are the answer, though they are.
    fn deleted(&self) -> Schema {
        match self.def.is_shown_when_deleted && !self.def.is_core("namespaces") {
            true => self.own(),
            false => Schema::Status,
        }
    }

    fn subresource_operations(&self, sub: Subresource) -> Vec<Operation> {
        match sub {
            Subresource::Binding => vec![self.bind(self.id("create", "binding"))],
            Subresource::Eviction => vec![Operation {
                kind: group_version_kind("policy", "v1", "Eviction"),
                query: all(parameters::WRITE),
                body: Some(whole(Schema::Eviction)),
                answers: &[OK, CREATED, ("202", "Accepted")],
                answer: Schema::Eviction,
                ..self.operation(Method::POST, "post", self.id("create", "eviction"))
            }],
            Subresource::Token => vec![Operation {
                kind: group_version_kind("authentication.k8s.io", "v1", "TokenRequest"),
                query: all(parameters::WRITE),
                body: Some(whole(Schema::TokenRequest)),
                answers: &[OK, CREATED, ("202", "Accepted")],
                answer: Schema::TokenRequest,
                ..self.operation(Method::POST, "post", self.id("create", "token"))
            }],
            Subresource::Log => vec![Operation {
                query: all(parameters::LOG),
                answer: Schema::Text,
                ..self.operation(Method::GET, "get", self.id("read", "log"))
            }],
            Subresource::Exec => {
                let mut query = all(parameters::ATTACH);
                query.push(&parameters::COMMAND);
                self.connect("exec", "PodExecOptions", &query)
            }
            Subresource::Attach => {
                self.connect("attach", "PodAttachOptions", &all(parameters::ATTACH))
            }
            Subresource::PortForward => {
                self.connect("portforward", "PodPortForwardOptions", &[&parameters::PORTS])
            }
            Subresource::Proxy => self.proxy("proxy"),
            Subresource::Scale => {
                let mut operations = self.view("scale", &Schema::Scale, request::verbs(sub));
                for operation in &mut operations {
                    operation.kind = group_version_kind("autoscaling", "v1", "Scale");
                }
                operations
            }
            Subresource::Status
            | Subresource::Finalize
            | Subresource::Approval
            | Subresource::EphemeralContainers
            | Subresource::Resize => self.view(sub.name(), &self.own(), request::verbs(sub)),
        }
    }

    /// Reading and changing what is at a path with a name.
    fn view(&self, subresource: &str, schema: &Schema, verbs: &[Verb]) -> Vec<Operation> {
        let get = Operation {
            query: all(parameters::GET),
            answer: schema.clone(),
            ..self.operation(Method::GET, "get", self.id("read", subresource))
        };
        let put = Operation {
            query: all(parameters::WRITE),
            body: Some(whole(schema.clone())),
            answers: &[OK, CREATED],
            answer: schema.clone(),
            ..self.operation(Method::PUT, "put", self.id("replace", subresource))
        };
        let patch = Operation {
            query: all(parameters::WRITE),
            body: Some(Body {
                schema: Schema::Patch,
                required: true,
                media_types: if self.def.knows_list_merges() { &PATCHES } else { &PATCHES[..2] },
            }),
            answers: &[OK, CREATED],
            answer: schema.clone(),
            ..self.operation(Method::PATCH, "patch", self.id("patch", subresource))
        };
        let all = [(Verb::Get, get), (Verb::Update, put), (Verb::Patch, patch)];
        all.into_iter().filter(|(verb, _)| verbs.contains(verb)).map(|(_, o)| o).collect()
    }

    /// What leads on to the kubelet of a pod.
    fn connect(
        &self,
        subresource: &str,
        options: &str,
        query: &[&'static Parameter],
    ) -> Vec<Operation> {
        let methods = [Method::GET, Method::POST].into_iter();
        methods.map(|method| self.connection(method, subresource, options, query)).collect()
    }

    /// What leads on requests of any method.
    fn proxy(&self, subresource: &str) -> Vec<Operation> {
        let options = request::proxy_options(self.def);
        // A path that is in the path is no parameter of the query.
        let query: &[&Parameter] = if subresource == "proxy" { &[&parameters::PATH] } else { &[] };
        let methods = PROXIED.into_iter();
        methods.map(|method| self.connection(method, subresource, options, query)).collect()
    }

    fn connection(
        &self,
        method: Method,
        subresource: &str,
        options: &str,
        query: &[&'static Parameter],
    ) -> Operation {
        let name = capital(&method.as_str().to_lowercase());
        let (prefix, scoped) = (&self.prefix, &self.scoped);
        let id = format!("connect{prefix}{name}{scoped}{}", capital(subresource));
        Operation {
            kind: group_version_kind("", "v1", options),
            query: query.to_vec(),
            answer: Schema::Text,
            ..self.operation(method, "connect", id)
        }
    }

    fn bind(&self, id: String) -> Operation {
        Operation {
            kind: group_version_kind("", "v1", "Binding"),
            query: all(parameters::WRITE),
            body: Some(whole(Schema::Binding)),
            answers: &[OK, CREATED, ("202", "Accepted")],
            answer: Schema::Status,
            ..self.operation(Method::POST, "post", id)
        }
    }
}

fn all(parameters: &'static [Parameter]) -> Vec<&'static Parameter> {
    parameters.iter().collect()
}

fn whole(schema: Schema) -> Body {
    Body { schema, required: true, media_types: ANY }
}

fn options() -> Body {
    Body { schema: Schema::DeleteOptions, required: false, media_types: ANY }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}
