"""Files that pages need, under names that change whenever one of them does."""

import hashlib
from pathlib import Path

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(__file__).parent / "static"
_FOR_A_YEAR = "public, max-age=31536000, immutable"


def version_of(folder: Path) -> str:
    """Hash of names and contents of all files of a folder.

    One for all: modules import each other by relative paths, so they share the part of their path
    that says which version they are.
    """
    found = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        found.update(f"{file.relative_to(folder).as_posix()}\n".encode())
        found.update(hashlib.sha256(file.read_bytes()).digest())
    return found.hexdigest()[:16]


class Assets(StaticFiles):
    """Static files; browsers keep those of this version and ask again for those of another.

    Attributes:
        version: Part of their path.
    """

    def __init__(self) -> None:
        super().__init__(directory=FOLDER)
        self.version = version_of(FOLDER)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file."""
        answer = await super().get_response(path, scope)
        asked = scope.get("path_params", {}).get("version")
        answer.headers["Cache-Control"] = _FOR_A_YEAR if asked == self.version else "no-cache"
        return answer
