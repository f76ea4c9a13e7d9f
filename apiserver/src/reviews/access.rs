//! Whether somebody may do something, as reviews ask it (Kubernetes: `pkg/registry/authorization`).

use api_machinery::{ApiError, FieldErrors, FieldPath};
use api_types::{
    Resource,
    api::authorization::v1::{
        LocalSubjectAccessReview, NonResourceAttributes, NonResourceRule, ResourceAttributes,
        ResourceRule, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview,
        SubjectAccessReviewSpec, SubjectAccessReviewStatus, SubjectRulesReviewStatus,
    },
    api::rbac::v1::PolicyRule,
};
use registry::AnyObject;

use crate::{
    authorizer::Authorizer,
    identity::Identity,
    rbac::{self, Action, Asked, Decision, has_every_right},
};

/// Answers the review if it is one of these.
pub(super) fn answer(
    authorizer: &Authorizer,
    identity: &Identity,
    namespace: Option<&str>,
    review: &mut AnyObject,
) -> Result<(), ApiError> {
    if let Some(review) = review.get_mut::<SelfSubjectAccessReview>() {
        let spec = &review.spec;
        let (resource, path) = (&spec.resource_attributes, &spec.non_resource_attributes);
        let asked = asked(SelfSubjectAccessReview::KIND, resource.as_ref(), path.as_ref(), None)?;
        review.status = Some(status(authorizer.decide(identity, asked)));
    } else if let Some(review) = review.get_mut::<SubjectAccessReview>() {
        review.status = Some(about(authorizer, SubjectAccessReview::KIND, &review.spec)?);
    } else if let Some(review) = review.get_mut::<LocalSubjectAccessReview>() {
        check_local(&review.spec, namespace.unwrap_or_default())?;
        review.status = Some(about(authorizer, LocalSubjectAccessReview::KIND, &review.spec)?);
    } else if let Some(review) = review.get_mut::<SelfSubjectRulesReview>() {
        let namespace = review.spec.namespace.as_deref().filter(|name| !name.is_empty());
        let namespace =
            namespace.ok_or_else(|| ApiError::bad_request("no namespace on request"))?;
        review.status = Some(rules(authorizer, identity, namespace));
    }
    Ok(())
}

/// About somebody of whom the review says who it is.
fn about(
    authorizer: &Authorizer,
    kind: &'static str,
    spec: &SubjectAccessReviewSpec,
) -> Result<SubjectAccessReviewStatus, ApiError> {
    let identity = Identity {
        user: spec.user.clone().unwrap_or_default(),
        groups: spec.groups.clone().unwrap_or_default(),
        uid: spec.uid.clone(),
        extra: spec.extra.clone().unwrap_or_default(),
    };
    let resource = spec.resource_attributes.as_ref();
    let asked = asked(kind, resource, spec.non_resource_attributes.as_ref(), Some(&identity))?;
    Ok(status(authorizer.decide(&identity, asked)))
}

/// What is asked, if that is one thing, of somebody.
fn asked<'a>(
    kind: &'static str,
    resource: Option<&'a ResourceAttributes>,
    path: Option<&'a NonResourceAttributes>,
    identity: Option<&Identity>,
) -> Result<Asked<'a>, ApiError> {
    let (spec, mut errors) = (FieldPath::new("spec"), FieldErrors::default());
    let both = "cannot be specified in combination with nonResourceAttributes";
    let none = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
    let asked = match (resource, path) {
        (Some(resource), None) => Some(Asked::Resource(action(resource))),
        (None, Some(NonResourceAttributes { path, verb })) => {
            let (verb, path) = (text(verb.as_ref()), text(path.as_ref()));
            Some(Asked::Path { verb, path })
        }
        (Some(_), Some(_)) => {
            errors.invalid(&spec.child("nonResourceAttributes"), "", both);
            None
        }
        (None, None) => {
            errors.invalid(&spec.child("resourceAttributes"), "", none);
            None
        }
    };
    if identity.is_some_and(|it| it.user.is_empty() && it.groups.is_empty()) {
        let why = "at least one of user or group must be specified";
        errors.invalid(&spec.child("user"), "", why);
    }
    asked.filter(|_| errors.is_empty()).ok_or_else(|| invalid(kind, &errors))
}

fn invalid(kind: &str, errors: &FieldErrors) -> ApiError {
    ApiError::invalid(SubjectAccessReview::GROUP, kind, "", errors)
}

fn text(value: Option<&String>) -> &str {
    value.map(String::as_str).unwrap_or_default()
}

fn action(asked: &ResourceAttributes) -> Action<'_> {
    let subresource = asked.subresource.as_deref().filter(|name| !name.is_empty());
    Action {
        verb: text(asked.verb.as_ref()),
        group: text(asked.group.as_ref()),
        resource: text(asked.resource.as_ref()),
        subresource,
        namespace: asked.namespace.as_deref(),
        name: text(asked.name.as_ref()),
        fields: None,
    }
}

/// A review in a namespace is about that namespace.
fn check_local(spec: &SubjectAccessReviewSpec, namespace: &str) -> Result<(), ApiError> {
    if spec.non_resource_attributes.is_some() {
        let (path, mut errors) = (FieldPath::new("spec"), FieldErrors::default());
        let why = "disallowed on this kind of request";
        errors.invalid(&path.child("nonResourceAttributes"), "", why);
        return Err(invalid(LocalSubjectAccessReview::KIND, &errors));
    }
    let of = spec.resource_attributes.as_ref().and_then(|it| it.namespace.as_deref());
    if of.unwrap_or_default() != namespace {
        return Err(ApiError::bad_request(format!(
            "spec.resourceAttributes.namespace must match namespace: {namespace}"
        )));
    }
    Ok(())
}

fn status(decision: Decision) -> SubjectAccessReviewStatus {
    let (allowed, reason) = match decision {
        Decision::Allowed(why) => (true, why),
        Decision::Refused(why) => (false, why),
    };
    let reason = Some(reason).filter(|reason| !reason.is_empty());
    SubjectAccessReviewStatus { allowed, reason, ..SubjectAccessReviewStatus::default() }
}

fn rules(
    authorizer: &Authorizer,
    identity: &Identity,
    namespace: &str,
) -> SubjectRulesReviewStatus {
    let mut status = SubjectRulesReviewStatus::default();
    let all = if has_every_right(identity) {
        rbac::everything()
    } else {
        authorizer.rbac.rules(identity, Some(namespace))
    };
    for PolicyRule { verbs, api_groups, resources, resource_names, non_resource_urls } in all {
        if resources.is_some() {
            status.resource_rules.push(ResourceRule {
                api_groups,
                resource_names,
                resources,
                verbs,
            });
        } else {
            status.non_resource_rules.push(NonResourceRule { non_resource_urls, verbs });
        }
    }
    if identity.node().is_some() {
        let why = "node authorizer does not support user rule resolution";
        (status.incomplete, status.evaluation_error) = (true, Some(why.to_owned()));
    }
    status
}
