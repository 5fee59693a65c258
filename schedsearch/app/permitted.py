"""What a study from the network may name: nothing that its sender could not have otherwise."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from schedsearch.app.config import StudyConfig
from schedsearch.core.shown import shown
from schedsearch.demo import DATA, MODELS
from schedsearch.errors import InputError
from schedsearch.models.model_name import looks_like_path

UPLOADED = "set:"
"""Goes before the digest of an uploaded set."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_WARM_STARTS = ("published", "additive")


@dataclass(frozen=True)
class Permitted:
    """What studies from the network may name.

    Attributes:
        models: Folders in which models lie; a study names a folder in one of them.
        hub: Beginnings of ids on the hub, such as `llava-hf/`.
        data: Folders in which JSONL files lie, and the images that these name.
        samples: The most samples of a split.
    """

    models: tuple[Path, ...] = ()
    hub: tuple[str, ...] = ()
    data: tuple[Path, ...] = ()
    samples: int = 20_000

    def applied(self, config: StudyConfig, uploaded: Callable[[str], Path]) -> dict[str, Any]:
        """Content of a study file, with whole paths, if it names nothing else.

        Args:
            config: What was sent.
            uploaded: From the digest of an uploaded set to its JSONL file; raises `InputError`.

        Raises:
            InputError: It names something else.
        """
        if _NAME.fullmatch(config.study) is None:
            raise InputError(
                f"`study` must be letters, digits, dots, hyphens and underscores, at most 100, but "
                f"got {shown(config.study)}; rename it"
            )
        if config.run is not None:
            raise InputError("`run` is for the service to say where searches run; leave it out")
        content = config.model_dump(mode="json", exclude_unset=True, exclude={"search"})
        content["search"] = config.search.plain()
        content["model"] = self._model(config.model)
        self._check_search(content["search"])
        data = content["data"]
        for key in ("calibration", "certify", "held_out"):
            if data.get(key) is not None:
                data[key] = self._samples(f"data.{key}", data[key], uploaded)
            limit = data.get(f"{key}_samples")
            if limit is not None and limit > self.samples:
                raise InputError(
                    f"`data.{key}_samples` must be at most {self.samples} here, but got {limit}; "
                    "lower it"
                )
            if limit is None and _has_more(data.get(key), self.samples):
                raise InputError(
                    f"`data.{key}` names a file of more than {self.samples} samples, the most "
                    f"here; say how many of them in `data.{key}_samples`"
                )
        if data.get("images") is not None:
            data["images"] = str(_within("data.images", data["images"], self.data))
        return content

    def calibration(
        self, config: StudyConfig, uploaded: Callable[[str], Path]
    ) -> tuple[str, Path | None]:
        """Name of the calibration set and folder of its images, if a study may name them.

        Args:
            config: As it was sent, or as `applied` has written it.
            uploaded: As for `applied`.

        Raises:
            InputError: It may not.
        """
        data = config.data
        images = None if data.images is None else _within("data.images", data.images, self.data)
        return self._samples("data.calibration", data.calibration, uploaded), images

    def _model(self, name: str) -> str:
        if name in MODELS:
            return name
        if not looks_like_path(name) and name.startswith(self.hub) and ".." not in name:
            if Path(name).exists():
                raise InputError(f"`model` {shown(name)} is a folder of the service; rename that")
            return name
        if self.models:
            return str(_within("model", name, self.models))
        allowed = [*MODELS, *(f"{prefix}..." for prefix in self.hub)]
        raise InputError(
            f"`model` must be one of {', '.join(allowed)} or a folder of the service's models, but "
            f"got {shown(name)}; have it added to what `schedsearch serve` allows"
        )

    def _samples(self, key: str, name: str, uploaded: Callable[[str], Path]) -> str:
        if name.partition(":")[0] in DATA:
            return name
        if name.startswith(UPLOADED):
            return str(uploaded(name.removeprefix(UPLOADED)))
        return str(_within(key, name, self.data))

    def _check_search(self, search: dict[str, Any]) -> None:
        if search.get("latency") is not None:
            search["latency"] = str(_within("search.latency", search["latency"], self.data))
        for number, name in enumerate(search.get("warm_start") or ()):
            if name not in _WARM_STARTS and not name.startswith("study:"):
                found = _within(f"search.warm_start[{number}]", name, self.data)
                search["warm_start"][number] = str(found)


def _has_more(name: str | None, rows: int) -> bool:
    """Whether a name is that of a file with more rows."""
    if name is None or not Path(name).is_file():
        return False
    with Path(name).open("rb") as lines:
        return any(islice((line for line in lines if line.strip()), rows, None))


def _within(key: str, name: Any, roots: tuple[Path, ...]) -> Path:
    """The file or folder of a name in one of some folders.

    Raises:
        InputError: There is none; whether there is one elsewhere is not told.
    """
    for root in roots if isinstance(name, str) and "\0" not in name else ():
        whole = root.resolve()
        try:
            found: Path = (whole / name).resolve(strict=True)
        except (OSError, RuntimeError):
            continue
        if found.is_relative_to(whole) and found != whole:
            return found
    raise InputError(
        f"`{key}` must be the name of something in the folders of the service, but got "
        f"{shown(name)}; ask whoever runs it, or upload data"
    )
