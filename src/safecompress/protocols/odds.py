"""`log_odds` of a class and `residuals` p − y, computed from logits without loss of precision."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


def log_odds(logits: Tensor, index: Tensor) -> Tensor:
    """Return log p − log(1 − p) of one class per row, exact where a softmax saturates.

    Args:
        logits: float (n, classes).
        index: int64 (n,), the class.

    Returns:
        (n,), same dtype as `logits`; +inf where there is only one class.
    """
    column = index[:, None]
    others = torch.logsumexp(logits.scatter(1, column, -torch.inf), dim=1)
    return logits.gather(1, column).squeeze(1) - others


class Residuals(NamedTuple):
    """p − y per row, the gradient of the cross-entropy with respect to the logits, in polar form.

    Args:
        direction: float64 (n, classes), of length 1; zeros where the length is 0.
        length: float64 (n,), the L2 norm of p − y, in [0, √2].
    """

    direction: Tensor
    length: Tensor


def residuals(logits: Tensor, labels: Tensor) -> Residuals:
    """Return p − y of each row without cancellation where p_y rounds to 1, down to 1e-300.

    Args:
        logits: float (n, classes).
        labels: int64 (n,).
    """
    wide, column = logits.double(), labels[:, None]
    missing = torch.sigmoid(-log_odds(wide, labels))[:, None]
    away = torch.softmax(wide, dim=1).scatter(1, column, -missing)
    # Squares of numbers below 1e-154 underflow to zero, so the largest is divided out first.
    largest = away.abs().amax(dim=1)
    away = away / torch.where(largest > 0, largest, 1.0)[:, None]
    spread = torch.linalg.vector_norm(away, dim=1)
    return Residuals(away / torch.where(spread > 0, spread, 1.0)[:, None], largest * spread)
