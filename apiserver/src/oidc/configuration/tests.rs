use serde_json::{Value, json};

use super::*;

fn jwt(more: &Value) -> Value {
    let mut jwt = json!({
        "issuer": {"url": "https://i.example", "audiences": ["a"]},
        "claimMappings": {"username": {"claim": "sub", "prefix": ""}},
    });
    jwt.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    jwt
}

fn read(jwts: &[Value]) -> Result<Vec<OidcProvider>, String> {
    let text = json!({"apiVersion": VERSIONS[0], "kind": KIND, "jwt": jwts}).to_string();
    providers(&text).map_err(|error| error.to_string())
}

fn refused(more: &Value, expected: &str) {
    let why = read(&[jwt(more)]).unwrap_err();
    assert!(why.contains(expected), "{why}");
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    read(&[jwt(&json!({}))]).unwrap();
    let twice = read(&[jwt(&json!({})), jwt(&json!({}))]).unwrap_err();
    assert!(
        twice.contains(r#"jwt[1].issuer.url: Duplicate value: "https://i.example""#),
        "{twice}"
    );
    let issuer = |url: &str| json!({"issuer": {"url": url, "audiences": ["a"]}});
    refused(
        &issuer("http://x"),
        "jwt[0].issuer.url: Invalid value: \"http://x\": URL scheme must be https",
    );
    refused(&json!({"issuer": {"url": "https://x"}}), "jwt[0].issuer.audiences: Required value");
    let mapped = |username: Value| json!({"claimMappings": {"username": username}});
    refused(&mapped(json!({})), "jwt[0].claimMappings.username: Required value");
    refused(&mapped(json!({"claim": "sub"})), "username.prefix: Required value");
    refused(
        &mapped(json!({"claim": "sub", "prefix": "", "expression": "'x'"})),
        "can't both be set",
    );
    refused(&mapped(json!({"expression": "claims."})), "username.expression: Invalid value");
    refused(&mapped(json!({"expression": "claims.email"})), "claims.email_verified must be used");
    read(&[jwt(&mapped(json!({"expression": "claims.email_verified ? claims.email : ''"})))])
        .unwrap();
    refused(&json!({"userValidationRules": [{"expression": "'x'"}]}), "must evaluate to bool");
    refused(&json!({"frog": 1}), "frog");
    let other = json!({"apiVersion": "v1", "kind": KIND}).to_string();
    assert!(providers(&other).is_err());
}

#[test]
fn nobody_else_has_the_issuer_of_service_accounts() {
    let providers = read(&[jwt(&json!({}))]).unwrap();
    let refused = |issuers: &[&str]| {
        let issuers: Vec<String> = issuers.iter().map(|&issuer| issuer.to_owned()).collect();
        OidcProvider::validate_issuers(&providers, &issuers).map_err(|error| error.to_string())
    };
    assert_eq!(refused(&["https://other.example"]), Ok(()));
    let why = r#"jwt[0].issuer.url: Invalid value: "https://i.example": URL must not overlap with disallowed issuers: [https://a https://i.example]"#;
    assert_eq!(refused(&["https://a", "https://i.example"]), Err(why.to_owned()));
}

fn identity(more: &Value, claims: &Value) -> Result<(String, Vec<String>, Value), String> {
    let provider = read(&[jwt(more)]).unwrap().remove(0);
    let found = provider.0.mapping.identity(claims.as_object().unwrap())?;
    let rest = json!({"uid": found.uid, "extra": found.extra});
    Ok((found.user, found.groups, rest))
}

#[test]
fn expressions_say_who_somebody_is_and_what_must_hold() {
    let more = json!({
        "claimMappings": {
            "username": {"expression": "claims.name + '@corp'"},
            "groups": {"expression": "claims.roles.map(r, 'role:' + r)"},
            "uid": {"claim": "sub"},
            "extra": [{"key": "corp.example/floor", "valueExpression": "claims.floor"},
                {"key": "corp.example/none", "valueExpression": "''"}],
        },
        "claimValidationRules": [{"expression": "claims.exp - claims.iat <= 3600", "message": "it lasts too long"},
            {"claim": "hd", "requiredValue": "corp"}],
        "userValidationRules": [{"expression": "!user.username.startsWith('system:')", "message": "no such names"}],
    });
    let claims = |change: Value| {
        let mut claims = json!({"name": "jane", "sub": "7", "roles": ["dev"], "floor": "3", "hd": "corp",
            "exp": 100, "iat": 50});
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        claims
    };
    let of = |change: Value| identity(&more, &claims(change));
    let rest = json!({"uid": "7", "extra": {"corp.example/floor": ["3"]}});
    assert_eq!(of(json!({})), Ok(("jane@corp".to_owned(), vec!["role:dev".to_owned()], rest)));
    let why = of(json!({"exp": 10_000})).unwrap_err();
    assert!(why.ends_with("failed: it lasts too long"), "{why}");
    let why = of(json!({"name": "system:x"})).unwrap_err();
    assert!(why.ends_with("failed: no such names"), "{why}");
    assert!(of(json!({"name": 7})).is_err() && of(json!({"hd": "x"})).is_err());
}
