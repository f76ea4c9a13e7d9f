//! `kubectl __complete`: the names that may come next in a command line, for the scripts of `kubectl completion`.

use api_types::minik8s::SCHEDULING_STRATEGIES;
use clap::{Arg, Args, Command, FromArgMatches};

use super::cfg;
use crate::{
    Failure,
    api::Call,
    flags::Global,
    object::{self, list},
    session::Session,
};

/// Commands that names follow, and what these are names of.
const NAMES: [(&str, &[&str], &str); 12] = [
    ("certificate", &["approve", "deny"], "certificatesigningrequests"),
    ("cordon", &[], "nodes"),
    ("drain", &[], "nodes"),
    ("uncordon", &[], "nodes"),
    ("func", &["update", "rm", "get", "logs", "rollback"], "functions"),
    ("wf", &["run", "get", "runs", "rm"], "workflows"),
    ("wf", &["history", "cancel"], "workflowruns"),
    ("trigger", &[], "functions"),
    ("gpu", &[], "gpujobs"),
    ("gpu", &["queue"], "gpujobs"),
    ("top", &["node"], "nodes"),
    ("top", &["pod"], "pods"),
];
/// Commands that a kind follows, and then names of it.
const KINDS: [&str; 7] = ["get", "describe", "delete", "label", "annotate", "autoscale", "wait"];

/// Print the names that may come next; fail where none are expected
#[derive(Args, Debug)]
pub struct Complete {
    /// The words of the line, without the program's name; the last one is being typed
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// What is expected next.
#[derive(Debug, PartialEq, Eq)]
enum Expected {
    Kinds,
    Names {
        kind: String,
    },
    /// KEY=VALUE of `cfg`.
    Settings,
    /// The values after a `=`, which bash takes for a word.
    Strategies,
}

impl Complete {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let (expected, global) =
            expected((session.grammar)(), &self.words).ok_or(Failure::Reported)?;
        let (io, environment) = (session.io.clone(), session.environment.clone());
        let session = Session::new(global, io, environment, session.grammar);
        let begun = self.words.last().map_or("", |word| word.trim_start_matches('='));
        for name in candidates(&session, &expected).await? {
            if name.starts_with(begun) {
                session.io.line(name)?;
            }
        }
        Ok(())
    }
}

async fn candidates(session: &Session, expected: &Expected) -> Result<Vec<String>, Failure> {
    let strategies = SCHEDULING_STRATEGIES.iter();
    let kind = match expected {
        Expected::Settings => {
            return Ok(strategies.map(|value| format!("{}={value}", cfg::STRATEGY)).collect());
        }
        Expected::Strategies => return Ok(strategies.map(ToString::to_string).collect()),
        Expected::Kinds => {
            let mapper = session.mapper().await?;
            let mut kinds: Vec<_> = mapper.resources().iter().map(|k| k.plural.clone()).collect();
            // Pods are there twice: what they use goes by their name.
            kinds.sort_unstable();
            kinds.dedup();
            return Ok(kinds);
        }
        Expected::Names { kind } => session.resource(kind).await?,
    };
    let namespace = if kind.namespaced { Some(session.namespace().await?) } else { None };
    let call = Call::get(kind.path(namespace.as_deref()))
        .accept("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");
    let found = session.api().await?.call(call).await?;
    Ok(list(&found, "/items").iter().map(|object| object::name(object).to_owned()).collect())
}

/// What may be typed as the last of these words, and the global flags before it.
fn expected(grammar: Command, words: &[String]) -> Option<(Expected, Global)> {
    let (begun, before) = words.split_last()?;
    if begun.starts_with('-') {
        return None;
    }
    let line = Line::read(grammar, before);
    let expected = match line.flag.as_deref() {
        Some("namespace") => Some(Expected::Names { kind: "namespaces".to_owned() }),
        None if line.command == ["cfg"] => line.setting(begun),
        Some("func") | None => line.names(),
        Some(_) => None,
    };
    Some((expected?, global(line.global).ok()?))
}

fn global(words: Vec<String>) -> Result<Global, clap::Error> {
    let flags = Global::augment_args(Command::new("kubectl")).no_binary_name(true);
    Global::from_arg_matches(&flags.try_get_matches_from(words)?)
}

/// The words before the one that is being typed.
#[derive(Default)]
struct Line {
    command: Vec<String>,
    arguments: Vec<String>,
    global: Vec<String>,
    /// The flag whose value is being typed.
    flag: Option<String>,
}

impl Line {
    fn read(mut grammar: Command, words: &[String]) -> Self {
        grammar.build();
        let (mut line, mut command, mut words) = (Line::default(), &grammar, words.iter());
        while let Some(word) = words.next() {
            if let Some(flag) = flag(command, word) {
                let mut parts = vec![word.clone()];
                if takes_value(flag) && !has_value(word) {
                    match words.next() {
                        Some(value) => parts.push(value.clone()),
                        None => {
                            line.flag = Some(flag.get_id().to_string());
                            break;
                        }
                    }
                }
                if flag.is_global_set() {
                    line.global.extend(parts);
                }
            } else if let Some(sub) =
                command.find_subcommand(word).filter(|_| line.arguments.is_empty())
            {
                line.command.push(sub.get_name().to_owned());
                command = sub;
            } else {
                line.arguments.push(word.clone());
            }
        }
        line
    }

    fn setting(&self, begun: &str) -> Option<Expected> {
        match self.arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] => Some(Expected::Settings),
            [cfg::STRATEGY] if begun == "=" => Some(Expected::Strategies),
            [cfg::STRATEGY, "="] => Some(Expected::Strategies),
            _ => None,
        }
    }

    fn names(&self) -> Option<Expected> {
        let names = |kind: &str| Some(Expected::Names { kind: kind.to_owned() });
        let (command, action) = match &*self.command {
            [command] => (&**command, None),
            [command, action] => (&**command, Some(&**action)),
            _ => return None,
        };
        if KINDS.contains(&command) {
            return self.arguments.first().map_or(Some(Expected::Kinds), |kind| names(kind));
        }
        let is_it = |(one, actions, _): &&(&str, &[&str], &str)| {
            *one == command && action.map_or(actions.is_empty(), |action| actions.contains(&action))
        };
        NAMES.iter().find(is_it).and_then(|(_, _, kind)| names(kind))
    }
}

fn flag<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    let long = word.strip_prefix("--").map(|long| long.split('=').next().unwrap_or_default());
    let short = word.strip_prefix('-').and_then(|short| short.chars().next());
    command.get_arguments().find(|arg| match long {
        Some(long) => arg.get_long() == Some(long),
        None => short.is_some() && arg.get_short() == short,
    })
}

/// `--namespace=team`, `-n=team`, `-nteam`.
fn has_value(word: &str) -> bool {
    word.contains('=') || !word.starts_with("--") && word.chars().nth(2).is_some()
}

fn takes_value(flag: &Arg) -> bool {
    flag.get_action().takes_values() && !flag.is_require_equals_set()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::Cli;

    #[track_caller]
    fn check(line: &str, expected: &str) {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        let shown = super::expected(Cli::command(), &words).map(|(expected, global)| {
            let kind = match expected {
                Expected::Kinds => "kinds".to_owned(),
                Expected::Names { kind } => kind,
                Expected::Settings => "settings".to_owned(),
                Expected::Strategies => "strategies".to_owned(),
            };
            kind + &global.namespace.map(|namespace| format!(" of {namespace}")).unwrap_or_default()
        });
        assert_eq!(shown.unwrap_or_default(), expected, "{line}");
    }

    #[test]
    fn what_comes_next_follows_from_the_words_before() {
        check("top nodes ", "nodes");
        check("top pod -n team ", "pods of team");
        check("trigger ", "functions");
        check("trigger -d {} add", "functions");
        check("func rm a b ", "functions");
        check("func delete ", "functions");
        check("func update -f ", "functions");
        check("func update -p ", "");
        check("func logs -f ", "functions");
        check("func update --wait ", "functions");
        check("func add ", "");
        check("gpu ", "gpujobs");
        check("gpu queue -n team ", "gpujobs of team");
        check("gpu submit ", "");
        check("gpu matrix -f ", "");
        check("wf run ", "workflows");
        check("wf history -n team ", "workflowruns of team");
        check("-n team func rm ", "functions of team");
        check("--namespace=team trigger ", "functions of team");
        check("get -nteam pods ", "pods of team");
        check("-n=team describe gpu ", "gpu of team");
        check("trigger -n ", "namespaces");
        check("get ", "kinds");
        check("get -o wide pods w", "pods");
        check("cfg ", "settings");
        check("cfg sched=min", "settings");
        check("cfg sched =", "strategies");
        check("cfg sched = min", "strategies");
        check("cfg sched ", "");
        check("cfg speed = ", "");
        check("cfg sched=min-cpu ", "");
        check("func ", "");
        check("func rm -", "");
        check("", "");
    }
}
