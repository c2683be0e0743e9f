"""`lifted`: outputs whose labels have other log-odds."""

from __future__ import annotations

import torch
from torch import Tensor

from safecompress.protocols import Outputs


def lifted(outputs: Outputs, by: Tensor) -> Outputs:
    """Return outputs with the true-class log-odds raised.

    Args:
        outputs: outputs on n rows.
        by: float64 (n,), how much each row's log-odds rise, in nats; negative numbers lower them.
    """
    raised = outputs.logits.double().scatter_add(1, outputs.labels[:, None], by[:, None])
    # Logits near the end of the type's range stay inside it.
    ends = torch.finfo(outputs.logits.dtype)
    logits = raised.clamp(ends.min, ends.max).to(outputs.logits.dtype)
    return Outputs(logits, outputs.labels, outputs.ids)
