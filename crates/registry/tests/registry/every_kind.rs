//! What holds for every kind of the catalogue; a kind without an example fails here.

use std::collections::BTreeSet;

use proptest::prelude::*;
use registry::{ResourceDef, Scope};
use serde_json::{Value, json};

use crate::{context, create, def, example, now, try_create, update, update_status};

/// The kinds whose changes are counted from 1 on, as the strategies of Kubernetes do (`Generation = 1`), and our own.
const COUNTED: [&str; 31] = [
    "customresourcedefinitions.apiextensions.k8s.io",
    "mutatingadmissionpolicies.admissionregistration.k8s.io",
    "mutatingadmissionpolicybindings.admissionregistration.k8s.io",
    "mutatingwebhookconfigurations.admissionregistration.k8s.io",
    "validatingadmissionpolicies.admissionregistration.k8s.io",
    "validatingadmissionpolicybindings.admissionregistration.k8s.io",
    "validatingwebhookconfigurations.admissionregistration.k8s.io",
    "daemonsets.apps",
    "deployments.apps",
    "replicasets.apps",
    "statefulsets.apps",
    "cronjobs.batch",
    "jobs.batch",
    "pods",
    "podtemplates",
    "replicationcontrollers",
    "endpointslices.discovery.k8s.io",
    "flowschemas.flowcontrol.apiserver.k8s.io",
    "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io",
    "ingressclasses.networking.k8s.io",
    "ingresses.networking.k8s.io",
    "networkpolicies.networking.k8s.io",
    "poddisruptionbudgets.policy",
    "deviceclasses.resource.k8s.io",
    "resourceslices.resource.k8s.io",
    "priorityclasses.scheduling.k8s.io",
    "dnses.minik8s.io",
    "functions.minik8s.io",
    "gpujobs.minik8s.io",
    "workflows.minik8s.io",
    "workflowruns.minik8s.io",
];

#[test]
fn is_created_from_its_example_with_the_metadata_of_the_server() {
    for def in registry::all() {
        let object = create(&def, example(&def));
        let metadata = &object["metadata"];
        assert_eq!(metadata["uid"], "0ab1", "{}", def.names.kind);
        assert_eq!(metadata["creationTimestamp"], "2026-01-01T00:00:00Z");
        assert_eq!(metadata.get("namespace").is_some(), def.scope == Scope::Namespaced);
        let counted = COUNTED.contains(&def.qualified().as_str());
        assert_eq!(metadata["generation"], json!(counted.then_some(1)), "{}", def.names.kind);
        assert_eq!(
            (&object["kind"], &object["apiVersion"]),
            (&json!(def.names.kind), &json!(def.api_version()))
        );
    }
}

#[test]
fn comes_back_as_it_was_stored() {
    for def in registry::all() {
        let object = create(&def, example(&def));
        let decoded = def.decode(object.clone(), None).unwrap();
        assert_eq!(decoded.object.to_value().unwrap(), object, "{}", def.names.kind);
        assert!(decoded.unknown.is_empty(), "{:?}", decoded.unknown);
        assert_eq!(update(&def, &object, object.clone()).unwrap(), object, "{}", def.names.kind);
    }
}

#[test]
fn takes_a_label_and_tells_an_unknown_field() {
    for def in registry::all() {
        let object = create(&def, example(&def));
        let mut labelled = object.clone();
        labelled["metadata"]["labels"]["tier"] = json!("front");
        let updated = update(&def, &object, labelled.clone()).unwrap();
        assert_eq!(updated["metadata"]["labels"]["tier"], "front", "{}", def.names.kind);
        // Labels of an EndpointSlice are what it is about.
        let raised = i64::from(def.names.kind == "EndpointSlice");
        let generation = object["metadata"]["generation"].as_i64().map(|it| it + raised);
        assert_eq!(updated["metadata"]["generation"], json!(generation), "{}", def.names.kind);
        labelled["nonsense"] = json!(1);
        let unknown = def.decode(labelled, None).unwrap().unknown;
        assert_eq!(unknown, ["nonsense"], "{}", def.names.kind);
    }
}

#[test]
fn counts_the_changes_that_kubernetes_counts() {
    let check = |plural: &str, field: &str, value: Value, expected: Option<i64>| {
        let def = def(plural);
        let object = create(&def, example(&def));
        let mut other = object.clone();
        let (parent, name) = field.rsplit_once('/').unwrap();
        other.pointer_mut(parent).unwrap()[name] = value;
        let updated = update(&def, &object, other).unwrap();
        assert_eq!(updated["metadata"]["generation"], json!(expected), "{plural} {field}");
    };
    check("validatingwebhookconfigurations", "/webhooks", json!([]), Some(2));
    check("validatingwebhookconfigurations", "/metadata/annotations", json!({"a": "b"}), Some(1));
    check("deployments", "/metadata/annotations", json!({"a": "b"}), Some(2));
    check("replicasets", "/metadata/annotations", json!({"a": "b"}), Some(1));
    check("endpointslices", "/endpoints", json!([]), Some(2));
    check("podtemplates", "/template/metadata/labels", json!({"a": "b"}), Some(2));
    check("priorityclasses", "/description", json!("another"), Some(1));
    check("csidrivers", "/spec/requiresRepublish", json!(true), Some(1));
    check("services", "/spec/publishNotReadyAddresses", json!(true), None);
    check("namespaces", "/metadata/annotations", json!({"a": "b"}), None);
}

#[test]
fn refuses_other_kinds_versions_names_and_namespaces() {
    for def in registry::all() {
        let refused = |field: &str, value: &str, message: &str| {
            let mut given = example(&def);
            *given.pointer_mut(field).unwrap() = json!(value);
            let mut context = context(&def);
            context.name = Some("example".to_owned());
            let error = try_create(&def, given, &context).unwrap_err();
            assert_eq!(error.code(), 400, "{}: {error}", def.names.kind);
            assert!(error.to_string().contains(message), "{error}");
        };
        refused("/apiVersion", "apps/v7", "(apps/v7) does not match the expected API version");
        refused("/kind", "Other", "Other in version");
        refused(
            "/metadata/name",
            "other",
            "the name of the object (other) does not match the name on the URL (example)",
        );
    }
    let pods = def("pods");
    let mut given = example(&pods);
    given["metadata"]["namespace"] = json!("elsewhere");
    let error = try_create(&pods, given, &context(&pods)).unwrap_err();
    assert!(error.to_string().starts_with("the namespace of the provided object does not match"));
}

#[test]
fn needs_a_name_that_its_group_allows() {
    // Those are called what they define.
    let named = ["CustomResourceDefinition", "APIService", "IPAddress"];
    let own = |def: &ResourceDef| named.contains(&def.names.kind.as_str());
    for def in registry::all().into_iter().filter(|def| !own(def)) {
        let mut given = example(&def);
        // Names of roles and of requests for certificates need only be parts of paths.
        let (name, fault) = match def.names.group.as_str() {
            "rbac.authorization.k8s.io" | "certificates.k8s.io" => {
                ("a%b", "\"a%b\": may not contain '%'")
            }
            _ => ("Not_A_Name", "\"Not_A_Name\": a "),
        };
        given["metadata"]["name"] = json!(name);
        let error = try_create(&def, given.clone(), &context(&def)).unwrap_err();
        assert_eq!((error.code(), error.reason()), (422, "Invalid"), "{}: {error}", def.names.kind);
        let fault = format!("metadata.name: Invalid value: {fault}");
        assert!(error.to_string().contains(&fault), "{error}");
        given["metadata"].as_object_mut().unwrap().remove("name");
        let error = try_create(&def, given.clone(), &context(&def)).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("metadata.name: Required value: name or generateName is required"),
            "{error}"
        );
        given["metadata"]["generateName"] = json!("made-");
        assert_eq!(create(&def, given)["metadata"]["name"], "made-x7k2p");
    }
}

#[test]
fn has_a_status_that_only_its_subresource_writes() {
    for def in registry::all().iter().filter(|d| d.has(registry::Subresource::Status)) {
        let object = create(def, example(def));
        let mut other = object.clone();
        other["status"] = json!({
            "phase": "Running", "replicas": 7, "currentReplicas": 7, "state": "RUNNING", "address": "10.96.0.7",
            "active": 2, "attached": true, "allocation": {}, "loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]},
            "conditions": [{"type": "Tested", "status": "True", "reason": "Tested", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        });
        if def.is_core("services") {
            // Only those of another type have that.
            other["status"].as_object_mut().unwrap().remove("loadBalancer");
        }
        if def.is_core("namespaces") {
            // Theirs says whether they are being deleted.
            other["status"]["phase"] = json!("Active");
        }
        if def.names.plural == "cronjobs" {
            // Theirs are references.
            other["status"]["active"] = json!([{"name": "a"}]);
        }
        let updated = update(def, &object, other.clone()).unwrap();
        assert_eq!(updated.get("status"), object.get("status"), "{}", def.names.kind);
        other["spec"] = json!({});
        let written = update_status(def, &object, other).unwrap();
        assert_eq!(written.get("spec"), object.get("spec"), "{}", def.names.kind);
        assert_ne!(written.get("status"), object.get("status"), "{}", def.names.kind);
    }
}

#[test]
fn has_metadata_that_its_status_brings_along_if_it_is_of_kubernetes() {
    for def in registry::all().iter().filter(|d| d.has(registry::Subresource::Status)) {
        let object = create(def, example(def));
        let mut other = object.clone();
        other["metadata"]["annotations"] = json!({"seen": "yes"});
        other["metadata"]["finalizers"] = json!(["example.com/held"]);
        for field in ["creationTimestamp", "deletionTimestamp"] {
            other["metadata"][field] = json!("2020-01-01T00:00:00Z");
        }
        let written = update_status(def, &object, other.clone()).unwrap();
        let groups = [
            "minik8s.io",
            "apiregistration.k8s.io",
            "flowcontrol.apiserver.k8s.io",
            "resource.k8s.io",
        ];
        let kinds = ["ServiceCIDR", "ValidatingAdmissionPolicy", "VolumeAttachment"];
        let names = &def.names;
        let alone = groups.contains(&&*names.group) || kinds.contains(&&*names.kind);
        let expected = if alone { &object } else { &other };
        for field in ["annotations", "finalizers"] {
            let kind = &def.names.kind;
            assert_eq!(written["metadata"][field], expected["metadata"][field], "{kind} {field}");
        }
        for field in ["creationTimestamp", "deletionTimestamp", "uid", "name", "generation"] {
            assert_eq!(written["metadata"][field], object["metadata"][field], "{field}");
        }
        other["metadata"]["labels"] = json!({"not a label": "x"});
        let written = update_status(def, &object, other);
        // A Deployment's labels stay, while its annotations may change.
        let keeps_labels = alone || names.kind == "Deployment";
        assert_eq!(written.is_ok(), keeps_labels, "{}", names.kind);
        if let Ok(written) = written {
            assert_eq!(written["metadata"]["labels"], object["metadata"]["labels"]);
        }
    }
}

#[test]
fn has_a_row_with_a_cell_for_each_column() {
    for def in registry::all() {
        let object = create(&def, example(&def));
        assert_eq!(def.row(&object, now()).unwrap().len(), def.columns.len(), "{}", def.names.kind);
        let names: Vec<_> = def.column_definitions().iter().map(|c| c["name"].clone()).collect();
        assert!(names.contains(&json!("Name")), "{names:?}");
        assert_eq!(
            names.iter().map(ToString::to_string).collect::<BTreeSet<_>>().len(),
            names.len()
        );
    }
}

#[test]
fn has_a_schema_that_is_an_object_with_metadata() {
    for def in registry::all() {
        let schema = def.schema();
        assert_eq!(schema["type"], "object", "{}", def.names.kind);
        assert!(schema["properties"]["metadata"].is_object(), "{}", def.names.kind);
    }
}

#[test]
fn has_names_that_no_other_has() {
    let mut seen = BTreeSet::new();
    for def in registry::all().into_iter().filter(ResourceDef::is_stored) {
        let names = &def.names;
        let own: BTreeSet<_> =
            [&names.plural, &names.singular].into_iter().chain(&names.short_names).collect();
        for name in own {
            assert!(seen.insert(name.to_owned()), "{name} is taken twice");
        }
        assert!(seen.insert(names.kind.to_owned()));
    }
}

#[test]
fn selects_by_its_fields_and_no_others() {
    for def in registry::all() {
        let object = create(&def, example(&def));
        let values = def.stored_field_values(&object);
        assert_eq!(def.field_values(&def.stored(&object).unwrap()), values);
        assert_eq!(values.len(), def.fields.len());
        let name = def.fields.iter().position(|field| field == "metadata.name").unwrap();
        assert_eq!(values[name], object["metadata"]["name"].as_str().unwrap());
        assert!(def.fields.contains(&def.trigger));
        for field in &def.fields {
            assert_eq!(def.check_fields(&format!("{field}=x").parse().unwrap()), Ok(()), "{field}");
        }
        let error = def.check_fields(&"spec.nonsense=x".parse().unwrap()).unwrap_err();
        assert_eq!(
            (error.code(), error.to_string().as_str()),
            (400, "field label not supported: spec.nonsense")
        );
    }
}

/// The fields of Kubernetes' `AddFieldLabelConversionFunc`, and those of our own kinds; `status.replicas` of ReplicaSets is
/// one that Kubernetes no longer takes.
const SELECTABLE: [(&str, &[&str]); 14] = [
    (
        "events",
        &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
    ),
    (
        "events.events.k8s.io",
        &[
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reason",
            "reportingController",
            "type",
        ],
    ),
    ("namespaces", &["status.phase"]),
    ("nodes", &["spec.unschedulable"]),
    (
        "pods",
        &[
            "spec.nodeName",
            "spec.host",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
    ),
    ("replicationcontrollers", &["status.replicas"]),
    ("secrets", &["type"]),
    ("services", &["spec.clusterIP", "spec.type"]),
    ("replicasets.apps", &["status.replicas"]),
    ("jobs.batch", &["status.successful"]),
    ("certificatesigningrequests.certificates.k8s.io", &["spec.signerName"]),
    ("resourceslices.resource.k8s.io", &["spec.nodeName", "spec.driver"]),
    ("gpujobs.minik8s.io", &["status.state"]),
    ("workflowruns.minik8s.io", &["spec.workflow", "status.phase"]),
];

#[test]
fn selects_by_the_fields_that_kubernetes_has() {
    for def in registry::all() {
        let own = SELECTABLE.iter().find(|(name, _)| *name == def.qualified());
        let own = own.map_or(&[][..], |(_, fields)| fields);
        let common: &[&str] = match def.scope {
            Scope::Cluster => &["metadata.name"],
            Scope::Namespaced => &["metadata.name", "metadata.namespace"],
        };
        assert_eq!(def.fields, [own, common].concat(), "{}", def.names.kind);
    }
}

#[test]
fn a_pod_is_selected_by_its_node_under_either_name() {
    let def = def("pods");
    let mut pod = create(&def, example(&def));
    pod["spec"]["nodeName"] = json!("n1");
    let values = def.stored_field_values(&pod);
    let value = |field: &str| &values[def.fields.iter().position(|it| it == field).unwrap()];
    assert_eq!((&**value("spec.nodeName"), &**value("spec.host")), ("n1", "n1"));
    assert_eq!(value("status.podIPs"), "");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn keeps_its_identity_whatever_an_update_says(
        uid in prop_oneof![Just(None), Just(Some("0ab1".to_owned()))],
        created in prop_oneof![Just(Value::Null), Just(json!("1999-01-01T00:00:00Z"))],
        deleted in prop_oneof![Just(Value::Null), Just(json!("1999-01-01T00:00:00Z"))],
        generation in -3_i64..9,
        version in "[0-9]{0,3}",
    ) {
        for def in registry::all() {
            let object = create(&def, example(&def));
            let mut new = object.clone();
            for (field, value) in [("uid", json!(uid)), ("creationTimestamp", created.clone()), ("deletionTimestamp", deleted.clone()), ("generation", json!(generation)), ("resourceVersion", json!(version))] {
                new["metadata"][field] = value;
            }
            let updated = update(&def, &object, new).unwrap();
            prop_assert_eq!(&updated, &object);
        }
    }
}

#[test]
fn is_another_object_if_its_uid_differs() {
    for def in registry::all() {
        let object = create(&def, example(&def));
        let mut new = object.clone();
        new["metadata"]["uid"] = json!("other");
        let error = update(&def, &object, new).unwrap_err();
        assert_eq!((error.code(), error.reason()), (409, "Conflict"), "{error}");
        assert!(
            error.to_string().contains("Precondition failed: UID in precondition: other"),
            "{error}"
        );
    }
}

#[test]
fn has_its_key_below_its_collection() {
    let (pods, nodes) = (def("pods"), def("nodes"));
    assert_eq!(pods.key(Some("default"), "a"), "/registry/core/pods/default/a");
    assert_eq!(pods.prefix(None), "/registry/core/pods/");
    assert_eq!(pods.prefix(Some("x")), "/registry/core/pods/x/");
    assert_eq!(nodes.key(None, "n"), "/registry/core/nodes/n");
    assert_eq!(def("replicasets").key(Some("d"), "w"), "/registry/apps/replicasets/d/w");
    assert_eq!(def("dnses").qualified(), "dnses.minik8s.io");
}
