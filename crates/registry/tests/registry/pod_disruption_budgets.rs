//! PodDisruptionBudgets: their faults and their table.

use expect_test::{Expect, expect};
use serde_json::json;

use crate::{context, create, def, now, try_create, update_status, yaml};

fn faults(spec: &str, expected: &Expect) {
    let def = def("poddisruptionbudgets");
    let given = yaml(&format!("{{metadata: {{name: a}}, spec: {{{spec}}}}}"));
    let error = try_create(&def, given, &context(&def)).unwrap_err();
    let causes = error.status().details.iter().flat_map(|it| it.causes.iter().flatten());
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let lines = causes.map(|cause| format!("{}: {}\n", text(&cause.field), text(&cause.message)));
    expected.assert_eq(&lines.collect::<String>());
}

#[test]
fn all_faults_of_a_budget_are_told() {
    faults(
        "minAvailable: -1, maxUnavailable: 101%",
        &expect![[r#"
        spec: Invalid value: {"maxUnavailable":"101%","minAvailable":-1}: minAvailable and maxUnavailable cannot be both set
        spec.minAvailable: Invalid value: -1: must be greater than or equal to 0
        spec.maxUnavailable: Invalid value: "101%": must not be greater than 100%
    "#]],
    );
    faults(
        "minAvailable: half, unhealthyPodEvictionPolicy: Never, selector: {matchLabels: {'a b': c}}",
        &expect![[r#"
            spec.minAvailable: Invalid value: "half": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')
            spec.selector.matchLabels: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            spec.unhealthyPodEvictionPolicy: Unsupported value: "Never": supported values: "AlwaysAllow", "IfHealthyBudget"
        "#]],
    );
}

#[test]
fn a_table_tells_what_is_allowed_and_a_status_is_not_negative() {
    let def = def("poddisruptionbudgets");
    let made = create(&def, yaml("{metadata: {name: a}, spec: {minAvailable: 50%}}"));
    let mut after = made.clone();
    after["status"] = json!({"disruptionsAllowed": 2, "currentHealthy": 3, "desiredHealthy": 1, "expectedPods": 3});
    let told = update_status(&def, &made, after.clone()).unwrap();
    let row = json!(def.row(&told, now()).unwrap());
    assert_eq!(row, json!(["a", "50%", "N/A", 2, "60m"]));
    after["status"]["disruptionsAllowed"] = json!(-1);
    update_status(&def, &made, after).unwrap_err();
}
