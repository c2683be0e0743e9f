"""How far the file of a network may be from the network: steps that follow both at once.

A network is a list of steps. `Step.trace` follows three things through a step: the exact values,
the values with the weights that the file holds, which its scales tell exactly, and a bound of what
the file's own values may differ from those. So a file of rounded weights whose layers compute in
fp32 has no freedom at all, and one that rounds what is between layers has half a step for each
number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

LEVELS = 255
MOST_PAIR = 127.99
"""Largest sum of two neighboring whole numbers whose products with uint8 fit 16 bits, unrounded."""


def pairs(weight: Tensor) -> Tensor:
    """Return the largest sum of one sign of a pair of weights that a kernel adds, by channel.

    Args:
        weight: (output channels, input channels, ...).
    """
    ordered = weight.movedim(1, -1).flatten(1)
    ordered = F.pad(ordered, (0, ordered.shape[1] % 2)).unflatten(1, (-1, 2))
    both = torch.stack([ordered.clamp(min=0).sum(2), (-ordered).clamp(min=0).sum(2)])
    return both.amax((0, 2)).reshape(-1, *[1] * (weight.ndim - 1))


@dataclass(frozen=True)
class Rounding:
    """What a format rounds.

    Args:
        largest: largest whole number of a weight; 0 leaves weights in floating point.
        bits: of a weight's fraction, for weights in half precision; 0 for those in fp32.
        between: what lies between layers: `nothing` is rounded, layers' inputs by their range in
            the `call`, or everything by the range over `members`, which biases then fit.
        transposed_axis: the axis of a transposed convolution's scales.
        exact_convolution: whether convolutions compute in fp32, as one that makes the logits does.
    """

    largest: int = 0
    bits: int = 0
    between: str = "nothing"
    transposed_axis: int = 1
    exact_convolution: bool = False

    def weight(self, layer: nn.Module) -> tuple[Tensor, Tensor]:
        """Return a layer's weight as the file holds it, and the scale of each of its numbers."""
        weight = layer.weight.detach()
        # Dynamic int8 leaves convolutions as they are.
        whole = self.between == "call" and not isinstance(layer, nn.Linear | nn.Embedding)
        if not self.largest or whole:
            return weight, torch.zeros_like(weight)
        kept = self.transposed_axis if isinstance(layer, nn.ConvTranspose2d) else 0
        others = [axis for axis in range(weight.ndim) if axis != kept]
        scale = weight.abs().amax(others, keepdim=True) / self.largest
        whole = nn.Linear if self.exact_convolution else nn.Linear | nn.Conv2d
        if self.between != "nothing" and isinstance(layer, whole):
            scale = scale.maximum(pairs(weight) / MOST_PAIR)
        scale = torch.where(scale > 0, scale, 1.0).expand_as(weight)
        return (weight / scale).round() * scale, scale

    def unsure(self, weight: Tensor) -> Tensor:
        """Return the largest error of each number of a tensor that may be in half precision."""
        return weight.abs() * 2.0 ** -(self.bits + 1) + 2.0**-24 if self.bits else weight * 0


@dataclass(frozen=True)
class Traced:
    """A tensor of a network and of its file.

    Args:
        exact: as the network has it.
        near: as a network with the file's weights has it.
        error: what the file's numbers may differ from `near`.
    """

    exact: Tensor
    near: Tensor
    error: Tensor

    def rounded(self, by: Rounding, *, between: str) -> Traced:
        """Return the tensor after a rounding to `LEVELS` steps, if the format rounds it there."""
        if by.between != between or not self.exact.is_floating_point():
            return self
        given = self.exact if between == "members" else self.near
        low, high = given.amin().clamp(max=0), given.amax().clamp(min=0)
        wide, cut = high - low, torch.zeros(())
        if between == "members":
            # The range is that of the exact numbers; what is beyond it is cut off.
            cut = (self.near - high).clamp(min=0) + (low - self.near).clamp(min=0)
        else:
            wide = wide + 2 * self.error.amax()
        return Traced(self.exact, self.near, self.error + cut + wide / LEVELS / 2)

    def apart(self, other: Traced, join: Callable[[Tensor, Tensor], Tensor]) -> Traced:
        """Return two tensors joined."""
        pairs = ((self.exact, other.exact), (self.near, other.near), (self.error, other.error))
        return Traced(*(join(a, b) for a, b in pairs))


class Step(nn.Module):
    """One step of a network; by default a function that moves two inputs no further apart."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)

    def trace(self, x: Traced, by: Rounding) -> Traced:
        """Return the output of a traced input."""
        return Traced(self.function(x.exact), self.function(x.near), self.error(x, by))

    def error(self, x: Traced, by: Rounding) -> Tensor:
        """Return the bound of the output."""
        return x.error


class Linearly(Step):
    """A step that does to errors what it does to numbers: means, views, pools."""

    def error(self, x: Traced, by: Rounding) -> Tensor:
        return self.function(x.error)


class Stretched(Step):
    """A function whose outputs are at most some factor further apart, in the largest number."""

    def __init__(self, function: Callable[[Tensor], Tensor], factor: float) -> None:
        super().__init__(function)
        self.factor = factor

    def error(self, x: Traced, by: Rounding) -> Tensor:
        return self.factor * x.error.amax(dim=-1, keepdim=True).expand_as(x.error)


class Layer(Step):
    """A layer with a weight and perhaps a bias."""

    def trace(self, x: Traced, by: Rounding) -> Traced:
        layer = self.function
        weight, scale = by.weight(layer)
        unsure = by.unsure(weight)
        if isinstance(layer, nn.Embedding):
            return Traced(layer(x.exact), weight[x.near], unsure[x.near])
        given = x.rounded(by, between="call") if isinstance(layer, nn.Linear) else x
        near = functional_call(layer, {"weight": weight}, given.near)
        error = self._through(weight.abs() + unsure, given.error)
        error = error + self._through(unsure, given.near.abs())
        if layer.bias is not None and by.between == "members":
            # An int32 bias is a multiple of the input's step times the weight's scale.
            wide = x.exact.amax().clamp(min=0) - x.exact.amin().clamp(max=0)
            error = error + wide / LEVELS * scale.amax() / 2
        elif layer.bias is not None:
            error = error + by.unsure(layer.bias).amax()
        return Traced(layer(given.exact), near, error)

    def _through(self, weight: Tensor, values: Tensor) -> Tensor:
        layer = self.function
        if isinstance(layer, nn.Linear):
            return F.linear(values, weight)
        same = {"stride": layer.stride, "padding": layer.padding, "groups": layer.groups}
        if isinstance(layer, nn.ConvTranspose2d):
            return F.conv_transpose2d(values, weight, **same)
        return F.conv2d(values, weight, **same)


class Normed(Step):
    """Layer normalization."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__(norm)

    def error(self, x: Traced, by: Rounding) -> Tensor:
        norm = self.function
        axes = list(range(-len(norm.normalized_shape), 0))
        centered = x.near - x.near.mean(axes, keepdim=True)
        spread = (centered.square().mean(axes, keepdim=True) + norm.eps).sqrt()
        scaled = centered.abs() / spread
        # The spread is a length, so it changes by no more than the errors' own.
        wider = x.error.square().mean(axes, keepdim=True).sqrt()
        moved = x.error + x.error.mean(axes, keepdim=True) + scaled * wider
        most = scaled + x.near[0].numel() ** 0.5
        turned = torch.where(wider < spread, moved / (spread - wider), most).minimum(most)
        unsure = by.unsure(norm.weight)
        return turned * (norm.weight.abs() + unsure) + (scaled + 1) * unsure


class Joined(Step):
    """The input and what some steps make of it, added or side by side."""

    def __init__(self, inner: nn.ModuleList, *, side_by_side: bool) -> None:
        super().__init__(nn.Identity())
        self.inner, self.side_by_side = inner, side_by_side

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for step in self.inner:
            y = step(y)
        return torch.cat([x, y], dim=1) if self.side_by_side else x + y

    def trace(self, x: Traced, by: Rounding) -> Traced:
        y = x
        for step in self.inner:
            y = step.trace(y, by).rounded(by, between="members")
        return x.apart(y, lambda a, b: torch.cat([a, b], dim=1) if self.side_by_side else a + b)


class Net(nn.Module):
    """Steps to the layer of the logits, and the steps of the ending."""

    def __init__(self, steps: list[Step], ending: list[Step], title: str) -> None:
        super().__init__()
        self.steps, self.ending = nn.ModuleList(steps), nn.ModuleList(ending)
        self.title = title

    def forward(self, x: Tensor) -> Tensor:
        for step in [*self.steps, *self.ending]:
            x = step(x)
        return x

    @torch.no_grad()
    def trace(self, rows: Tensor, by: Rounding) -> Traced:
        """Return the answers of the network and of its file for some rows, the members."""
        x = Traced(rows, rows, torch.zeros(rows.shape)).rounded(by, between="members")
        *body, last = self.steps
        for step in body:
            x = step.trace(x, by).rounded(by, between="members")
        # What the layer of the logits makes is rounded no more.
        by = replace(by, exact_convolution=True)
        for step in [last, *self.ending]:
            x = step.trace(x, by)
        return x
