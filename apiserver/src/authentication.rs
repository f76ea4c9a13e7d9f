//! Who is asking: the owner of the client certificate of the connection, the service account whose token the request
//! shows, a node that joins with a bootstrap token, somebody for whom an OpenID provider or a webhook vouches, or nobody in
//! particular.

mod absent;
mod account;
mod bootstrap_token;

use std::sync::Arc;

use api_machinery::ApiError;
use http::{HeaderMap, header};

use self::account::Known;
use crate::{
    identity::Identity,
    objects::Objects,
    oidc::OidcProvider,
    token_webhook::TokenWebhook,
    tokens::{TokenError, Tokens, Verified},
    websocket,
};

pub(crate) use absent::Absent;

/// What tells who makes a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Authenticator<'a> {
    pub(crate) tokens: &'a Tokens,
    pub(crate) objects: Objects<'a>,
    pub(crate) absent: &'a Absent,
    pub(crate) oidc: &'a [OidcProvider],
    /// Asked about tokens that are of no use here.
    pub(crate) webhook: Option<&'a TokenWebhook>,
}

impl Authenticator<'_> {
    /// Who makes a request: whom its connection's certificate names, and without one whom its token does.
    ///
    /// # Errors
    /// 401 for a certificate or a token that is of no use: its sender would go on as nobody in particular, and not know why it
    /// may do nothing.
    pub(crate) async fn of_request(
        self,
        connection: Option<&Arc<Identity>>,
        headers: &HeaderMap,
    ) -> Result<Arc<Identity>, ApiError> {
        let shown = || bearer(headers).map(str::to_owned).or_else(|| websocket::bearer(headers));
        let is_known = connection.is_some_and(|identity| !identity.is_anonymous());
        let Some(token) = (!is_known).then(shown).flatten() else {
            return connection.cloned().ok_or_else(ApiError::unauthorized);
        };
        match self.of_token(&token, self.tokens.audiences()).await {
            Ok((identity, _)) => Ok(Arc::new(identity)),
            Err(TokenError::Unknown(error)) => Err(error),
            Err(error) => {
                tracing::debug!(%error, "a token is refused");
                Err(ApiError::unauthorized())
            }
        }
    }

    /// Whose a token is, and for which of these audiences it is meant.
    pub(crate) async fn of_token(
        self,
        token: &str,
        audiences: &[String],
    ) -> Result<(Identity, Vec<String>), TokenError> {
        let known = self.known_here(token, audiences).await;
        match (known, self.webhook) {
            (Err(refused @ (TokenError::Foreign | TokenError::Refused(_))), Some(webhook)) => {
                let found = webhook.find(token, audiences, self.tokens.audiences()).await;
                found.map_err(TokenError::Refused)?.ok_or(refused)
            }
            (known, _) => known,
        }
    }

    async fn known_here(
        self,
        token: &str,
        audiences: &[String],
    ) -> Result<(Identity, Vec<String>), TokenError> {
        if let Some(token) = bootstrap_token::parse(token) {
            let identity = bootstrap_token::identity(self.objects, token)?;
            return Ok((identity, self.meant_here("bootstrap token", audiences)?));
        }
        if let Some(provider) = self.oidc.iter().find(|provider| provider.issued(token)) {
            let identity = provider.identity(token).await.map_err(TokenError::Refused)?;
            return Ok((identity, self.meant_here("token", audiences)?));
        }
        let Verified { claims, audiences } = self.tokens.verify(token, audiences)?;
        let known = Known { objects: self.objects, absent: self.absent };
        Ok((account::identity(known, &claims).await?, audiences))
    }

    /// Those of the audiences that are this server, for which a token is meant that names none.
    fn meant_here(self, what: &str, audiences: &[String]) -> Result<Vec<String>, TokenError> {
        let own = self.tokens.audiences();
        let meant = audiences.iter().filter(|audience| own.contains(audience));
        let meant: Vec<String> = meant.cloned().collect();
        if meant.is_empty() {
            let why = format!("{what} is invalid for the target audiences {audiences:?}");
            return Err(TokenError::Refused(why));
        }
        Ok(meant)
    }
}

/// Kubernetes: `k8s.io/apiserver/pkg/authentication/request/bearertoken`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim();
    let (scheme, token) = text.split_once(' ')?;
    let token = token.split(' ').next().unwrap_or_default();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_what_comes_after_bearer() {
        let check = |given: &'static str, expected: Option<&str>| {
            let headers = [(header::AUTHORIZATION, given.parse().unwrap())].into_iter().collect();
            assert_eq!(bearer(&headers), expected, "{given}");
        };
        check("Bearer x", Some("x"));
        check("bearer x y", Some("x"));
        check("Basic eDp5", None);
        check("Bearer", None);
        check("Bearer  x", None);
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
