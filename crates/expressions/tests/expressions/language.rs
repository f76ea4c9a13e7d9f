//! CEL itself.

use serde_json::json;

use crate::{check, fails, holds};

#[test]
fn fields_are_selected_and_may_be_missing() {
    check("self.spec.replicas", &json!(3));
    check("self['spec']['ports'][1]", &json!(443));
    check("self.metadata.labels['a-b']", &json!("dashed"));
    check("self.metadata.labels.a__dash__b", &json!("dashed"));
    check("self.metadata.__namespace__", &json!("default"));
    holds("has(self.spec.replicas) && !has(self.spec.other)");
    fails("self.spec.other", "no such key: other");
    fails("self.spec.ports[2]", "index out of bounds: 2");
    fails("self.spec.replicas.deeper", "no such overload");
}

#[test]
fn numbers_are_exact_and_do_not_overflow() {
    check("7 / 2 + 7 % 2 - -1", &json!(5));
    check("1.5 * 2.0", &json!(3.0));
    check("2u + 3u", &json!(5));
    holds("1 < 2.5 && 3u > 2 && 2.0 == dyn(2)");
    holds("9007199254740993 > dyn(9007199254740992.0)");
    fails("9223372036854775807 + 1", "integer overflow");
    fails("-9223372036854775807 - 2", "integer overflow");
    fails("0u - 1u", "unsigned integer overflow");
    fails("1 / 0", "division by zero");
    fails("1 % 0", "modulus by zero");
}

#[test]
fn one_side_may_decide_whatever_the_other_one_is() {
    holds("self.nope || true");
    check("self.nope && false", &json!(false));
    holds("true || 1 / 0 == 1");
    fails("self.nope || false", "no such key: nope");
    check("self.spec.paused ? self.nope : 'fine'", &json!("fine"));
}

#[test]
fn what_is_of_different_kinds_is_not_the_same() {
    check("dyn('1') == 1", &json!(false));
    holds("[1, 2] == [1, 2] && {'a': 1} == {'a': 1} && [1] != [2]");
    holds("nothing == null && dyn(0) != null");
    holds("1 in [1, 2] && 'a' in {'a': 1} && !('b' in {'a': 1})");
}

#[test]
fn macros_look_at_each_element() {
    holds("self.spec.ports.all(p, p > 0) && self.spec.ports.exists(p, p == 443)");
    holds("self.spec.names.exists_one(n, n == 'a') && !self.spec.names.exists_one(n, n == 'b')");
    check("self.spec.ports.map(p, p + 1)", &json!([81, 444]));
    check("self.spec.ports.map(p, p > 100, p)", &json!([443]));
    check("self.spec.names.filter(n, n != 'a')", &json!(["b", "b"]));
    check("self.metadata.labels.map(k, k)", &json!(["a-b", "app"]));
    check("[[1, 2], [3]].map(x, x.map(y, y * 2))", &json!([[2, 4], [6]]));
    holds("[0, 1].exists(x, 1 / x == 1)");
    fails("[0, 1].all(x, 1 / x == 1)", "division by zero");
    fails("self.spec.replicas.all(x, true)", "no such overload");
}

#[test]
fn macros_may_have_two_variables() {
    holds("['a', 'b'].all(i, v, i < 2 && v != 'c')");
    holds("{'a': 1}.exists(k, v, k == 'a' && v == 1)");
    holds("[1, 2].existsOne(i, v, v == 2)");
    check("['a', 'b'].transformList(i, v, v + string(i))", &json!(["a0", "b1"]));
    check("['a', 'b'].transformList(i, v, i > 0, v)", &json!(["b"]));
    check("{'a': 1}.transformMap(k, v, v + 1)", &json!({"a": 2}));
    check("{'a': 'b'}.transformMapEntry(k, v, {v: k})", &json!({"b": "a"}));
    fails("['a', 'a'].transformMapEntry(i, v, {v: i})", "key a already exists");
}

#[test]
fn optional_values_need_not_be_there() {
    check("self.?spec.?replicas.orValue(1)", &json!(3));
    check("self.?nope.replicas.orValue(1)", &json!(1));
    check("self[?'nope'].orValue('x')", &json!("x"));
    holds("optional.none().or(optional.of(1)).value() == 1");
    holds("!self.?nope.hasValue() && optional.ofNonZeroValue(1).hasValue()");
    check("self.?spec.replicas.optMap(r, r + 1).value()", &json!(4));
    check("self.?spec.optFlatMap(s, s.?ports).value()[0]", &json!(80));
    check("[?self.?nope, ?optional.of(1)]", &json!([1]));
    check("{?'a': self.?nope, 'b': 1}", &json!({"b": 1}));
    fails("optional.none().value()", "optional.none() dereference");
}

#[test]
fn objects_are_made() {
    check(
        "Object{spec: Object.spec{replicas: 2, ?other: self.?nope}}",
        &json!({"spec": {"replicas": 2}}),
    );
    check(
        "[JSONPatch{op: 'add', path: '/x', value: 1}]",
        &json!([{"op": "add", "path": "/x", "value": 1}]),
    );
    fails("Other{}", "undeclared reference to 'Other'");
}

#[test]
fn types_are_values() {
    holds(
        "type(1) == int && type('a') == string && type([]) == list && type(nothing) == null_type",
    );
    holds("type(timestamp('2020-01-01T00:00:00Z')) == google.protobuf.Timestamp");
}

#[test]
fn text_is_written_as_in_cel() {
    check(r#"'a\'b' + "c\n" + r'\d' + '\u00e9'"#, &json!("a'bc\n\\dé"));
    check("'''two\nlines'''", &json!("two\nlines"));
    check("b'abc'", &json!("YWJj"));
    check("0x1f + 1", &json!(32));
}

#[test]
fn a_value_can_be_given_a_name_and_fails_where_it_is_used_if_it_does() {
    check("cel.bind(spec, self.spec, spec.replicas > 2 && spec.paused == false)", &json!(true));
    check("cel.bind(a, 1, cel.bind(b, a + 1, cel.bind(a, b * 10, a + b)))", &json!(22));
    check("[1, 2].map(x, cel.bind(y, x * x, y + y))", &json!([2, 8]));
    check("cel.bind(x, self.missing, has(self.missing) && x == 1)", &json!(false));
    fails("cel.bind(x, self.missing, x == 1)", "no such key: missing");
    fails("cel.bind(x, 1, y)", "undeclared reference to 'y'");
    fails("cel.bind(x, 1, x) + x", "undeclared reference to 'x'");
    fails("cel.bind(self.x, 1, 2)", "cel.bind() variable names must be simple identifiers");
    fails("cel.bind(x, 1)", "unsupported number of arguments");
}
