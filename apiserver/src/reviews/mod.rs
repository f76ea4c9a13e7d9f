//! Reviews: kinds that are asked and not stored. The answer is the object that was given, with a status
//! (Kubernetes: `pkg/registry/authentication`).

mod access;

use api_machinery::ApiError;
use api_types::api::authentication::v1::{
    SelfSubjectReview, SelfSubjectReviewStatus, TokenReview, TokenReviewStatus, UserInfo,
};
use registry::AnyObject;

use crate::{
    admission::Operation,
    authentication::Authenticator,
    call::Call,
    respond::{self, Response},
    state::State,
    storage::Address,
    tokens::TokenError,
};

/// Answers a review.
pub(crate) async fn create(
    state: &State,
    call: &Call,
    mut given: AnyObject,
    warnings: &[String],
) -> Result<Response, ApiError> {
    call.presentation.refuse_table(&call.info.def)?;
    let at = Address { def: &call.info.def, namespace: None, name: "" };
    let attributes = call.attributes(Operation::Create, at, "", None);
    state.admission.admit(&state.storage, &attributes, Some(&mut given)).await?;
    if let Some(review) = given.get_mut::<TokenReview>() {
        review.status = Some(review_token(state.authenticator(), review).await?);
    } else if let Some(review) = given.get_mut::<SelfSubjectReview>() {
        let user_info = Some(call.identity.info());
        review.status = Some(SelfSubjectReviewStatus { user_info });
    } else {
        access::answer(
            &state.authorizer,
            &call.identity,
            call.info.namespace.as_deref(),
            &mut given,
        )?;
    }
    Ok(respond::created(&given.to_value()?, warnings))
}

/// Whose the token is, for audiences of which one is to be the server's if the review names none.
async fn review_token(
    authenticator: Authenticator<'_>,
    review: &TokenReview,
) -> Result<TokenReviewStatus, ApiError> {
    let spec = &review.spec;
    if spec.token.is_empty() {
        return Err(ApiError::bad_request("token is required for TokenReview in authentication"));
    }
    let wanted = spec.audiences.as_deref().filter(|wanted| !wanted.is_empty());
    let wanted = wanted.unwrap_or(authenticator.tokens.audiences());
    match authenticator.of_token(&spec.token, wanted).await {
        Ok((identity, audiences)) => Ok(TokenReviewStatus {
            audiences: Some(audiences),
            authenticated: Some(true),
            error: None,
            user: Some(identity.info()),
        }),
        Err(TokenError::Unknown(error)) => Err(error),
        Err(error) => Ok(TokenReviewStatus {
            error: Some(error.to_string()),
            user: Some(UserInfo::default()),
            ..TokenReviewStatus::default()
        }),
    }
}
