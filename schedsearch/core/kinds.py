"""Kinds of files: pictures by their suffix, and JSON that says what it is."""

import json
import re
import zlib
from dataclasses import dataclass

from schedsearch.core.files import Kind, Mark

_UNKNOWN = re.compile(rb"(?!)")
_BLANK = re.compile(r"[ \t\n\r]*")

_PNG = re.compile(rb"\A\x89PNG\r\n\x1a\n")
_JPEG = re.compile(rb"\A\xff\xd8\xff")
_TIFF = re.compile(rb"\A(?:II\*\0|MM\0\*)")
# Declarations and comments may stand before the picture.
_SVG = re.compile(
    rb"\A(?:\xef\xbb\xbf)?\s*+(?>(?:<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^<>]*>)\s*+)*+<svg[\s>]",
    re.DOTALL,
)


@dataclass(frozen=True)
class _Zipped:
    """The mark of what a gzip file holds."""

    inner: Mark

    def search(self, head: bytes, /) -> bool:
        try:
            return bool(self.inner.search(zlib.decompressobj(wbits=31).decompress(head, len(head))))
        except zlib.error:
            return False


_PICTURES: dict[str, Mark] = {
    "avif": re.compile(rb"\A.{4}ftypavif", re.DOTALL),
    "eps": re.compile(rb"\A%!PS-Adobe-\S+ EPSF"),
    "gif": re.compile(rb"\AGIF8[79]a"),
    "jpeg": _JPEG,
    "jpg": _JPEG,
    "pdf": re.compile(rb"\A%PDF-"),
    "pgf": re.compile(rb"\A%% Creator: Matplotlib, PGF"),
    "png": _PNG,
    "ps": re.compile(rb"\A%!PS"),
    "svg": _SVG,
    "svgz": _Zipped(_SVG),
    "tif": _TIFF,
    "tiff": _TIFF,
    "webp": re.compile(rb"\ARIFF.{4}WEBP", re.DOTALL),
}


def picture_kind(suffix: str) -> Kind:
    """A picture as files of a suffix hold it; of other suffixes nothing is known to be one."""
    name = suffix.removeprefix(".")
    return Kind(f"a picture of type {name}", _PICTURES.get(name, _UNKNOWN))


def json_kind(name: str, form: str) -> Kind:
    """A JSON object that says what it is: `"format": "{form}/..."`."""
    return Kind(name, _Stated(f"{form}/"))


@dataclass(frozen=True)
class _Stated:
    """The mark of a JSON object whose own `format` begins so."""

    form: str

    def search(self, head: bytes, /) -> bool:
        stated = _format(head.decode("utf-8-sig", "replace"))
        return isinstance(stated, str) and stated.startswith(self.form)


def _format(text: str) -> object:
    """The `format` of the JSON object that a text begins with; None where it states none."""
    read = json.JSONDecoder().raw_decode
    try:
        place, mark = _skip(text, 0), "{"
        while text[place] == mark:
            key, place = read(text, _skip(text, place + 1))
            place = _skip(text, place)
            if text[place] != ":":
                return None
            value, place = read(text, _skip(text, place + 1))
            if key == "format":
                return value
            place, mark = _skip(text, place), ","
    except (IndexError, ValueError, RecursionError):  # it ends before, or is no JSON
        pass
    return None


def _skip(text: str, place: int) -> int:
    found = _BLANK.match(text, place)
    assert found is not None
    return found.end()
