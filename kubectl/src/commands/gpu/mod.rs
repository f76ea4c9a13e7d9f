//! `kubectl gpu`: the results of GPU jobs, and jobs of source folders.

mod download;
mod queue;
mod results;
mod settings;
mod sources;
mod submit;
mod waiting;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use self::{
    queue::Queue,
    results::{Entry, Results, job, printable},
    submit::Submit,
};
use crate::{
    Failure,
    output::table::{TableOptions, TablePrinter},
    session::Session,
};

/// List and download what GPU jobs have made, submit jobs
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  kubectl gpu matrix-ops                             # what there is\n  kubectl gpu matrix-ops -f matrix.out -d results    # go on where an earlier download ended\n  kubectl gpu matrix-ops -f out                      # a folder, with all that is in it\n  kubectl gpu submit matrix-ops -p matrix/ --compile='nvcc add.cu -o add' --run=./add --secret=slurm --wait\n  kubectl gpu queue\n  kubectl logs -f gpu/matrix-ops                     # what it prints\n  kubectl describe gpu matrix-ops\n  kubectl delete gpu matrix-ops"
)]
pub struct Gpu {
    /// The job: NAME or NAMESPACE/NAME
    name: Option<String>,
    /// Only this folder of its results
    #[arg(conflicts_with = "file")]
    folder: Option<String>,
    /// Download this file or folder
    #[arg(short, long)]
    file: Option<String>,
    /// Where to
    #[arg(short, long, value_name = "FOLDER", default_value = ".")]
    dir: PathBuf,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Upload a folder of sources and make a job of it
    #[command(
        after_help = "Examples:\n  kubectl gpu submit add -p cuda/ --compile='nvcc add.cu -o add' --run=./add --gpus=1 --secret=slurm\n  kubectl gpu submit add -p add.c --compile='gcc add.c -o add' --run=./add --gpus=0 --partition=debug --time=10 --secret=slurm --wait\n  kubectl gpu submit sweep -p sweep/ --run='./sweep $JOB_COMPLETION_INDEX' --completions=10 --parallelism=4 --result='out/*.csv' --secret=slurm\n  kubectl gpu submit -f job.yaml -p cuda/            # the rest as the file says\n\nThe secret has username and password, or ssh-privatekey:\n  kubectl create secret generic slurm --from-env-file=login   # lines username=… and password=…"
    )]
    Submit(Box<Submit>),
    /// Show the partitions of the Slurm cluster and the jobs that wait and run there
    #[command(
        after_help = "Examples:\n  kubectl gpu queue\n  kubectl gpu queue matrix-ops   # of the cluster of this job"
    )]
    Queue(Queue),
}

impl Gpu {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self.action {
            Some(Action::Submit(submit)) => return submit.run(session).await,
            Some(Action::Queue(queue)) => return queue.run(session).await,
            None => {}
        }
        let Some(name) = &self.name else {
            return Err(Failure::message(
                "the name of a job is needed\nSee 'kubectl gpu -h' for help and examples",
            ));
        };
        let results = Results::of(session, &job(session, name).await?).await?;
        match &self.file {
            Some(file) => results.download(file, &self.dir).await,
            None => {
                let folder = self.folder.as_deref().unwrap_or_default();
                let entries = results.list(folder).await?;
                show(session, &entries)
            }
        }
    }
}

fn show(session: &Session, entries: &[Entry]) -> Result<(), Failure> {
    if entries.is_empty() {
        session.io.note("No results yet");
        return Ok(());
    }
    let row = |entry: &Entry| {
        let name = printable(&entry.name);
        let name = if entry.is_folder() { format!("{name}/") } else { name };
        let size = entry.size.map_or_else(|| "-".to_owned(), |size| size.to_string());
        json!({ "cells": [name, size, entry.modified()] })
    };
    let table = json!({
        "columnDefinitions": [{"name": "Name"}, {"name": "Size"}, {"name": "Modified"}],
        "rows": entries.iter().map(row).collect::<Vec<Value>>(),
    });
    Ok(session.io.raw(TablePrinter::new(TableOptions::default()).print(&table).as_bytes())?)
}
