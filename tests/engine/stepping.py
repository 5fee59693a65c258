"""A conversation by hand: forward after forward on one cache, padding on either side."""

from typing import Any

import torch

from tests.engine.tiny import text_positions


class Stepper:
    """Feeds a padded batch to a model and keeps the mask, positions and cache that belong to it."""

    def __init__(self, model: Any, batch: dict[str, Any]) -> None:
        self._model = model
        self.mask = batch["attention_mask"]
        positions = text_positions(self.mask)
        self._last = positions.argmax(1)
        output = model(**batch, position_ids=positions, use_cache=True)
        self.cache, self.prompt_logits = output.past_key_values, output.logits

    @property
    def first(self) -> torch.Tensor:
        """Logits `(batch, vocab)` of the first answer token."""
        return self.prompt_logits[torch.arange(len(self._last)), self._last]

    def feed(self, tokens: torch.Tensor, valid: torch.Tensor | None = None) -> torch.Tensor:
        """Logits `(batch, n, vocab)` of tokens `(batch, n)` after what was fed before."""
        new = torch.ones_like(tokens) if valid is None else valid
        self.mask = torch.cat([self.mask, new], dim=1)
        positions = text_positions(self.mask)[:, -tokens.shape[1] :]
        logits: torch.Tensor = self._model(
            input_ids=tokens,
            attention_mask=self.mask,
            position_ids=positions,
            past_key_values=self.cache,
        ).logits
        return logits

    def greedy(self, steps: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits `(steps, batch, vocab)` and tokens `(batch, steps)` of greedy decoding."""
        logits = [self.first]
        tokens = [self.first.argmax(-1)]
        for _ in range(steps - 1):
            logits.append(self.feed(tokens[-1][:, None])[:, 0])
            tokens.append(logits[-1].argmax(-1))
        return torch.stack(logits), torch.stack(tokens, dim=1)
