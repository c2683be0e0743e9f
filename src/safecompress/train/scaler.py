"""The state of fp16's gradient scaler, kept in candidates beside the optimiser's."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

SCALER = "gradient scaler"
"""Key in `Candidate.optimizer`; no parameter can be called so."""


def scaler_state(scaler: torch.amp.GradScaler | None) -> dict[str, dict[str, Tensor]]:
    """Return the scale and its growth counter as tensors; empty without a scaler."""
    if scaler is None:
        return {}
    state = scaler.state_dict()
    return {
        SCALER: {
            "scale": torch.tensor(state["scale"], dtype=torch.float64),
            "growth_tracker": torch.tensor(state["_growth_tracker"]),
        }
    }


def load_scaler_state_(
    scaler: torch.amp.GradScaler | None, state: Mapping[str, Mapping[str, Tensor]]
) -> None:
    """Take back what `scaler_state` returned; without it the scaler stays as it is."""
    if scaler is not None and SCALER in state:
        stored = state[SCALER]
        scaler.load_state_dict(
            scaler.state_dict()
            | {
                "scale": float(stored["scale"]),
                "_growth_tracker": int(stored["growth_tracker"]),
            }
        )
