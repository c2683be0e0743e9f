"""`module_tensors`, `load_module_`: copy a module's tensors out and in, and check them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from safecompress.errors import ModelError, NonFiniteError


def module_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return copies of the module's parameters and persistent buffers, contiguous, on the CPU.

    Args:
        module: any module.

    Returns:
        Tensors under the state_dict's names; the names of a tied parameter share one copy.
    """
    copies: dict[int, Tensor] = {}
    tensors = {}
    for name, value in _entries(module).items():
        if id(value) not in copies:
            copies[id(value)] = value.detach().to("cpu", copy=True).contiguous()
        tensors[name] = copies[id(value)]
    return tensors


def load_module_(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy tensors into a module.

    Args:
        module: its parameters and persistent buffers are overwritten.
        tensors: tensors under the state_dict's names; a tied parameter is read under its first
            name.

    Raises:
        ModelError: when a tensor is missing or has another shape.
    """
    done: set[int] = set()
    with torch.no_grad():
        for name, target in _entries(module).items():
            if id(target) in done:
                continue
            given = tensors.get(name)
            if given is None or given.shape != target.shape:
                found = "none" if given is None else f"shape {tuple(given.shape)}"
                raise ModelError(
                    f"'{name}' has shape {tuple(target.shape)} in the model, the candidate has "
                    f"{found}; the candidate belongs to another model."
                )
            target.copy_(given)
            done.add(id(target))


def require_finite(module: nn.Module, *, where: str) -> None:
    """Raise NonFiniteError when a parameter or a buffer holds NaN or infinity.

    Args:
        module: the module.
        where: begins the message.
    """
    for name, value in _entries(module).items():
        # A finite sum proves that every entry is finite, and is several times faster than checking
        # each entry.
        if value.is_floating_point() and not bool(
            torch.isfinite(value.sum()) or torch.isfinite(value).all()
        ):
            raise NonFiniteError(f"{where}: '{name}' is NaN or infinite.")


def require_finite_losses(losses: Tensor, first: int, *, where: str, scaled: bool) -> None:
    """Raise NonFiniteError, naming the step, when a loss is NaN or infinite.

    Args:
        losses: float32 (steps,).
        first: step of the first of them.
        where: begins the message.
        scaled: whether a gradient scaler skips steps whose loss overflows, as in fp16; only the
            last loss is checked then.
    """
    checked = losses[-1:] if scaled else losses
    bad = torch.nonzero(~torch.isfinite(checked))
    if len(bad):
        step = first + len(losses) - len(checked) + int(bad[0])
        raise NonFiniteError(
            f"{where}: the loss became NaN or infinite at step {step}; lower the learning rate or "
            "warm up."
        )


def _entries(module: nn.Module) -> dict[str, Tensor]:
    state = module.state_dict(keep_vars=True)
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}
