//! The flags that say which objects a command works on, and what they mean together with its words.

use api_machinery::selector::LabelSelector;
use clap::Args;

use super::target::{self, Target};
use crate::{Failure, api::Call, failure::Failures, flags::Files, object, session::Session};

/// Flags of commands that show objects.
#[derive(Args, Debug)]
pub(super) struct Choice {
    #[command(flatten)]
    files: Files,
    /// Of all namespaces
    #[arg(short = 'A', long)]
    pub(super) all_namespaces: bool,
    /// Only objects with these labels, e.g. app=web,tier!=db
    #[arg(short = 'l', long, default_value = "")]
    selector: String,
    /// Only objects with these fields, e.g. status.phase=Running
    #[arg(long, default_value = "")]
    pub(super) field_selector: String,
}

/// Flags of commands that change objects: whole kinds only if that is what the user says.
#[derive(Args, Debug)]
pub(super) struct ChangeChoice {
    #[command(flatten)]
    choice: Choice,
    /// All objects of the kind
    #[arg(long)]
    all: bool,
}

impl Choice {
    /// Whether neither files nor words name anything.
    pub(super) fn is_empty(&self, words: &[String]) -> bool {
        self.files.filename.is_empty() && words.is_empty()
    }

    /// Whether labels or fields choose among the objects of a kind.
    pub(super) fn selects(&self) -> bool {
        !self.selector.is_empty() || !self.field_selector.is_empty()
    }

    /// The objects and whole kinds that are named; of files, only what the labels choose.
    ///
    /// # Errors
    /// Names and selectors contradict each other: one of them would be passed over in silence.
    pub(super) async fn targets(
        &self,
        session: &Session,
        words: &[String],
        failures: &mut Failures,
    ) -> Result<Vec<Target>, Failure> {
        if !self.files.filename.is_empty() && !self.field_selector.is_empty() {
            return Err(Failure::message(
                "--field-selector cannot be used with -f: name the kind, or select by labels (-l)",
            ));
        }
        let selector = label_selector(&self.selector)?;
        let targets =
            named(session, &self.files, words, self.all_namespaces, &selector, failures).await?;
        self.check(words, &targets)?;
        Ok(targets)
    }

    fn check(&self, words: &[String], targets: &[Target]) -> Result<(), Failure> {
        let named = !words.is_empty() && targets.iter().any(|target| target.name.is_some());
        if named && self.selects() { Err(name_and_selector(words)) } else { Ok(()) }
    }

    /// The request for a target: of a whole kind, only what labels and fields choose.
    pub(super) fn call(&self, target: &Target) -> Call {
        let call = Call::get(target.path());
        if target.name.is_some() {
            return call;
        }
        call.query("labelSelector", &self.selector).query("fieldSelector", &self.field_selector)
    }

    /// Says that the targets have no objects.
    pub(super) async fn nothing_found(
        &self,
        session: &Session,
        targets: &[Target],
    ) -> Result<(), Failure> {
        if self.all_namespaces || targets.iter().any(|target| !target.resource.namespaced) {
            session.io.note("No resources found");
            return Ok(());
        }
        let namespace = session.namespace().await?;
        session.io.note(format_args!("No resources found in {namespace} namespace."));
        Ok(())
    }
}

impl ChangeChoice {
    /// Whether neither files nor words name anything.
    pub(super) fn is_empty(&self, words: &[String]) -> bool {
        self.choice.is_empty(words)
    }

    /// The objects that are named, chosen, or all of a kind.
    pub(super) async fn objects(
        &self,
        session: &Session,
        words: &[String],
        failures: &mut Failures,
    ) -> Result<Vec<Target>, Failure> {
        let mut objects = Vec::new();
        let targets = self.choice.targets(session, words, failures).await?;
        if self.all && !words.is_empty() && targets.iter().any(|target| target.name.is_some()) {
            return Err(name_and_selector(words));
        }
        for target in targets {
            match target.name {
                Some(_) => objects.push(target),
                None => objects.extend(self.objects_of(session, &target).await?),
            }
        }
        Ok(objects)
    }

    async fn objects_of(&self, session: &Session, kind: &Target) -> Result<Vec<Target>, Failure> {
        if !self.all && !self.choice.selects() {
            return Err(Failure::message(
                "resource(s) were provided, but no name was specified: name them, or use -l or --all",
            ));
        }
        let list = session.api().await?.call(self.choice.call(kind)).await?;
        Ok(object::list(&list, "/items").iter().map(|object| kind.of(object)).collect())
    }
}

fn name_and_selector(words: &[String]) -> Failure {
    Failure::message(match words.iter().any(|word| word.contains('/')) {
        true => "selectors and the all flag cannot be used when passing resource/name arguments",
        false => "name cannot be provided when a selector is specified",
    })
}

/// The selector of `-l`.
pub(super) fn label_selector(text: &str) -> Result<LabelSelector, Failure> {
    LabelSelector::parse(text).map_err(|error| Failure::message(error.to_string()))
}

/// The targets of files, of which the selector matches the labels, or else of words.
pub(super) async fn named(
    session: &Session,
    files: &Files,
    words: &[String],
    all_namespaces: bool,
    selector: &LabelSelector,
    failures: &mut Failures,
) -> Result<Vec<Target>, Failure> {
    if files.filename.is_empty() {
        return target::of_words(session, words, all_namespaces).await;
    }
    if !words.is_empty() {
        return Err(Failure::message(
            "when paths, URLs, or stdin is provided as resource input, you may not specify resource arguments as well",
        ));
    }
    let mut targets = Vec::new();
    for target in target::of_files(session, files, selector).await? {
        targets.extend(failures.keep(target)?);
    }
    Ok(targets)
}
