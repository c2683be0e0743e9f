"""`gives_gradients`: whether a model is differentiable; an ONNX graph, for example, is not."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from safecompress.models.adapt import adapt
from safecompress.train.predict import mode


def gives_gradients(model: nn.Module, x: Tensor) -> bool:
    """Return whether autograd can differentiate a model's logits with respect to its inputs.

    Args:
        model: a model that takes `x`. Any RuntimeError counts as "not differentiable", so the
            model must be known to run on such rows.
        x: float (n, …), at least one row; only the first is used.
    """
    parameter = next(model.parameters(), None)
    device = x.device if parameter is None else parameter.device
    # Rows may be inference tensors, which cannot require gradients unless they are cloned.
    row = x[:1].to(device).detach().clone().requires_grad_()
    try:
        with mode(model, training=False), torch.enable_grad():
            logits = adapt(model(row))
        if not logits.requires_grad:
            return False
        (gradient,) = torch.autograd.grad(logits.sum(), row, allow_unused=True)
    except RuntimeError:
        return False
    return gradient is not None
