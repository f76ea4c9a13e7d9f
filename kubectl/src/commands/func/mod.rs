//! `kubectl func`: functions from their source files, as in the original minik8s and beyond.

use std::path::PathBuf;

use api_machinery::names::function_name;
use api_types::minik8s::Function;
use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Map, Value, json};

use super::{get::Get, logs::Logs, target::Target};
use crate::{
    Failure,
    api::Call,
    failure::Failures,
    function_source,
    object::{self, list, number, text},
    session::Session,
};

/// So often somebody else may be faster.
const CONFLICTS: usize = 5;

/// Upload functions, see their instances' logs, return to an earlier version
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl func add add-five -p add.py     # a file with main(params)\n  kubectl func add -f addFive -p add.py   # the same, in the seed's spelling\n  kubectl func update add-five -p add2.py\n  kubectl func rollback add-five\n  kubectl func logs add-five\n  kubectl func rm add-five\n\nCall it with \"kubectl trigger add-five -d '{\"x\": 100}'\"."
)]
pub struct Func {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a function of a file, a folder, a .zip archive or an image
    #[command(
        after_help = "Examples:\n  kubectl func add add-five -p add.py\n  kubectl func add orders -p orders/ --entry-point=app:handle --env=LEVEL=debug --max-scale=20\n  kubectl func add resize --image=registry.local/resize:1   # any image that answers on port 8080"
    )]
    Add(Upload),
    /// Give a function other source or settings: a new version, which takes over once it is ready
    #[command(
        after_help = "Examples:\n  kubectl func update add-five -p add2.py\n  kubectl func update add-five --max-scale=50"
    )]
    Update(Upload),
    /// Remove functions with all their instances and images
    #[command(
        alias = "delete",
        after_help = "Examples:\n  kubectl func rm add-five\n  kubectl func rm -f addFive"
    )]
    Rm(Names),
    /// List functions
    #[command(
        after_help = "Examples:\n  kubectl func get\n  kubectl func get add-five -o yaml\n  kubectl func get -w"
    )]
    Get(Box<Get>),
    /// Print what the instances of a function print, with the id of the call before each line
    #[command(
        after_help = "Examples:\n  kubectl func logs add-five\n  kubectl func logs add-five -f --prefix"
    )]
    Logs(Box<Logs>),
    /// Have an earlier version of a function serve
    #[command(
        after_help = "Examples:\n  kubectl func rollback add-five                  # the version before\n  kubectl func rollback add-five --to-version=2"
    )]
    Rollback(Rollback),
}

#[derive(Args, Debug)]
struct Names {
    /// NAME… or NAMESPACE/NAME…
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// A name, as in the seed
    #[arg(short, long, value_name = "NAME")]
    func: Vec<String>,
}

#[derive(Args, Debug)]
struct Upload {
    #[command(flatten)]
    names: Names,
    /// The source: a file, a folder or a .zip archive
    #[arg(short, long, value_name = "PATH")]
    path: Option<PathBuf>,
    /// An image that answers calls on port 8080, instead of source
    #[arg(long, conflicts_with = "path")]
    image: Option<String>,
    /// What is called, as MODULE:FUNCTION; main of the only file, of func.py or of main.py if it is not said
    #[arg(long)]
    entry_point: Option<String>,
    /// KEY=VALUE: an environment variable of the instances; replaces those that there are
    #[arg(long)]
    env: Vec<String>,
    /// The fewest instances
    #[arg(long)]
    min_scale: Option<u32>,
    /// The most instances
    #[arg(long)]
    max_scale: Option<u32>,
    /// The most calls that an instance has in hand at a time; 0 is no limit
    #[arg(long)]
    concurrency: Option<u32>,
    /// How many seconds a call may take
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u32>,
    /// After how many seconds without calls the last instance goes
    #[arg(long, value_name = "SECONDS")]
    idle: Option<u32>,
}

#[derive(Args, Debug)]
struct Rollback {
    #[command(flatten)]
    names: Names,
    /// The version's number; else the one before that which serves
    #[arg(long)]
    to_version: Option<i64>,
}

impl Func {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self.action {
            Action::Add(upload) => upload.add(session).await,
            Action::Update(upload) => upload.update(session).await,
            Action::Rm(names) => names.remove(session).await,
            Action::Get(mut get) => {
                let names = get.words.iter().map(|word| in_kubernetes_spelling(session, word));
                get.words = std::iter::once("functions".to_owned()).chain(names).collect();
                get.run(session).await
            }
            Action::Logs(mut logs) => {
                let [word] = logs.words.as_slice() else {
                    return Err(Failure::message("the name of one function is needed"));
                };
                let name = in_kubernetes_spelling(session, word);
                logs.selector = format!("{}={name}", Function::LABEL);
                logs.words.clear();
                logs.run(session).await
            }
            Action::Rollback(rollback) => rollback.run(session).await,
        }
    }
}

/// The function that a word means: `add-five`, `addFive` or `namespace/name`.
pub(super) async fn function(session: &Session, word: &str) -> Result<Target, Failure> {
    let resource = session.resource("functions.minik8s.io").await?;
    let word = in_kubernetes_spelling(session, word);
    let (namespace, name) = match word.split_once('/') {
        Some((namespace, name)) => (namespace.to_owned(), name.to_owned()),
        None => (session.namespace().await?, word),
    };
    Ok(Target { resource, namespace: Some(namespace), name: Some(name) })
}

/// Who uses the seed's spelling is told what the function is called.
fn in_kubernetes_spelling(session: &Session, word: &str) -> String {
    let (namespace, name) = word.rsplit_once('/').map_or(("", word), |(ns, name)| (ns, name));
    let spelled = function_name(name);
    if spelled != name {
        session.io.note(format_args!("Note: names are lower case: {name} is {spelled}"));
    }
    if namespace.is_empty() { spelled } else { format!("{namespace}/{spelled}") }
}

impl Names {
    fn all(&self) -> impl Iterator<Item = &String> {
        self.names.iter().chain(&self.func)
    }

    /// The one function that is named.
    async fn one(&self, session: &Session) -> Result<Target, Failure> {
        let mut names = self.all();
        match (names.next(), names.next()) {
            (Some(name), None) => function(session, name).await,
            _ => Err(Failure::message("the name of one function is needed")),
        }
    }

    async fn remove(self, session: &Session) -> Result<(), Failure> {
        if self.all().next().is_none() {
            return Err(Failure::message("the name of a function is needed"));
        }
        let mut failures = Failures::default();
        for word in self.all() {
            let target = function(session, word).await?;
            let call = Call::new(Method::DELETE, target.path());
            let deleted = session.api().await?.call(call).await;
            if failures.keep(deleted)?.is_some() {
                let name = target.name.as_deref().unwrap_or_default();
                session.io.line(format_args!("function.minik8s.io {name:?} deleted"))?;
            }
        }
        failures.finish(&session.io)
    }
}

impl Upload {
    async fn add(self, session: &Session) -> Result<(), Failure> {
        let target = self.names.one(session).await?;
        if self.path.is_none() && self.image.is_none() {
            return Err(Failure::message("the source (-p) or an image (--image) is needed"));
        }
        let mut spec = Map::new();
        self.apply(&mut spec)?;
        let function = json!({
            "apiVersion": "minik8s.io/v1",
            "kind": "Function",
            "metadata": {"name": target.name, "namespace": target.namespace},
            "spec": spec,
        });
        let path = target.resource.path(target.namespace.as_deref());
        let created =
            session.api().await?.call(Call::new(Method::POST, path).body(&function)).await?;
        say(session, &target, &created, "created")
    }

    async fn update(self, session: &Session) -> Result<(), Failure> {
        let target = self.names.one(session).await?;
        for last in (0..CONFLICTS).rev() {
            let current = target.fetch(session).await?;
            let mut wanted = current.clone();
            if let Some(spec) = wanted["spec"].as_object_mut() {
                self.apply(spec)?;
            }
            if wanted == current {
                return say(session, &target, &current, "unchanged");
            }
            let call = Call::new(Method::PUT, target.path()).body(&wanted);
            match session.api().await?.call(call).await {
                Err(failure) if failure.is_conflict() && last > 0 => {}
                result => return say(session, &target, &result?, "configured"),
            }
        }
        Ok(())
    }

    /// Sets what the flags say; source and image replace each other.
    fn apply(&self, spec: &mut Map<String, Value>) -> Result<(), Failure> {
        if let Some(path) = &self.path {
            if spec.remove("image").is_some() {
                spec.remove("runtime");
            }
            spec.insert("source".to_owned(), function_source::read(path)?);
        }
        if let Some(image) = &self.image {
            ["source", "entryPoint"].iter().for_each(|field| drop(spec.remove(*field)));
            spec.insert("runtime".to_owned(), json!("container"));
            spec.insert("image".to_owned(), json!(image));
        }
        if let Some(entry_point) = &self.entry_point {
            spec.insert("entryPoint".to_owned(), json!(entry_point));
        }
        if !self.env.is_empty() {
            let variables: Result<Vec<_>, _> = self.env.iter().map(|text| variable(text)).collect();
            spec.insert("env".to_owned(), json!(variables?));
        }
        let numbers = [
            ("minScale", self.min_scale),
            ("maxScale", self.max_scale),
            ("containerConcurrency", self.concurrency),
            ("timeoutSeconds", self.timeout),
            ("idleSeconds", self.idle),
        ];
        for (field, value) in numbers.into_iter().filter_map(|(f, v)| Some((f, v?))) {
            spec.insert(field.to_owned(), json!(value));
        }
        Ok(())
    }
}

fn variable(text: &str) -> Result<Value, Failure> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok(json!({"name": name, "value": value})),
        _ => Err(Failure::message(format!("invalid --env {text:?}, expected KEY=VALUE"))),
    }
}

fn say(session: &Session, target: &Target, function: &Value, done: &str) -> Result<(), Failure> {
    let name = target.resource.object_name(object::name(function));
    Ok(session.io.line(format_args!("{name} {done}"))?)
}

impl Rollback {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let target = self.names.one(session).await?;
        let version = match self.to_version {
            Some(version) => version,
            None => version_before(&target.fetch(session).await?)?,
        };
        let call = Call::new(Method::PATCH, target.path())
            .patch("application/merge-patch+json", &json!({"spec": {"rollbackTo": version}}));
        let patched = session.api().await?.call(call).await?;
        say(session, &target, &patched, &format!("rolled back to version {version}"))
    }
}

/// The newest version that worked, of those older than the one that serves.
fn version_before(function: &Value) -> Result<i64, Failure> {
    let serving = number(function, "/status/version").unwrap_or(i64::MAX);
    let worked = list(function, "/status/versions").iter().filter(|v| text(v, "/phase") == "Ready");
    let older = worked.filter_map(|v| number(v, "/version")).filter(|v| *v < serving);
    older.max().ok_or_else(|| {
        Failure::message(format!("function {:?} has no earlier version", object::name(function)))
    })
}
