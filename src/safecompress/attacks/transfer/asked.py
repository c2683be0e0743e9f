"""`AskedModule`: a model that an attack holds, asked for logits or for what a layer inside says."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from safecompress.models.adapt import adapt
from safecompress.train.features import WEIGHT_LAYERS


@dataclass(frozen=True, eq=False)
class Inside:
    """What a layer of a model says.

    Args:
        module: the model, in evaluation mode; takes points.
        layer: the layer, which the model calls with the rows first.
    """

    module: nn.Module
    layer: nn.Module

    def __call__(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return the layer's outputs in its last call, (n, …), and the logits, (n, classes).

        Args:
            points: float (n, …).
        """
        said: list[Tensor] = []
        hook = self.layer.register_forward_hook(lambda _layer, _inputs, output: said.append(output))
        try:
            logits = adapt(self.module(points))
        finally:
            hook.remove()
        return (said[-1] if said else logits), logits


@dataclass(frozen=True, eq=False)
class AskedModule:
    """A module as the source of a transfer attack.

    Args:
        module: the model, in evaluation mode; takes points.
    """

    module: nn.Module

    def __call__(self, points: Tensor) -> Tensor:
        """Return logits, (n, classes).

        Args:
            points: float (n, …).
        """
        return adapt(self.module(points))

    def inside(self, points: Tensor, *, depth: float) -> Inside | None:
        """Return a layer inside the model; None where there is none that is called with the rows.

        Linear and convolution layers count, but for the last, in the order in which the model
        defines them.

        Args:
            points: float (n, …), some rows.
            depth: which layer, in [0, 1]: 0 for the first, 1 for the last but one.
        """
        layers = [m for m in self.module.modules() if isinstance(m, WEIGHT_LAYERS)][:-1]
        if not layers:
            return None
        found = Inside(self.module, layers[round(depth * (len(layers) - 1))])
        said, logits = found(points)
        return found if said is not logits and len(said) == len(points) else None
