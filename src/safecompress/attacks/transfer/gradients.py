"""Whether a model lets anybody climb: many only answer, such as an ONNX graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from safecompress.models.adapt import adapt
from safecompress.train.predict import mode


def gives_gradients(model: nn.Module, x: Tensor) -> bool:
    """Return whether a gradient of a model's logits reaches its inputs.

    Args:
        model: takes `x`, which must have been tried before.
        x: some rows, float (n, …); one is enough.
    """
    parameter = next(model.parameters(), None)
    device = x.device if parameter is None else parameter.device
    # Rows may be an inference tensor's, of which nobody may ask gradients.
    asked = x[:1].to(device).detach().clone().requires_grad_()
    try:
        with mode(model, training=False), torch.enable_grad():
            logits = adapt(model(asked))
        if not logits.requires_grad:
            return False
        (gradient,) = torch.autograd.grad(logits.sum(), asked, allow_unused=True)
    except RuntimeError:
        return False
    return gradient is not None
