"""`PerOutputAttack`: how right a model is about each of several numbers or labels alone.

A model of forty labels that has memorized one of them gives its members away by that one. In the
loss of a whole row the other thirty-nine hide it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor

from safecompress.attacks.metric import true_class_log_odds
from safecompress.attacks.network import Network, NetworkOptions, in_id_order
from safecompress.attacks.options import require_at_least
from safecompress.attacks.registry import ATTACKS
from safecompress.protocols import Attack, Evidence, Pool
from safecompress.randomness import permutation
from safecompress.stats.roc import auc

_MOST_ROWS = 1 << 16
"""Most rows of each group that the attack is fitted on."""


@dataclass(frozen=True)
class Chosen:
    """A fitted attack.

    Args:
        columns: int64 (most,), the outputs that it reads, rising.
        network: maps their log-odds and that of the whole row to the logit of "member".
    """

    columns: Tensor
    network: Network


@dataclass(frozen=True)
class PerOutputAttack(Attack):
    """A network on the log-odds of each output alone, and of all together.

    Of more outputs than `most` it reads those whose own loss tells the fit half's members best.

    Args:
        most: most outputs that are read, at least 1.

    Raises:
        ConfigError: when an option is out of range.

    Reference: the loss attack of Yeom et al., CSF 2018, on each output.
    """

    name: ClassVar[str] = "per-output"
    signals: ClassVar[str] = "label"
    learns: ClassVar[bool] = True
    directed: ClassVar[bool] = False
    requires: ClassVar[frozenset[str]] = frozenset({"each_output"})

    most: int = 64

    def __post_init__(self) -> None:
        require_at_least(self, most=1)

    @torch.no_grad()
    def fit(self, known: Pool[Evidence], *, seed: int) -> Chosen:
        """Return the outputs that tell most, and a network on them.

        Args:
            known: evidence about the fit half's members and non-members.
            seed: seed of the hidden layer.
        """
        rows = known.map(lambda e: _drawn(in_id_order(e), seed=seed))
        each = rows.map(lambda e: cast(Tensor, e.each_output))
        count = each.members.shape[1]
        columns = torch.arange(count)
        if count > self.most:
            told = [
                abs(auc(members, others) - 0.5)
                for members, others in zip(each.members.T, each.nonmembers.T, strict=True)
            ]
            # A stable sort takes the first of outputs that tell equally much.
            order = torch.tensor(told).argsort(descending=True, stable=True)
            columns = order[: self.most].sort().values
        features = rows.map(lambda e: _features(e, columns))
        options = NetworkOptions()
        return Chosen(columns, Network.learned(features, options, seed=seed, name=self.name))

    @torch.no_grad()
    def score(self, fitted: Chosen, evidence: Evidence) -> Tensor:
        """Return the logit of "member", float64 (n,).

        Args:
            fitted: the fitted attack.
            evidence: what is known about n rows.
        """
        return fitted.network(_features(evidence, fitted.columns))


def _drawn(evidence: Evidence, *, seed: int) -> Evidence:
    n = len(evidence.outputs)
    if n <= _MOST_ROWS:
        return evidence
    order = permutation(n, seed, "attack", PerOutputAttack.name, "rows")
    return evidence.take(order[:_MOST_ROWS].sort().values)


def _features(evidence: Evidence, columns: Tensor) -> Tensor:
    """Return log-odds of some outputs alone and of the whole row, float64 (n, columns + 1)."""
    # With a single class the log-odds are infinite and carry no information.
    whole = true_class_log_odds(evidence.outputs).nan_to_num(posinf=0.0)
    return torch.cat([cast(Tensor, evidence.each_output)[:, columns], whole[:, None]], dim=1)


ATTACKS.add(
    "per-output",
    PerOutputAttack,
    summary="a small network on how right a model is about each number or label alone",
    reference="Yeom et al., CSF 2018, on each output",
    cost="about 0.05 s for 1,000 + 1,000 fit rows × 40 outputs on one core; linear in rows",
)
