//! The FlowSchemas and PriorityLevelConfigurations that are always there.

use std::sync::LazyLock;

use api_types::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};
use serde::Deserialize;
use serde_json::{Value, json};

const TEXT: &str = include_str!("defaults.yaml");
const API_VERSION: &str = "flowcontrol.apiserver.k8s.io/v1";

/// An object, and who decides what it says.
#[derive(Clone, Debug)]
pub(crate) struct Standard {
    pub(crate) object: Value,
    /// Whether its spec is always this one.
    pub(crate) is_mandatory: bool,
}

#[derive(Deserialize)]
struct Defaults {
    levels: Vec<Level>,
    schemas: Vec<Schema>,
}

#[derive(Deserialize)]
struct Level {
    name: String,
    #[serde(default)]
    kept: bool,
    exempt: Option<Value>,
    shares: Option<i32>,
    lendable: Option<i32>,
    queuing: Option<Value>,
}

#[derive(Deserialize)]
struct Schema {
    name: String,
    #[serde(default)]
    kept: bool,
    level: String,
    precedence: i32,
    distinguisher: Option<String>,
    #[serde(default)]
    users: Vec<String>,
    #[serde(default)]
    groups: Vec<String>,
    /// All those of the system's namespace.
    #[serde(default)]
    accounts: bool,
    resources: Option<Value>,
    paths: Option<Value>,
}

/// Read once: they are looked at every few seconds.
static ALL: LazyLock<Vec<Standard>> = LazyLock::new(|| {
    let Defaults { levels, schemas } =
        serde_yaml::from_str(TEXT).expect("tests read the text that is compiled in");
    levels.iter().map(Level::object).chain(schemas.iter().map(Schema::object)).collect()
});

/// All of them, levels first.
pub(crate) fn all() -> &'static [Standard] {
    &ALL
}

/// Those that are there even if their objects are not.
pub(super) fn mandatory() -> (Vec<PriorityLevelConfiguration>, Vec<FlowSchema>) {
    let mandatory = || all().iter().filter(|it| it.is_mandatory).map(|it| &it.object);
    let levels = mandatory().filter(|it| it["kind"] == "PriorityLevelConfiguration");
    let schemas = mandatory().filter(|it| it["kind"] == "FlowSchema");
    (read(levels), read(schemas))
}

fn read<'a, T: Deserialize<'a>>(objects: impl Iterator<Item = &'a Value>) -> Vec<T> {
    let read = |object| T::deserialize(object).expect("tests read it");
    objects.map(read).collect()
}

impl Level {
    fn object(&self) -> Standard {
        let spec = match &self.exempt {
            Some(exempt) => json!({ "type": "Exempt", "exempt": exempt }),
            None => {
                let response = match &self.queuing {
                    Some(queuing) => json!({ "type": "Queue", "queuing": queuing }),
                    None => json!({ "type": "Reject" }),
                };
                json!({ "type": "Limited", "limited": {
                    "nominalConcurrencyShares": self.shares,
                    "lendablePercent": self.lendable,
                    "limitResponse": response,
                }})
            }
        };
        object("PriorityLevelConfiguration", &self.name, self.kept, &spec)
    }
}

impl Schema {
    fn object(&self) -> Standard {
        let users = self.users.iter().map(|it| json!({ "kind": "User", "user": { "name": it } }));
        let groups =
            self.groups.iter().map(|it| json!({ "kind": "Group", "group": { "name": it } }));
        let account = json!({ "namespace": "kube-system", "name": "*" });
        let accounts = json!({ "kind": "ServiceAccount", "serviceAccount": account });
        let accounts = self.accounts.then_some(accounts);
        let subjects: Vec<_> = users.chain(groups).chain(accounts).collect();
        let mut rule = json!({ "subjects": subjects });
        let is_everything = self.resources.is_none() && self.paths.is_none();
        if is_everything || self.resources.is_some() {
            let all = json!([{
                "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"],
                "clusterScope": true,
            }]);
            rule["resourceRules"] = self.resources.clone().unwrap_or(all);
        }
        if is_everything || self.paths.is_some() {
            let all = json!([{ "verbs": ["*"], "nonResourceURLs": ["*"] }]);
            rule["nonResourceRules"] = self.paths.clone().unwrap_or(all);
        }
        let mut spec = json!({
            "priorityLevelConfiguration": { "name": self.level },
            "matchingPrecedence": self.precedence,
            "rules": [rule],
        });
        if let Some(method) = &self.distinguisher {
            spec["distinguisherMethod"] = json!({ "type": method });
        }
        object("FlowSchema", &self.name, self.kept, &spec)
    }
}

fn object(kind: &str, name: &str, is_mandatory: bool, spec: &Value) -> Standard {
    let object = json!({
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": { "name": name, "annotations": { AUTOUPDATE: "true" } },
        "spec": spec,
    });
    Standard { object, is_mandatory }
}

/// Whether an object's spec follows what servers say it should be.
pub(crate) const AUTOUPDATE: &str = "apf.kubernetes.io/autoupdate-spec";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_can_be_read_and_four_are_kept() {
        let (levels, schemas) = mandatory();
        let names = |all: Vec<Option<String>>| all.into_iter().flatten().collect::<Vec<_>>();
        let levels = names(levels.into_iter().map(|it| it.metadata.name).collect());
        let schemas = names(schemas.into_iter().map(|it| it.metadata.name).collect());
        assert_eq!(
            (levels, schemas),
            (
                vec!["exempt".into(), "catch-all".into()],
                vec!["exempt".to_owned(), "catch-all".to_owned()]
            )
        );
        assert_eq!(all().len(), 20);
        let schemas = all().iter().filter(|it| it.object["kind"] == "FlowSchema");
        let read: Vec<FlowSchema> = read(schemas.map(|it| &it.object));
        assert!(read.iter().all(|it| it.spec.is_some()));
    }
}
