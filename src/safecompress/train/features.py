"""`call_with_features`: logits, and the last features: the input of the last weight layer."""

from __future__ import annotations

from typing import Any, TypeAlias

from torch import Tensor, nn

from safecompress.errors import ModelError
from safecompress.models.adapt import call
from safecompress.protocols import Inputs, ModelLike, leading_size

WEIGHT_LAYERS = (nn.Linear, nn.Conv2d)
"""Types of layers whose inputs are features."""

WeightLayer: TypeAlias = nn.Linear | nn.Conv2d


def without_positions(layer: WeightLayer, inputs: Tensor) -> Tensor:
    """Return a layer's inputs as (n, d), averaged over positions (words or pixels).

    Args:
        layer: a linear or convolution layer.
        inputs: its inputs, (n, …, d) of a linear layer and (n, d, height, width) of a convolution.
    """
    if isinstance(layer, nn.Linear):
        return inputs.reshape(len(inputs), -1, inputs.shape[-1]).mean(dim=1)
    return inputs.mean(dim=(2, 3))


def call_with_features(model: ModelLike, inputs: Inputs) -> tuple[Tensor, Tensor]:
    """Return the logits of one batch and the last features, both attached to the graph.

    The last layer is the `Linear` or `Conv2d` called last with one leading index per row.

    Args:
        model: a module.
        inputs: inputs of n rows, on the model's device.

    Returns:
        Logits (n, classes) and features (n, d).

    Raises:
        ModelError: when the model is not a module, or calls no such layer.
    """
    layers = [m for m in _modules(model) if isinstance(m, WEIGHT_LAYERS)]
    size = leading_size(inputs)
    last: list[tuple[WeightLayer, Tensor]] = []

    def record(layer: Any, args: Any, named: Any) -> None:
        given = args[0] if args else named["input"]
        if given.ndim >= 2 and len(given) == size:
            last[:] = [(layer, given)]

    hooks = [layer.register_forward_pre_hook(record, with_kwargs=True) for layer in layers]
    try:
        logits = call(model, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    if not last:
        raise ModelError(
            f"{type(model).__name__}: it calls no Linear or Conv2d layer with one leading index "
            "per row; there are no last features for a white-box attacker to see."
        )
    return logits, without_positions(*last[0])


def _modules(model: ModelLike) -> list[nn.Module]:
    return list(model.modules()) if isinstance(model, nn.Module) else []
