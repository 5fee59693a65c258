"""Agreement between orders: Kendall's tau-b of every two rows, without a loop over pairs."""

import torch

_PAIRS_AT_ONCE = 1 << 22


def kendall_tau(scores: torch.Tensor) -> torch.Tensor:
    """Kendall's tau-b between every two score vectors of each sample.

    tau = (concordant - discordant pairs) / sqrt(pairs untied in one * pairs untied in the other).
    A vector that ties everything has no order; its tau with any other is 0.

    Source: Kendall 1945, "The treatment of ties in ranking problems".

    Args:
        scores: `(batch, vectors, n)` float, n at least 2.

    Returns:
        `(batch, vectors, vectors)` float64 in [-1, 1].
    """
    batch, vectors, n = scores.shape
    assert n > 1, "an order needs two tokens"
    products = scores.new_zeros(batch, vectors, vectors, dtype=torch.float64)
    step = max(1, _PAIRS_AT_ONCE // (batch * vectors * n))
    for start in range(0, n, step):
        block = scores[:, :, start : start + step, None]
        signs = (block - scores[:, :, None, :]).sign().flatten(2)
        # Sums of at most 2**22 terms of -1, 0 and 1 are exact in float32.
        products += (signs @ signs.transpose(1, 2)).double()
    untied = products.diagonal(dim1=1, dim2=2)
    norm = (untied[:, :, None] * untied[:, None, :]).sqrt()
    return (products / norm.clamp(min=1)).clamp(-1, 1)
