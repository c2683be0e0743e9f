"""Whether an attack left a model as it found it: weights, mode, gradients, hooks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

_MARK = 7.0

M = TypeVar("M", bound=nn.Module)


def prepared(model: M) -> M:
    """Return the model in training mode, with a gradient of 7 everywhere, to be looked at later."""
    model.train()
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, _MARK)
    return model


def changes_of(model: nn.Module, before: Mapping[str, Tensor], *, what: str) -> Iterator[str]:
    """Yield what became of a model that was `prepared`.

    Args:
        model: the model after the attack.
        before: its state_dict before it, copied.
        what: how a sentence calls the model.
    """
    if not all(torch.equal(before[name], value) for name, value in model.state_dict().items()):
        yield f"it changes the weights of {what}"
    if not model.training:
        yield f"it leaves {what} in evaluation mode"
    gradients = [p.grad for p in model.parameters()]
    if any(g is None or not bool((g == _MARK).all()) for g in gradients):
        yield f"it changes the gradients of {what}; use torch.autograd.grad"
    if not all(p.requires_grad for p in model.parameters()):
        yield f"it freezes parameters of {what}"
    if any(m._forward_hooks or m._forward_pre_hooks for m in model.modules()):
        yield f"it leaves hooks on {what}"
