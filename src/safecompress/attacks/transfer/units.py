"""`UnitInputModel`: a model that takes inputs in units of their range."""

from __future__ import annotations

from torch import Tensor, nn

from safecompress.models.adapt import adapt
from safecompress.protocols import InputRange


class UnitInputModel(nn.Module):
    """A model that takes units, in [0, 1], in place of its own inputs.

    Args:
        model: the wrapped model; shared, not copied.
        span: the range of the wrapped model's inputs.
    """

    def __init__(self, model: nn.Module, span: InputRange) -> None:
        super().__init__()
        self.model, self.span = model, span

    def forward(self, units: Tensor) -> Tensor:
        """Return the logits, float (n, classes).

        Args:
            units: float (n, …), in [0, 1].
        """
        return adapt(self.model(self.span.inputs(units)))
