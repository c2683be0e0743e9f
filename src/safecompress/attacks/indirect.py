"""`IndirectAttack`: membership from what a model says of other rows, never of the row itself.

A row that was trained on makes a model surer of its label at inputs nearby. A defense that changes
only what a model says of its members leaves that as it is, and no answer about the row is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, cast

import torch
from torch import Tensor

from safecompress.attacks.input_columns import input_columns
from safecompress.attacks.metric import true_class_log_odds
from safecompress.attacks.network import in_id_order
from safecompress.attacks.options import require_at_least
from safecompress.attacks.registry import ATTACKS
from safecompress.protocols import Attack, Evidence, Pool, References, Rows

_WIDTH = 512
_NEAREST = 1e-9
"""Added to squared distances, relative to those of typical neighbors, so that none is 0."""
_PENALTY = 0.25
"""Ridge penalty on what a neighbor's membership does to φ: a quarter of a reference's weight."""
_BLOCK = 256
"""Rows compared at a time, so that memory is bounded."""


class Known(NamedTuple):
    """The rows that the attacker asks about: the fit half, m rows.

    Args:
        columns: float64 (m, d), standardized inputs.
        mean: float64 (d,), subtracted from columns.
        scale: float64 (d,), that columns were divided by.
        labels: int64 (m,).
        odds: float64 (m,), the target's log-odds φ of each row's label.
        references: the references' log-odds of the same rows.
        members: bool (m,), which of them the target was trained on.
        seed: seed of the projection of inputs.
    """

    columns: Tensor
    mean: Tensor
    scale: Tensor
    labels: Tensor
    odds: Tensor
    references: References
    members: Tensor
    seed: int


@dataclass(frozen=True)
class IndirectAttack(Attack):
    """Score = mean over near rows j of φ(j) − what references without the scored row predict there.

    The rows j are those of the fit half with the scored row's label that are nearest to it; nearer
    ones have more weight. φ(j) also depends on whether j itself was trained on, which the attacker
    knows of the fit half. So the mean over references is corrected, by ridge regression, for which
    of the near rows each of them was trained on.

    Args:
        neighbors: number of near rows that are asked about, at least 1.

    Raises:
        ConfigError: when an option is out of range.

    Reference: after the indirect queries of Long et al., "A Pragmatic Approach to Membership
    Inferences on Machine Learning Models", EuroS&P 2020, and Wen et al., "Canary in a Coalmine",
    ICLR 2023, section 3. Here the queries are rows at hand instead of made inputs, because
    references have answered about these.
    """

    name: ClassVar[str] = "indirect"
    signals: ClassVar[str] = "neighbors"
    requires: ClassVar[frozenset[str]] = frozenset({"rows", "references"})
    learns: ClassVar[bool] = True

    neighbors: int = 5

    def __post_init__(self) -> None:
        require_at_least(self, neighbors=1)

    def fit(self, known: Pool[Evidence], *, seed: int) -> Known:
        """Return the rows to ask about, with what the target and the references say of them.

        Args:
            known: evidence about the fit half's members and non-members.
            seed: seed of the projection of wide inputs.
        """
        groups = known.map(in_id_order)
        sides = (groups.members, groups.nonmembers)
        raw = torch.cat([_columns(e, seed) for e in sides])
        mean, scale = raw.mean(dim=0), raw.std(dim=0, correction=0)
        scale = torch.where(scale > 0, scale, 1.0)
        first, second = (cast(References, e.references) for e in sides)
        return Known(
            columns=(raw - mean) / scale,
            mean=mean,
            scale=scale,
            labels=torch.cat([e.outputs.labels for e in sides]),
            odds=torch.cat([e.outputs.per_row(true_class_log_odds) for e in sides]),
            references=first.together(second),
            members=torch.arange(len(raw)) < len(groups.members.outputs),
            seed=seed,
        )

    def score(self, fitted: Known, evidence: Evidence) -> Tensor:
        """Return the weighted mean difference, float64 (n,), in nats.

        A row without another of its label in the fit half, or without references that did not see
        it, scores 0.

        Args:
            fitted: what `fit` returned.
            evidence: rows and references of n rows; of the outputs only labels and ids are read.
        """
        columns = (_columns(evidence, fitted.seed) - fitted.mean) / fitted.scale
        seen = cast(References, evidence.references).seen
        blocks = torch.split(torch.arange(len(columns)), _BLOCK)
        scores = [
            self._block(
                fitted,
                columns[rows],
                evidence.outputs.labels[rows],
                seen[:, rows],
            )
            for rows in blocks
        ]
        return torch.cat(scores) if scores else torch.zeros(0, dtype=torch.float64)

    def _block(self, known: Known, columns: Tensor, labels: Tensor, seen: Tensor) -> Tensor:
        distances = torch.cdist(
            columns, known.columns, compute_mode="donot_use_mm_for_euclid_dist"
        ).square()
        # A row of the fit half must not be asked about itself.
        other = (labels[:, None] != known.labels) | (distances == 0)
        distances = distances.masked_fill(other, torch.inf)
        near, place = distances.topk(min(self.neighbors, len(known.labels)), dim=1, largest=False)
        usable = torch.isfinite(near) & (~seen).any(dim=0)[:, None]
        above = _above(known, place, usable, seen)
        floor = _NEAREST * known.columns.shape[1]
        weight = torch.where(usable, (near[:, :1] + floor) / (near + floor), 0.0).nan_to_num(0.0)
        total = weight.sum(dim=1)
        return torch.where(total > 0, (weight * above).sum(dim=1) / total.clamp(min=1e-300), 0.0)


ATTACKS.add(
    "indirect",
    IndirectAttack,
    summary="what the model says of near rows, beyond references that did not see the row",
    reference="after Long et al., EuroS&P 2020, and Wen et al., ICLR 2023",
    cost="about 1 s for 64 references × 4,000 rows on one core, once they are trained",
)


def _columns(evidence: Evidence, seed: int) -> Tensor:
    return input_columns(cast(Rows, evidence.rows), width=_WIDTH, seed=seed, name="indirect")


def _above(known: Known, place: Tensor, usable: Tensor, seen: Tensor) -> Tensor:
    """Return the neighbors' φ beyond what references without the scored row predict, (n, k).

    Predicted is a mean over these references, corrected by ridge regression for which of the
    neighbors each was trained on. Without such references φ itself is returned.

    Args:
        known: the rows that neighbors are among.
        place: int64 (n, k), the neighbors' positions.
        usable: bool (n, k), which of them are neighbors at all.
        seen: bool (references, n), which references saw the scored rows.
    """
    counted = (~seen).double()[:, :, None]
    number = counted.sum(dim=0).clamp(min=1.0)
    said = known.references.log_odds[:, place]
    saw = known.references.seen[:, place].double() * usable
    usual, share = ((counted * t).sum(dim=0) / number for t in (said, saw))
    x, y = counted * (saw - share), said - usual
    gram = torch.einsum("rnk,rnl->nkl", x, x) + _PENALTY * torch.eye(place.shape[1]).double()
    effects = torch.linalg.solve(gram, torch.einsum("rnk,rnl->nkl", x, y))
    trained = known.members[place].double() * usable
    predicted = usual + torch.einsum("nk,nkl->nl", trained - share, effects)
    return known.odds[place] - predicted
