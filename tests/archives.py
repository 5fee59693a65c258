"""Archives of sample sets, made in memory."""

import io
import json
import tarfile
import zipfile
from collections.abc import Mapping

from PIL import Image

from schedsearch.demo.shapesvqa import ShapesVQA


def png(color: str | tuple[int, int, int], size: tuple[int, int] = (8, 8)) -> bytes:
    """A PNG of one colour."""
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, "PNG")
    return file.getvalue()


def rows(*images: str) -> bytes:
    """A JSONL file with one row for each image."""
    lines = [json.dumps({"question": "What?", "answer": "a cup", "image": name}) for name in images]
    return "".join(f"{line}\n" for line in lines).encode()


def demo_set(samples: int) -> dict[str, bytes]:
    """Files of a set of the embedded model's task, as somebody has one of their own."""
    files, asked = dict[str, bytes](), []
    for number, sample in enumerate(ShapesVQA("calibration", samples)):
        picture, name = io.BytesIO(), f"images/{number}.png"
        sample.images[0]().save(picture, "PNG")
        files[name] = picture.getvalue()
        row = {"question": sample.question, "answers": sample.answers, "image": name}
        asked.append(json.dumps(row))
    return {"samples.jsonl": "\n".join(asked).encode(), **files}


def tar(files: Mapping[str, bytes], mode: str = "w") -> bytes:
    """A tar of these files, gzipped with the mode `w:gz`."""
    return tar_of([(tarfile.TarInfo(name), content) for name, content in files.items()], mode)


def tar_of(members: list[tuple[tarfile.TarInfo, bytes]], mode: str = "w") -> bytes:
    """A tar of members that the caller has described."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode) as archive:  # type: ignore[call-overload]
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return made.getvalue()


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A zip of these files, deflated."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return made.getvalue()
