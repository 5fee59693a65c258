"""Qwen2-VL, Qwen2.5-VL and Qwen3-VL."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from schedsearch.core.sample import Grid
from schedsearch.errors import UnsupportedError
from schedsearch.models.adapters.base import Adapter, AliveTokens
from schedsearch.models.layout import TokenGrid
from schedsearch.models.stage import gather_rows
from schedsearch.models.tower import Given, Tower

_DEEPSTACK = "_deepstack_process"


class QwenVLAdapter(Adapter):
    """Images and videos of any size; positions of three axes (M-RoPE).

    The decoder folds the three axes into one rotary table, so gathered tables keep every axis.
    Source: arXiv 2409.12191 (Qwen2-VL), 2502.13923 (Qwen2.5-VL).
    """

    def tower(self, model: Any) -> Tower:
        """All patches of an image or frame; a token is the mean of the square that was merged."""
        module = model.model.visual
        square = module.spatial_merge_size**2
        windowed = hasattr(module, "window_size")

        def to_tokens(scores: torch.Tensor, given: Given) -> torch.Tensor:
            tokens = scores.view(-1, square).mean(1)
            if not windowed:
                return tokens
            order = _window_order(module, given["grid_thw"]).to(tokens.device)
            return torch.empty_like(tokens).index_copy_(0, order, tokens)

        # The tower calls its attention once for each frame.
        return Tower(module, module.blocks[-1].attn, False, to_tokens)

    def layout(self, model: Any, inputs: Mapping[str, torch.Tensor]) -> list[TokenGrid] | None:
        """A token for each square of merged patches, over images as a whole; not of videos."""
        if "image_grid_thw" not in inputs or "video_grid_thw" in inputs:
            return None
        merge = model.model.visual.spatial_merge_size
        return [
            TokenGrid(Grid(height // merge, width // merge), None)
            for _, height, width in inputs["image_grid_thw"].tolist()
        ]


def _window_order(module: Any, grid_thw: torch.Tensor) -> torch.Tensor:
    """Places in raster order of the tokens of Qwen2.5-VL's tower, which go window by window."""
    merge = module.spatial_merge_size
    side = module.window_size // merge // module.patch_size
    orders, behind = [], 0
    for frames, height, width in grid_thw.tolist():
        rows, columns = height // merge, width // merge
        row = torch.arange(rows)[:, None] // side
        window = row * columns + torch.arange(columns) // side
        order = window.flatten().argsort(stable=True)
        orders += [order + behind + frame * rows * columns for frame in range(frames)]
        behind += frames * rows * columns
    return torch.cat(orders)


class Qwen3VLAdapter(QwenVLAdapter):
    """Also adds features of earlier vision layers to the states after the first decoder layers.

    What is added to removed tokens goes with them. Source: DeepStack, arXiv 2406.04334.
    """

    @contextmanager
    def between_layers(self, model: nn.Module, alive: AliveTokens) -> Iterator[None]:
        """Add DeepStack features to the tokens that are left."""
        decoder: Any = self.decoder(model)
        add_to_all = getattr(decoder, _DEEPSTACK)

        def add(states: torch.Tensor, vision: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
            stage = alive()
            if stage is None:
                whole: torch.Tensor = add_to_all(states, vision, features)
                return whole
            full = states.new_zeros(*vision.shape, states.shape[-1])
            full[vision.to(states.device)] = features.to(states)
            return states + gather_rows(full, stage.columns) * stage.alive[..., None]

        setattr(decoder, _DEEPSTACK, add)
        try:
            yield
        finally:
            delattr(decoder, _DEEPSTACK)

    def check(self, model: nn.Module) -> None:
        """Refuse releases of transformers whose DeepStack cannot be reached."""
        super().check(model)
        if not callable(getattr(self.decoder(model), _DEEPSTACK, None)):
            raise UnsupportedError(
                f"{self.architecture(model)} has no `{_DEEPSTACK}` in this release of "
                "transformers, so vision features would be added to the wrong tokens; install a "
                "release between 5.17 and 5.23"
            )
