//! The objects that a command works on, whatever way they were named, as requests to the server.

use api_machinery::selector::LabelSelector;
use serde_json::Value;

use crate::{
    Failure,
    api::Call,
    discovery::ApiResource,
    flags::{DryRun, Files},
    manifest::{self, Document},
    object,
    output::{self, Format},
    selection::{self, Selection},
    session::Session,
};

/// One object, or all objects of a kind in one or all namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) resource: ApiResource,
    /// `None` for all namespaces, and for kinds without.
    pub(super) namespace: Option<String>,
    /// `None` for all objects.
    pub(super) name: Option<String>,
}

impl Target {
    pub(super) fn path(&self) -> String {
        match &self.name {
            Some(name) => self.resource.object_path(self.namespace.as_deref(), name),
            None => self.resource.path(self.namespace.as_deref()),
        }
    }

    pub(super) async fn fetch(&self, session: &Session) -> Result<Value, Failure> {
        session.api().await?.call(Call::get(self.path())).await
    }

    /// Shows the object after a change: in words, unless a format is wanted.
    pub(super) fn report(
        &self,
        session: &Session,
        format: &Format,
        done: &str,
        dry_run: DryRun,
        mut object: Value,
    ) -> Result<(), Failure> {
        if format.is_table() {
            let name = self.resource.object_name(object::name(&object));
            return Ok(session.io.line(format_args!("{name} {done}{}", dry_run.suffix()))?);
        }
        output::hide_managed_fields(&mut object);
        Ok(session.io.raw(output::render(format, Some(&self.resource), &object).as_bytes())?)
    }

    /// This one object of the collection.
    pub(super) fn of(&self, object: &Value) -> Self {
        Self {
            resource: self.resource.clone(),
            namespace: object::namespace(object).map(str::to_owned),
            name: Some(object::name(object).to_owned()),
        }
    }
}

/// The targets of words such as `pods`, `pod x`, `pod/x`.
pub(super) async fn of_words(
    session: &Session,
    words: &[String],
    all_namespaces: bool,
) -> Result<Vec<Target>, Failure> {
    let mut targets = Vec::new();
    for selection in selection::parse(session, words).await? {
        targets.extend(of_selection(session, selection, all_namespaces).await?);
    }
    Ok(targets)
}

async fn of_selection(
    session: &Session,
    Selection { resource, names }: Selection,
    all_namespaces: bool,
) -> Result<Vec<Target>, Failure> {
    if all_namespaces && resource.namespaced && !names.is_empty() {
        return Err(Failure::message(
            "a resource cannot be retrieved by name across all namespaces",
        ));
    }
    let namespace = match resource.namespaced && !all_namespaces {
        true => Some(session.namespace().await?),
        false => None,
    };
    if names.is_empty() {
        return Ok(vec![Target { resource, namespace, name: None }]);
    }
    let one = |name: selection::Name| Target {
        resource: resource.clone(),
        namespace: name.namespace.filter(|_| resource.namespaced).or_else(|| namespace.clone()),
        name: Some(name.name),
    };
    Ok(names.into_iter().map(one).collect())
}

/// The targets that manifests name, of which the selector matches the labels.
pub(super) async fn of_files(
    session: &Session,
    files: &Files,
    selector: &LabelSelector,
) -> Result<Vec<Result<Target, Failure>>, Failure> {
    let mut targets = Vec::new();
    for document in manifest::selected(files, selector, &session.io)? {
        targets.push(match document {
            // It goes with the job.
            Ok(document) if document.is_login() => continue,
            Ok(document) => of_document(session, &document).await,
            Err(failure) => Err(failure),
        });
    }
    Ok(targets)
}

/// The target of one manifest: its kind must exist, its namespace must not contradict `-n`.
pub(super) async fn of_document(session: &Session, document: &Document) -> Result<Target, Failure> {
    let Document { object, source, .. } = document;
    let (group, version) = object::group_version(object);
    let kind = object::kind(object);
    let found = session.resource_of_kind(group, version, kind).await?;
    let resource = found.ok_or_else(|| {
        let namespace = object::namespace(object).unwrap_or_default();
        Failure::message(format!(
            "resource mapping not found for name: {:?} namespace: {namespace:?} from {source}: no matches for kind {kind:?} in version {:?}\nensure CRDs are installed first",
            object::name(object),
            object::text(object, "/apiVersion"),
        ))
    })?;
    let namespace = match resource.namespaced {
        true => Some(namespace_of(session, object).await?),
        false => None,
    };
    let name = Some(object::name(object).to_owned()).filter(|n| !n.is_empty());
    Ok(Target { resource, namespace, name })
}

async fn namespace_of(session: &Session, object: &Value) -> Result<String, Failure> {
    match (object::namespace(object), &session.global.namespace) {
        (Some(given), Some(flag)) if given != flag => Err(Failure::message(format!(
            "the namespace from the provided object {given:?} does not match the namespace {flag:?}. You must pass '--namespace={given}' to perform this operation."
        ))),
        (Some(given), _) => Ok(given.to_owned()),
        (None, _) => session.namespace().await,
    }
}
