//! The formats of texts that are checked (Kubernetes: `apiserver/validation/formats.go`), by the rules that Kubernetes
//! goes by (`k8s.io/kube-openapi/pkg/validation/strfmt`), which are Go's.

mod addresses;
mod email;
mod names;
mod numbers;
mod times;
mod uri;

use serde_json::Value;

/// Whether a text is of a format.
type Check = fn(&str) -> bool;

/// All that Kubernetes knows of. Three have dashes that may be left out.
pub(super) const ALL: [(&str, Check); 29] = [
    ("bsonobjectid", numbers::is_object_id),
    ("byte", numbers::is_base64),
    ("cidr", addresses::is_cidr),
    ("creditcard", numbers::is_credit_card),
    ("date", times::is_date),
    ("date-time", times::is_date_time),
    ("datetime", times::is_date_time),
    ("duration", times::is_duration),
    ("email", email::is_email),
    ("hexcolor", numbers::is_hex_color),
    ("hostname", names::is_host_name),
    ("ipv4", addresses::is_ipv4),
    ("ipv6", addresses::is_ipv6),
    ("isbn", |it| numbers::is_isbn10(it) || numbers::is_isbn13(it)),
    ("isbn10", numbers::is_isbn10),
    ("isbn13", numbers::is_isbn13),
    ("k8s-long-name", names::is_long),
    ("k8slongname", names::is_long),
    ("k8s-short-name", names::is_short),
    ("k8sshortname", names::is_short),
    ("mac", addresses::is_mac),
    ("password", |_| true),
    ("rgbcolor", numbers::is_rgb_color),
    ("ssn", numbers::is_social_security),
    ("uri", uri::is_request_uri),
    ("uuid", |it| numbers::is_uuid(it, "0123456789abcdef", "0123456789abcdef")),
    ("uuid3", |it| numbers::is_uuid(it, "3", "0123456789abcdef")),
    ("uuid4", |it| numbers::is_uuid(it, "4", "89ab")),
    ("uuid5", |it| numbers::is_uuid(it, "5", "89ab")),
];

/// Whether the format of a schema of this type is checked: those that nobody knows of, and those of other values, say
/// nothing.
pub(super) fn is_checked(type_: Option<&Value>, format: &Value) -> bool {
    let is_of_texts = matches!(type_.and_then(Value::as_str), None | Some("" | "string"));
    is_of_texts && ALL.iter().any(|(name, _)| format == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(format: &str, fine: &[&str], wrong: &[&str]) {
        let (_, check) = ALL.iter().find(|(name, _)| *name == format).unwrap();
        for text in fine {
            assert!(check(text), "{text:?} is no {format}");
        }
        for text in wrong {
            assert!(!check(text), "{text:?} is a {format}");
        }
    }

    const UUID: &str = "6BA7B810-9dad-11d1-80b4-00c04fd430c8";

    #[test]
    fn identifiers_are_what_they_are_for_kubernetes() {
        check("uuid", &[UUID, "6ba7b8109dad11d180b400c04fd430c8"], &["", "6ba7b810", "x"]);
        check(
            "uuid",
            &["6ba7b810-9dad11d1-80b400c04fd430c8"],
            &["6ba7b81-09dad11d180b400c04fd430c8"],
        );
        check("uuid3", &["6ba7b810-9dad-31d1-00b4-00c04fd430c8"], &[UUID]);
        check(
            "uuid4",
            &["6ba7b810-9dad-41d1-B0b4-00c04fd430c8"],
            &["6ba7b810-9dad-41d1-00b4-00c04fd430c8"],
        );
        check("uuid5", &["6ba7b810-9dad-51d1-80b4-00c04fd430c8"], &[UUID]);
        check("bsonobjectid", &["507f1f77bcf86cd799439011"], &["507f1f77bcf86cd79943901", "x"]);
        check("isbn10", &["0321751043", "0-321-75104-3", "080442957X"], &["0321751044", "978"]);
        check("isbn13", &["978-0321751041", "978 0321751041"], &["978-0321751042", "0321751043"]);
        check("isbn", &["0321751043", "978-0321751041"], &["", "1"]);
        check(
            "creditcard",
            &["4111 1111 1111 1111", "378282246310005"],
            &["4111111111111112", "", "x"],
        );
        check("ssn", &["111-11-1111", "111 11 1111"], &["111111111", "111-11-111", "111-1111111"]);
        check(
            "byte",
            &["dGVzdA==", "dGVzdDE=", "YWJj"],
            &["", "dGVzdA", "====", "dG VzdA=", "-_-_"],
        );
        check("password", &["", "anything"], &[]);
        check("hexcolor", &["#FFF", "fffFFF"], &["#ffff", "#ggg", ""]);
        check(
            "rgbcolor",
            &["rgb(0,10,255)", "rgb( 1 , 2 , 3 )"],
            &["rgb(256,0,0)", "rgb(01,0,0)", "rgb(1,2)", "rgb (1,2,3)", "rgb(1,2,3,4)"],
        );
    }

    #[test]
    fn addresses_are_what_they_are_for_go() {
        check(
            "ipv4",
            &["10.0.0.1", "010.000.0.01", "::ffff:10.0.0.1"],
            &["10.0.0", "10.0.0.256", "::1", ""],
        );
        check(
            "ipv6",
            &["::1", "fd00::a", "::ffff:10.0.0.1"],
            &["10.0.0.1", "fe80::1%eth0", ":::", ""],
        );
        check(
            "cidr",
            &["10.0.0.1/8", "010.0.0.0/08", "fd00::/64"],
            &["10.0.0.0", "10.0.0.0/33", "fd00::/129", "10.0.0.0/+8"],
        );
        check(
            "mac",
            &["0123456789ab", "01:23:45:67:89:ab", "01-23-45-67-89-AB-cd-ef", "0123.4567.89ab"],
            &["01:23:45:67:89", "01:23-45:67:89:ab", "0123456789a", "01:23:45:67:89:zz", ""],
        );
        check(
            "uri",
            &[
                "/path",
                "http://a.example:80/b?c#d",
                "urn:a:b",
                "*",
                "http://[::1]:8/x",
                "x:",
                "http://u:p@h/é",
            ],
            &[
                "",
                "path",
                "a b",
                ":80",
                "http://a b/",
                "http://a:b/",
                "/%zz",
                "http://[1.2.3.4]/",
                "/a\nb",
            ],
        );
        check(
            "hostname",
            &["a.example", "1.example.com", "a-b.c-d.museum", "ab", "a-b", "bücher.example"],
            &[
                "",
                "-a.example",
                "a-.example",
                "a.b-c",
                "a..example",
                "a.1",
                "a.b",
                "a_b.example",
                "a-b-c",
            ],
        );
        check(
            "email",
            &[
                "a@b",
                "a.b@example.com",
                "A B <a@b>",
                "\"a b\"@c",
                "a@[127.0.0.1]",
                " a@b (me) ",
                "<a@b>",
            ],
            &["", "a", "@b", "a@", "a..b@c", ".a@b", "a@b c", "a <b>", "a@b, c@d", "a@[x]"],
        );
        check("k8s-short-name", &["a", "1-b"], &["", "-a", "a-", "A", "a.b", &"a".repeat(64)]);
        check("k8s-long-name", &["a.b", &"a".repeat(253)], &["a..b", "A", ".a", &"a".repeat(254)]);
    }

    #[test]
    fn times_are_what_they_are_for_kubernetes() {
        check(
            "date",
            &["2024-02-29", "0000-01-01"],
            &["2023-02-29", "2024-2-9", "20240229", "", "2024-02-29T00"],
        );
        let fine =
            ["2014-12-15T19:30:20.000Z", "2014-12-15t19:30:20z", "2014-12-15T19:30:20+01:00"];
        let wrong = [
            "2014-12-15",
            "2014-12-15T24:00:00Z",
            "2014-12-15T19:30:20",
            "2014-13-15T19:30:20Z",
            "",
        ];
        check("date-time", &fine, &wrong);
        check("datetime", &fine, &wrong);
        check(
            "duration",
            &[
                "1h30m",
                "-1.5s",
                "0",
                "22 ns",
                "3 weeks",
                "1 Day",
                "2 µs",
                "1.h",
                "1 fortnight 2 days",
            ],
            &["", "1", "h", "1 fortnight", "99999999999999999999h", "-"],
        );
    }

    #[test]
    fn formats_of_other_values_and_unknown_ones_say_nothing() {
        let is = |type_: Option<&str>, format: &str| {
            is_checked(type_.map(Value::from).as_ref(), &Value::from(format))
        };
        assert!(is(Some("string"), "uuid") && is(None, "date-time") && is(Some(""), "byte"));
        assert!(!is(Some("integer"), "uuid") && !is(Some("object"), "date"));
        for unknown in ["regex", "time", "uri-reference", "idn-email", "int32", "json-pointer", ""]
        {
            assert!(!is(Some("string"), unknown), "{unknown}");
        }
    }
}
