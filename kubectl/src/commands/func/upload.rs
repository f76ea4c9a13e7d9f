//! `kubectl func add` and `update`: what a function is made of, from files and flags.

use std::path::PathBuf;

use clap::Args;
use http::Method;
use serde_json::{Map, Value, json};

use super::{
    super::target::Target,
    names::{Names, say},
    settings::Settings,
    waiting::Wait,
};
use crate::{Failure, api::Call, function_source, session::Session};

/// So often somebody else may be faster.
const CONFLICTS: usize = 5;

#[derive(Args, Debug)]
pub(super) struct Upload {
    #[command(flatten)]
    names: Names,
    #[command(flatten)]
    wait: Wait,
    /// The source: a file, a folder or a .zip archive
    #[arg(short, long, value_name = "PATH")]
    path: Option<PathBuf>,
    /// An image that answers calls on port 8080, instead of source
    #[arg(long, conflicts_with = "path")]
    image: Option<String>,
    /// What is called, as MODULE:FUNCTION; main of the only file, of func.py or of main.py if it is not said
    #[arg(long)]
    entry_point: Option<String>,
    #[command(flatten)]
    settings: Settings,
}

impl Upload {
    pub(super) async fn add(self, session: &Session) -> Result<(), Failure> {
        let target = self.names.one(session).await?;
        if self.path.is_none() && self.image.is_none() {
            return Err(Failure::message("the source (-p) or an image (--image) is needed"));
        }
        let name = target.name.as_deref().unwrap_or_default();
        if !self.names.all().any(|word| word.ends_with(name)) {
            session.io.note(format_args!("Note: names are lower case: the function is {name}"));
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
        say(session, &target, &created, "created")?;
        self.wait.until_ready(session, &target, &created).await
    }

    pub(super) async fn update(self, session: &Session) -> Result<(), Failure> {
        let target = self.names.one(session).await?;
        let (updated, done) = self.replace(session, &target).await?;
        say(session, &target, &updated, done)?;
        self.wait.until_ready(session, &target, &updated).await
    }

    /// What the function is then, and what was done.
    async fn replace(
        &self,
        session: &Session,
        target: &Target,
    ) -> Result<(Value, &'static str), Failure> {
        let mut tries = CONFLICTS;
        loop {
            let current = target.fetch(session).await?;
            let mut wanted = current.clone();
            if let Some(spec) = wanted["spec"].as_object_mut() {
                self.apply(spec)?;
            }
            if wanted == current {
                return Ok((current, "unchanged"));
            }
            let call = Call::new(Method::PUT, target.path()).body(&wanted);
            tries -= 1;
            match session.api().await?.call(call).await {
                Err(failure) if failure.is_conflict() && tries > 0 => {}
                result => return Ok((result?, "configured")),
            }
        }
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
        self.settings.apply(spec)
    }
}
