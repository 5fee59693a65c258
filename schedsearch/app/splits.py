"""Calibration and held-out samples share no image."""

from collections.abc import Mapping

from schedsearch.core.reading import OnProgress, counted
from schedsearch.core.sample import SampleSet
from schedsearch.core.shown import shown
from schedsearch.errors import DataError

Images = Mapping[str, tuple[str, ...]]
"""Hashes of each sample's images by the sample's id, as `image_key` gives them."""


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


def check_apart(calibration: Images, held_out: Images) -> None:
    """Refuse held-out samples on which a comparison would say nothing.

    Raises:
        DataError: There are fewer than two, or one shows an image of a calibration sample.
    """
    if len(held_out) < 2:
        raise DataError(
            f"an interval needs at least 2 held-out samples, but got {len(held_out)}; add some"
        )
    seen = {image: name for name, images in calibration.items() for image in images}
    for name, images in held_out.items():
        for image in images:
            if image in seen:
                raise DataError(
                    f"held-out sample {shown(name)} shows the image of calibration sample "
                    f"{shown(seen[image])}, which the search uses; remove it from the held-out set"
                )
