"""What is wrong with manifests for Kubernetes, as far as it can be known without one."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml
from jsonschema import Draft202012Validator

from schedsearch.version import VERSION
from tests.launch.images import floating

KUBERNETES = "1.37"
_RAY = json.loads((Path(__file__).parent / "ray.io_v1.schema.json").read_text())
_LEAST_RAY = (2, 52)  # the first with tokens

Document = dict[str, Any]


def documents(file: Path) -> list[Document]:
    """The manifests of a file."""
    return list(yaml.safe_load_all(file.read_text()))


def rendered(overlay: Path) -> list[Document]:
    """What `kustomize build` makes of an overlay, as far as ours use it.

    Raises:
        ValueError: It uses something else, or a file is missing.
    """
    kustomization = yaml.safe_load((overlay / "kustomization.yaml").read_text())
    known = {
        *("apiVersion", "kind", "namespace", "resources"),
        *("secretGenerator", "generatorOptions", "images", "patches"),
    }
    if unknown := set(kustomization) - known:
        raise ValueError(f"no key of ours: {sorted(unknown)}")
    found: list[Document] = []
    for name in kustomization["resources"]:
        path = (overlay / name).resolve()
        if not path.exists():
            raise ValueError(f"no such resource: {name}")
        found += rendered(path) if path.is_dir() else documents(path)
    for secret in kustomization.get("secretGenerator", ()):
        found.append({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": secret["name"]}})
    for patch in kustomization.get("patches", ()):
        target = patch["target"]
        hit = [
            one
            for one in found
            if (one["kind"], one["metadata"]["name"]) == (target["kind"], target["name"])
        ]
        if len(hit) != 1:
            raise ValueError(f"a patch must have one target, but got {len(hit)} for {target}")
        _patch(hit[0], yaml.safe_load((overlay / patch["path"]).read_text()))
    for image in kustomization.get("images", ()):
        for container in (one for document in found for one in _containers(document)):
            name, _, _ = container["image"].partition(":")
            if name == image["name"]:
                container["image"] = f"{name}:{image['newTag']}"
    for document in found:
        if document["kind"] != "Namespace":
            document["metadata"].setdefault("namespace", kustomization["namespace"])
    return found


def problems(found: list[Document], secrets: frozenset[str] = frozenset()) -> Iterator[str]:
    """What is wrong with manifests that are applied together.

    Args:
        found: The manifests.
        secrets: Names of secrets, and of config maps, that are there before.
    """
    made = {one["metadata"]["name"] for one in found if one["kind"] == "Secret"} | secrets
    clusters = [one for one in found if one["kind"] == "RayCluster"]
    # The operator makes a secret with the token of each, of its name.
    made |= {one["metadata"]["name"] for one in clusters if "authOptions" in one["spec"]}
    heads = {f"--address=http://{one['metadata']['name']}-head-svc:8265" for one in clusters}
    for document in found:
        name = f"{document['kind']} {document['metadata']['name']}"
        for problem in (*_of_schema(document), *_of_pods(document), *_of_ray(document)):
            yield f"{name}: {problem}"
        for kind, key in (("secretKeyRef", "name"), ("configMap", "name")):
            for reference in _values(document, kind):
                if reference[key] not in made:
                    yield f"{name}: nobody makes the {kind} {reference[key]}"
        for args in _values(document, "args"):
            for arg in args:
                if arg.startswith("--address=") and arg not in heads:
                    yield f"{name}: no Ray cluster is at {arg}"
        for value in _values(document, "value"):
            if isinstance(value, str) and "://" in value and "@" in value:
                yield f"{name}: an address with a password belongs in a secret"


def _of_schema(document: Document) -> Iterator[str]:
    if document["apiVersion"].startswith("ray.io/"):
        for error in Draft202012Validator(_RAY).iter_errors(document):
            yield error.message
        for template in _values(document, "template"):
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, **template}
            yield from _of_schema(pod)
        return
    try:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        yield error.message


def _of_pods(document: Document) -> Iterator[str]:
    for pod in _values(document, "template"):
        security = pod["spec"].get("securityContext", {})
        if not (security.get("runAsNonRoot") and security.get("seccompProfile")):
            yield "a pod must not run as root, and must have a seccomp profile"
    for container in _containers(document):
        own = container.get("securityContext", {})
        if (
            not own.get("readOnlyRootFilesystem")
            or own.get("allowPrivilegeEscalation") is not False
        ):
            yield f"{container['name']} must have a read-only root and no more privileges"
        if floating(container["image"]):
            yield f"{container['image']} is a floating tag"


def _of_ray(document: Document) -> Iterator[str]:
    """The operator's own rules, beside the schema."""
    for cluster in (
        one for one in (document.get("spec"), *_values(document, "rayClusterSpec")) if one
    ):
        if "rayVersion" not in cluster:
            continue
        if tuple(map(int, cluster["rayVersion"].split(".")[:2])) < _LEAST_RAY:
            yield f"Ray {cluster['rayVersion']} knows no tokens"
        for group in cluster["workerGroupSpecs"]:
            least, most = group.get("minReplicas", 0), group.get("maxReplicas", 0)
            if not least <= group["replicas"] <= most:
                yield f"{group['groupName']} has {group['replicas']} of {least} to {most} replicas"
            pod = group["template"]["spec"]
            gpus = any("nvidia.com/gpu" in one["resources"]["limits"] for one in pod["containers"])
            if gpus and not any(
                one["key"] == "nvidia.com/gpu" for one in pod.get("tolerations", ())
            ):
                yield f"{group['groupName']} has GPUs, but does not tolerate their nodes"
            if gpus and not all(
                one["image"] == f"schedsearch:{VERSION}-cuda" for one in pod["containers"]
            ):
                yield f"{group['groupName']} has GPUs, but an image without CUDA"


def _containers(document: Document) -> Iterator[dict[str, Any]]:
    for found in _values(document, "containers"):
        yield from found


def _values(value: Any, key: str) -> Iterator[Any]:
    """What stands under a key, at any depth."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == key:
                yield inner
            yield from _values(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from _values(inner, key)


def _patch(document: Any, operations: list[dict[str, Any]]) -> None:
    """Apply a JSON patch that replaces (RFC 6902)."""
    for one in operations:
        *parents, last = one["path"].strip("/").split("/")
        place = document
        for name in parents:
            place = place[int(name)] if isinstance(place, list) else place[name]
        if one["op"] != "replace" or last not in place:
            raise ValueError(f"{one['op']} {one['path']} cannot be applied")
        place[last] = one["value"]


def labels_of(document: Document, key: str) -> set[tuple[str, str]]:
    """Labels that stand under a key, at any depth."""
    return {item for found in _values(document, key) for item in found.items()}
