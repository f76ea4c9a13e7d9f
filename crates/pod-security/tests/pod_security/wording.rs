//! How what several checks found becomes one text.

use pod_security::{Violation, forbidden_detail, forbidden_reason};

#[test]
fn reasons_are_joined_by_commas_with_their_details_in_parentheses() {
    let violations = [
        Violation { reason: "hostPort", detail: "container \"a\" uses hostPort 80".to_owned() },
        Violation { reason: "privileged", detail: String::new() },
        Violation { reason: "host namespaces", detail: "hostPID=true".to_owned() },
    ];
    assert_eq!(forbidden_reason(&violations), "hostPort, privileged, host namespaces");
    assert_eq!(
        forbidden_detail(&violations),
        "hostPort (container \"a\" uses hostPort 80), privileged, host namespaces (hostPID=true)"
    );
}

#[test]
fn without_a_violation_there_is_nothing_to_say() {
    assert_eq!(forbidden_reason(&[]), "");
    assert_eq!(forbidden_detail(&[]), "");
}
