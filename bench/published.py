"""The curve that arXiv 2412.00556 publishes for LLaVA-1.5-7B."""

# Layers from 1: 1.0 for two layers, then as read off the figure of arXiv 2412.00556.
PUBLISHED = (
    *[1.0] * 2, 0.65, 0.64, *[0.62] * 3, *[0.50] * 4, 0.487, *[0.236] * 4, *[0.18] * 3,
    0.077, 0.076, 0.074, 0.073, 0.071, 0.07, 0.06, *[0.04] * 2, *[0.03] * 4,
)  # fmt: skip


def published(layers: int) -> list[float]:
    """The published curve, stretched over another depth."""
    places = [layer * (len(PUBLISHED) - 1) / (layers - 1) for layer in range(layers)]
    curve = [PUBLISHED[round(place)] for place in places]
    return [1.0, 1.0, *curve[2:]]
