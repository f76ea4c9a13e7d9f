//! Who somebody is, by what a provider says of him. Pure.

use std::collections::BTreeMap;

use expressions::{Budget, Program, REQUEST_LIMIT, Value as Evaluated};
use serde_json::{Map, Value, json};

use super::options::OidcOptions;
use crate::identity::Identity;

const SUBJECT: &str = "sub";
const EMAIL: &str = "email";

/// Which claims are what, and what must hold of them.
#[derive(Debug)]
pub(super) struct Mapping {
    pub(super) username: Source,
    pub(super) groups: Option<Source>,
    pub(super) uid: Option<Source>,
    pub(super) extra: Vec<(String, Program)>,
    /// Claims that must be there, and their values.
    pub(super) required: BTreeMap<String, String>,
    /// What must hold of the variable `claims`.
    pub(super) claim_rules: Vec<Rule>,
    /// What must hold of the variable `user`, once it is known.
    pub(super) user_rules: Vec<Rule>,
}

/// Where something comes from.
#[derive(Debug)]
pub(super) enum Source {
    Claim {
        name: String,
        prefix: String,
    },
    /// Over the variable `claims`.
    Expression(Program),
}

/// What must hold.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) program: Program,
    /// What is said if it does not.
    pub(super) message: String,
}

/// Claims, as expressions see them: all together may cost so much.
struct Evaluation {
    claims: Evaluated,
    budget: Budget,
}

impl Mapping {
    pub(super) fn new(options: &OidcOptions) -> Self {
        let name = options.username_claim.clone().unwrap_or_else(|| SUBJECT.to_owned());
        let prefix = match options.username_prefix.as_deref() {
            Some("-") => String::new(),
            Some(prefix) if !prefix.is_empty() => prefix.to_owned(),
            _ if name == EMAIL => String::new(),
            _ => format!("{}#", options.issuer),
        };
        let prefix_of_groups = options.groups_prefix.clone();
        let groups = options.groups_claim.clone();
        Self {
            username: Source::Claim { name, prefix },
            groups: groups.map(|name| Source::Claim { name, prefix: prefix_of_groups }),
            uid: None,
            extra: Vec::new(),
            required: options.required_claims.clone(),
            claim_rules: Vec::new(),
            user_rules: Vec::new(),
        }
    }

    /// The user, with his groups and what else is said of him.
    pub(super) fn identity(&self, claims: &Map<String, Value>) -> Result<Identity, String> {
        let of_expressions = if self.has_expressions() { claims.clone() } else { Map::new() };
        let evaluated = Evaluated::from(&Value::Object(of_expressions));
        let mut evaluation = Evaluation { claims: evaluated, budget: Budget::new(REQUEST_LIMIT) };
        let user = self.username(claims, &mut evaluation)?;
        let groups = self.groups.as_ref().map(|it| it.texts("groups", claims, &mut evaluation));
        let uid = self.uid.as_ref().map(|it| it.texts("uid", claims, &mut evaluation));
        let mut identity = Identity {
            user,
            groups: groups.transpose()?.unwrap_or_default(),
            uid: uid.transpose()?.and_then(|uid| uid.into_iter().next()),
            extra: BTreeMap::new(),
        };
        for (key, program) in &self.extra {
            let values = evaluation.texts(program, &format!("extra {key:?}"))?;
            if !values.is_empty() {
                identity.extra.insert(key.clone(), values);
            }
        }
        self.check_required(claims)?;
        for rule in &self.claim_rules {
            evaluation.check(rule)?;
        }
        self.check_user(&identity)?;
        Ok(identity)
    }

    fn has_expressions(&self) -> bool {
        let by_claim = |it: &Source| matches!(it, Source::Claim { .. });
        let all = [Some(&self.username), self.groups.as_ref(), self.uid.as_ref()];
        !all.into_iter().flatten().all(by_claim)
            || !self.extra.is_empty()
            || !self.claim_rules.is_empty()
    }

    fn username(
        &self,
        claims: &Map<String, Value>,
        evaluation: &mut Evaluation,
    ) -> Result<String, String> {
        if let Source::Claim { name, .. } = &self.username {
            if !claims.get(name).is_some_and(Value::is_string) {
                return Err(format!(
                    "oidc: parse username claims {name:?}: claim not present, or no text"
                ));
            }
            // Where it is said, it has to be so: anybody may have given any address.
            let verified = claims.get("email_verified").filter(|_| name == EMAIL);
            if verified.is_some_and(|it| *it != Value::Bool(true)) {
                return Err("oidc: email not verified".to_owned());
            }
        }
        match self.username.texts("username", claims, evaluation)?.as_slice() {
            [name] if !name.is_empty() => Ok(name.clone()),
            _ => Err("oidc: the user name is empty, or several".to_owned()),
        }
    }

    fn check_required(&self, claims: &Map<String, Value>) -> Result<(), String> {
        for (claim, wanted) in &self.required {
            match claims.get(claim) {
                None => {
                    return Err(format!("oidc: required claim {claim} not present in ID token"));
                }
                Some(found) if found.as_str() != Some(wanted) => {
                    return Err(format!(
                        "oidc: required claim {claim} value does not match. Got = {found}, want = {wanted}"
                    ));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn check_user(&self, Identity { user, groups, uid, extra }: &Identity) -> Result<(), String> {
        if self.user_rules.is_empty() {
            return Ok(());
        }
        let uid = uid.as_deref().unwrap_or_default();
        let user = json!({ "username": user, "groups": groups, "uid": uid, "extra": extra });
        let variables = BTreeMap::from([("user", Evaluated::from(&user))]);
        let mut budget = Budget::new(REQUEST_LIMIT);
        for Rule { program, message } in &self.user_rules {
            match program.evaluate_out_of(&variables, &mut budget) {
                Ok(Evaluated::Bool(true)) => {}
                Ok(_) => return Err(format!("oidc: {message}")),
                Err(why) => return Err(format!("oidc: error evaluating user info: {why}")),
            }
        }
        Ok(())
    }
}

impl Source {
    /// Each with what it begins with.
    fn texts(
        &self,
        what: &str,
        claims: &Map<String, Value>,
        evaluation: &mut Evaluation,
    ) -> Result<Vec<String>, String> {
        match self {
            Self::Expression(program) => evaluation.texts(program, what),
            Self::Claim { name, prefix } => {
                let found = texts(claims.get(name).unwrap_or(&Value::Null), name)?;
                // Nothing comes of nothing.
                let with_prefix = |text: String| match (what, text.is_empty()) {
                    ("username", true) => text,
                    _ => format!("{prefix}{text}"),
                };
                Ok(found.into_iter().map(with_prefix).collect())
            }
        }
    }
}

/// A text or several.
fn texts(value: &Value, what: &str) -> Result<Vec<String>, String> {
    let fault = || format!("oidc: parse {what}: neither text nor a list of texts");
    let text = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(fault);
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(values) => values.iter().map(text).collect(),
        value => Ok(vec![text(value)?]),
    }
}

impl Evaluation {
    fn of(&mut self, program: &Program) -> Result<Value, String> {
        let failed = |why| format!("oidc: error evaluating claims: {why}");
        let variables = BTreeMap::from([("claims", self.claims.clone())]);
        let value = program.evaluate_out_of(&variables, &mut self.budget).map_err(failed)?;
        value.to_json(&mut self.budget).map_err(failed)
    }

    /// An empty text is none.
    fn texts(&mut self, program: &Program, what: &str) -> Result<Vec<String>, String> {
        let mut found = texts(&self.of(program)?, what)?;
        found.retain(|text| !text.is_empty());
        Ok(found)
    }

    fn check(&mut self, Rule { program, message }: &Rule) -> Result<(), String> {
        match self.of(program)? {
            Value::Bool(true) => Ok(()),
            _ => Err(format!("oidc: {message}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(options: OidcOptions, claims: &Value, expected: Result<(&str, &[&str]), &str>) {
        let options = OidcOptions { issuer: "https://i".to_owned(), ..options };
        let found = Mapping::new(&options).identity(claims.as_object().unwrap());
        let found = found.map(|it| (it.user, it.groups));
        let owned = |all: &[&str]| all.iter().map(|&it| it.to_owned()).collect::<Vec<_>>();
        let expected = expected.map(|(user, groups)| (user.to_owned(), owned(groups)));
        assert_eq!(found, expected.map_err(str::to_owned), "{claims}");
    }

    fn named(claim: &str, prefix: Option<&str>) -> OidcOptions {
        let username_claim = Some(claim.to_owned());
        let username_prefix = prefix.map(str::to_owned);
        OidcOptions { username_claim, username_prefix, ..OidcOptions::default() }
    }

    #[test]
    fn names_have_the_issuer_before_them_unless_they_are_addresses_or_it_is_said() {
        let none = OidcOptions::default;
        check(none(), &json!({"sub": "jane"}), Ok(("https://i#jane", &[])));
        check(named("name", None), &json!({"name": "jane"}), Ok(("https://i#jane", &[])));
        check(named("name", Some("-")), &json!({"name": "jane"}), Ok(("jane", &[])));
        check(named("name", Some("x:")), &json!({"name": "jane"}), Ok(("x:jane", &[])));
        let missing = r#"oidc: parse username claims "sub": claim not present, or no text"#;
        check(none(), &json!({"sub": 7}), Err(missing));
        check(none(), &json!({}), Err(missing));
        check(none(), &json!({"sub": ""}), Err("oidc: the user name is empty, or several"));
        let email = |verified: Value| json!({"email": "j@x", "email_verified": verified});
        check(named("email", None), &json!({"email": "j@x"}), Ok(("j@x", &[])));
        check(named("email", None), &email(json!(true)), Ok(("j@x", &[])));
        check(named("email", None), &email(json!(false)), Err("oidc: email not verified"));
        check(named("email", None), &email(json!("true")), Err("oidc: email not verified"));
    }

    #[test]
    fn groups_are_a_text_or_several() {
        let of = |claim: Value, expected: Result<&[&str], &str>| {
            let groups_claim = Some("roles".to_owned());
            let groups_prefix = "g:".to_owned();
            let options = OidcOptions { groups_claim, groups_prefix, ..named("sub", Some("-")) };
            let claims = json!({"sub": "jane", "roles": claim});
            check(options, &claims, expected.map(|groups| ("jane", groups)));
        };
        of(json!(["a", "b"]), Ok(&["g:a", "g:b"]));
        of(json!("a"), Ok(&["g:a"]));
        of(Value::Null, Ok(&[]));
        let fault = "oidc: parse roles: neither text nor a list of texts";
        of(json!(["a", 1]), Err(fault));
        of(json!({"a": 1}), Err(fault));
    }

    #[test]
    fn what_is_required_must_be_said_so() {
        let required_claims = BTreeMap::from([("hd".to_owned(), "corp".to_owned())]);
        let options = OidcOptions { required_claims, ..named("sub", Some("-")) };
        let of = |claims: &Value, expected| check(options.clone(), claims, expected);
        of(&json!({"sub": "jane", "hd": "corp"}), Ok(("jane", &[])));
        of(&json!({"sub": "jane"}), Err("oidc: required claim hd not present in ID token"));
        let why = r#"oidc: required claim hd value does not match. Got = ["corp"], want = corp"#;
        of(&json!({"sub": "jane", "hd": ["corp"]}), Err(why));
    }
}
