//! The policies there are with their bindings, as the cache has them. Each is compiled when a request first comes in its way,
//! and anew only after its own spec has changed.

use std::{collections::BTreeMap, fmt, sync::Arc};

use api_types::{
    api::admissionregistration::v1::{
        MatchCondition, MatchResources, MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding,
        ParamKind, ParamRef, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding, Variable,
    },
    meta::ObjectMeta,
};
use expressions::{Program, Type};
use parking_lot::Mutex;
use registry::{Composition, admission_expression::Given};
use serde::de::DeserializeOwned;
use store::Revision;
use tokio::{sync::OnceCell, task};

use crate::{
    admission::{conditions::Conditions, matching::Criteria},
    catalogue::Catalogue,
    objects::read_all,
    storage::Storage,
};

const GROUP: &str = "admissionregistration.k8s.io";

/// An expression that was compiled, or what is wrong with it.
pub(super) type Compiled = Result<Program, String>;

/// A policy that is in force somewhere.
#[derive(Debug)]
pub(super) struct Policy<R> {
    pub(super) name: String,
    pub(super) criteria: Criteria,
    pub(super) param_kind: Option<ParamKind>,
    pub(super) ignores_failure: bool,
    pub(super) is_reinvoked: bool,
    pub(super) bindings: Vec<Binding>,
    expressions: Arc<Expressions<R>>,
}

/// A policy's expressions, compiled.
#[derive(Debug)]
pub(super) struct Parts<R> {
    pub(super) conditions: Conditions,
    pub(super) variables: Arc<BTreeMap<String, Compiled>>,
    pub(super) rules: R,
}

/// A policy's expressions in the making. That is done aside, and only those wait who need them: a policy may be large.
struct Expressions<R> {
    /// Of which state of which policy.
    of: Option<(String, i64)>,
    compiled: OnceCell<Parts<R>>,
    compile: Arc<dyn Fn() -> Parts<R> + Send + Sync>,
}

/// Where a policy is in force, and how.
#[derive(Debug)]
pub(super) struct Binding {
    pub(super) name: String,
    pub(super) criteria: Option<Criteria>,
    pub(super) params: Option<ParamRef>,
    /// What happens to what a validating policy refuses.
    pub(super) actions: Vec<String>,
}

/// What every policy says.
#[derive(Debug, Default)]
pub(super) struct Common {
    pub(super) name: String,
    constraints: Option<MatchResources>,
    conditions: Option<Vec<MatchCondition>>,
    variables: Option<Vec<Variable>>,
    param_kind: Option<ParamKind>,
    failure_policy: Option<String>,
    reinvocation_policy: Option<String>,
    /// UID and generation.
    state: Option<(String, i64)>,
}

/// The expressions of a policy in the making, which may refer to its variables.
#[derive(Debug)]
pub(super) struct Compiler {
    composition: Composition,
    given: Given,
}

/// A kind of policies.
pub(super) trait Kind: Send + Sync + 'static {
    type Policy: DeserializeOwned + Clone + Send + Sync + 'static;
    type Binding: DeserializeOwned;
    /// What a policy does.
    type Rules: fmt::Debug + Send + Sync;
    /// Of policies and of their bindings.
    const PLURALS: [&'static str; 2];

    fn common(policy: &Self::Policy) -> Common;
    fn rules(policy: Self::Policy, compiler: &Compiler) -> Self::Rules;
    /// With the name of the policy.
    fn binding(binding: Self::Binding) -> (String, Binding);
}

/// Policies, and the revisions of theirs and of their bindings that they were read at.
type Read<Rules> = (Option<[Revision; 2]>, Arc<[Policy<Rules>]>);

/// Those of a kind.
#[derive(Debug)]
pub(super) struct Configured<K: Kind> {
    prefixes: [String; 2],
    current: Mutex<Read<K::Rules>>,
}

impl<K: Kind> Configured<K> {
    pub(super) fn new(catalogue: &Catalogue) -> Self {
        let prefix = |plural| catalogue.find(GROUP, "v1", plural).map(|def| def.prefix(None));
        let prefixes = K::PLURALS.map(|plural| prefix(plural).unwrap_or_default());
        Self { prefixes, current: Mutex::new((None, Arc::from([]))) }
    }

    /// In the order of their names; those that no binding puts in force are left out.
    pub(super) fn policies(&self, storage: &Storage) -> Arc<[Policy<K::Rules>]> {
        let mut current = self.current.lock();
        // Before the lists: what changes meanwhile is looked at again next time.
        let latest = self.prefixes.each_ref().map(|prefix| storage.cache().latest(prefix));
        if current.0 != Some(latest) {
            *current = (Some(latest), self.read(storage, &current.1));
        }
        current.1.clone()
    }

    fn read(&self, storage: &Storage, known: &[Policy<K::Rules>]) -> Arc<[Policy<K::Rules>]> {
        let [policies, bindings] = &self.prefixes;
        let mut bound: BTreeMap<String, Vec<Binding>> = BTreeMap::new();
        for (policy, binding) in
            read_all::<K::Binding>(storage, bindings).into_iter().map(K::binding)
        {
            bound.entry(policy).or_default().push(binding);
        }
        let read = read_all::<K::Policy>(storage, policies).into_iter().filter_map(|policy| {
            let common = K::common(&policy);
            let mut bindings = bound.remove(&common.name)?;
            bindings.sort_by(|a, b| a.name.cmp(&b.name));
            let make = || Arc::new(Expressions::of::<K>(policy, &common));
            let expressions = kept(known, &common).unwrap_or_else(make);
            Some(Policy::of(common, bindings, expressions))
        });
        let mut read: Vec<_> = read.collect();
        read.sort_by(|a, b| a.name.cmp(&b.name));
        read.into()
    }
}

/// The expressions of a policy that is as it was, among those of before, in the order of their names.
fn kept<R>(known: &[Policy<R>], policy: &Common) -> Option<Arc<Expressions<R>>> {
    let at = known.binary_search_by(|known| known.name.cmp(&policy.name)).ok()?;
    let known = &known[at].expressions;
    (policy.state.is_some() && known.of == policy.state).then(|| known.clone())
}

impl<R> Policy<R> {
    fn of(common: Common, bindings: Vec<Binding>, expressions: Arc<Expressions<R>>) -> Self {
        Self {
            criteria: common.constraints.as_ref().map(Criteria::of_policy).unwrap_or_default(),
            ignores_failure: common.failure_policy.as_deref() == Some("Ignore"),
            is_reinvoked: common.reinvocation_policy.as_deref() == Some("IfNeeded"),
            param_kind: common.param_kind,
            name: common.name,
            expressions,
            bindings,
        }
    }
}

impl<R: Send + Sync + 'static> Policy<R> {
    /// Its expressions, once they are compiled.
    pub(super) async fn parts(&self) -> &Parts<R> {
        let compile = || async {
            let compile = self.expressions.compile.clone();
            let compiled = task::spawn_blocking(move || compile()).await;
            compiled.expect("nobody aborts it, and it doesn't panic")
        };
        self.expressions.compiled.get_or_init(compile).await
    }
}

impl<R> Expressions<R> {
    fn of<K: Kind<Rules = R>>(policy: K::Policy, common: &Common) -> Self {
        let compile = move || compiled::<K>(policy.clone());
        let of = common.state.clone();
        Self { of, compiled: OnceCell::new(), compile: Arc::new(compile) }
    }
}

impl<R: fmt::Debug> fmt::Debug for Expressions<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expressions").field(&self.compiled).finish()
    }
}

fn compiled<K: Kind>(policy: K::Policy) -> Parts<K::Rules> {
    let common = K::common(&policy);
    let given = Given { params: common.param_kind.is_some(), ..Given::default() };
    let mut composition = Composition::default();
    let variables = common.variables.iter().flatten();
    let variables = variables.map(|it| (it.name.clone(), composition.add(it, given))).collect();
    let compiler = Compiler { composition, given };
    Parts {
        conditions: Conditions::of(common.conditions.as_deref(), given.params),
        variables: Arc::new(variables),
        rules: K::rules(policy, &compiler),
    }
}

impl Compiler {
    /// Compiles an expression of which one of these types has to come.
    pub(super) fn compile(&self, source: &str, wanted: &[Type]) -> Compiled {
        let given = Given { authorizer: true, patches: true, ..self.given };
        let compiled = self.composition.environment(given).compile_as(source, wanted);
        compiled.map_err(|why| format!("compilation error: {why}"))
    }
}

impl Binding {
    fn of(
        metadata: ObjectMeta,
        resources: Option<&MatchResources>,
        params: Option<ParamRef>,
        actions: Vec<String>,
    ) -> Self {
        Self {
            name: metadata.name.unwrap_or_default(),
            criteria: resources.map(Criteria::of_binding),
            params,
            actions,
        }
    }
}

/// The fields that both kinds of policies have.
macro_rules! common {
    ($policy:expr) => {{
        let spec = $policy.spec.clone().unwrap_or_default();
        Common {
            name: $policy.metadata.name.clone().unwrap_or_default(),
            constraints: spec.match_constraints,
            conditions: spec.match_conditions,
            variables: spec.variables,
            param_kind: spec.param_kind,
            failure_policy: spec.failure_policy,
            reinvocation_policy: None,
            state: $policy.metadata.uid.clone().zip($policy.metadata.generation),
        }
    }};
}

/// What a validating policy says.
pub(super) fn of_validating(policy: &ValidatingAdmissionPolicy) -> Common {
    common!(policy)
}

/// What a mutating policy says.
pub(super) fn of_mutating(policy: &MutatingAdmissionPolicy) -> Common {
    let reinvocation_policy = policy.spec.as_ref().and_then(|it| it.reinvocation_policy.clone());
    Common { reinvocation_policy, ..common!(policy) }
}

/// The name of the policy, and where it is in force.
pub(super) fn validating_binding(it: ValidatingAdmissionPolicyBinding) -> (String, Binding) {
    let spec = it.spec;
    let resources = spec.match_resources.as_ref();
    let binding = Binding::of(it.metadata, resources, spec.param_ref, spec.validation_actions);
    (spec.policy_name, binding)
}

/// The name of the policy, and where it is in force.
pub(super) fn mutating_binding(it: MutatingAdmissionPolicyBinding) -> (String, Binding) {
    let spec = it.spec.unwrap_or_default();
    let resources = spec.match_resources.as_ref();
    let binding = Binding::of(it.metadata, resources, spec.param_ref, Vec::new());
    (spec.policy_name.unwrap_or_default(), binding)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::json;

    use super::*;

    fn common(name: &str, generation: Option<i64>) -> Common {
        let metadata = json!({"name": name, "uid": "1", "generation": generation});
        of_validating(&serde_json::from_value(json!({ "metadata": metadata })).unwrap())
    }

    fn policy(common: Common, compile: impl Fn() + Send + Sync + 'static) -> Policy<()> {
        let compile = move || {
            compile();
            Parts { conditions: Conditions::default(), variables: Arc::default(), rules: () }
        };
        let of = common.state.clone();
        let compiled = OnceCell::new();
        let expressions = Arc::new(Expressions { of, compiled, compile: Arc::new(compile) });
        Policy::of(common, Vec::new(), expressions)
    }

    #[tokio::test]
    async fn a_policy_is_compiled_once_for_all_requests_that_wait_for_it() {
        let times = Arc::new(AtomicUsize::new(0));
        let counted = times.clone();
        let policy = policy(common("a", Some(1)), move || {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        assert_eq!(times.load(Ordering::SeqCst), 0);
        tokio::join!(policy.parts(), policy.parts());
        assert_eq!(times.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn what_is_compiled_is_kept_until_the_policy_changes() {
        let known = ["a", "b", "c"].map(|name| policy(common(name, Some(1)), || {}));
        let is_kept = |name: &str, generation| kept(&known, &common(name, generation)).is_some();
        assert!(is_kept("b", Some(1)));
        assert!(!is_kept("b", Some(2)));
        assert!(!is_kept("d", Some(1)));
        let ancient = [policy(common("a", None), || {})];
        assert!(kept(&ancient, &common("a", None)).is_none());
    }
}
