"""Search, certify and held-out samples share no image; one set can be divided so."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from schedsearch.core.reading import OnProgress, counted
from schedsearch.core.sample import Part, Sample, SampleSet, Split
from schedsearch.core.shown import shown
from schedsearch.errors import DataError, InputError

Images = Mapping[str, tuple[str, ...]]
"""Hashes of each sample's images by the sample's id, as `image_key` gives them."""

SHARES: Mapping[str, Split] = {
    "search": "calibration",
    "certify": "certify",
    "held_out": "held-out",
}
"""What a set can be divided into, and the split that each part is."""

_USERS: Mapping[Split, str] = {"calibration": "the search uses", "certify": "proves the schedule"}


def images_of(samples: SampleSet, on_progress: OnProgress | None = None) -> Images:
    """What each sample shows, without a model.

    Raises:
        DataError: An image is missing or broken.
    """
    from schedsearch.evaluation.data.images import image_key, open_image

    return {
        sample.id: tuple(image_key(open_image(source)) for source in sample.images)
        for sample in counted(list(samples), on_progress)
    }


def check_apart(earlier: Mapping[Split, Images], split: Split, images: Images) -> None:
    """Refuse samples on which a comparison would say nothing.

    Args:
        earlier: What the samples of other splits show.
        split: Of the samples.
        images: What they show.

    Raises:
        DataError: There are fewer than two, or one shows an image of another split.
    """
    if len(images) < 2:
        raise DataError(
            f"an interval needs at least 2 {split} samples, but got {len(images)}; add some"
        )
    for other, known in earlier.items():
        seen = {image: name for name, shown_there in known.items() for image in shown_there}
        for name, own in images.items():
            for image in own:
                if image in seen:
                    raise DataError(
                        f"{split} sample {shown(name)} shows the image of {other} sample "
                        f"{shown(seen[image])}, which {_USERS[other]}; remove it from the {split} "
                        "set"
                    )


def groups(images: Images) -> list[list[str]]:
    """Ids of the samples that show one image, or are linked by a chain of shared ones.

    In the order of the samples.
    """
    first: dict[str, str] = {}
    leader = {name: name for name in images}

    def found(name: str) -> str:
        while leader[name] != name:
            leader[name] = leader[leader[name]]
            name = leader[name]
        return name

    for name, shown_there in images.items():
        for image in shown_there:
            leader[found(name)] = found(first.setdefault(image, name))
    members: dict[str, list[str]] = {}
    for name in images:
        members.setdefault(found(name), []).append(name)
    return list(members.values())


def split_samples(
    samples: SampleSet | Iterable[Sample | Mapping[str, Any]],
    shares: Mapping[str, float],
    seed: int = 0,
    on_progress: OnProgress | None = None,
) -> dict[str, SampleSet]:
    """Divide a set such that no two parts share an image.

    Which part a sample belongs to depends on the seed and on what all samples show, not on their
    order.

    Args:
        samples: The set, or its rows as `search` takes them.
        shares: Of the samples, by `search`, `certify` and `held_out`; together 1.
        seed: Another division.
        on_progress: Told how many samples are looked at, of how many.

    Returns:
        A set by each of the names.

    Raises:
        InputError: The shares are no such ones.
        DataError: An image is missing or broken, or a part has fewer than two samples.
    """
    check_shares(shares)
    if not (hasattr(samples, "digest") and hasattr(samples, "split")):
        from schedsearch.evaluation.data.in_memory import MemorySet

        samples = MemorySet(samples)
    samples = cast(SampleSet, samples)
    images = images_of(samples, on_progress)
    order = sorted((_place(group, images, seed), group) for group in groups(images))
    ends, done, parts = _ends(shares, len(images)), 0, dict[str, set[str]]()
    for _, group in order:
        middle = done + len(group) / 2
        part = next(name for name, end in ends if middle <= end or name == ends[-1][0])
        parts.setdefault(part, set()).update(group)
        done += len(group)
    for name, share in shares.items():
        if len(parts.get(name, ())) < 2:
            raise DataError(
                f"`shares.{name}` {share:g} of {len(images)} samples is fewer than 2, since those "
                "that share an image stay together; add samples, or raise it"
            )
    return {name: Part(samples, frozenset(parts[name]), SHARES[name]) for name in shares}


def check_shares(shares: Mapping[str, float]) -> None:
    """Refuse shares that divide nothing.

    Raises:
        InputError: One is unknown or not above 0, `search` is missing, or they do not add up to 1.
    """
    unknown = next((name for name in shares if name not in SHARES), None)
    if unknown is not None or "search" not in shares:
        raise InputError(
            f"`shares` must have `search`, and may have `certify` and `held_out`, but got "
            f"{', '.join(map(str, shares)) or 'none'}; name these"
        )
    total = sum(shares.values())
    if min(shares.values()) <= 0 or abs(total - 1) > 1e-9:
        raise InputError(
            f"`shares` must be above 0 and add up to 1, but got "
            f"{', '.join(f'{name} {share:g}' for name, share in shares.items())}; correct them"
        )


def _ends(shares: Mapping[str, float], samples: int) -> Sequence[tuple[str, float]]:
    """Each part with the number of samples at which it ends, in one order of the parts."""
    ends, done = [], 0.0
    for name in SHARES:
        if name in shares:
            done += shares[name] * samples
            ends.append((name, done))
    return ends


def _place(group: Sequence[str], images: Images, seed: int) -> str:
    """Where a group stands among the others: by chance, which its least image decides."""
    least = min(image for name in group for image in images[name])
    return hashlib.sha256(f"{seed} {least}".encode()).hexdigest()
