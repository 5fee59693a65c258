"""An archive that was uploaded, unpacked and checked by a process of its own.

`python -P -m schedsearch.app.received ARCHIVE KIND FOLDER BYTES SAMPLES` prints what it found as
JSON. Archives and images of people who are not known may take all memory, crash a decoder or never
end: that befalls this process, whose memory and time are bounded, and not the server.
"""

import json
import resource
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

from PIL import EpsImagePlugin

from schedsearch.app.unpacking import Kind, TooLargeError, on_disk, unpack
from schedsearch.errors import DataError, SchedsearchError
from schedsearch.evaluation.data.jsonl import JsonlSet

FILE = "samples.jsonl"
"""What the file of rows is called where a set is kept."""

MEMORY = 2 << 30
SECONDS = 900
_ROWS = ".jsonl"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Received:
    """A set that can be used, or why there is none.

    Attributes:
        digest: Of its samples and images, whatever their files are called.
        samples: How many it has.
        size: Bytes that its files take.
        fault: Why it cannot be used; empty where it can.
        status: `found`, `wrong`, `too large`, or `failed` where the fault is not the sender's.
    """

    digest: str = ""
    samples: int = 0
    size: int = 0
    fault: str = ""
    status: str = "found"


def main() -> int:
    """Print what became of an archive."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.alarm(SECONDS)
    # Pillow has Ghostscript draw PostScript, which is a language and not an image.
    EpsImagePlugin.gs_binary = False
    archive, kind, folder, most, samples = sys.argv[1:]
    (known,) = (one for one in get_args(Kind) if one == kind)
    found = _received(Path(archive), known, Path(folder), int(most), int(samples))
    sys.stdout.write(json.dumps(asdict(found)))
    return 0


def _received(archive: Path, kind: Kind, folder: Path, most: int, samples: int) -> Received:
    try:
        unpack(archive, kind, folder, most)
        return checked(folder, samples)
    except TooLargeError as error:
        return Received(fault=str(error), status="too large")
    except DataError as error:
        # Whoever sent the set knows nothing of this folder.
        return Received(fault=str(error).replace(f"{folder}/", ""), status="wrong")
    except SchedsearchError as error:
        return Received(fault=str(error), status="failed")
    except MemoryError:
        return Received(
            fault=f"the set takes more than {MEMORY >> 20} MiB of memory to read; send smaller "
            "images, or fewer samples",
            status="wrong",
        )


def checked(folder: Path, samples: int) -> Received:
    """The set in a folder, of which only what it names is left, under names that are ours.

    Args:
        folder: Real path of what was unpacked.
        samples: The most that a set may have.

    Raises:
        DataError: It is no set that can be used.
    """
    rows = _rows(folder)
    _count(rows, samples)
    found = JsonlSet(rows)
    named = {source for sample in found for source in sample.images if isinstance(source, Path)}
    size = 0
    for path in sorted(folder.rglob("*"), reverse=True):  # folders after what they have
        if path == rows or path in named:
            size += on_disk(path.stat().st_size)
        elif not path.is_dir():
            path.unlink()
        elif not any(path.iterdir()):
            path.rmdir()
    rows.rename(folder / FILE)
    return Received(found.digest(), len(found), size)


def _rows(folder: Path) -> Path:
    # Those that begin with a dot are notes of an operating system.
    tops = [path for path in folder.iterdir() if not path.name.startswith(".")]
    rows = [path for path in tops if path.name.lower().endswith(_ROWS)]
    if len(rows) != 1 or not rows[0].is_file():
        raise DataError(
            f"an archive must have one file *{_ROWS} at its top, but got {len(rows)}; pack what is "
            "in the folder of the set, not the folder: `tar -czf set.tar.gz -C FOLDER .`"
        )
    return rows[0]


def _count(rows: Path, samples: int) -> None:
    lines = 0
    with rows.open("rb") as file:
        while chunk := file.read(_CHUNK):
            lines += chunk.count(b"\n")
    if lines > samples:
        raise TooLargeError(
            f"{rows.name} must have at most {samples} lines, but got {lines}; send fewer samples"
        )


if __name__ == "__main__":
    sys.exit(main())
