"""The quantile attack: is the model surer of a row than it should be of a row like this?

No reference model is trained. A regression learns on non-members how sure the model is of a row,
from the row alone, and how far it may be off; a member is judged by how far it lies above that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import embedding_bag

from safecompress.attacks.metric import true_class_log_odds
from safecompress.attacks.network import in_id_order
from safecompress.attacks.options import require_at_least
from safecompress.attacks.registry import ATTACKS
from safecompress.protocols import Attack, Evidence, Outputs, Pool, Rows, tensors_of
from safecompress.randomness import generator

_BUCKETS = 65_536
_PENALTIES = tuple(10.0**k for k in range(-2, 6))
_SMALLEST = 1e-6
"""Least expected deviation, relative to the log-odds' own; no row is expected exactly."""


@dataclass(frozen=True)
class FittedQuantile:
    """What was learned on the non-members of the fit half.

    Args:
        classes: number of classes.
        seed: of the projections.
        mean, deviation: regressions of the log-odds and of the logarithm of the residual.
        floor: least deviation.
    """

    classes: int
    seed: int
    mean: Any
    deviation: Any
    floor: float


@dataclass(frozen=True)
class QuantileAttack(Attack):
    """Score = (φ − μ(x))/σ(x), φ the log-odds of the label, μ and σ regressed on inputs and label.

    Where φ is normal given the row, thresholds on the score are conditional quantiles. Ridge
    regressions, their penalties by generalized cross-validation. It can be no stronger than what
    inputs and label tell of how hard a row is.

    Args:
        width: most columns that the inputs become; wider ones are projected at random.

    Raises:
        ConfigError: when an option is out of range.

    Reference: Bertran et al., Scalable Membership Inference Attacks via Quantile Regression,
    NeurIPS 2023, section 3, the Gaussian variant.
    """

    name: ClassVar[str] = "quantile"
    requires: ClassVar[frozenset[str]] = frozenset({"rows"})
    learns: ClassVar[bool] = True

    width: int = 512

    def __post_init__(self) -> None:
        require_at_least(self, width=1)

    def fit(self, known: Pool[Evidence], *, seed: int) -> FittedQuantile:
        """Learn the log-odds of non-members from their inputs and labels."""
        from sklearn.linear_model import RidgeCV
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        evidence = in_id_order(known.nonmembers)
        x = self._columns(evidence, seed=seed)
        odds = _odds(evidence.outputs)
        floor = max(float(odds.std()), 1.0) * _SMALLEST
        mean, deviation = (
            make_pipeline(StandardScaler(), RidgeCV(alphas=_PENALTIES)) for _ in range(2)
        )
        mean.fit(x, odds)
        residual = np.abs(odds - mean.predict(x))
        deviation.fit(x, np.log(np.maximum(residual, floor)))
        return FittedQuantile(evidence.outputs.classes, seed, mean, deviation, floor)

    def score(self, fitted: FittedQuantile, evidence: Evidence) -> Tensor:
        """Return how many deviations a row lies above what is expected of it, float64 (n,)."""
        x = self._columns(evidence, seed=fitted.seed)
        above = _odds(evidence.outputs) - fitted.mean.predict(x)
        return torch.from_numpy(above / np.exp(fitted.deviation.predict(x).clip(-40.0, 40.0)))

    def _columns(self, evidence: Evidence, *, seed: int) -> NDArray[np.float64]:
        """Return inputs and one-hot label as columns, (n, at most width a tensor + classes)."""
        rows = cast(Rows, evidence.rows)
        parts = [
            self._narrow(t.reshape(len(t), -1).cpu(), generator(seed, "quantile", place))
            for place, t in enumerate(tensors_of(rows.inputs))
        ]
        labels = torch.nn.functional.one_hot(rows.labels.cpu(), evidence.outputs.classes)
        return torch.cat([*parts, labels.double()], dim=1).numpy()

    def _narrow(self, x: Tensor, source: torch.Generator) -> Tensor:
        """Return (n, at most width) float64 columns; integers count as words, in any order."""
        if not x.is_floating_point() and x.dtype != torch.bool:
            table = torch.randn(_BUCKETS, min(self.width, 64), generator=source)
            bags: Tensor = embedding_bag(x.long() % _BUCKETS, table, mode="sum")
            return bags.double()
        x = x.double()
        if x.shape[1] <= self.width:
            return x
        drawn = torch.randn(x.shape[1], self.width, generator=source, dtype=torch.float64)
        return torch.mm(x, drawn / float(x.shape[1]) ** 0.5)


ATTACKS.add(
    "quantile",
    QuantileAttack,
    summary="the model is surer of members than their inputs let expect; no references needed",
    reference="Bertran et al., NeurIPS 2023",
    cost="about 1 s for 2,000 + 2,000 rows × 446 columns on one core",
)


def _odds(outputs: Outputs) -> NDArray[np.float64]:
    """Return the labels' log-odds; with a single class they are infinite and say nothing."""
    return outputs.per_row(true_class_log_odds).nan_to_num(posinf=0.0).numpy()
