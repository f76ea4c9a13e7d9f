//! Functions that no watch has told of: whether there are such is asked of the API server. Whoever calls can make names up,
//! so that there are few questions at a time, one for each name, whose answer holds for a moment; and no more of a namespace wait than let others
//! have theirs.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use api_machinery::names::{dns1035_label, dns1123_label};
use api_types::minik8s;
use kube::{Api, Client};
use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, sleep, timeout},
};

use crate::{
    directory::Key,
    error::CallError,
    functions::{Function, Functions, Missing},
};

/// How long an answer may take, its turn included.
const PATIENCE: Duration = Duration::from_secs(5);
/// For how long an answer holds.
const HOLDS: Duration = Duration::from_secs(1);
/// So many questions at a time.
const AT_A_TIME: usize = 8;
/// So many wait for their turn, and so many of one namespace: more are not asked.
const MOST: usize = 1000;
const MOST_OF_NAMESPACE: usize = 200;

/// What the API server says of a function, or why it says nothing.
type Answer = Result<bool, Arc<str>>;

/// Asks the API server. Clones share the answers.
#[derive(Clone, Debug)]
pub(crate) struct Unheard(Arc<Inner>);

struct Inner {
    client: Client,
    questions: Mutex<Questions>,
    turns: Semaphore,
}

#[derive(Debug, Default)]
struct Questions {
    /// Those whose answers hold, too.
    asked: HashMap<Key, watch::Receiver<Option<Answer>>>,
    /// Those without an answer: how many, and of each namespace that has any.
    open: usize,
    of_namespace: HashMap<String, usize>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("questions", &self.questions).finish_non_exhaustive()
    }
}

impl Unheard {
    pub(crate) fn new(client: Client) -> Self {
        let turns = Semaphore::new(AT_A_TIME);
        Unheard(Arc::new(Inner { client, questions: Mutex::default(), turns }))
    }

    /// A function, as soon as a watch tells of it, if the API server says that it exists.
    ///
    /// # Errors
    /// The API server does not answer, or the watch has not told of the function by `until`.
    pub(crate) async fn find(
        &self,
        functions: &Functions,
        function: &Key,
        until: Instant,
    ) -> Result<Result<Arc<Function>, Missing>, CallError> {
        let begin = Instant::now();
        let not_told = |why: &str| {
            let function = format!("{}/{}", function.0, function.1);
            CallError::NotTold { function, why: why.to_owned() }
        };
        loop {
            match self.exists(function).await {
                Ok(true) => {}
                Ok(false) => return Ok(functions.find(&function.0, &function.1)),
                Err(why) => return Err(not_told(&why)),
            }
            // It may be deleted before the watch tells of it.
            if let Ok(found) = timeout(HOLDS, functions.heard_of(function)).await {
                return Ok(Ok(found));
            }
            if Instant::now() >= until {
                let waited = begin.elapsed().as_secs();
                return Err(not_told(&format!("no watch has told of it within {waited} s")));
            }
        }
    }

    async fn exists(&self, function: &Key) -> Answer {
        if !(dns1123_label(&function.0).is_empty() && dns1035_label(&function.1).is_empty()) {
            return Ok(false);
        }
        let Some(mut question) = self.question(function) else {
            return Err("too many others are asked for".into());
        };
        let answer = question.wait_for(Option::is_some).await;
        answer.ok().and_then(|answer| answer.clone()).unwrap_or(Err("nobody has asked".into()))
    }

    fn question(&self, function: &Key) -> Option<watch::Receiver<Option<Answer>>> {
        let mut questions = self.0.questions.lock();
        if let Some(asked) = questions.asked.get(function) {
            return Some(asked.clone());
        }
        if !questions.may_open(&function.0) {
            return None;
        }
        let (sender, question) = watch::channel(None);
        questions.asked.insert(function.clone(), question.clone());
        let (this, function) = (self.clone(), function.clone());
        tokio::spawn(async move {
            let answer = timeout(PATIENCE, this.ask(&function)).await;
            let late = || format!("no answer of the API server within {} s", PATIENCE.as_secs());
            let answer = answer.unwrap_or_else(|_| Err(late().into()));
            this.0.questions.lock().close(&function.0);
            sender.send_replace(Some(answer));
            sleep(HOLDS).await;
            this.0.questions.lock().asked.remove(&function);
        });
        Some(question)
    }

    async fn ask(&self, (namespace, name): &Key) -> Answer {
        let _turn = self.0.turns.acquire().await;
        let functions = Api::<minik8s::Function>::namespaced(self.0.client.clone(), namespace);
        let found = functions.get_metadata_opt(name).await;
        found.map(|found| found.is_some()).map_err(|error| match error {
            kube::Error::Api(status) => status.message.into(),
            error => error.to_string().into(),
        })
    }
}

// === impl Questions ===

impl Questions {
    /// Whether there may be another one; then it is counted.
    fn may_open(&mut self, namespace: &str) -> bool {
        let of_namespace = self.of_namespace.get(namespace).copied().unwrap_or_default();
        let may = self.open < MOST && of_namespace < MOST_OF_NAMESPACE;
        if may {
            self.open += 1;
            self.of_namespace.insert(namespace.to_owned(), of_namespace + 1);
        }
        may
    }

    fn close(&mut self, namespace: &str) {
        self.open -= 1;
        if let Some(count) = self.of_namespace.get_mut(namespace) {
            *count -= 1;
            if *count == 0 {
                self.of_namespace.remove(namespace);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::{
        body::Body,
        http::{Request, Response},
    };
    use futures::future::join_all;

    use super::*;

    fn key(name: &str) -> Key {
        ("default".to_owned(), name.to_owned())
    }

    /// An API server that answers so after a second, and how often it was asked.
    fn server(code: u16) -> (Unheard, Arc<AtomicUsize>) {
        let asked = Arc::<AtomicUsize>::default();
        let count = asked.clone();
        let answers = tower::service_fn(move |_: Request<kube::client::Body>| {
            count.fetch_add(1, Ordering::Relaxed);
            async move {
                sleep(Duration::from_secs(1)).await;
                let said = format!(r#"{{"reason": "NotFound", "code": {code}}}"#);
                Response::builder().status(code).body(Body::from(said))
            }
        });
        (Unheard::new(Client::new(answers, "default")), asked)
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_asked_for_once_at_a_time_and_once_a_moment() {
        let (unheard, asked) = server(404);
        let add = key("add");
        let answers = join_all((0..20).map(|_| unheard.exists(&add))).await;
        assert!(answers.iter().all(|answer| *answer == Ok(false)), "{answers:?}");
        sleep(HOLDS / 2).await;
        assert_eq!(unheard.exists(&add).await, Ok(false));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        sleep(HOLDS * 2).await;
        assert!(unheard.0.questions.lock().asked.is_empty());
        assert_eq!(unheard.exists(&add).await, Ok(false));
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn names_are_asked_for_few_at_a_time_and_not_for_ever() {
        let (unheard, asked) = server(404);
        let names: Vec<_> = (0..100).map(|n| key(&format!("add-{n}"))).collect();
        let answers = join_all(names.iter().map(|name| unheard.exists(name))).await;
        // Five seconds, in each of which eight are answered; the last ones just then, or not.
        assert!((32..=40).contains(&answers.iter().filter(|answer| answer.is_ok()).count()));
        assert!(asked.load(Ordering::Relaxed) <= 40);
    }

    #[tokio::test(start_paused = true)]
    async fn a_namespace_whose_callers_make_names_up_keeps_no_other_from_asking() {
        let (unheard, _) = server(404);
        let of = |namespace: usize, name: usize| (format!("n{namespace}"), format!("add-{name}"));
        let names: Vec<_> = (0..MOST_OF_NAMESPACE).map(|name| of(0, name)).collect();
        let many = join_all(names.iter().map(|name| unheard.exists(name)));
        let more = async {
            tokio::task::yield_now().await;
            let refused = unheard.exists(&of(0, MOST_OF_NAMESPACE)).await;
            assert_eq!(refused, Err("too many others are asked for".into()));
            // Who asks for what is asked already is none of these; nor is another namespace, until there are too many in all.
            let known = unheard.question(&names[0]);
            let others = (MOST_OF_NAMESPACE..MOST + 1).map(|n| unheard.question(&of(n, n)));
            (known.is_some(), others.flatten().count())
        };
        let (_, told) = tokio::join!(many, more);
        assert_eq!(told, (true, MOST - MOST_OF_NAMESPACE));
        sleep(PATIENCE + HOLDS * 2).await;
        assert!(unheard.0.questions.lock().of_namespace.is_empty());
        assert_eq!(unheard.exists(&of(0, 0)).await, Ok(false));
    }

    #[tokio::test(start_paused = true)]
    async fn what_can_be_no_name_is_not_asked_for() {
        let (unheard, asked) = server(200);
        for name in ["", "..", "a/b", "a?b", "A", "1a"] {
            assert_eq!(unheard.exists(&key(name)).await, Ok(false), "{name}");
        }
        assert_eq!(unheard.exists(&("..".to_owned(), "add".to_owned())).await, Ok(false));
        assert_eq!(asked.load(Ordering::Relaxed), 0);
    }
}
