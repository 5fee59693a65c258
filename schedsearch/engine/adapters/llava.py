"""LLaVA-1.5, LLaVA-NeXT and LLaVA-OneVision."""

from schedsearch.engine.adapters.base import Adapter


class LlavaAdapter(Adapter):
    """One image placeholder token per projected patch; plain RoPE; any causal decoder.

    Pixtral checkpoints run on the same class; the break tokens between its rows count as text.
    Source: arXiv 2310.03744 for the model; `transformers.models.llava` for the layout.
    """


class LlavaNextAdapter(LlavaAdapter):
    """A view of the whole image, then the tiles that its shape asks for (AnyRes).

    The newline features behind each row of tiles stand on image ids and count as vision tokens.
    Source: the LLaVA-NeXT release notes; `transformers.models.llava_next` for the layout.
    """


class LlavaOnevisionAdapter(LlavaNextAdapter):
    """AnyRes tiles, and videos whose frames are pooled; both end rows with a newline feature.

    Source: arXiv 2408.03326.
    """
