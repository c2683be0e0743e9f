"""`Scaler`: fp16's gradient scaler, whose state is kept in candidates beside the optimizer's."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from safecompress.train.engine import Processes

SCALER = "gradient scaler"
"""Key in `Candidate.optimizer`; the space keeps it apart from every parameter's name."""


class Scaler:
    """The gradient scaler of a training in fp16; in another precision it does nothing.

    Args:
        processes: the launched processes.
    """

    def __init__(self, processes: Processes) -> None:
        strategy = getattr(processes, "strategy", None)
        self._scaler: torch.amp.GradScaler | None = getattr(
            getattr(strategy, "precision", None), "scaler", None
        )
        self._fresh = self.state()

    @property
    def scale(self) -> float | None:
        """The factor of the loss; None without a scaler."""
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
        """Load what `state` returned.

        Args:
            state: state tensors by name; where the scaler's are not among them, it returns to its
                initial scale.
        """
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
