"""LLaVA-1.5 and its relatives on `LlavaForConditionalGeneration`."""

from schedsearch.engine.adapters.base import Adapter


class LlavaAdapter(Adapter):
    """One image placeholder token per projected patch; plain RoPE; any causal decoder.

    Source: arXiv 2310.03744 for the model; `transformers.models.llava` for the layout.
    """
