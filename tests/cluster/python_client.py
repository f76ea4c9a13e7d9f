"""What users of the Python client do, on a cluster of their own: PYTHON python_client.py KUBECONFIG."""

import os
import sys
import threading

from kubernetes import client, config, dynamic, watch
from kubernetes.client.rest import ApiException
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock
from kubernetes.stream import stream

SPACE = "default"
IMAGE = "minik8s/busybox:0.1"


def config_map(name, **data):
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels={"tour": "1"}), data=data)


def lists_and_patches(core):
    for number in range(25):
        core.create_namespaced_config_map(SPACE, config_map(f"m{number}", k="v"))
    names, token = [], None
    while token != "":
        page = core.list_namespaced_config_map(SPACE, label_selector="tour=1", limit=10, _continue=token)
        names += [item.metadata.name for item in page.items]
        token = page.metadata._continue or ""
    assert len(names) == 25, names
    merged = core.patch_namespaced_config_map("m0", SPACE, {"data": {"k": None, "l": "2"}})
    assert merged.data == {"l": "2"}, merged.data
    steps = [{"op": "replace", "path": "/data/l", "value": "3"}]
    assert core.patch_namespaced_config_map("m0", SPACE, steps).data == {"l": "3"}
    try:
        core.create_namespaced_config_map(SPACE, config_map("m0"))
        raise AssertionError("it was there")
    except ApiException as error:
        assert error.status == 409, error


def watches(core):
    seen, since = [], core.list_namespaced_config_map(SPACE).metadata.resource_version
    core.create_namespaced_config_map(SPACE, config_map("w", k="v"))
    core.patch_namespaced_config_map("w", SPACE, {"data": {"k": "2"}})
    core.delete_namespaced_config_map("w", SPACE)
    changes = watch.Watch()
    for event in changes.stream(core.list_namespaced_config_map, SPACE, resource_version=since, timeout_seconds=60):
        seen.append((event["type"], event["object"].metadata.name))
        if event["type"] == "DELETED":
            changes.stop()
    assert seen == [("ADDED", "w"), ("MODIFIED", "w"), ("DELETED", "w")], seen


def applies_and_scales():
    deployments = dynamic.DynamicClient(client.ApiClient()).resources.get(api_version="apps/v1", kind="Deployment")
    container = {"name": "c", "image": IMAGE, "command": ["sleep", "3600"]}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 0}}
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}
    applied = deployments.server_side_apply(body=body, namespace=SPACE, field_manager="tour")
    assert applied.metadata.managedFields[0].manager == "tour", applied
    apps = client.AppsV1Api()
    apps.patch_namespaced_deployment_scale("web", SPACE, {"spec": {"replicas": 1}})
    for event in watch.Watch().stream(apps.list_namespaced_deployment, SPACE, timeout_seconds=60):
        if event["object"].status.ready_replicas == 1:
            return
    raise AssertionError("it does not get ready")


def speaks_with_containers(core):
    pod = core.list_namespaced_pod(SPACE, label_selector="app=web").items[0].metadata.name
    command = ["sh", "-c", "echo out; echo err >&2"]
    said = stream(core.connect_get_namespaced_pod_exec, pod, SPACE, command=command, stdout=True, stderr=True, stdin=False, tty=False)
    assert sorted(said.split()) == ["err", "out"], said
    shell = stream(core.connect_get_namespaced_pod_exec, pod, SPACE, command=["sh"], stdout=True, stderr=True, stdin=True, tty=False, _preload_content=False)
    shell.write_stdin("echo hello; exit 3\n")
    shell.run_forever(timeout=60)
    assert (shell.read_stdout(), shell.returncode) == ("hello\n", 3)


def leads():
    began = threading.Event()
    lock = LeaseLock("leader", SPACE, "one")
    settings = electionconfig.Config(lock, lease_duration=15, renew_deadline=10, retry_period=2, onstarted_leading=began.set, onstopped_leading=None)
    threading.Thread(target=leaderelection.LeaderElection(settings).run, daemon=True).start()
    assert began.wait(60)
    assert client.CoordinationV1Api().read_namespaced_lease("leader", SPACE).spec.holder_identity == "one"


config.load_kube_config(sys.argv[1])
CORE = client.CoreV1Api()
lists_and_patches(CORE)
watches(CORE)
applies_and_scales()
speaks_with_containers(CORE)
leads()
print("done", flush=True)
# The elector leads on: an interpreter that is taken down under its thread may abort.
os._exit(0)
