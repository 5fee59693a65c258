"""Gemma 3."""

from schedsearch.engine.adapters.base import Adapter


class Gemma3Adapter(Adapter):
    """Mostly sliding windows, every few layers full attention; images attend both ways inside.

    Tokens are ranked by the nearest full layer before a drop. What leaves a window is counted in
    original positions, and image blocks come from the model's own mask.
    Source: arXiv 2503.19786.
    """
