"""Rounding of layers' inputs in a live module, by hooks: names and classes stay as they are."""

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
"""Decay of the moving average of an input's bounds, per step."""


class InputQuantizer:
    """Rounds what one layer is given; an object, so that it is copied along with its module.

    Hooks that look at a layer's inputs see the rounded ones. Before anybody has watched the layer
    at work, its inputs pass as they are.

    Args:
        bounds: float32 (2,), the smallest and the largest input; None before it was watched.
    """

    def __init__(self, bounds: Tensor | None) -> None:
        self.bounds = bounds
        self.watching = False

    def __call__(self, layer: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Return the layer's arguments with its input rounded."""
        del layer
        if not args or not isinstance(args[0], Tensor) or not args[0].is_floating_point():
            return None
        if self.watching:
            # Once a step: the batch itself, and not what a defense asks about other rows.
            self.watching = False
            self._watch(args[0].detach())
        if self.bounds is None:
            return None
        return (quantized_inputs(args[0], self.bounds.to(args[0].device)), *args[1:])

    def _watch(self, inputs: Tensor) -> None:
        seen = torch.stack(inputs.float().aminmax()).cpu()
        known = seen if self.bounds is None else self.bounds
        self.bounds = torch.lerp(seen, known, RANGE_DECAY)


def attach_(module: nn.Module, transforms: Transforms) -> dict[str, InputQuantizer]:
    """Let a module's layers round their inputs as `transforms` says, and in no other way.

    Args:
        module: any module; hooks that this function added before are removed.
        transforms: gives the layers' bounds.

    Returns:
        Per layer its quantizer; empty where inputs are not rounded.
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
    """Return per layer the quantizer that `attach_` has added."""
    return {
        name: hook
        for name, layer in module.named_modules()
        for hook in layer._forward_pre_hooks.values()
        if isinstance(hook, InputQuantizer)
    }


def ranges_of(quantizers: Mapping[str, InputQuantizer]) -> dict[str, Tensor]:
    """Return per layer that was watched the bounds of its inputs, float32 (2,)."""
    return {name: q.bounds.clone() for name, q in quantizers.items() if q.bounds is not None}
