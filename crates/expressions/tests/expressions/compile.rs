//! What is said of expressions that can't be.

use expressions::{Environment, Type};

fn environment() -> Environment {
    let spec = Type::object(
        "Spec",
        [("replicas", Type::Int), ("names", Type::list(Type::String)), ("other", Type::Dyn)],
    );
    Environment::new()
        .with("self", Type::object("Self", [("spec", spec), ("namespace", Type::String)]))
        .with("object", Type::Dyn)
        .with("authorizer.requestResource", Type::Dyn)
}

/// What is wrong with a rule.
#[track_caller]
fn check(source: &str, expected: &str) {
    let compiled = environment().compile_as(source, &[Type::Bool]).map(drop);
    assert_eq!(compiled.map_err(|error| error.to_string()), Err(expected.to_owned()), "{source}");
}

#[track_caller]
fn contains(source: &str, expected: &str) {
    let error = environment().compile_as(source, &[Type::Bool]).map(drop).expect_err(source);
    assert!(error.to_string().contains(expected), "{source}: {error}");
}

#[track_caller]
fn is_fine(source: &str) {
    let compiled = environment().compile_as(source, &[Type::Bool]).map(drop);
    assert_eq!(compiled.map_err(|error| error.to_string()), Ok(()), "{source}");
}

#[test]
fn a_fault_is_shown_at_its_place() {
    check(
        "true &&\n  other == 1",
        "compilation failed: ERROR: <input>:2:3: undeclared reference to 'other' (in container '')\n |   other == 1\n | ..^",
    );
    contains(
        "self.spec.",
        "compilation failed: ERROR: <input>:1:11: Syntax error: no viable alternative",
    );
    contains("a.b(", "Syntax error");
    contains("nope(1)", "undeclared reference to 'nope' (in container '')");
    contains("'a'.nope()", "undeclared reference to 'nope' (in container '')");
    // Both of two.
    contains("x && y", "'x'");
    contains("x && y", "'y'");
}

#[test]
fn of_many_faults_in_a_long_line_as_much_is_told_as_can_be_read() {
    let told = |source: &str| environment().compile(source).map(drop).unwrap_err().to_string();
    let unknown = told(&format!("[{}]", "nope, ".repeat(4_000)));
    assert_eq!(unknown.matches("undeclared reference").count(), 100);
    assert!(unknown.len() < 100_000, "{}", unknown.len());
    assert!(unknown.starts_with("ERROR: <input>:1:2: undeclared reference to 'nope'"), "{unknown}");
    let named = told(&"x".repeat(90_000));
    assert!(named.len() < 5_000, "{}", named.len());
    // The place is shown.
    let far = told(&format!("'{}' == nope", "a".repeat(1_000)));
    let (_, shown) = far.split_once("\n | ").unwrap();
    let (line, place) = shown.split_once("\n | ").unwrap();
    assert_eq!(&line[place.len() - 1..], "nope");
}

#[test]
fn a_schema_knows_its_fields() {
    is_fine("self.spec.replicas > 1 && self.spec.names.all(n, n.startsWith('a'))");
    is_fine("self.__namespace__ == 'a' && has(self.spec.other.anything)");
    contains("self.spec.nope == 1", "undefined field 'nope'");
    contains("has(self.nope)", "undefined field 'nope'");
    contains("self.spec.replicas.x == 1", "type 'int' does not support field selection");
}

#[test]
fn operands_have_to_fit() {
    contains(
        "self.spec.replicas > 'a'",
        "found no matching overload for '_>_' applied to '(int, string)'",
    );
    contains(
        "self.spec.replicas.startsWith('a')",
        "found no matching overload for 'startsWith' applied to 'int.(string)'",
    );
    contains(
        "self.spec.replicas == 'a'",
        "found no matching overload for '_==_' applied to '(int, string)'",
    );
    contains("1 && true", "found no matching overload for '_&&_' applied to '(int, bool)'");
    contains("[1, 'a'] == []", "expected type 'int' but found 'string'");
    contains("self.spec.replicas.all(x, true)", "cannot be range of a comprehension");
    is_fine("object.spec.replicas > 'a' || object.x.startsWith(object.y)");
    is_fine("self.spec.replicas < 1.5 && authorizer.requestResource == null");
}

#[test]
fn a_rule_is_true_or_false() {
    check("self.spec.replicas", "must evaluate to bool but got int");
    check("object.spec", "must evaluate to bool but got dyn");
}

#[test]
fn a_variable_of_a_macro_is_known_in_it_alone() {
    is_fine("[1].all(x, x > 0)");
    contains("[1].all(x, x > 0) && x > 0", "undeclared reference to 'x'");
    is_fine("[self.spec].exists(sets, sets.replicas > 1)");
}

#[test]
fn a_macro_that_puts_together_what_comes_of_its_body_needs_the_like() {
    is_fine("optional.of(1).optFlatMap(x, optional.of(x)).hasValue()");
    is_fine("['a'].transformMapEntry(i, v, {v: i}).size() == 1");
    is_fine("[object].transformMapEntry(i, v, v.labels).size() == 1");
    let flat = "optional.of(1).optFlatMap(x, x).hasValue()";
    contains(flat, "expected type 'optional_type(dyn)' but found 'int'");
    let entry = "[1].transformMapEntry(i, v, v).size() == 1";
    contains(entry, "expected type 'map(dyn, dyn)' but found 'int'");
}

#[test]
fn an_empty_list_is_of_any_type() {
    let environment = environment().with_struct("JSONPatch");
    let wanted = [Type::list(Type::named("JSONPatch"))];
    for source in ["[]", "[JSONPatch{}]", "true ? [JSONPatch{}] : []", "[JSONPatch{}] + []"] {
        environment.compile_as(source, &wanted).map(drop).expect(source);
    }
    let error = environment.compile_as("[1]", &wanted).map(drop).unwrap_err();
    assert_eq!(error.to_string(), "must evaluate to list(JSONPatch) but got list(int)");
    let error = environment.compile_as("1", &[Type::String, Type::Null]).map(drop).unwrap_err();
    assert_eq!(error.to_string(), "must evaluate to one of [string null] but got int");
}

#[test]
fn names_are_given_only_where_kubernetes_lets_them() {
    contains("cel.bind(a, self.spec, a.replicas > 1)", "undeclared reference to 'cel'");
}
