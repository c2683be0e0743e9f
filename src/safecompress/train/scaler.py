"""The state of fp16's gradient scaler, kept in candidates beside the optimizer's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from lightning_fabric import Fabric

SCALER = "gradient scaler"
"""Key in `Candidate.optimizer`; no parameter can be called so."""


class Scaler:
    """The gradient scaler of a Fabric that trains in fp16; of any other it does nothing.

    Args:
        fabric: as it was launched.
    """

    def __init__(self, fabric: Fabric) -> None:
        self._scaler: torch.amp.GradScaler | None = getattr(
            fabric.strategy.precision, "scaler", None
        )
        self._fresh = self.state()

    @property
    def scale(self) -> float | None:
        """What the loss is multiplied by; None without a scaler."""
        return None if self._scaler is None else float(self._scaler.get_scale())

    def state(self) -> dict[str, dict[str, Tensor]]:
        """Return the scale and its growth counter as tensors; empty without a scaler."""
        if self._scaler is None:
            return {}
        state = self._scaler.state_dict()
        return {
            SCALER: {
                "scale": torch.tensor(state["scale"], dtype=torch.float64),
                "growth_tracker": torch.tensor(state["_growth_tracker"]),
            }
        }

    def load_(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Take back what `state` returned; where it is not in there, begin anew."""
        stored = (self._fresh | dict(state)).get(SCALER)
        if self._scaler is None or stored is None:
            return
        self._scaler.load_state_dict(
            self._scaler.state_dict()
            | {
                "scale": float(stored["scale"]),
                "_growth_tracker": int(stored["growth_tracker"]),
            }
        )
