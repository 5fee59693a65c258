"""Files of others, fetched by npm as packages.json of a folder has them: `make vendor`.

python -m schedsearch.service.vendored [FOLDER]
"""

import base64
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

from schedsearch.service.assets import FOLDER

VENDORED = FOLDER / "vendor"


def integrity(content: bytes, algorithm: str) -> str:
    """Hash of a file, as npm and browsers write it."""
    digest = hashlib.new(algorithm, content).digest()
    return f"{algorithm}-{base64.b64encode(digest).decode()}"


def main() -> None:
    """Fetch each package, compare it with its hash, and take the files out that are listed."""
    vendored = Path(sys.argv[1]) if len(sys.argv) > 1 else VENDORED
    for name, one in json.loads((vendored / "packages.json").read_text()).items():
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
                member = archive.extractfile(str(PurePosixPath("package", file.lstrip("/"))))
                if member is None:
                    sys.exit(f"{name} {one['version']} has no file {file}; correct packages.json")
                (vendored / name / Path(file).name).write_bytes(member.read())


if __name__ == "__main__":
    main()
