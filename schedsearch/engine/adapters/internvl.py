"""InternVL2, 2.5 and 3 in their native form, and what to do with the other one."""

from schedsearch.engine.adapters.base import Adapter

REMOTE_CODE = "internvl_chat"
"""`model_type` of checkpoints that bring code of their own."""

REMEDY = (
    "this is an InternVL checkpoint in its original form, which runs on code of its own; take a "
    "native one (OpenGVLab/InternVL3-*-hf, InternVL2_5-*-MPO-hf), or convert this one: "
    "python -m schedsearch.engine.internvl_conversion SOURCE TARGET (docs/models.md)"
)


class InternVLAdapter(Adapter):
    """Tiles of a fixed number of tokens after pixel shuffling; Qwen2, Qwen3 or Llama decoders.

    Source: arXiv 2404.16821; `transformers.models.internvl` for the layout.
    """
