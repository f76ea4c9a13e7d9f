//! CEL's libraries and Kubernetes'.

use serde_json::json;

use crate::{check, fails, holds};

#[test]
fn strings() {
    holds("'hello'.startsWith('he') && 'hello'.endsWith('lo') && 'hello'.contains('ll')");
    check("'tacocat'.charAt(3)", &json!("o"));
    check("'héllo'.indexOf('l')", &json!(2));
    check("'hello mellow'.indexOf('ello', 2)", &json!(7));
    check("'hello mellow'.lastIndexOf('ello')", &json!(7));
    check("'hello mellow'.lastIndexOf('ello', 6)", &json!(1));
    check("'hello'.lastIndexOf('x')", &json!(-1));
    check("'TacoÆ'.lowerAscii() + 'tacoæ'.upperAscii()", &json!("tacoÆTACOæ"));
    check("'hello hello'.replace('he', 'we')", &json!("wello wello"));
    check("'hello hello'.replace('he', 'we', 1)", &json!("wello hello"));
    check("'a b c'.split(' ')", &json!(["a", "b", "c"]));
    check("'a b c'.split(' ', 2)", &json!(["a", "b c"]));
    check("'abc'.split('')", &json!(["a", "b", "c"]));
    check("'tacocat'.substring(4) + 'tacocat'.substring(0, 4)", &json!("cattaco"));
    check("' x '.trim()", &json!("x"));
    check("['a', 'b'].join('-')", &json!("a-b"));
    check("strings.quote('a\"b')", &json!("\"a\\\"b\""));
    check("size('héllo') + 'ab'.size()", &json!(7));
    fails("'abc'.substring(2, 1)", "invalid substring range");
    fails("'abc'.charAt(4)", "index out of range: 4");
}

#[test]
fn text_is_formatted() {
    check("'%s has %d of %.2f, %x'.format(['a', 3, 1.5, 255])", &json!("a has 3 of 1.50, ff"));
    check("jsonpatch.escapeKey('a/b~c')", &json!("a~1b~0c"));
    check("'%s %s %%'.format([[1, 2], {'k': true}])", &json!("[1, 2] {k: true} %"));
    check("'%e|%b|%X|%o'.format([1234.5, 5, 'hi', 8])", &json!("1.234500e+03|101|6869|10"));
    fails("'%d'.format(['a'])", "can't be used on values of type string");
    fails("'%s'.format([])", "index out of range");
    fails("'%z'.format([1])", "unrecognized formatting clause");
}

#[test]
fn conversions() {
    check("int('42') + int(3.9) + int(2u)", &json!(47));
    check("string(1) + string(1.5) + string(true) + string(1e30)", &json!("11.5true1e+30"));
    check("double('1.5') + double(1)", &json!(2.5));
    holds("bool('true') && uint(3) == 3u && bytes('a') == b'a' && string(b'a') == 'a'");
    fails("int('x')", "type conversion error from 'string' to 'int'");
    fails("int(1e20)", "integer overflow");
    fails("uint(-1)", "unsigned integer overflow");
}

#[test]
fn moments_and_spans() {
    holds("timestamp('2024-02-29T12:30:15.5Z').getFullYear() == 2024");
    check("timestamp('2024-02-29T12:30:15Z').getMonth()", &json!(1));
    check("timestamp('2024-02-29T12:30:15Z').getHours('-02:00')", &json!(10));
    check("timestamp('2024-02-29T12:30:15Z').getDayOfWeek()", &json!(4));
    holds(
        "timestamp('2024-01-01T00:00:00Z') + duration('1h30m') == timestamp('2024-01-01T01:30:00Z')",
    );
    holds(
        "timestamp('2024-01-02T00:00:00Z') - timestamp('2024-01-01T00:00:00Z') == duration('24h')",
    );
    check("duration('1h1m').getMinutes()", &json!(61));
    check("string(duration('1.5s'))", &json!("1.5s"));
    holds("duration('1ms') < duration('1s') && duration('-1s') < duration('0')");
    fails("duration('1 day')", "invalid duration");
    fails("timestamp('2024-01-01')", "invalid timestamp");
}

#[test]
fn lists() {
    holds("[1, 2, 2].isSorted() && !['b', 'a'].isSorted()");
    check("[1, 2, 3].sum() + [].sum()", &json!(6));
    check("[3, 1].min() + [3, 1].max()", &json!(4));
    check("[1, 2, 2].indexOf(2) + [1, 2, 2].lastIndexOf(2)", &json!(3));
    check("[1, 2, 3].slice(1, 3)", &json!([2, 3]));
    check("[[dyn(1)], [2, dyn([3])]].flatten()", &json!([1, 2, [3]]));
    check("self.spec.names.distinct()", &json!(["b", "a"]));
    check("self.spec.names.sort()", &json!(["a", "b", "b"]));
    check("[{'n': 2}, {'n': 1}].sortBy(x, x.n)", &json!([{"n": 1}, {"n": 2}]));
    check("[1, 2].reverse() + lists.range(2)", &json!([2, 1, 0, 1]));
    fails("[].min()", "min called on empty list");
    fails("[1, 2].slice(1, 3)", "cannot slice(1, 3), list is length 2");
}

#[test]
fn sets() {
    holds("sets.contains([1, 2, 3], [2]) && sets.equivalent([1, 2], [2, 1, 1])");
    holds("sets.intersects([1, 2], [2, 3]) && !sets.intersects([1], [2])");
}

#[test]
fn regular_expressions() {
    holds("'abc123'.matches('^[a-z]+[0-9]+$') && matches('ab', 'b')");
    check("'abc 123'.find('[0-9]+') + 'abc'.find('x')", &json!("123"));
    check("'1 a 2'.findAll('[0-9]')", &json!(["1", "2"]));
    check("'1 a 2'.findAll('[0-9]', 1)", &json!(["1"]));
    fails("'a'.matches('(')", "error parsing regexp");
}

#[test]
fn urls() {
    check(
        "url('https://u:p@example.com:80/p q?k=a&k=b%20c#f').getHost()",
        &json!("example.com:80"),
    );
    check("url('https://[::1]:80/').getHostname()", &json!("::1"));
    check("url('https://example.com:80/').getPort()", &json!("80"));
    check("url('https://example.com/path with').getEscapedPath()", &json!("/path%20with"));
    check("url('https://example.com?k=a&k=b%20c').getQuery()", &json!({"k": ["a", "b c"]}));
    check("url('/path').getScheme() + url('HTTPS://x').getScheme()", &json!("https"));
    holds("isURL('https://a.b/c') && isURL('/c') && !isURL('../c') && !isURL('https://a:b:c/')");
}

#[test]
fn quantities() {
    holds("isQuantity('1.5Gi') && !isQuantity('200K')");
    holds("quantity('50k').add(quantity('20k')).sub(1) == quantity('69999')");
    holds(
        "quantity('150Mi').isGreaterThan(quantity('100Mi')) && quantity('1').isLessThan(quantity('2'))",
    );
    check("quantity('50k').asInteger() + quantity('-1').sign()", &json!(49999));
    check("quantity('200M').compareTo(quantity('0.2G'))", &json!(0));
    fails("quantity('1m').asInteger()", "cannot convert value to integer");
}

#[test]
fn addresses() {
    holds("isIP('::1') && !isIP('127.0.0.256') && !isIP('::ffff:1.2.3.4')");
    check("ip('127.0.0.1').family() + ip('::1').family()", &json!(10));
    holds("ip.isCanonical('2001:db8::abcd') && !ip.isCanonical('2001:DB8::ABCD')");
    holds("ip('127.0.0.1').isLoopback() && ip('192.168.0.1').isGlobalUnicast()");
    holds("cidr('192.168.0.0/24').containsIP('192.168.0.1') && isCIDR('10.0.0.0/8')");
    holds("cidr('192.168.0.0/16').containsCIDR(cidr('192.168.10.0/24'))");
    check("string(cidr('192.168.0.1/24').masked())", &json!("192.168.0.0/24"));
    check("cidr('::1/128').prefixLength()", &json!(128));
}

#[test]
fn named_forms() {
    holds("!format.dns1123Label().validate('my-name').hasValue()");
    holds("format.dns1123Label().validate('My_name').value().size() == 1");
    holds("format.named('uuid').value().validate('x').hasValue() && !format.named('x').hasValue()");
    holds("!format.dns1123LabelPrefix().validate('my-').hasValue()");
}

#[test]
fn versions() {
    holds(
        "semver('1.2.3').isLessThan(semver('1.10.0')) && isSemver('1.2.3-rc.1') && !isSemver('v1.2')",
    );
    check("semver('v01.2', true).major() + semver('1.2.3').compareTo(semver('1.2.3'))", &json!(1));
}
