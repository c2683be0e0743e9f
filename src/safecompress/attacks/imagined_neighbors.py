"""`with_neighbors`: imaginary rows and references where a row trained on lifts its relatives."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from safecompress.attacks.lift import lifted
from safecompress.attacks.metric import true_class_log_odds
from safecompress.protocols import Evidence, References, Rows
from safecompress.randomness import generator

_WIDTH = 16
_RELATIVES = 4
"""Rows of one label whose inputs lie close together."""
_APART = 0.05
"""Distance of relatives, relative to that of other rows."""
_LIFT = 1.5
"""Rise of a relative's log-odds, relative to the deviation of the model's log-odds over rows."""
_REFERENCES = 64
_SPREAD = 0.3
"""Standard deviation of the references' log-odds, in the same unit."""


def with_neighbors(evidence: Evidence, leaks: Tensor, *, seed: int) -> Evidence:
    """Add rows and references, and plant the leak in what the model says of a row's relatives.

    A model that was trained on a row is surer of the row's label at its relatives, and no surer at
    the row itself than at any of them. References are so for the half of all rows that each saw,
    the target for the leaking rows.

    Args:
        evidence: outputs on n rows not trained on.
        leaks: bool (n,), the rows that leak.
        seed: seed of inputs, training sets and noise.
    """
    outputs = evidence.outputs
    source, n = generator(seed, "control", "neighbors"), len(outputs)
    family = _families(outputs.labels, source)
    centers = torch.randn(int(family.max()) + 1 if n else 0, _WIDTH, generator=source)
    inputs = centers[family] + _APART * torch.randn(n, _WIDTH, generator=source)
    base = true_class_log_odds(outputs)
    spread = base.std() if n > 1 and bool(base.std() > 0) else torch.ones((), dtype=base.dtype)
    seen = torch.rand(_REFERENCES, n, generator=source).argsort(dim=0) < _REFERENCES // 2
    noise = torch.randn(_REFERENCES, n, generator=source, dtype=torch.float64)
    said = base + _LIFT * spread * _others(seen.double(), family) + _SPREAD * spread * noise
    return replace(
        evidence,
        outputs=lifted(outputs, _LIFT * spread * _others(leaks.double()[None], family)[0]),
        rows=Rows(inputs, outputs.labels, outputs.ids),
        references=References(said, seen),
    )


def _families(labels: Tensor, source: torch.Generator) -> Tensor:
    """Return the family of each row, int64 (n,): rows of one label, a few in each."""
    family = torch.zeros(len(labels), dtype=torch.int64)
    begun = 0
    for label in sorted(set(labels.tolist())):
        rows = (labels == label).nonzero().squeeze(1)
        rows = rows[torch.randperm(len(rows), generator=source)]
        family[rows] = begun + torch.arange(len(rows)) // _RELATIVES
        begun = int(family.max()) + 1
    return family


def _others(trained: Tensor, family: Tensor) -> Tensor:
    """Return how many of each row's relatives a model was trained on, float64 (models, n)."""
    totals = torch.zeros(len(trained), int(family.max()) + 1, dtype=trained.dtype)
    totals.index_add_(1, family, trained)
    return totals[:, family] - trained
