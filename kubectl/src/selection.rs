//! Which objects a command line means: `pods`, `pod x y`, `pod/x rs/y`, `pods,rs`, `all`, and the seed's
//! `pod namespace/name`.

use crate::{Failure, discovery::ApiResource, session::Session};

/// Objects of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Their kind.
    pub resource: ApiResource,
    /// The ones meant; all of them if empty.
    pub names: Vec<Name>,
}

/// A name, with a namespace if it was typed in the seed's form `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The namespace, if typed.
    pub namespace: Option<String>,
    /// The object's name.
    pub name: String,
}

/// The words of a command line before kinds are looked up.
#[derive(Debug, PartialEq, Eq)]
struct Words {
    kinds: Vec<String>,
    names: Vec<Name>,
}

/// Reads the words that follow `get`, `describe`, `delete`, …
pub async fn parse(session: &Session, words: &[String]) -> Result<Vec<Selection>, Failure> {
    let mut selections: Vec<Selection> = Vec::new();
    for Words { kinds, names } in split(words)? {
        for kind in kinds {
            for resource in resources(session, &kind).await? {
                add(&mut selections, resource, names.clone());
            }
        }
    }
    Ok(selections)
}

/// `all` is a category; a category takes no names.
async fn resources(session: &Session, spelling: &str) -> Result<Vec<ApiResource>, Failure> {
    if spelling == "all" {
        return Ok(session.mapper().await?.category("all").into_iter().cloned().collect());
    }
    Ok(vec![session.resource(spelling).await?])
}

/// `pod/x pod/y` are two names of one kind, to be shown in one table.
fn add(selections: &mut Vec<Selection>, resource: ApiResource, names: Vec<Name>) {
    match selections.last_mut().filter(|s| s.resource == resource && !names.is_empty()) {
        Some(last) => last.names.extend(names),
        None => selections.push(Selection { resource, names }),
    }
}

fn split(words: &[String]) -> Result<Vec<Words>, Failure> {
    let Some((first, rest)) = words.split_first() else {
        return Err(Failure::message("resource(s) were provided, but no name was specified"));
    };
    if first.contains('/') {
        return words.iter().map(|word| kind_and_name(word)).collect();
    }
    let kinds = first.split(',').filter(|k| !k.is_empty()).map(str::to_owned).collect();
    let names = rest.iter().map(|word| name(word)).collect::<Result<_, _>>()?;
    Ok(vec![Words { kinds, names }])
}

fn kind_and_name(word: &str) -> Result<Words, Failure> {
    match word.split('/').collect::<Vec<_>>().as_slice() {
        [kind, name] if !kind.is_empty() && !name.is_empty() => {
            let name = Name { namespace: None, name: (*name).to_owned() };
            Ok(Words { kinds: vec![(*kind).to_owned()], names: vec![name] })
        }
        [_] => Err(Failure::message(
            "there is no need to specify a resource type as a separate argument when passing arguments in resource/name form (e.g. 'kubectl get resource/<resource_name>' instead of 'kubectl get resource resource/<resource_name>')",
        )),
        _ => Err(Failure::message(format!(
            "arguments in resource/name form may not have more than one slash: {word:?}"
        ))),
    }
}

fn name(word: &str) -> Result<Name, Failure> {
    let (namespace, name) = word.split_once('/').map_or((None, word), |(ns, n)| (Some(ns), n));
    if name.is_empty() || name.contains('/') || namespace == Some("") {
        return Err(Failure::message(format!("invalid name {word:?}: use NAME or NAMESPACE/NAME")));
    }
    Ok(Name { namespace: namespace.map(str::to_owned), name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &[(&str, &str)]) {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        let shown = |w: &Words| {
            let names = w.names.iter().map(|n| match &n.namespace {
                Some(namespace) => format!("{namespace}:{}", n.name),
                None => n.name.clone(),
            });
            (w.kinds.join("+"), names.collect::<Vec<_>>().join("+"))
        };
        let found: Vec<_> = split(&words).unwrap().iter().map(shown).collect();
        let expected: Vec<_> =
            expected.iter().map(|(k, n)| ((*k).to_owned(), (*n).to_owned())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn every_form_of_kubectl_and_of_the_seed_is_read() {
        check("pods", &[("pods", "")]);
        check("pods,rs", &[("pods+rs", "")]);
        check("pod x y", &[("pod", "x+y")]);
        check("pod/x rs/y", &[("pod", "x"), ("rs", "y")]);
        check("pod default/x", &[("pod", "default:x")]);
    }

    #[test]
    fn forms_that_mean_nothing_are_refused() {
        for line in ["", "pod/x y", "pod/x/y", "pod /x", "pod a/b/c"] {
            let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
            assert!(split(&words).is_err(), "{line}");
        }
    }
}
