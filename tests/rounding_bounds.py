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

LEVELS, SIGNED = 255, 127
"""Steps of a number that is rounded to eight bits: over its range, and on each side of zero."""
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


def _by_steps(weight: Tensor, scale: Tensor) -> Tensor:
    """Return a weight as whole numbers times their scales."""
    scale = torch.where(scale > 0, scale, 1.0)
    return (weight / scale).round() * scale


@dataclass(frozen=True)
class Rounding:
    """What a format rounds.

    Args:
        largest: largest whole number of a weight; 0 leaves weights in floating point.
        bits: of a weight's fraction, for weights in half precision; 0 for those in fp32.
        between: what lies between layers: `nothing` is rounded, inputs of linear layers by their
            range in the `call`, inputs of all layers by the largest number of each `row`, or
            everything by the range over `members`, which biases then fit.
        transposed: which numbers of a transposed convolution have a scale: `first` for those of an
            input channel, `second` for those of an output channel of all groups, or `output`.
        tables: whether tables of embeddings are rounded.
        last: whether the weight of the layer that makes the logits is.
        depthwise: largest whole number of a depthwise convolution's weight, where it is another.
        unread: whether a convolution may read numbers that were not rounded, as one that makes the
            logits does; then the scales of its weight need not fit products of integers.
    """

    largest: int = 0
    bits: int = 0
    between: str = "nothing"
    transposed: str = "second"
    tables: bool = True
    last: bool = True
    depthwise: int = 0
    unread: bool = False

    def weight(self, layer: nn.Module) -> tuple[Tensor, Tensor, Tensor]:
        """Return a layer's weight as the file holds it, the scale of each number, and its error."""
        weight = layer.weight.detach()
        # Dynamic int8 leaves convolutions as they are.
        whole = self.between == "call" and not isinstance(layer, nn.Linear | nn.Embedding)
        whole |= isinstance(layer, nn.Embedding) and not self.tables
        if not self.largest or whole:
            return weight, torch.zeros_like(weight), self.unsure(weight)
        scale = self._largest_of(layer, weight.abs()) / self._most(layer)
        near = fine = _by_steps(weight, scale)
        fits = self.between in {"call", "members"}
        if fits and isinstance(layer, nn.Linear | nn.Conv2d):
            scale = scale.maximum(pairs(weight) / MOST_PAIR)
            near = _by_steps(weight, scale)
        either = self.unread and isinstance(layer, nn.Conv2d)
        error = (near - fine).abs() if either else torch.zeros_like(weight)
        return near, scale.expand_as(weight), error

    def _most(self, layer: nn.Module) -> int:
        alone = isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels > 1
        return self.depthwise if alone and self.depthwise else self.largest

    def _largest_of(self, layer: nn.Module, sizes: Tensor) -> Tensor:
        """Return the largest number of each scale, in a shape that fits the weight."""
        kept = 0
        if isinstance(layer, nn.ConvTranspose2d):
            if self.transposed == "output":
                groups = sizes.unflatten(0, (layer.groups, -1)).amax((1, 3, 4), keepdim=True)
                return groups.expand(-1, len(sizes) // layer.groups, -1, -1, -1).flatten(0, 1)
            kept = 0 if self.transposed == "first" else 1
        others = [axis for axis in range(sizes.ndim) if axis != kept]
        return sizes.amax(others, keepdim=True)

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
        added: the bias that was the last to be added, None where something came after it. A file
            may add it behind the next layer, times that layer's weight before its rounding.
    """

    exact: Tensor
    near: Tensor
    error: Tensor
    added: Tensor | None = None

    def rounded(self, by: Rounding, *, between: str) -> Traced:
        """Return the tensor after a rounding to `LEVELS` steps, if the format rounds it there."""
        if by.between != between or not self.exact.is_floating_point():
            return self
        if between == "row":
            most = (self.near.abs() + self.error).flatten(1).amax(1) / SIGNED
            half = most.reshape(-1, *[1] * (self.near.ndim - 1)) / 2
            return replace(self, error=self.error + half)
        given = self.exact if between == "members" else self.near
        low, high = given.amin().clamp(max=0), given.amax().clamp(min=0)
        wide, cut = high - low, torch.zeros(())
        if between == "members":
            # The range is that of the exact numbers; what is beyond it is cut off.
            cut = (self.near - high).clamp(min=0) + (low - self.near).clamp(min=0)
        else:
            wide = wide + 2 * self.error.amax()
        return replace(self, error=self.error + cut + wide / LEVELS / 2)

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
        weight, scale, unsure = by.weight(layer)
        if isinstance(layer, nn.Embedding):
            return Traced(layer(x.exact), weight[x.near], unsure[x.near])
        given = x.rounded(by, between="row")
        given = given.rounded(by, between="call") if isinstance(layer, nn.Linear) else given
        near = functional_call(layer, {"weight": weight}, given.near)
        error = self._through(weight.abs() + unsure, given.error)
        error = error + self._through(unsure, given.near.abs())
        if layer.bias is not None and by.between == "members":
            # An int32 bias is a multiple of the input's step times the weight's scale.
            wide = x.exact.amax().clamp(min=0) - x.exact.amin().clamp(max=0)
            error = error + wide / LEVELS * scale.amax() / 2
        elif layer.bias is not None:
            error = error + by.unsure(layer.bias).amax()
        added = layer.bias if isinstance(layer, nn.Linear) else None
        if by.between == "row" and x.added is not None and added is not None:
            error = error + F.linear(x.added.abs(), (layer.weight - weight).abs())
        return Traced(layer(given.exact), near, error, added)

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
        by = replace(by, unread=True, largest=by.largest if by.last else 0)
        for step in [last, *self.ending]:
            x = step.trace(x, by)
        return x
