"""A picture is known by what files of its suffix hold, and by nothing else."""

import gzip
import io
import time

import pytest
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from schedsearch.core.files import check_target, write_file
from schedsearch.core.kinds import picture_kind
from schedsearch.errors import InputError

SUFFIXES = sorted({*FigureCanvasBase.get_supported_filetypes()} - {"raw", "rgba"})
ALIKE = ({"jpeg", "jpg"}, {"tif", "tiff"}, {"eps", "ps"})


def drawn(suffix: str) -> bytes:
    figure = Figure()
    FigureCanvasAgg(figure)
    content = io.BytesIO()
    try:
        figure.savefig(content, format=suffix)
    except (ValueError, RuntimeError, OSError) as error:  # pgf needs LaTeX, avif a codec
        pytest.skip(f"no {suffix} here: {error}")
    return content.getvalue()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_picture_is_known_by_its_own_suffix_alone(tmp_path, suffix):
    path = tmp_path / "picture"
    path.write_bytes(drawn(suffix))
    check_target(path, picture_kind(f".{suffix}"))
    for other in {*SUFFIXES, "raw", "xml", "gz", ""} - {suffix}:
        if {suffix, other} not in ALIKE:
            with pytest.raises(InputError, match="exists and is not a picture of type"):
                check_target(path, picture_kind(f".{other}"))


NOTES = b'<?xml version="1.0"?>\n<notes><svg></svg></notes>'


@pytest.mark.parametrize(
    ("suffix", "mine"),
    [
        (".svg", NOTES),
        (".svg", b"<!-- <svg> --><html>"),
        (".svg", b"<svgs>"),
        (".svgz", gzip.compress(NOTES, mtime=0)),
        (".svgz", gzip.compress(b"a backup", mtime=0)),
        (".svgz", b"\x1f\x8b no gzip"),
        (".png", gzip.compress(b"a backup", mtime=0)),
        (".png", NOTES),
        (".pdf", NOTES),
        (".raw", b"\0\0\0"),
    ],
)
def test_what_is_no_picture_of_the_suffix_is_kept(tmp_path, suffix, mine):
    path = tmp_path / f"mine{suffix}"
    path.write_bytes(mine)
    with pytest.raises(InputError, match="exists and is not a picture of type"):
        write_file(path, b"new", picture_kind(suffix))
    assert path.read_bytes() == mine


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"\xef\xbb\xbf \n",
        b'<?xml version="1.0"?>\n<!-- by hand -->\n<!DOCTYPE svg PUBLIC "a" "b">\n',
        b"<!-- one --><!-- two -->",
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_drawing_is_known_behind_its_prologue(tmp_path, start, pack):
    path = tmp_path / "picture"
    path.write_bytes(pack(start + b"<svg xmlns='http://www.w3.org/2000/svg'/>"))
    check_target(path, picture_kind(".svg" if pack is bytes else ".svgz"))


@pytest.mark.parametrize("mine", [b"<!-- -->" * 9000, b"<!--" * 20_000, b"<?x?>" * 15_000])
def test_long_prologue_is_told_in_no_time(mine):
    begun = time.process_time()
    assert not picture_kind(".svg").mark.search(mine[:65_536])
    assert time.process_time() - begun < 1
