use super::*;

const ED25519: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
const OTHER: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA6rWI3G1sz07DnfFlrouTcysQlj2P+jpNSOEWD9OJ3X";

fn key(text: &str) -> PublicKey {
    PublicKey::from_openssh(text).unwrap()
}

fn allows(keys: &[&str], known_hosts: Option<&str>, host: &str, port: u16) -> bool {
    let keys = HostKeys::parse(host, port, keys, known_hosts);
    keys.is_ok_and(|keys| keys.allow(&key(ED25519)))
}

/// As `ssh-keygen -H` makes it.
fn hashed(name: &str) -> String {
    let salt = [7; 20];
    let tag =
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt), name.as_bytes());
    let base64 = |bytes: &[u8]| {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(bytes)
    };
    format!("|1|{}|{}", base64(&salt), base64(tag.as_ref()))
}

#[test]
fn a_key_is_known_by_itself_or_by_its_fingerprint_and_any_of_several_will_do() {
    let fingerprint = key(ED25519).fingerprint(HashAlg::Sha256).to_string();
    assert!(allows(&[ED25519], None, "h", 22));
    assert!(allows(&[&format!("{ED25519} a comment\n")], None, "h", 22));
    assert!(allows(&[&fingerprint], None, "h", 22));
    assert!(allows(&[OTHER, &fingerprint], None, "h", 22));
    assert!(!allows(&[OTHER], None, "h", 22));
}

#[test]
fn what_is_no_key_is_told_and_no_key_at_all_is_not_every_key() {
    let parse =
        |keys: &[&str], known_hosts| HostKeys::parse("h", 22, keys, known_hosts).unwrap_err();
    assert_eq!(parse(&["SHA256:x"], None), "\"SHA256:x\" is no fingerprint");
    assert!(parse(&["ssh-ed25519 AAAA"], None).contains("neither a fingerprint"));
    assert_eq!(parse(&[], None), "no host key of h is given");
    assert_eq!(parse(&[], Some("")), "known_hosts has no key of h");
    assert!(parse(&[], Some("h ssh-ed25519 !")).contains("no key of h: line 1: "));
}

#[test]
fn known_hosts_are_of_their_host_and_port() {
    let line = |hosts: &str| format!("# theirs\n\n{hosts} {ED25519} comment\n");
    let check = |hosts: &str, host, port, expected| {
        assert_eq!(
            allows(&[], Some(&line(hosts)), host, port),
            expected,
            "{hosts} for {host}:{port}"
        );
    };
    check("login.example.org", "login.example.org", 22, true);
    check("login.example.org", "other.example.org", 22, false);
    check("login.example.org", "login.example.org", 2222, false);
    check("[login]:2222", "login", 2222, true);
    check("[login]:2222", "login", 22, false);
    check("a,login,10.0.0.1", "10.0.0.1", 22, true);
    check("*.example.org", "login.example.org", 22, true);
    check("*.example.org,!login.example.org", "login.example.org", 22, false);
    check("l?gin", "login", 22, true);
    check(&hashed("login"), "login", 22, true);
    check(&hashed("login"), "other", 22, false);
    check(&hashed("[login]:2222"), "login", 2222, true);
    check("@cert-authority login", "login", 22, false);
    check("@revoked login", "login", 22, false);
}

#[test]
fn a_revoked_key_will_not_do_whoever_gives_it() {
    let revoked = format!("@revoked * {ED25519}\n");
    assert!(!allows(&[ED25519], Some(&revoked), "login", 22));
    assert!(allows(&[ED25519], Some(&format!("@revoked * {OTHER}\n")), "login", 22));
}

#[test]
fn only_the_algorithms_of_known_keys_are_agreed_on() {
    let algorithms = |keys: &[&str]| HostKeys::parse("h", 22, keys, None).unwrap().algorithms();
    assert_eq!(algorithms(&[ED25519]), [Algorithm::Ed25519]);
    let fingerprint = key(OTHER).fingerprint(HashAlg::Sha256).to_string();
    assert_eq!(algorithms(&[&fingerprint]), Preferred::DEFAULT.key.to_vec());
}

#[test]
fn a_line_that_cannot_be_read_spoils_no_other() {
    let foreign = "other 1024 35 1234567890\nother ssh-unknown AAAA\n@unknown x y z\n";
    let known = format!("{foreign}h\t{}\n", ED25519.replace(' ', "\t"));
    assert!(allows(&[], Some(&known), "h", 22));
    let none = HostKeys::parse::<&str>("h", 22, &[], Some(foreign)).unwrap_err();
    assert!(none.contains("known_hosts has no key of h: line 1: "), "{none}");
}

#[test]
fn with_a_fingerprint_every_kind_of_key_is_asked_for() {
    let fingerprint = key(ED25519).fingerprint(HashAlg::Sha256).to_string();
    let offers = |keys: &[&str]| HostKeys::parse("h", 22, keys, None).unwrap().offers();
    assert_eq!(offers(&[ED25519]), [vec![Algorithm::Ed25519]]);
    let several = offers(&[&fingerprint]);
    assert!(several[0].len() > 2 && several.contains(&vec![Algorithm::Ed25519]), "{several:?}");
    assert!(several[1..].concat().iter().all(|algorithm| several[0].contains(algorithm)));
    assert_eq!(several[1..].concat().len(), several[0].len());
}
