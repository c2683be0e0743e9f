"""A model that takes inputs in units of their range."""

from __future__ import annotations

from torch import Tensor, nn

from safecompress.models.adapt import adapt
from safecompress.protocols import InputRange


class UnitInputModel(nn.Module):
    """A model that takes units in place of its own inputs.

    Args:
        model: the model; shared, not copied.
        span: the range of its inputs.
    """

    def __init__(self, model: nn.Module, span: InputRange) -> None:
        super().__init__()
        self.model, self.span = model, span

    def forward(self, units: Tensor) -> Tensor:
        """Return the logits of units (n, …)."""
        return adapt(self.model(self.span.inputs(units)))
