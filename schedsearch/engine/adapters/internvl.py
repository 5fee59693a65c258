"""InternVL2, 2.5 and 3 in their native form, and what to do with the other one."""

from schedsearch.engine.adapters.base import Adapter

REMOTE_CODE = "internvl_chat"
"""`model_type` of checkpoints that bring code of their own."""

REMEDY = (
    "this is an InternVL checkpoint in its original form, which runs on code of its own; take the "
    "native form of transformers: OpenGVLab has InternVL3-*-hf and InternVL2_5-*-MPO-hf, and "
    "convert_internvl_weights_to_hf.py in the sources of transformers converts others (see "
    "docs/models.md)"
)


class InternVLAdapter(Adapter):
    """Tiles of a fixed number of tokens after pixel shuffling; Qwen2, Qwen3 or Llama decoders.

    Source: arXiv 2404.16821; `transformers.models.internvl` for the layout.
    """
