"""Files of others that pages need, fetched by npm as packages.json has them: `make vendor`."""

import base64
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from schedsearch.service.assets import FOLDER

VENDORED = FOLDER / "vendor"


def integrity(content: bytes, algorithm: str) -> str:
    """Hash of a file, as npm and browsers write it."""
    digest = hashlib.new(algorithm, content).digest()
    return f"{algorithm}-{base64.b64encode(digest).decode()}"


def main() -> None:
    """Fetch each package, compare it with its hash, and take the files out that pages need."""
    for name, one in json.loads((VENDORED / "packages.json").read_text()).items():
        with tempfile.TemporaryDirectory() as folder:
            command = ["npm", "pack", "--silent", f"{name}@{one['version']}"]
            subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)  # noqa: S603
            (packed,) = Path(folder).glob("*.tgz")
            content = packed.read_bytes()
        if integrity(content, "sha512") != one["integrity"]:
            sys.exit(f"{name} {one['version']} is not what packages.json says; nothing is changed")
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            for file in (
                one["licence_file"],
                *(f"{one['folder']}/{file}" for file in one["files"]),
            ):
                member = archive.extractfile(f"package/{file}")
                if member is None:
                    sys.exit(f"{name} {one['version']} has no file {file}; correct packages.json")
                (VENDORED / name / Path(file).name).write_bytes(member.read())


if __name__ == "__main__":
    main()
