"""Idefics3 and SmolVLM."""

from schedsearch.engine.adapters.base import Adapter


class Idefics3Adapter(Adapter):
    """Images in tiles of a fixed number of tokens after pixel shuffling, with text around each.

    Source: arXiv 2408.12637 (Idefics3), 2504.05299 (SmolVLM).
    """
