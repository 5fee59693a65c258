"""What a service has, as Python has it: studies, sets of samples, tokens."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from schedsearch.client.archives import SAMPLES, kind_of, packed, read_archive
from schedsearch.client.connection import TIMEOUT, Connection
from schedsearch.client.study import Study, path_of
from schedsearch.client.values import Comparison, NewToken, SampleSet, Status, Token
from schedsearch.core.reading import read_file
from schedsearch.errors import InputError

_NAME = 100
"""Characters of the longest name of a set."""

_CHECKING = 600.0
"""Seconds for which a service may be silent while it checks a set."""


class Client:
    """A service of schedsearch; a context manager that lets its connections go.

    Args:
        url: Its address; None: that in SCHEDSEARCH_SERVER.
        token: Who asks; None: that in SCHEDSEARCH_TOKEN.
        timeout: Seconds for which the service may be silent.

    Attributes:
        studies: What is searched.
        sets: What was uploaded.
        tokens: Who may ask; for admins.

    Raises:
        InputError: There is no address, or it is none of a service.
    """

    def __init__(
        self, url: str | None = None, token: str | None = None, timeout: float = TIMEOUT
    ) -> None:
        if not (timeout > 0 and math.isfinite(timeout)):
            raise InputError(f"`timeout` must be a number above 0, but got {timeout}; correct it")
        self._connection = Connection(url, token, timeout)
        self.studies = Studies(self._connection)
        self.sets = Sets(self._connection)
        self.tokens = Tokens(self._connection)

    @property
    def url(self) -> str:
        """Address of the service."""
        return self._connection.url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the connections go; searches go on."""
        self._connection.close()


class Studies:
    """Studies of a service.

    Args:
        connection: To the service.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(self, content: "str | Path | Mapping[str, Any]", start: bool = False) -> Study:
        """Have the service keep a study.

        Args:
            content: A study file: its path, its text (more than one line, or JSON), or what is
                in it.
            start: Have it searched, too.

        Raises:
            InputError: The service refuses it; the message names the key.
        """
        made = self._connection.json(
            "POST",
            "studies",
            once=True,
            params={"start": "true"} if start else {},
            content=_text(content),
            headers={"Content-Type": "application/yaml"},
        )
        return Study(self._connection, Status.of(made))

    def validate(self, content: "str | Path | Mapping[str, Any]") -> Mapping[str, Any]:
        """What would be kept of a study, of which nothing is.

        Args:
            content: As `create` takes it.

        Raises:
            InputError: As `create`.
        """
        asked = {"content": _text(content), "headers": {"Content-Type": "application/yaml"}}
        found: Mapping[str, Any] = self._connection.json("POST", "studies:validate", **asked)
        return found["content"]  # type: ignore[no-any-return]

    def get(self, name: str) -> Study:
        """The study of a name.

        Raises:
            InputError: There is none.
        """
        found = self._connection.json("GET", path_of(name))
        return Study(self._connection, Status.of(found))

    def list(self, state: str | None = None) -> Iterator[Study]:
        """Iterate over the studies, the latest first.

        Args:
            state: Those in this state alone, as `Status` has it.
        """
        for one in self._connection.pages("studies", "studies", {"state": state}):
            yield Study(self._connection, Status.of(one))

    def compare(self, *names: str) -> Comparison:
        """Studies side by side: what each has found, what that costs, what unseen samples said.

        Args:
            names: Of the studies, at most 8.

        Raises:
            InputError: There is no such study, or its search has not begun.
        """
        asked = {"study": list(names)}
        return Comparison.of(self._connection.json("GET", "comparison", params=asked))


class Sets:
    """Sets of samples that were uploaded to a service.

    Args:
        connection: To the service.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def upload(
        self, path: str | Path, name: str | None = None, images: str | Path | None = None
    ) -> SampleSet:
        """Send samples with their images.

        Args:
            path: A JSONL file, a folder with samples.jsonl, or an archive of one (.tar, .tar.gz,
                .zip).
            name: What people call the set; default: the name of what is sent.
            images: Folder that the images of a JSONL file are relative to; default: its own.

        Returns:
            The set, which a study file names by its `reference`.

        Raises:
            InputError: Something cannot be read, or the service refuses it.
        """
        path = Path(path)
        samples = path / SAMPLES if path.is_dir() else path
        kind = "application/gzip"
        if path.is_dir() or path.suffix == ".jsonl":
            content = packed(samples, Path(images) if images is not None else samples.parent)
        else:
            kind, content = kind_of(path), read_archive(path)
        answer = self._connection.json(
            "POST",
            "sets",
            params={"name": name or path.name[:_NAME]},
            headers={"Content-Type": kind},
            content=content,
            timeout=_CHECKING,
        )
        return SampleSet.of(answer)


class Tokens:
    """Tokens of a service, for admins.

    Args:
        connection: To the service.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def own(self) -> Token:
        """The token that asks."""
        return Token.of(self._connection.json("GET", "token"))

    def list(self) -> "list[Token]":
        """All tokens, without their secrets."""
        return [Token.of(one) for one in self._connection.json("GET", "tokens")]

    def create(self, name: str, scope: str = "read", days: float | None = None) -> NewToken:
        """Make a token.

        Args:
            name: What people call it.
            scope: read, launch or admin.
            days: Until it expires; None: never.
        """
        asked = {"name": name, "scope": scope, "days": days}
        return NewToken.of(self._connection.json("POST", "tokens", json=asked))

    def revoke(self, token: "int | Token") -> None:
        """Make a token good for nothing.

        Args:
            token: It, or its id.
        """
        number = token.id if isinstance(token, Token) else token
        self._connection.ask("DELETE", f"tokens/{number:d}")


def _text(content: "str | Path | Mapping[str, Any]") -> bytes:
    """What is sent of a study file."""
    if isinstance(content, Mapping):
        try:
            return json.dumps(content, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            raise InputError(f"a study must be what JSON can say, but: {error}") from None
    if isinstance(content, str) and ("\n" in content or content.lstrip().startswith("{")):
        return content.encode(errors="replace")
    try:
        return read_file(Path(content))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{content}: cannot be read ({reason}); name a study file, or give its text"
        ) from None
