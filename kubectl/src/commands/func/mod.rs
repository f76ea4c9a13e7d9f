//! `kubectl func`: functions from their source files, as in the original minik8s and beyond.

mod logs;
mod names;
mod settings;
mod upload;
mod waiting;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use self::{
    names::{Names, in_kubernetes_spelling, say},
    upload::Upload,
    waiting::Wait,
};
use super::{delete, get::Get, logs::Logs};
use crate::{
    Failure,
    api::Call,
    failure::Failures,
    object::{self, list, number, text},
    session::Session,
};

pub(crate) use self::names::function;

/// Upload functions, see their instances' logs, return to an earlier version
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl func add add-five -p add.py     # a file with main(params)\n  kubectl func add -f addFive -p add.py   # the same, in the seed's spelling\n  kubectl func update add-five -p add2.py\n  kubectl func rollback add-five --wait\n  kubectl func logs add-five\n  kubectl func rm add-five\n\nCall it with \"kubectl trigger add-five -d '{\"x\": 100}'\"."
)]
pub struct Func {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a function of a file, a folder, a .zip archive or an image
    #[command(
        after_help = "Examples:\n  kubectl func add add-five -p add.py --wait\n  kubectl func add orders -p orders/ --entry-point=app:handle --env=LEVEL=debug --max-scale=20\n  kubectl func add resize --image=registry.local/resize:1   # any image that answers on port 8080"
    )]
    Add(Upload),
    /// Give a function other source or settings: a new version, which takes over once it is ready
    #[command(
        after_help = "Examples:\n  kubectl func update add-five -p add2.py\n  kubectl func update add-five --max-scale=50 --target-concurrency=5\n  kubectl func update add-five --env-from=secret/database --limits=memory=256Mi"
    )]
    Update(Upload),
    /// Remove functions with all their instances and images
    #[command(
        alias = "delete",
        after_help = "Examples:\n  kubectl func rm add-five\n  kubectl func rm -f addFive"
    )]
    Rm(Remove),
    /// List functions
    #[command(
        after_help = "Examples:\n  kubectl func get\n  kubectl func get add-five -o yaml\n  kubectl func get -w"
    )]
    Get(Box<Get>),
    /// Print what the instances of a function print, with the id of the call before each line
    #[command(
        after_help = "Examples:\n  kubectl func logs add-five\n  kubectl func logs team/add-five -f --prefix   # also of instances that come"
    )]
    Logs(Box<Logs>),
    /// Have an earlier version of a function serve
    #[command(
        after_help = "Examples:\n  kubectl func rollback add-five                  # the version before\n  kubectl func rollback add-five --to-version=2"
    )]
    Rollback(Rollback),
}

#[derive(Args, Debug)]
struct Remove {
    #[command(flatten)]
    names: Names,
    /// Wait until instances and images are gone
    #[arg(long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    wait: bool,
}

#[derive(Args, Debug)]
struct Rollback {
    #[command(flatten)]
    names: Names,
    #[command(flatten)]
    wait: Wait,
    /// The version's number; else the one before that which serves
    #[arg(long)]
    to_version: Option<i64>,
}

impl Func {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self.action {
            Action::Add(upload) => upload.add(session).await,
            Action::Update(upload) => upload.update(session).await,
            Action::Rm(remove) => remove.run(session).await,
            Action::Get(mut get) => {
                let names = get.words.iter().map(|word| in_kubernetes_spelling(word));
                get.words = std::iter::once("functions".to_owned()).chain(names).collect();
                get.run(session).await
            }
            Action::Logs(logs) => logs::print(*logs, session).await,
            Action::Rollback(rollback) => rollback.run(session).await,
        }
    }
}

impl Remove {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        if self.names.all().next().is_none() {
            return Err(Failure::message("the name of a function is needed"));
        }
        let (api, mut failures, mut deleted) = (session.api().await?, Failures::default(), vec![]);
        for word in self.names.all() {
            let target = function(session, word).await?;
            let answer = api.call(Call::new(Method::DELETE, target.path())).await;
            if let Some(answer) = failures.keep(answer)? {
                let name = target.name.as_deref().unwrap_or_default();
                session.io.line(format_args!("function.minik8s.io {name:?} deleted"))?;
                deleted.push((target, text(&answer, "/metadata/uid").to_owned()));
            }
        }
        for (target, uid) in deleted.iter().filter(|_| self.wait) {
            failures.keep(delete::until_gone(api, target, uid).await)?;
        }
        failures.finish(&session.io)
    }
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
        say(session, &target, &patched, &format!("rolled back to version {version}"))?;
        self.wait.until_ready(session, &target, &patched).await
    }
}

/// The newest version that worked, of those older than the one that is wanted now, whether or not that serves.
fn version_before(function: &Value) -> Result<i64, Failure> {
    let versions = || list(function, "/status/versions").iter();
    let wanted = number(function, "/spec/rollbackTo")
        .or_else(|| versions().filter_map(|v| number(v, "/version")).max())
        .unwrap_or_default();
    let worked = versions().filter(|version| text(version, "/phase") == "Ready");
    let older = worked.filter_map(|v| number(v, "/version")).filter(|v| *v < wanted);
    older.max().ok_or_else(|| {
        Failure::message(format!("function {:?} has no earlier version", object::name(function)))
    })
}
