"""`Losses`, `log_odds_of`, `target_groups`: what attacks read of numbers and of several labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from safecompress.data.group_values import group_column
from safecompress.data.prediction_worth import Numbers
from safecompress.protocols import Groups, OverlappingGroups, Pool
from safecompress.stats import auc_interval, corrected_level

LABEL, TARGET = "rows with label", "rows with target"
"""Attributes by whose groups such models are judged."""
_LEVEL = 0.95
_SMALLEST = 1e-12
"""Smallest loss, in nats; smaller ones are equally right as far as any test can see."""


@dataclass(frozen=True)
class Losses:
    """How the losses of one model's rows are computed.

    Args:
        task: what the model predicts.
        outputs: `logits` or `probabilities`, of labels.
        scale: standard deviation of the errors of each number on non-members.
    """

    task: str
    outputs: str
    scale: Numbers

    def of(self, predictions: Numbers, targets: Numbers) -> Numbers:
        """Return the loss of each row, in nats, float64 (…, n): Gaussian, or binary, summed.

        Args:
            predictions: (…, n, k).
            targets: (n, k).
        """
        return np.asarray(self.each(predictions, targets).sum(-1))

    def each(self, predictions: Numbers, targets: Numbers) -> Numbers:
        """Return the loss of each number or label, in nats, float64 (…, n, k).

        Args:
            predictions: (…, n, k).
            targets: (n, k).
        """
        if self.task == "regression":
            return np.asarray(((predictions - targets) / self.scale) ** 2 / 2)
        if self.outputs == "logits":
            z = np.where(targets > 0.5, predictions, -predictions)
            return np.asarray(np.logaddexp(0.0, -z))
        right = np.where(targets > 0.5, predictions, 1.0 - predictions)
        return np.asarray(-np.log(np.maximum(right, np.finfo(np.float64).tiny)))


def log_odds_of(losses: Numbers) -> Tensor:
    """Return the log-odds of exp(-loss), finite, float64, in the shape of the losses.

    Args:
        losses: in nats, at least 0.
    """
    known = np.maximum(losses, _SMALLEST)
    return torch.from_numpy(-(known + np.log(-np.expm1(-known))))


def target_groups(targets: Pool[Numbers], *, task: str) -> Pool[dict[str, Groups]]:
    """Return the groups within which such a model is judged: some of its members may leak wholly.

    For labels they are the rows to which a label applies. For numbers they are the quarters of the
    rows by a number, or the rows that share it where it has few values.

    Args:
        targets: of both groups, (n, k).
        task: `regression` or `multi-label`.
    """
    count = targets.members.shape[1]
    if task == "multi-label":
        names = tuple(str(k + 1) for k in range(count))
        by, inside = LABEL, targets.map(lambda y: torch.from_numpy(y > 0.5))
    else:
        by = TARGET
        pairs = zip(targets.members.T, targets.nonmembers.T, strict=True)
        columns = [group_column(Pool(members, others)) for members, others in pairs]
        which = [f"{k + 1} " if count > 1 else "" for k in range(count)]
        names = tuple(
            which[k] + name for k, column in enumerate(columns) for name in column.members.names
        )
        inside = Pool(
            torch.cat([_mask(column.members) for column in columns], dim=1),
            torch.cat([_mask(column.nonmembers) for column in columns], dim=1),
        )
    return inside.map(lambda mask: {by: OverlappingGroups(mask, names)})


def telling_output(each: Pool[Numbers], *, task: str) -> str:
    """Return in a sentence which single output tells members best; empty where none surely does.

    Args:
        each: losses of the members and of the non-members, (n, k).
        task: `regression` or `multi-label`.
    """
    count = each.members.shape[1]
    level = corrected_level(_LEVEL, count)
    found = [
        auc_interval(-members, -others, level=level)
        for members, others in zip(each.members.T, each.nonmembers.T, strict=True)
    ]
    best = max(range(count), key=lambda k: found[k].low)
    if count == 1 or found[best].low <= 0.5:
        return ""
    what = "label" if task == "multi-label" else "number"
    return (
        f"Of {count} {what}s, {what} {best + 1} tells members best: the AUC of its own loss is "
        f"{found[best].value:.3f} [{found[best].low:.3f}, {found[best].high:.3f}]."
    )


def _mask(groups: Groups) -> Tensor:
    """Return which group a row belongs to, bool (n, groups)."""
    inside = torch.zeros(len(groups), len(groups.names), dtype=torch.bool)
    for column, rows in enumerate(groups.positions()):
        inside[rows, column] = True
    return inside
