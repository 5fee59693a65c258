"""Telling models apart by their weights, without reading a checkpoint again and again."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from transformers.utils import cached_file

from schedsearch.models.wrappers import unwrapped

_SAMPLED = 4096
_BLOB = re.compile(r"[0-9a-f]{64}")
_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""In the order in which transformers looks for them."""


@dataclass(frozen=True)
class _File:
    path: Path
    size: int
    changed: int

    @classmethod
    def at(cls, path: Path) -> "_File":
        status = path.stat()
        return cls(path, status.st_size, status.st_mtime_ns)


_loaded: "WeakKeyDictionary[nn.Module, tuple[tuple[_File, ...], str]]" = WeakKeyDictionary()
"""For models that were loaded here: their files, and what their memory held then."""


def weights_fingerprint(model: Any) -> str:
    """SHA-256 (hex) of the weights: of their files where the model is as it was loaded from them.

    Of files: what `sha256sum` prints for a single file, else the hash of the shards' hashes in the
    order of their names. It depends on every byte, and neither on the folder nor on the dtype,
    device or quantization that the model was loaded with. The hub's cache names its files by this
    hash, so they are not read; other files are read once per process.

    Of memory, for every other model: see `memory_fingerprint`.
    """
    inside = unwrapped(model)
    memory = memory_fingerprint(inside)
    files, loaded_memory = _loaded.get(inside, ((), ""))
    if memory != loaded_memory or not all(_unchanged(file) for file in files):
        return memory
    return _joined(files)


def remember_files(model: nn.Module, place: str, revision: str | None) -> None:
    """Note that `model` was just loaded from a folder or hub id: its files identify it."""
    config: Any = model.config
    files = _weight_files(place, getattr(config, "_commit_hash", None) or revision)
    if files:
        _loaded[model] = tuple(map(_File.at, files)), memory_fingerprint(model)


def memory_fingerprint(model: nn.Module) -> str:
    """SHA-256 (hex) over all tensors of a model's state, and which PEFT adapters are on.

    Of each its name and shape, the sum of all its values' bits, and up to 4096 values at an even
    stride, as bfloat16: a checkpoint in float32 or bfloat16 has one fingerprint in both; float16
    rounds differently. What lies on disk counts by name and shape. It tells models apart; it does
    not protect against somebody who wants to deceive.
    """
    content = hashlib.sha256()
    for name, state in sorted(model.state_dict().items()):
        for part in _parts(state):
            content.update(f"{name} {tuple(part.shape)}\n".encode())
            if part.numel() and not part.is_meta:
                content.update(_digest_input(part))
    for line in _switches(model):
        content.update(line.encode())
    return content.hexdigest()


def mark(model: nn.Module) -> int:
    """A number that changes with a model's weights and adapters, for as long as the process lives.

    No value is read, so it is cheap; what is written in place through `.data` goes unnoticed.
    """
    held: list[object] = []
    for module in model.modules():
        for one in (*module._parameters.values(), *module._buffers.values()):
            if one is not None and not one.is_meta:  # those that are offloaded come and go
                held.append((id(one), one.dtype, 0 if one.is_inference() else one._version))
        if hasattr(type(module), "merged_adapters"):
            held += _switches(module, "merged_adapters")
    return hash(tuple(held))


def _parts(state: Any) -> Iterator[torch.Tensor]:
    """The plain tensors of one that a quantising library has made up of several."""
    if hasattr(state, "__tensor_flatten__"):
        for name in state.__tensor_flatten__()[0]:
            yield from _parts(getattr(state, name))
    elif isinstance(state, torch.Tensor):
        yield state.detach()


def _digest_input(values: torch.Tensor) -> bytes:
    flat = values.flatten()
    if flat.is_floating_point():
        flat = flat.to(torch.bfloat16).view(torch.int16)
    picked = flat[:: -(-flat.numel() // _SAMPLED)].contiguous()
    octets = flat.contiguous().view(torch.uint8)
    if octets.storage_offset() % 8:
        octets = octets.clone()
    whole = octets.numel() // 8 * 8  # summed eight at a time, as fast as memory is read
    total = octets[:whole].view(torch.int64).sum() + octets[whole:].sum(dtype=torch.int64)
    return f"{int(total)}\n".encode() + picked.cpu().numpy().tobytes()


def _switches(model: nn.Module, *more: str) -> Iterator[str]:
    for name, module in model.named_modules():
        active = getattr(module, "active_adapters", None)
        if isinstance(active, list):
            state = (getattr(module, part, None) for part in ("disable_adapters", "scaling", *more))
            yield f"{name} {active} {list(map(repr, state))}\n"


def _unchanged(file: _File) -> bool:
    return file.path.exists() and _File.at(file.path) == file


def _joined(files: Iterable[_File]) -> str:
    with ThreadPoolExecutor(4) as pool:  # hashing lets other threads run
        hashes = list(pool.map(_sha256, files))
    if len(hashes) == 1:
        return hashes[0]
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


@cache
def _sha256(file: _File) -> str:
    blob = file.path.resolve()
    if blob.parent.name == "blobs" and _BLOB.fullmatch(blob.name):
        return blob.name
    with file.path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _weight_files(place: str, revision: str | None) -> list[Path]:
    for name in _WEIGHTS:
        found = _locate(place, name, revision)
        if found is None:
            continue
        if found.suffix != ".json":
            return [found]
        shards = sorted(set(json.loads(found.read_bytes())["weight_map"].values()))
        files = [_locate(place, shard, revision) for shard in shards]
        return [file for file in files if file is not None] if all(files) else []
    return []


def _locate(place: str, name: str, revision: str | None) -> Path | None:
    found = cached_file(
        place,
        name,
        revision=revision,
        local_files_only=True,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return None if found is None else Path(found)
