"""From the queries and keys of a layer to one attention value per token."""

import torch

from schedsearch.models.prompt import Prompt
from schedsearch.models.stage import Stage
from schedsearch.reduction.attention_tap import log_mean_attention
from schedsearch.reduction.selection import local_columns


def log_row_attention(
    prompt: Prompt,
    stage: Stage | None,
    rows: Stage,
    queries: torch.Tensor,
    keys: torch.Tensor,
    scaling: float,
    window: int | None = None,
) -> torch.Tensor:
    """Logarithm of the attention that rows pay to each token, mean over heads, then over rows.

    Args:
        prompt: The batch.
        stage: Tokens alive in the layer; `None` for all of them.
        rows: The ranking rows of each sample, padded with -1.
        queries: `(batch, heads, n, head_dim)` after RoPE.
        keys: `(batch, kv_heads, n, head_dim)` after RoPE.
        scaling: Factor on the dot product.
        window: Columns that a row sees in this layer, itself included; `None` for all.

    Returns:
        `(batch, sequence)` float32 in absolute columns, -inf at tokens that are gone or that no
        row sees.
    """
    width = prompt.shape[1]
    if stage is None:
        columns = torch.arange(width, device=prompt.valid.device)[None]
        alive, chosen = prompt.valid, rows.columns
    else:
        columns, alive = stage.columns, stage.alive
        chosen = local_columns(stage, rows.columns, width)
    index = chosen[:, None, :, None].expand(-1, queries.shape[1], -1, queries.shape[3])
    visible = alive[:, None, :] & (columns[:, None, :] <= rows.columns[:, :, None])
    if window is not None:
        visible &= columns[:, None, :] > rows.columns[:, :, None] - window
    device = queries.device  # of the layer, where layers lie on several devices
    chosen_queries = queries.gather(2, index.to(device))
    logs = log_mean_attention(chosen_queries, keys, scaling, visible.to(device)).to(visible.device)
    logs = logs.masked_fill(~rows.alive[..., None], float("-inf")).logsumexp(1)
    logs = logs - rows.alive.sum(1, keepdim=True).log()
    return logs if stage is None else stage.scatter(logs, width, float("-inf"))
