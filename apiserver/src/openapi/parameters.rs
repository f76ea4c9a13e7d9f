//! The parameters of queries, with what they are for.

/// A parameter of a query.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    /// `string`, `integer` or `boolean`.
    pub(super) type_: &'static str,
    pub(super) description: &'static str,
}

const fn text(name: &'static str, description: &'static str) -> Parameter {
    Parameter { name, type_: "string", description }
}

const fn number(name: &'static str, description: &'static str) -> Parameter {
    Parameter { name, type_: "integer", description }
}

const fn flag(name: &'static str, description: &'static str) -> Parameter {
    Parameter { name, type_: "boolean", description }
}

const DRY_RUN: Parameter = text("dryRun", "`All`: everything is done but the change itself.");

/// Of lists and watches.
pub(super) const LIST: &[Parameter] = &[
    flag("allowWatchBookmarks", "Whether a watch also has events of type BOOKMARK."),
    text("continue", "Where to go on: what the page before said."),
    text("fieldSelector", "Selects by fields."),
    text("labelSelector", "Selects by labels."),
    number("limit", "How many objects a page has at most."),
    text("resourceVersion", "The version to see, or the one after which to watch."),
    text("resourceVersionMatch", "How resourceVersion is meant: `Exact` or `NotOlderThan`."),
    flag("sendInitialEvents", "Whether a watch begins with what is there."),
    number("timeoutSeconds", "How long the call may take."),
    flag("watch", "Whether to go on with the changes."),
];

/// Of the deletion of a collection: what says which objects.
pub(super) const SELECTION: &[Parameter] = &[
    text("continue", "Where to go on: what the page before said."),
    text("fieldSelector", "Selects by fields."),
    text("labelSelector", "Selects by labels."),
    number("limit", "How many objects are deleted at most."),
    text("resourceVersion", "The version of the collection that is deleted."),
    text("resourceVersionMatch", "How resourceVersion is meant: `Exact` or `NotOlderThan`."),
];

/// Of the reading of one object.
pub(super) const GET: &[Parameter] =
    &[text("resourceVersion", "The object is at least as new as this version.")];

/// Of creations, updates and patches.
pub(super) const WRITE: &[Parameter] = &[
    DRY_RUN,
    text("fieldManager", "Who writes: at most 128 printable characters."),
    text(
        "fieldValidation",
        "What becomes of unknown fields and those given twice: `Ignore`, `Warn` or `Strict`.",
    ),
];

/// Of deletions.
pub(super) const DELETE: &[Parameter] = &[
    DRY_RUN,
    number("gracePeriodSeconds", "How many seconds the object has left."),
    flag("orphanDependents", "Deprecated: what propagationPolicy says."),
    text("propagationPolicy", "What becomes of dependents: `Orphan`, `Background`, `Foreground`."),
];

/// Of the streams of a process.
pub(super) const ATTACH: &[Parameter] = &[
    text("container", "The container, if there are several."),
    flag("stderr", "Whether its standard error is wanted."),
    flag("stdin", "Whether its standard input is written to."),
    flag("stdout", "Whether its standard output is wanted."),
    flag("tty", "Whether it has a terminal."),
];

/// Of a command, beside its streams.
pub(super) const COMMAND: Parameter = text("command", "The command, a word at a time.");

/// Of connections into a pod.
pub(super) const PORTS: Parameter = number("ports", "The ports, for clients of WebSockets.");

/// Of requests that are led on.
pub(super) const PATH: Parameter =
    text("path", "The path there; what follows `proxy` in this one goes before.");

/// Of the output of a container.
pub(super) const LOG: &[Parameter] = &[
    text("container", "The container, if there are several."),
    flag("follow", "Whether to go on with what is written."),
    number("limitBytes", "How many bytes at most."),
    flag("previous", "Whether of the container that was there before."),
    number("sinceSeconds", "Only the last so many seconds."),
    text("sinceTime", "Only what is later."),
    number("tailLines", "Only the last so many lines."),
    flag("timestamps", "Whether each line begins with its time."),
];
