//! Images over a control plane in process, without Docker.

use api_types::jiff::Timestamp;
use kube::runtime::watcher::Event;
use testkit::ControlPlane;

use super::build::image_name;
use super::*;
use crate::controllers::tests::context;
use crate::workers::WorkersArgs;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// The controller, whose Docker is away.
fn images(plane: &ControlPlane) -> Images {
    let mut context =
        context(plane.listwatch_as("kube-controller-manager"), WorkersArgs::default());
    context.settings.functions.docker_host = "unix:///nowhere".to_owned();
    Images::new(&context, Arc::new(WorkQueue::default()))
}

fn key() -> ObjectKey {
    ObjectKey::new("default", "add")
}

/// A function of three sources after each other; the last one has no image yet.
async fn function(plane: &ControlPlane, images: &Images) -> Function {
    let function = json!({
        "metadata": {"name": "add", "finalizers": [FINALIZER]},
        "spec": {"source": {"files": {"func.py": "three"}}, "historyLimit": 0},
    });
    let function: Function = serde_json::from_value(function).unwrap();
    let users: Api<Function> = Api::namespaced(plane.client(), "default");
    let mut function = users.create(&PostParams::default(), &function).await.unwrap();
    let mut known = FunctionStatus { version: Some(2), ..FunctionStatus::default() };
    for code in ["one", "two"] {
        status::wanted(&of_source(&function.spec, code), &mut known.versions, NOW);
        let version = known.versions.last_mut().unwrap();
        version.image = Some(image_name(&images.settings, &key(), &version.digest));
    }
    status::wanted(&function.spec, &mut known.versions, NOW);
    function.status = Some(known);
    write(images, &function).await
}

fn of_source(spec: &FunctionSpec, code: &str) -> FunctionSpec {
    let mut spec = spec.clone();
    spec.source.as_mut().unwrap().files = [("func.py".to_owned(), code.to_owned())].into();
    spec
}

async fn write(images: &Images, function: &Function) -> Function {
    let api = images.functions("default");
    api.replace_status("add", &PostParams::default(), function).await.unwrap()
}

/// Number and image of each version.
async fn versions(images: &Images) -> Vec<(i64, Option<String>)> {
    let function = images.functions("default").get("add").await.unwrap();
    let versions = function.status.unwrap().versions.into_iter();
    versions.map(|version| (version.version, version.image)).collect()
}

#[tokio::test]
async fn a_version_is_built_while_an_old_image_cannot_be_removed() {
    let plane = ControlPlane::start().await;
    let images = images(&plane);
    let function = function(&plane, &images).await;
    let digest = function.status.as_ref().unwrap().versions[2].template_digest.clone();
    images.informers.functions.take_in(Event::Apply(function));
    let Err(failed) = images.reconcile(&key()).await else { panic!("the image is removed") };
    assert!(failed.reason().contains("removing the image"), "{failed:?}");
    images.builds.outcome(&key(), &digest, || -> std::future::Pending<_> {
        panic!("its build has not begun")
    });
}

#[tokio::test]
async fn an_image_that_goes_is_no_new_versions_even_if_it_cannot_be_removed() {
    let plane = ControlPlane::start().await;
    let images = images(&plane);
    let function = function(&plane, &images).await;
    let second = function.status.as_ref().unwrap().versions[1].image.clone();
    assert!(images.forget_old(&key(), &function).await.is_err());
    assert_eq!(versions(&images).await, [(1, None), (2, second), (3, None)]);
}

#[tokio::test]
async fn an_image_stays_that_a_new_version_got_since_the_last_look() {
    let plane = ControlPlane::start().await;
    let images = images(&plane);
    let seen = function(&plane, &images).await;
    let mut now = seen.clone();
    now.spec = of_source(&now.spec, "one");
    (now.spec.timeout_seconds, now.spec.history_limit) = (Some(5), Some(1));
    let api = images.functions("default");
    let mut now = api.replace("add", &PostParams::default(), &now).await.unwrap();
    let known = now.status.get_or_insert_default();
    assert_eq!(status::wanted(&now.spec, &mut known.versions, NOW), 4);
    let [first, second] = [0, 1].map(|number: usize| known.versions[number].image.clone());
    write(&images, &now).await;
    // Docker, which is away, is not asked.
    images.forget_old(&key(), &seen).await.unwrap();
    assert_eq!(versions(&images).await, [(2, second), (3, None), (4, first)]);
}
