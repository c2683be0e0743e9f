"""`InputQuantizer`, `attach_`: round layers' inputs by hooks, which keep names and classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from safecompress.transforms.quantize import quantized_inputs
from safecompress.transforms.state import Transforms

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d)
"""Layers whose inputs are rounded."""

RANGE_DECAY = 0.99
"""Share of the old moving average of an input's range that stays, per step."""


class InputQuantizer:
    """Rounds the inputs of one layer, as a forward pre-hook.

    It is an object and not a function, so that a deep copy of the module copies its range as well.
    Hooks that run after it receive the rounded inputs. Before a range is measured, inputs are not
    rounded.

    Args:
        bounds: float32 (2,), the smallest and the largest input; None before they are measured.
    """

    def __init__(self, bounds: Tensor | None) -> None:
        self.bounds = bounds
        self.watching = False

    def __call__(self, layer: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Return the layer's arguments with its input rounded; None changes nothing."""
        del layer
        if not args or not isinstance(args[0], Tensor) or not args[0].is_floating_point():
            return None
        if self.watching:
            # The range is updated once per step, from the training batch, which comes first, and
            # not from a defense's extra forward passes.
            self.watching = False
            self._watch(args[0].detach())
        if self.bounds is None:
            return None
        return (quantized_inputs(args[0], self.bounds.to(args[0].device)), *args[1:])

    def _watch(self, inputs: Tensor) -> None:
        new = torch.stack(inputs.float().aminmax()).cpu()
        known = new if self.bounds is None else self.bounds
        self.bounds = torch.lerp(new, known, RANGE_DECAY)


def attach_(module: nn.Module, transforms: Transforms) -> dict[str, InputQuantizer]:
    """Let a module's layers round their inputs according to `transforms`.

    Args:
        module: any module; hooks of an earlier call are removed.
        transforms: whether inputs are rounded, and the layers' ranges.

    Returns:
        Per layer name its quantizer; empty where inputs are not rounded.
    """
    added = {}
    for name, layer in module.named_modules():
        for key, hook in list(layer._forward_pre_hooks.items()):
            if isinstance(hook, InputQuantizer):
                del layer._forward_pre_hooks[key]
        if transforms.activations and isinstance(layer, LAYERS):
            bounds = transforms.ranges.get(name)
            added[name] = InputQuantizer(bounds)
            layer.register_forward_pre_hook(added[name], prepend=True)
    return added


def input_quantizers(module: nn.Module) -> dict[str, InputQuantizer]:
    """Return per layer name the quantizer that `attach_` has added.

    Args:
        module: any module.
    """
    return {
        name: hook
        for name, layer in module.named_modules()
        for hook in layer._forward_pre_hooks.values()
        if isinstance(hook, InputQuantizer)
    }


def ranges_of(quantizers: Mapping[str, InputQuantizer]) -> dict[str, Tensor]:
    """Return per layer name the smallest and largest input, float32 (2,), where measured.

    Args:
        quantizers: per layer name its quantizer.
    """
    return {name: q.bounds.clone() for name, q in quantizers.items() if q.bounds is not None}
