"""The baseline that needs no search: smaller images, so that fewer vision tokens enter."""

import copy
import inspect
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from schedsearch.core.flops import SampleTokens, prompt_ratios
from schedsearch.core.sample import Grid
from schedsearch.errors import InputError, UnsupportedError
from schedsearch.models.adapters import adapter_for

_SWITCH = "interpolate_pos_encoding"


class Downsampler:
    """Runs a model on smaller images than it was trained with.

    What the processor makes of an image, its crop included, is resized before the vision tower cuts
    it into patches, and the tower interpolates its position embeddings to the smaller grid.

    Args:
        model: A LLaVA whose tower, such as CLIP's, gives one token per patch of a square image.
        processor: Its processor, which counts the tokens of an image by its size in pixels.

    Raises:
        UnsupportedError: Model or processor can do only one image size.
    """

    def __init__(self, model: nn.Module, processor: Any) -> None:
        adapter = adapter_for(model)
        tower: Any = getattr(adapter.trunk(model), "vision_tower", None)
        if tower is None or _SWITCH not in inspect.signature(tower.forward).parameters:
            raise _unsupported(
                f"{type(model).__name__} has no vision tower that interpolates its positions"
            )
        size, patch = tower.config.image_size, tower.config.patch_size
        if not (isinstance(size, int) and isinstance(patch, int)):
            raise _unsupported(f"{type(tower).__name__} takes images that are not square")
        if getattr(processor, "patch_size", None) != patch:
            raise _unsupported(
                f"{type(processor).__name__} does not count one token per patch of {patch} pixels"
            )
        self._shape = adapter.shape(model)
        self._tower = tower
        self._processor = processor
        self._patch = patch
        self._side = size // patch

    def grid_within(self, budget: float, tokens: Sequence[SampleTokens]) -> Grid:
        """The largest grid, square or one row short of it, within a FLOPs ratio.

        Args:
            budget: As `prompt_ratios` defines it.
            tokens: Of the full prompts.

        Raises:
            UnsupportedError: Full images do not give one token per patch.
            InputError: Images of a single patch cost more.
        """
        full = self._side**2
        if any(sample.n_vision % full for sample in tokens):
            raise _unsupported(f"images do not give one token for each of {full} patches")

        def ratio(grid: Grid) -> float:
            fewer = [replace(one, n_vision=one.n_vision // full * grid.tokens) for one in tokens]
            return prompt_ratios(self._shape, fewer, tokens)[0]

        sides = range(1, self._side + 1)
        grids = [
            Grid(rows, columns) for columns in sides for rows in (columns - 1, columns) if rows
        ]
        fitting = bisect_right(grids, budget, key=ratio)
        if not fitting:
            raise InputError(
                f"`budget` must be at least {ratio(grids[0]):.4f}, the FLOPs ratio of images of a "
                f"single patch, but got {budget!r}; choose a higher one"
            )
        return grids[fitting - 1]

    def processor(self, grid: Grid) -> Any:
        """The processor, but with images of `grid` patches; the given one stays as it is."""
        smaller = copy.copy(self._processor)
        size = (grid.rows * self._patch, grid.columns * self._patch)
        smaller.image_processor = _SmallerImages(self._processor.image_processor, size)
        return smaller

    @contextmanager
    def interpolating(self) -> Iterator[None]:
        """Let the tower take images of any size, without changing anything else of the model."""
        handle = self._tower.register_forward_pre_hook(_interpolate_positions, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()


class _SmallerImages:
    """An image processor whose pixel values are resized when it is done."""

    def __init__(self, whole: Any, size: tuple[int, int]) -> None:
        self._whole = whole
        self._size = size

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # copies look for these before there is anything to ask
            raise AttributeError(name)
        return getattr(self._whole, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        made = self._whole(*args, **kwargs)
        pixels = torch.as_tensor(made["pixel_values"])
        made["pixel_values"] = nn.functional.interpolate(
            pixels, self._size, mode="bicubic", antialias=True, align_corners=False
        )
        return made


def _interpolate_positions(
    _tower: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, {**kwargs, _SWITCH: True}


def _unsupported(reason: str) -> UnsupportedError:
    return UnsupportedError(f"{reason}; this baseline needs a LLaVA with a CLIP tower")
