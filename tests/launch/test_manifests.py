"""Manifests for Kubernetes, compose and Ray's own launcher, as far as they can be checked here."""

import json
import shutil
from pathlib import Path

import jsonschema
import pytest
import ray.autoscaler
import yaml

from schedsearch.version import VERSION
from tests.launch import compose, manifests
from tests.pace import some

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
JOB, COMPOSE = "kuberay/rayjob.yaml", "compose.yaml"
OVERLAYS = ("kuberay/overlays/cpu", "kuberay/overlays/gpu")
BEFORE = frozenset({"schedsearch-store", "schedsearch-study"})


def wrong(folder: Path, part: str) -> list[str]:
    """What is wrong with an overlay, a manifest or a compose file."""
    place = folder / part
    if place.is_dir():
        try:
            return list(manifests.problems(manifests.rendered(place)))
        except ValueError as error:
            return [str(error)]
    if part == JOB:
        return list(manifests.problems(manifests.documents(place), BEFORE))
    return list(compose.problems(place))


@pytest.mark.parametrize("part", [*OVERLAYS, JOB, COMPOSE])
def test_nothing_is_wrong(part):
    assert wrong(DOCKER, part) == []


BASE = "kuberay/base"
STORE_KEY = "secretKeyRef: {name: schedsearch-store, key: url}"


MISTAKES = [
    # A wrong field.
    (OVERLAYS[0], f"{BASE}/raycluster.yaml", "minReplicas", "minReplica", "minReplica"),
    (OVERLAYS[0], f"{BASE}/raycluster.yaml", "mode: token", "mode: disabled", "'token'"),
    (OVERLAYS[0], f"{BASE}/raycluster.yaml", "containerPort", "containerport", "containerPort"),
    (OVERLAYS[0], f"{BASE}/raycluster.yaml", "2.60.0", "2.51.0", "knows no tokens"),
    (OVERLAYS[0], f"{BASE}/service.yaml", "targetPort", "targetport", "targetport"),
    (OVERLAYS[0], f"{BASE}/service.yaml", "runAsNonRoot: true", "runAsUser: 0", "as root"),
    (OVERLAYS[0], f"{BASE}/networkpolicy.yaml", "podSelector", "podselector", "podselector"),
    (OVERLAYS[1], f"{OVERLAYS[1]}/gpu-workers.yaml", "tolerations", "x-tol", "not tolerate"),
    (OVERLAYS[1], f"{OVERLAYS[1]}/gpu-workers.yaml", "GroupSpecs", "Groups", "cannot be"),
    (OVERLAYS[1], f"{OVERLAYS[1]}/kustomization.yaml", "-cuda", "", "without CUDA"),
    (JOB, JOB, "shutdownAfterJobFinishes: true", "suspend: false", "suspend"),
    (JOB, JOB, "schedsearch-search", "s" * 48, "is too long"),
    (COMPOSE, COMPOSE, "start_period", "start_periode", "start_periode"),
    (COMPOSE, COMPOSE, "condition: service_healthy", "condition: ready", "is well"),
    # A missing secret.
    (OVERLAYS[0], f"{OVERLAYS[0]}/kustomization.yaml", "schedsearch-store", "x", "nobody"),
    (OVERLAYS[0], f"{BASE}/service.yaml", STORE_KEY, STORE_KEY.replace("store", "x"), "nobody"),
    (OVERLAYS[0], f"{BASE}/service.yaml", "-head-svc", "-svc", "no Ray cluster is at"),
    (OVERLAYS[0], f"{BASE}/raycluster.yaml", "  authOptions: {mode: token}\n", "", "nobody"),
    (JOB, JOB, "name: schedsearch-study", "name: study-2", "nobody makes the configMap"),
    (COMPOSE, COMPOSE, "${RAY_AUTH_TOKEN:?make docker/.env}", "secret", "outside"),
    (COMPOSE, COMPOSE, ":?make docker/.env}@db", "}@db", "SCHEDSEARCH_STORE"),
    # A floating tag.
    (OVERLAYS[0], f"{BASE}/raycluster.yaml", f":{VERSION}", ":latest", "floating tag"),
    (OVERLAYS[0], f"{BASE}/service.yaml", f"schedsearch:{VERSION}", "schedsearch", "floating"),
    (COMPOSE, COMPOSE, "@sha256:639ab7ce", "", "floating tag"),
    (COMPOSE, COMPOSE, f"image: schedsearch:{VERSION}", "image: x:1", "floating"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("part", "file", "right", "mistaken", "expected"), some(MISTAKES, MISTAKES[::2])
)
def test_a_planted_mistake_is_found(tmp_path, part, file, right, mistaken, expected):
    copy = tmp_path / "docker"
    shutil.copytree(DOCKER, copy)
    text = (copy / file).read_text()
    assert right in text
    (copy / file).write_text(text.replace(right, mistaken))
    found = wrong(copy, part)
    assert any(expected in problem for problem in found), found


def test_every_resource_of_the_base_is_listed():
    listed = yaml.safe_load((DOCKER / BASE / "kustomization.yaml").read_text())["resources"]
    assert {*listed, "kustomization.yaml"} == {one.name for one in (DOCKER / BASE).iterdir()}


def test_gpu_workers_are_as_many_as_are_asked_for_and_none_when_nobody_asks():
    found = manifests.rendered(DOCKER / OVERLAYS[1])
    cluster = next(one for one in found if one["kind"] == "RayCluster")["spec"]
    assert cluster["enableInTreeAutoscaling"]
    (group,) = cluster["workerGroupSpecs"]
    assert (group["minReplicas"], group["groupName"]) == (0, "gpu")


def test_labels_that_policies_and_budgets_select_are_given_by_somebody():
    """KubeRay gives those that begin with ray.io/; the others must be ours."""
    found = manifests.rendered(DOCKER / OVERLAYS[0])
    given = {("app.kubernetes.io/name", "kuberay-operator"), ("schedsearch/ingress", "true")}
    given |= {item for one in found for item in labels(one)}
    asked = [item for one in found for item in selected(one) if not item[0].startswith("ray.io/")]
    assert asked
    assert set(asked) <= given


def labels(document):
    return manifests.labels_of(document, "labels")


def selected(document):
    return manifests.labels_of(document, "matchLabels")


def test_the_launcher_of_ray_takes_its_file():
    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    file = DOCKER / "ray-up.yaml"
    jsonschema.validate(yaml.safe_load(file.read_text()), schema)
    assert f"schedsearch[all]=={VERSION}" in file.read_text()
    with pytest.raises(jsonschema.ValidationError):
        mistaken = file.read_text().replace("max_workers: 8\nidle", "max_worker: 8\nidle")
        jsonschema.validate(yaml.safe_load(mistaken), schema)


def test_the_whole_schemas_of_kuberay_agree():
    """They are no part of the project; where they are at hand they have the last word."""
    schemas = ROOT.parent / "shared/schemas"
    if not schemas.exists():
        pytest.skip("no schemas of KubeRay beside the project")
    found = [*manifests.rendered(DOCKER / OVERLAYS[1]), *manifests.documents(DOCKER / JOB)]
    for one in found:
        if one["apiVersion"] == "ray.io/v1":
            schema = json.loads((schemas / f"ray.io_v1_{one['kind']}.json").read_text())
            jsonschema.validate(one, schema)
