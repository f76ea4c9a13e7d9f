//! What a pool is made of: a ReplicaSet of instances that wait, and the Secret with the token that loads them. Pure.

use std::collections::BTreeMap;

use api_types::ByteString;
use api_types::api::apps::v1::{ReplicaSet, ReplicaSetSpec};
use api_types::api::core::v1::{
    EnvVar, EnvVarSource, LocalObjectReference, PodSpec, PodTemplateSpec, Secret, SecretKeySelector,
};
use api_types::meta::{LabelSelector, ObjectMeta};
use api_types::minik8s::{Function, Runtime};

use super::super::instances;
use super::loadable::LONGEST_CALL;

/// The name of both.
pub(super) const NAME: &str = "warm-python";
const TOKEN: &str = "token";

/// Its image is pulled with this Secret, if one is given.
pub(super) fn set(
    namespace: &str,
    image: &str,
    size: i32,
    pull_secret: Option<&str>,
) -> ReplicaSet {
    let labels = labels();
    ReplicaSet {
        metadata: metadata(namespace),
        spec: Some(ReplicaSetSpec {
            replicas: Some(size),
            selector: LabelSelector { match_labels: Some(labels.clone()), ..Default::default() },
            template: Some(PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(labels), ..ObjectMeta::default() }),
                spec: Some(pod(image, pull_secret)),
            }),
            ..ReplicaSetSpec::default()
        }),
        status: None,
    }
}

pub(super) fn secret(namespace: &str, token: &str) -> Secret {
    let data = (TOKEN.to_owned(), ByteString(token.as_bytes().to_vec()));
    Secret {
        metadata: metadata(namespace),
        data: Some(BTreeMap::from([data])),
        immutable: Some(true),
        ..Secret::default()
    }
}

/// The token that a secret has.
pub(super) fn token(secret: &Secret) -> Option<String> {
    String::from_utf8(secret.data.as_ref()?.get(TOKEN)?.0.clone()).ok()
}

/// Whether an object is a pool's, and not somebody else's of its name.
pub(super) fn is_of_a_pool(metadata: &ObjectMeta) -> bool {
    metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(Function::POOL_LABEL))
}

/// The image that a pool's new instances run.
pub(super) fn image(set: &ReplicaSet) -> Option<&str> {
    let template = set.spec.as_ref()?.template.as_ref()?;
    template.spec.as_ref()?.containers.first()?.image.as_deref()
}

/// The Secrets that it is pulled with.
pub(super) fn pull_secrets(set: &ReplicaSet) -> impl Iterator<Item = &str> {
    let template = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
    let pod = template.and_then(|template| template.spec.as_ref());
    let secrets = pod.into_iter().flat_map(|pod| pod.image_pull_secrets.iter().flatten());
    secrets.map(|secret| secret.name.as_str())
}

fn metadata(namespace: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(NAME.to_owned()),
        namespace: Some(namespace.to_owned()),
        labels: Some(labels()),
        ..ObjectMeta::default()
    }
}

fn labels() -> BTreeMap<String, String> {
    BTreeMap::from([(Function::POOL_LABEL.to_owned(), Runtime::PYTHON.name.to_owned())])
}

fn pod(image: &str, pull_secret: Option<&str>) -> PodSpec {
    let warm =
        EnvVar { name: "MINIK8S_WARM".to_owned(), value: Some("1".to_owned()), value_from: None };
    let key = SecretKeySelector { name: NAME.to_owned(), key: TOKEN.to_owned(), optional: None };
    let token = EnvVar {
        name: "MINIK8S_LOAD_TOKEN".to_owned(),
        value: None,
        value_from: Some(EnvVarSource { secret_key_ref: Some(key), ..EnvVarSource::default() }),
    };
    let secret = |name: &str| LocalObjectReference { name: name.to_owned() };
    PodSpec {
        image_pull_secrets: pull_secret.map(|name| vec![secret(name)]),
        ..instances::pod(image, vec![warm, token], LONGEST_CALL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_of_a_pool_is_pulled_with_the_registrys_secret() {
        let secrets = |pull_secret| {
            let pod = set("default", "image", 1, pull_secret).spec.unwrap().template.unwrap();
            pod.spec.unwrap().image_pull_secrets
        };
        assert_eq!(secrets(None), None);
        let named = vec![LocalObjectReference { name: "registry".to_owned() }];
        assert_eq!(secrets(Some("registry")), Some(named));
    }
}
