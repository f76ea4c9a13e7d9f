//! What the certificates of kubelets say: who asks for them, who lets them be signed and who signs them agree on it
//! (Kubernetes: `pkg/apis/certificates/helpers.go`).

use crate::Request;

/// Signs kubelets' certificates for the API server, and nothing else.
pub const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// Signs kubelets' certificates for who connects to them, and nothing else.
pub const SERVING_SIGNER: &str = "kubernetes.io/kubelet-serving";

/// The group of all kubelets.
pub const GROUP: &str = "system:nodes";
/// What kubelets' names as users begin with; the node's name follows.
pub const USER_PREFIX: &str = "system:node:";

/// What a kubelet asks for as a client. Keys are none of RSA, so nothing is enciphered with them.
pub const CLIENT_USAGES: [&str; 2] = ["digital signature", "client auth"];
/// What a kubelet asks for as a server.
pub const SERVING_USAGES: [&str; 2] = ["digital signature", "server auth"];

/// Whether a request is one of a kubelet as a client.
///
/// # Errors
/// Why it is not.
pub fn check_client(request: &Request, usages: &[String]) -> Result<(), String> {
    check_group(request)?;
    let refused = [
        ("DNS", !request.dns_names.is_empty()),
        ("Email", !request.emails.is_empty()),
        ("IP", !request.addresses.is_empty()),
        ("URI", !request.uris.is_empty()),
    ];
    check_names(&refused)?;
    check_user(request)?;
    check_usages(usages, "client auth")
}

/// Whether a request is one of a kubelet as a server.
///
/// # Errors
/// Why it is not.
pub fn check_serving(request: &Request, usages: &[String]) -> Result<(), String> {
    check_group(request)?;
    if request.dns_names.is_empty() && request.addresses.is_empty() {
        return Err("DNS or IP subjectAltName is required".to_owned());
    }
    check_names(&[("Email", !request.emails.is_empty()), ("URI", !request.uris.is_empty())])?;
    check_usages(usages, "server auth")?;
    check_user(request)
}

fn check_group(request: &Request) -> Result<(), String> {
    match request.organizations.as_slice() {
        [group] if group == GROUP => Ok(()),
        _ => Err(format!("subject organization is not {GROUP}")),
    }
}

fn check_user(request: &Request) -> Result<(), String> {
    match request.common_name.starts_with(USER_PREFIX) {
        true => Ok(()),
        false => Err(format!("subject common name does not begin with {USER_PREFIX}")),
    }
}

fn check_names(present: &[(&str, bool)]) -> Result<(), String> {
    match present.iter().find(|(_, there)| *there) {
        Some((kind, _)) => Err(format!("{kind} subjectAltNames are not allowed")),
        None => Ok(()),
    }
}

/// Signatures, `own`, and for keys of RSA encipherment.
fn check_usages(usages: &[String], own: &str) -> Result<(), String> {
    let mut given: Vec<&str> = usages.iter().map(String::as_str).collect();
    given.retain(|usage| *usage != "key encipherment");
    given.sort_unstable();
    let mut wanted = ["digital signature", own];
    wanted.sort_unstable();
    if given == wanted {
        return Ok(());
    }
    let mut all = [wanted[0], wanted[1], "key encipherment"];
    all.sort_unstable();
    Err(format!("usages did not match [{}]", all.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{new_key, new_request};

    fn check(
        rule: fn(&Request, &[String]) -> Result<(), String>,
        (user, group, name): (&str, &str, &str),
        usages: &[&str],
        expected: Result<(), &str>,
    ) {
        let names: Vec<_> =
            [name].iter().filter(|n| !n.is_empty()).map(|&n| n.to_owned()).collect();
        let text = new_request(&new_key().unwrap(), user, &[group], &names).unwrap();
        let request = Request::parse(text.as_bytes()).unwrap();
        let usages: Vec<_> = usages.iter().map(|&usage| usage.to_owned()).collect();
        assert_eq!(
            rule(&request, &usages),
            expected.map_err(str::to_owned),
            "{user} {group} {name}"
        );
    }

    #[test]
    fn a_kubelet_as_a_client_is_known_by_its_name_and_group_alone() {
        let node = ("system:node:n1", GROUP, "");
        check(check_client, node, &CLIENT_USAGES, Ok(()));
        check(
            check_client,
            node,
            &["key encipherment", "client auth", "digital signature"],
            Ok(()),
        );
        check(
            check_client,
            node,
            &SERVING_USAGES,
            Err("usages did not match [client auth digital signature key encipherment]"),
        );
        let masters = ("system:node:n1", "system:masters", "");
        check(
            check_client,
            masters,
            &CLIENT_USAGES,
            Err("subject organization is not system:nodes"),
        );
        let user = ("jane", GROUP, "");
        let why = "subject common name does not begin with system:node:";
        check(check_client, user, &CLIENT_USAGES, Err(why));
        let server = ("system:node:n1", GROUP, "n1");
        check(check_client, server, &CLIENT_USAGES, Err("DNS subjectAltNames are not allowed"));
    }

    #[test]
    fn a_kubelet_as_a_server_has_names() {
        check(check_serving, ("system:node:n1", GROUP, "10.0.0.7"), &SERVING_USAGES, Ok(()));
        let nameless = ("system:node:n1", GROUP, "");
        let why = "DNS or IP subjectAltName is required";
        check(check_serving, nameless, &SERVING_USAGES, Err(why));
    }
}
