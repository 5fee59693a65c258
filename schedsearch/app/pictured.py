"""Small pictures of a calibration set's samples, made by a process of its own.

`python -P -m schedsearch.app.pictured FOLDER` reads from standard input which set that is, as JSON,
and writes `KEY.webp` for each of its samples. Images may take all memory, crash a decoder or never
end: that befalls this process, whose memory and time are bounded, and not the server.
"""

import json
import os
import resource
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import EpsImagePlugin

from schedsearch.app.bootstrap import DataRef, open_samples
from schedsearch.app.splits import split_samples
from schedsearch.core.sample import SampleSet
from schedsearch.demo import DATA
from schedsearch.errors import DataError, SchedsearchError
from schedsearch.evaluation.data.images import open_image
from schedsearch.evaluation.data.jsonl import sample_key
from schedsearch.evaluation.sheet import encoded, sheet_of

SAMPLES = 2000
"""Of longer sets there are no pictures."""

ENDING = ".webp"
MEMORY = 2 << 30
SECONDS = 300
_BYTES = 64 << 20
"""Nor of sets whose file of rows is larger."""


@dataclass(frozen=True)
class Searched:
    """A calibration set as a study knows it.

    Attributes:
        digest: Of what was searched.
        name: As `DataRef` has it; empty: the embedded set that `called` and `digest` tell.
        limit: Likewise.
        images: Folder of the images; empty: that of the file.
        shares: Of what the set was divided into, as a study file has them; empty: it was not.
        seed: Of the division.
        called: What the study calls the set.
        changed: When the file was written, in nanoseconds; of another time it is another.
    """

    digest: str
    name: str = ""
    limit: int | None = None
    images: str = ""
    shares: tuple[tuple[str, float], ...] = ()
    seed: int = 0
    called: str = ""
    changed: int = 0


def main() -> int:
    """Write the pictures."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.alarm(SECONDS)
    os.nice(10)
    # Pillow has Ghostscript draw PostScript, which is a language and not an image.
    EpsImagePlugin.gs_binary = False
    given = json.load(sys.stdin)
    given["shares"] = tuple((name, share) for name, share in given["shares"])
    try:
        write_pictures(Searched(**given), Path(sys.argv[1]))
    except (SchedsearchError, MemoryError) as error:
        sys.stderr.write(f"no pictures of samples: {error}\n")
        return 1
    return 0


def write_pictures(searched: Searched, folder: Path) -> None:
    """Write a picture of each sample, whose name is the key of the sample.

    Raises:
        DataError: The set is not there, is another than was searched, or too long.
        UnsupportedError: Pillow cannot write WebP.
    """
    for sample in _opened(searched):
        images = [open_image(source) for source in sample.images]
        picture, _ = encoded(sheet_of(images)[0])
        (folder / f"{sample_key(sample, images)}{ENDING}").write_bytes(picture)


def _opened(searched: Searched) -> SampleSet:
    for samples in _known(searched):
        if searched.shares:
            samples = split_samples(samples, dict(searched.shares), searched.seed)["search"]
        if samples.digest() == searched.digest:
            return samples
    raise DataError("the set that was searched is not there, or is another now; bring it back")


def _known(searched: Searched) -> Iterator[SampleSet]:
    head = searched.name.partition(":")[0]
    if (searched.limit or 0) > SAMPLES and (head in DATA or not searched.name):
        raise _too_long()
    if not searched.name:
        yield from _embedded(searched)
        return
    if head not in DATA:
        path = Path(searched.name)
        if not path.is_file() or path.stat().st_size > _BYTES:
            raise _too_long()
        if path.read_bytes().count(b"\n") > SAMPLES:
            raise _too_long()
    images = Path(searched.images) if searched.images else None
    yield open_samples(DataRef(searched.name, searched.limit, images), "calibration")


def _embedded(searched: Searched) -> Iterator[SampleSet]:
    for name in DATA:
        try:
            samples = open_samples(DataRef(f"{name}:calibration", searched.limit), "calibration")
        except SchedsearchError:  # its package is not installed, or it is shorter
            continue
        if samples.name == searched.called:
            yield samples


def _too_long() -> DataError:
    return DataError(f"the set must be a file of at most {SAMPLES} samples; look at them there")


if __name__ == "__main__":
    sys.exit(main())
