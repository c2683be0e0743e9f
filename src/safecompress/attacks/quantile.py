"""`QuantileAttack`: compares a row's log-odds with what its inputs and label predict.

The attack needs no reference models. Two regressions on non-members predict a row's log-odds from
the row itself, and the standard deviation around this prediction. The score is how far a row's
log-odds exceed the prediction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from safecompress.attacks.input_columns import input_columns
from safecompress.attacks.metric import true_class_log_odds
from safecompress.attacks.network import in_id_order
from safecompress.attacks.options import require_at_least
from safecompress.attacks.registry import ATTACKS
from safecompress.protocols import Attack, Evidence, Outputs, Pool, Rows

_PENALTIES = tuple(10.0**k for k in range(-2, 6))
_SMALLEST = 1e-6
"""Least predicted standard deviation, relative to the log-odds' own; keeps the logarithm finite."""


@dataclass(frozen=True)
class FittedQuantile:
    """What the attack has learned on the fit half's non-members.

    Args:
        classes: number of classes.
        seed: seed of the random projections.
        mean: regression of the log-odds, in nats.
        deviation: regression of the logarithm of the absolute residual.
        floor: least absolute residual, in nats.
    """

    classes: int
    seed: int
    mean: Any
    deviation: Any
    floor: float


@dataclass(frozen=True)
class QuantileAttack(Attack):
    """Score = (φ − μ(x))/σ(x), φ the log-odds of the label, μ and σ regressed on inputs and label.

    If φ is normal given the row, thresholds on the score are conditional quantiles of φ. μ and
    log σ are ridge regressions with penalties chosen by generalized cross-validation. The attack is
    strong only where inputs and label predict how easy a row is.

    Args:
        width: largest number of columns per input tensor; wider inputs are projected at random.

    Raises:
        ConfigError: when an option is out of range.

    Reference: Bertran et al., Scalable Membership Inference Attacks via Quantile Regression,
    NeurIPS 2023, section 3, the Gaussian variant.
    """

    name: ClassVar[str] = "quantile"
    signals: ClassVar[str] = "label"
    requires: ClassVar[frozenset[str]] = frozenset({"rows"})
    learns: ClassVar[bool] = True

    width: int = 512

    def __post_init__(self) -> None:
        require_at_least(self, width=1)

    def fit(self, known: Pool[Evidence], *, seed: int) -> FittedQuantile:
        """Regress the non-members' log-odds on their inputs and labels.

        Args:
            known: evidence about the fit half; only its non-members are used.
            seed: seed of the random projections.
        """
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
        """Return by how many standard deviations a row exceeds its prediction, float64 (n,).

        Args:
            fitted: what `fit` returned.
            evidence: outputs and rows.
        """
        x = self._columns(evidence, seed=fitted.seed)
        above = _odds(evidence.outputs) - fitted.mean.predict(x)
        return torch.from_numpy(above / np.exp(fitted.deviation.predict(x).clip(-40.0, 40.0)))

    def _columns(self, evidence: Evidence, *, seed: int) -> NDArray[np.float64]:
        """Return the inputs, at most `width` columns per tensor, and the one-hot labels.

        The result is float64 (n, columns).
        """
        rows = cast(Rows, evidence.rows)
        inputs = input_columns(rows, width=self.width, seed=seed, name="quantile")
        labels = torch.nn.functional.one_hot(rows.labels.cpu(), evidence.outputs.classes)
        return torch.cat([inputs, labels.double()], dim=1).numpy()


ATTACKS.add(
    "quantile",
    QuantileAttack,
    summary="the model is surer of members than their inputs let expect; no references needed",
    reference="Bertran et al., NeurIPS 2023",
    cost="about 1 s for 2,000 + 2,000 rows × 446 columns on one core",
)


def _odds(outputs: Outputs) -> NDArray[np.float64]:
    """Return the labels' log-odds, float64 (n,); 0 with a single class, where they are infinite."""
    return outputs.per_row(true_class_log_odds).nan_to_num(posinf=0.0).numpy()
