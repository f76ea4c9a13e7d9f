//! Keys in the forms in which they are written down (`testdata`, made by openssl), and tokens that are not to be taken.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, get_current_timestamp};
use ring::hmac;
use serde_json::json;

use super::*;

const RSA: &str = include_str!("testdata/rsa-pkcs1.pem");
const P256: &str = include_str!("testdata/p256-sec1.pem");
const P384: &str = include_str!("testdata/p384-sec1.pem");
const RSA_PUBLIC: &str = include_str!("testdata/rsa.pub");
const P256_PUBLIC: &str = include_str!("testdata/p256.pub");
const P384_PUBLIC: &str = include_str!("testdata/p384.pub");

fn claims(changes: &Value) -> Value {
    let now = get_current_timestamp();
    let mut claims = json!({
        "aud": ["here", "there"], "exp": now + 600, "iat": now, "nbf": now, "jti": "1",
        "iss": DEFAULT_ISSUER, "sub": "system:serviceaccount:default:robot",
        "kubernetes.io": {"namespace": "default", "serviceaccount": {"name": "robot", "uid": "u"}},
    });
    for (name, value) in changes.as_object().into_iter().flatten() {
        claims[name] = value.clone();
    }
    claims
}

fn signed(by: &Tokens, changes: &Value) -> String {
    by.sign(&serde_json::from_value(claims(changes)).unwrap()).unwrap()
}

fn outcome(tokens: &Tokens, token: &str) -> Result<Vec<String>, String> {
    let verified = tokens.verify(token, &["there".to_owned()]);
    verified.map(|verified| verified.audiences).map_err(|error| error.to_string())
}

#[test]
fn keys_are_read_however_they_are_written_and_named_by_their_digests() {
    let (rsa, p256) = (
        "siIaqhIFf5PRUW7XvlHa-rTJLfJHdx7k6C-puUh461g",
        "NCqiyRQSBqY8JosaT8KTvRAi0yIo9ttc3pw55_BHjps",
    );
    let p384 = "i92BXP6wLvVQ9pwAwFwellBPx7Pam8Lbol-HWORk32g";
    for (private, public, id, algorithm) in [
        (RSA, RSA_PUBLIC, rsa, "RS256"),
        (include_str!("testdata/rsa-pkcs8.pem"), RSA_PUBLIC, rsa, "RS256"),
        (P256, P256_PUBLIC, p256, "ES256"),
        (P384, P384_PUBLIC, p384, "ES384"),
        (include_str!("testdata/p384-pkcs8.pem"), P384_PUBLIC, p384, "ES384"),
    ] {
        let ours = Tokens::new(private).unwrap();
        let jwk = ours.key_set()["keys"][0].clone();
        assert_eq!((&jwk["kid"], &jwk["alg"]), (&json!(id), &json!(algorithm)));
        let mut other = Tokens::ephemeral();
        let token = signed(&ours, &json!({}));
        assert_eq!(outcome(&other, &token), Err("invalid signature".to_owned()));
        other.trust(public).unwrap();
        assert_eq!(outcome(&other, &token), Ok(vec!["there".to_owned()]), "{algorithm}");
        assert_eq!(other.key_set()["keys"][1], jwk);
    }
}

#[test]
fn a_file_may_have_several_keys_and_must_have_one_of_use() {
    let mut tokens = Tokens::new(P256).unwrap();
    tokens.trust(&[RSA_PUBLIC, P384, P256_PUBLIC].concat()).unwrap();
    assert_eq!(tokens.key_set()["keys"].as_array().unwrap().len(), 3);
    let configuration = tokens.openid_configuration("10.0.0.1:6443").unwrap();
    let algorithms = &configuration["id_token_signing_alg_values_supported"];
    assert_eq!(*algorithms, json!(["ES256", "ES384", "RS256"]));
    let refused = |text: &str| Tokens::ephemeral().trust(text).unwrap_err().to_string();
    assert_eq!(refused("nothing"), "no RSA or ECDSA key is in it");
    let unsupported = "a key in it is neither of RSA nor of the curves P-256 and P-384";
    assert_eq!(refused(include_str!("testdata/ed25519.pem")), unsupported);
    assert_eq!(refused(include_str!("testdata/secp256k1.pub")), unsupported);
    let size = "an RSA key in it is not of 2048 to 8192 bits";
    assert_eq!(refused(include_str!("testdata/rsa-1024.pub")), size);
    assert!(matches!(Tokens::new(RSA_PUBLIC), Err(KeyError::None)));
}

#[test]
fn time_issuer_and_audience_must_be_right() {
    let tokens = Tokens::new(P256).unwrap();
    let now = get_current_timestamp();
    let check = |changes: Value, expected: Result<(), &str>| {
        let token = signed(&tokens, &changes);
        let expected = expected.map(|()| vec!["there".to_owned()]).map_err(str::to_owned);
        assert_eq!(outcome(&tokens, &token), expected, "{changes}");
    };
    check(json!({}), Ok(()));
    check(json!({"exp": now - 30}), Ok(()));
    check(json!({"exp": now - 90}), Err("service account token has expired"));
    check(json!({"nbf": now + 30}), Ok(()));
    check(json!({"nbf": now + 90}), Err("service account token is not valid yet"));
    check(json!({"iss": "https://elsewhere"}), Err("invalid bearer token"));
    let why = r#"token audiences ["here"] is invalid for the target audiences ["there"]"#;
    check(json!({"aud": ["here"]}), Err(why));
    let issuers = ["https://new", DEFAULT_ISSUER].map(str::to_owned).to_vec();
    let renamed = tokens.clone().between(issuers.clone(), Vec::new());
    assert!(outcome(&renamed, &signed(&tokens, &json!({}))).is_ok(), "the old issuer is known");
    assert_eq!((renamed.issuer(), renamed.audiences()), ("https://new", &*issuers));
    assert_eq!(
        tokens.between(vec!["robots".to_owned()], Vec::new()).openid_configuration("a"),
        None
    );
}

#[test]
fn a_token_is_signed_by_the_key_that_it_names_or_by_any() {
    let (mut tokens, other) = (Tokens::new(P256).unwrap(), Tokens::new(RSA).unwrap());
    tokens.trust(RSA_PUBLIC).unwrap();
    let check = |kid: Option<&str>, is_taken: bool| {
        let kid = kid.map(str::to_owned);
        let header = Header { typ: None, kid, ..Header::new(Algorithm::RS256) };
        let token = encode(&header, &claims(&json!({})), &other.signing.key).unwrap();
        assert_eq!(outcome(&tokens, &token).is_ok(), is_taken, "{header:?}");
    };
    check(None, true);
    check(Some(&other.signing.public.id), true);
    check(Some(&tokens.signing.public.id), false);
    check(Some("unknown"), false);
}

/// The signature of who takes a public key for a secret.
fn hmac(header: &Value, claims: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, P256_PUBLIC.as_bytes());
    let signed = format!("{}.{claims}", URL_SAFE_NO_PAD.encode(header.to_string()));
    URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes()))
}

#[test]
fn a_token_is_not_taken_that_was_changed_or_is_signed_otherwise() {
    let tokens = Tokens::new(P256).unwrap();
    let token = signed(&tokens, &json!({}));
    let parts: Vec<_> = token.split('.').collect();
    let other = signed(&tokens, &json!({"sub": "system:serviceaccount:default:admin"}));
    let swapped = [parts[0], other.split('.').nth(1).unwrap(), parts[2]].join(".");
    assert_eq!(outcome(&tokens, &swapped), Err("invalid signature".to_owned()));
    for (header, signature) in [
        (json!({"alg": "none"}), String::new()),
        (json!({"alg": "HS256"}), hmac(&json!({"alg": "HS256"}), parts[1])),
        (json!({"alg": "RS256"}), parts[2].to_owned()),
    ] {
        let head = URL_SAFE_NO_PAD.encode(header.to_string());
        let forged = [&head, parts[1], &signature].join(".");
        assert!(outcome(&tokens, &forged).is_err(), "{header}");
    }
    for nonsense in ["", "a", "a.b.c", "..", &token[1..], &token[..token.len() - 1]] {
        assert!(outcome(&tokens, nonsense).is_err(), "{nonsense}");
    }
}

#[test]
fn only_the_tokens_that_pods_get_by_themselves_are_good_for_longer() {
    let (tokens, here) = (Tokens::ephemeral(), [DEFAULT_ISSUER.to_owned()]);
    assert_eq!(tokens.extension(POD_SECONDS, &here), Some(YEAR));
    assert_eq!(tokens.extension(POD_SECONDS + 1, &here), None);
    let others = [DEFAULT_ISSUER.to_owned(), "vault".to_owned()];
    assert_eq!(tokens.extension(POD_SECONDS, &others), None);
    assert_eq!(tokens.extended(false).extension(POD_SECONDS, &here), None);
}
