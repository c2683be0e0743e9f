"""Log-odds of a model and its references on rows of which something is claimed, true or not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from safecompress.protocols import Evidence, Outputs, Pool, References


@dataclass(frozen=True)
class Claim:
    """How a model and its references came about.

    Args:
        rows: of each group.
        models: reference models, each of which saw half of the rows.
        leak: nats by which seeing a row of usual difficulty lifts its log-odds.
        members, nonmembers: shares of the two groups that the model was really trained on.
        memorizes: share of the references' lift that the model has on rows that it saw.
        sharpness: factor of the model's log-odds.
        noise: standard deviation of log-odds between models.
    """

    rows: int = 600
    models: int = 16
    leak: float = 1.0
    members: float = 1.0
    nonmembers: float = 0.0
    memorizes: float = 1.0
    sharpness: float = 1.0
    noise: float = 0.6

    def drawn(self, seed: int) -> Pool[Evidence]:
        """Return evidence of a model of two classes."""
        draw = np.random.default_rng(seed)
        levels = draw.normal(scale=0.1, size=(self.models + 1, 1))
        shares = Pool(self.members, self.nonmembers)
        return shares.map(lambda share: self._group(draw, levels, share))

    def _group(self, draw: np.random.Generator, levels: np.ndarray, share: float) -> Evidence:
        ease = draw.normal(loc=1.0, scale=1.5, size=self.rows)
        # What is hard to guess is lifted most.
        lift = self.leak * np.log1p(np.exp(2 - ease)) / 1.5
        seen = draw.random((self.models, self.rows)).argsort(axis=0) < self.models // 2
        saw = (draw.random(self.rows) < share) * self.memorizes
        odds = ease + draw.normal(scale=self.noise, size=(self.models + 1, self.rows)) + levels
        odds += np.concatenate([saw[None], seen]) * lift
        odds[0] *= self.sharpness
        logits = torch.from_numpy(np.stack([odds[0], np.zeros(self.rows)], axis=1))
        labels = torch.zeros(self.rows, dtype=torch.int64)
        references = References(torch.from_numpy(odds[1:]), torch.from_numpy(seen))
        return Evidence(Outputs(logits, labels, torch.arange(self.rows)), references=references)
