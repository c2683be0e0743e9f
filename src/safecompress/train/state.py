"""A module's tensors, out and in."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from safecompress.errors import ModelError, NonFiniteError


def module_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return copies of the module's parameters and persistent buffers, contiguous, on the CPU.

    Names are the state_dict's; the names of a tied parameter share one copy.
    """
    copies: dict[int, Tensor] = {}
    tensors = {}
    for name, value in _entries(module).items():
        if id(value) not in copies:
            copies[id(value)] = value.detach().to("cpu", copy=True).contiguous()
        tensors[name] = copies[id(value)]
    return tensors


def load_module_(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy tensors into the module; a tied parameter is read under its first name.

    Raises:
        ModelError: when a tensor is missing or has another shape.
    """
    done: set[int] = set()
    with torch.no_grad():
        for name, own in _entries(module).items():
            if id(own) in done:
                continue
            given = tensors.get(name)
            if given is None or given.shape != own.shape:
                found = "none" if given is None else f"shape {tuple(given.shape)}"
                raise ModelError(
                    f"'{name}' has shape {tuple(own.shape)} in the model, the candidate has "
                    f"{found}; the candidate belongs to another model."
                )
            own.copy_(given)
            done.add(id(own))


def require_finite(module: nn.Module, *, where: str) -> None:
    """Raise NonFiniteError when a parameter or a buffer holds NaN or infinity."""
    for name, value in _entries(module).items():
        # A finite sum proves every entry finite, several times faster than looking at each.
        if value.is_floating_point() and not bool(
            torch.isfinite(value.sum()) or torch.isfinite(value).all()
        ):
            raise NonFiniteError(f"{where}: '{name}' is NaN or infinite.")


def require_finite_losses(losses: Tensor, first: int, *, where: str, scaled: bool) -> None:
    """Raise NonFiniteError when a loss is NaN or infinite; names its step.

    Args:
        losses: (steps,).
        first: step of the first of them.
        where: what was trained.
        scaled: whether steps whose loss overflows are skipped and the scale halved, as in fp16, so
            that only the last loss tells a failure.
    """
    looked_at = losses[-1:] if scaled else losses
    bad = torch.nonzero(~torch.isfinite(looked_at))
    if len(bad):
        step = first + len(losses) - len(looked_at) + int(bad[0])
        raise NonFiniteError(
            f"{where}: the loss became NaN or infinite at step {step}; lower the learning rate or "
            "warm up."
        )


def _entries(module: nn.Module) -> dict[str, Tensor]:
    state = module.state_dict(keep_vars=True)
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}
