"""Mistral Small 3.1 and later on `Mistral3ForConditionalGeneration`."""

from schedsearch.engine.adapters.base import Adapter


class Mistral3Adapter(Adapter):
    """A Pixtral tower for images of any size, whose patches are merged before the decoder.

    The break tokens between rows of patches count as text.
    Source: arXiv 2410.07073 for the tower; `transformers.models.mistral3` for the layout.
    """
