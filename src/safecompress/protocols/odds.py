"""Log-odds of a class, from logits: what every confidence of a row is read off."""

from __future__ import annotations

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
