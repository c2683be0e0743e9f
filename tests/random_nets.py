"""Small random networks, and how far rounding may move their answers.

A network is a list of steps. A step computes, and says how an error of its input grows: a bound
that holds for every rounding to the nearest number, from the steps of the numbers alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

FEATURES, CHANNELS, SIZE, WORDS, LENGTH, CLASSES = 12, 4, 6, 30, 5, 3
LEVELS = 255


@dataclass(frozen=True)
class Rounding:
    """What a format rounds.

    Args:
        largest: largest whole number of a weight; 0 where weights have `bits` in their fraction.
        bits: of a weight's fraction, for weights in half precision.
        inputs: whether the inputs of layers, and what lies between layers, become uint8.
    """

    largest: int = 0
    bits: int = 0
    inputs: bool = False

    def of_weight(self, weight: Tensor, *axes: int) -> Tensor:
        """Return the largest error of each weight; its scale may be one of any of some axes."""
        if not self.largest:
            return weight.abs() * 2.0 ** -(self.bits + 1) + 2.0**-24
        steps = [
            weight.abs().amax([d for d in range(weight.ndim) if d != axis], keepdim=True)
            for axis in axes
        ]
        most = torch.stack([step.expand_as(weight) for step in steps]).amax(dim=0)
        return most / self.largest / 2

    def of_input(self, x: Tensor, error: Tensor) -> Tensor:
        """Return the error of inputs after their rounding, by the range of all rows."""
        if not self.inputs:
            return error
        # A range that a call finds anew is that of inputs that have an error already.
        wide = x.amax().clamp(min=0) - x.amin().clamp(max=0) + 2 * error.amax()
        return error + wide / LEVELS / 2


class Step(nn.Module):
    """One step of a network; by default a function that moves two inputs no further apart."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)

    def error(self, x: Tensor, error: Tensor, by: Rounding) -> Tensor:
        """Return the largest error of the output.

        Args:
            x: the exact input.
            error: largest error of each of its numbers.
            by: what is rounded.
        """
        return error


class Linearly(Step):
    """A step that does to errors what it does to numbers: means, views, pools."""

    def error(self, x: Tensor, error: Tensor, by: Rounding) -> Tensor:
        return self.function(error)


class Stretched(Step):
    """A function whose outputs are at most some factor further apart, in the largest number."""

    def __init__(self, function: Callable[[Tensor], Tensor], factor: float) -> None:
        super().__init__(function)
        self.factor = factor

    def error(self, x: Tensor, error: Tensor, by: Rounding) -> Tensor:
        return self.factor * error.amax(dim=-1, keepdim=True).expand_as(error)


class Layer(Step):
    """A layer with a weight and perhaps a bias."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__(layer)

    def error(self, x: Tensor, error: Tensor, by: Rounding) -> Tensor:
        layer = self.function
        if isinstance(layer, nn.Embedding):
            return by.of_weight(layer.weight, 0)[x]
        axes = (0, 1) if isinstance(layer, nn.ConvTranspose2d) else (0,)
        off = by.of_weight(layer.weight, *axes)
        given = by.of_input(x, error)

        def through(weight: Tensor, values: Tensor) -> Tensor:
            if isinstance(layer, nn.Linear):
                return F.linear(values, weight)
            same = {"stride": layer.stride, "padding": layer.padding, "groups": layer.groups}
            if isinstance(layer, nn.ConvTranspose2d):
                return F.conv_transpose2d(values, weight, **same)
            return F.conv2d(values, weight, **same)

        grown = through(layer.weight.abs(), given) + through(off, x.abs() + given)
        if layer.bias is not None and by.largest:
            # An int32 bias is a multiple of the input's step times the weight's.
            wide = 2 * (given - error).amax()
            grown = grown + wide * off.amax()
        return grown


class Normed(Step):
    """Layer normalization; the bound is that of the direction of a vector."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__(norm)

    def error(self, x: Tensor, error: Tensor, by: Rounding) -> Tensor:
        norm = self.function
        axes = list(range(-len(norm.normalized_shape), 0))
        centered = x - x.mean(axes, keepdim=True)
        spread = (centered.square().mean(axes, keepdim=True) + norm.eps).sqrt()
        moved = error.square().sum(axes, keepdim=True).sqrt()
        off = by.of_weight(norm.weight, 0) * x.abs().new_tensor(x[0].numel() ** 0.5)
        return 2 * moved / spread * (norm.weight.abs() + off) + off


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

    def error(self, x: Tensor, error: Tensor, by: Rounding) -> Tensor:
        y, e = x, error
        for step in self.inner:
            y, e = step(y), by.of_input(step(y), step.error(y, e, by))
        error = by.of_input(x, error)
        return torch.cat([error, e], dim=1) if self.side_by_side else error + e


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
    def bound(self, x: Tensor, by: Rounding) -> Tensor:
        """Return the largest difference of each answer to the exact one, for the rows of `x`."""
        error = torch.zeros(x.shape)
        *body, last = self.steps
        for step in body:
            y = step(x)
            x, error = y, by.of_input(y, step.error(x, error, by))
        # What the layer of the logits makes is rounded no more.
        for step in [last, *self.ending]:
            x, error = step(x), step.error(x, error, by)
        return error


class Draw:
    """Draws networks."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        torch.manual_seed(seed)
        self.said: list[str] = []

    def one(self, **choices: Callable[[], list[Step]]) -> list[Step]:
        """Draw one of some parts by its name."""
        name = str(self.rng.choice(list(choices)))
        self.said.append(name)
        return choices[name]()

    def flip(self) -> bool:
        return bool(self.rng.random() < 0.5)

    def bent(self) -> list[Step]:
        """Draw something without weights that is at most as steep as the identity."""
        functions = {
            "relu": nn.ReLU(), "relu6": nn.ReLU6(), "leaky": nn.LeakyReLU(0.2),
            "hardtanh": nn.Hardtanh(-0.5, 0.5), "clamp": lambda x: x.clamp(-0.4, 0.3),
            "functional": torch.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh,
            "less": lambda x: (x - 0.1).relu(), "hardsigmoid": nn.Hardsigmoid(),
        }  # fmt: skip
        return self.one(**{k: lambda f=f: [Step(f)] for k, f in functions.items()})

    def vectors(self) -> tuple[list[Step], Tensor]:
        wide = FEATURES

        def linear() -> Layer:
            return Layer(nn.Linear(wide, wide, bias=self.flip()))

        def again() -> list[Step]:
            shared = linear()
            return [shared, *self.bent(), shared, *([shared] if self.flip() else [])]

        steps: list[Step] = []
        for _ in range(int(self.rng.integers(1, 4))):
            inner = nn.ModuleList([linear(), Step(torch.relu), linear()])
            steps += self.one(
                linear=lambda: [linear()],
                again=again,
                beside=lambda i=inner: [Joined(i, side_by_side=False)],
                norm=lambda: [Normed(nn.LayerNorm(wide))],
            )
            steps += self.bent() if self.flip() else []
        if self.flip():
            self.said.append("wider")
            steps.append(Joined(nn.ModuleList([linear()]), side_by_side=True))
            wide *= 2
        return [*steps, Layer(nn.Linear(wide, CLASSES, bias=self.flip()))], self.rows(FEATURES)

    def rows(self, *shape: int) -> Tensor:
        return torch.from_numpy(self.rng.normal(size=(24, *shape)).astype(np.float32))

    def images(self) -> tuple[list[Step], Tensor]:
        def conv(groups: int = 1, kind: type[nn.Module] = nn.Conv2d) -> Layer:
            return Layer(
                kind(CHANNELS, CHANNELS, 3, padding=1, groups=groups, bias=self.flip())  # type: ignore[call-arg]
            )

        def again() -> list[Step]:
            shared = conv()
            return [shared, *self.bent(), shared, *([shared] if self.flip() else [])]

        steps: list[Step] = []
        size = SIZE
        for _ in range(int(self.rng.integers(1, 4))):
            inner = nn.ModuleList([conv(), Step(torch.relu), conv()])
            steps += self.one(
                conv=lambda: [conv()],
                grouped=lambda: [conv(2)],
                depthwise=lambda: [conv(CHANNELS)],
                transposed=lambda: [conv(1, nn.ConvTranspose2d)],
                transposed_grouped=lambda: [conv(2, nn.ConvTranspose2d)],
                again=again,
                beside=lambda i=inner: [Joined(i, side_by_side=False)],
                norm=lambda: [Normed(nn.LayerNorm([CHANNELS, size, size]))],
                average=lambda: [Linearly(nn.AvgPool2d(3, 1, 1))],
                largest=lambda: [Linearly(nn.MaxPool2d(3, 1, 1))],
            )
            steps += self.bent() if self.flip() else []
        mean = Linearly(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
        head = self.one(
            pooled=lambda: [mean, Layer(nn.Linear(CHANNELS, CLASSES))],
            flat=lambda: [
                Linearly(nn.Flatten()),
                Layer(nn.Linear(CHANNELS * size * size, CLASSES)),
            ],
            pointwise=lambda: [Layer(nn.Conv2d(CHANNELS, CLASSES, 1)), mean],
        )
        return steps + head, self.rows(CHANNELS, size, size)

    def tokens(self) -> tuple[list[Step], Tensor]:
        inner = Layer(nn.Linear(8, 8, bias=self.flip()))
        steps: list[Step] = [Layer(nn.Embedding(WORDS, 8))]
        steps += self.one(none=list, linear=lambda: [inner], again=lambda: [inner, inner])
        steps += self.bent() if self.flip() else []
        head = Layer(nn.Linear(8, CLASSES))
        mean = Linearly(lambda x: x.mean(dim=1))
        steps += self.one(
            mean=lambda: [mean, head],
            late=lambda: [head, mean],
            last=lambda: [head, Linearly(lambda x: x[:, -1])],
        )
        return steps, torch.from_numpy(self.rng.integers(0, WORDS, (24, LENGTH)))

    def net(self) -> tuple[Net, Tensor]:
        kind = str(self.rng.choice(["vectors", "images", "tokens"]))
        self.said.append(kind)
        steps, rows = {"vectors": self.vectors, "images": self.images, "tokens": self.tokens}[
            kind
        ]()
        at = max(i for i, step in enumerate(steps) if isinstance(step, Layer)) + 1
        steps, after = steps[:at], steps[at:]
        self.said.append("ends with")
        ending = self.one(
            nothing=list,
            bent=self.bent,
            scaled=lambda: [Linearly(lambda x: x * 2.5)],
            log_softmax=lambda: [Stretched(lambda x: x.log_softmax(dim=1), 2.0)],
            softmax=lambda: [Stretched(lambda x: x.softmax(dim=1), 1.0)],
        )
        net = Net(steps, [*after, *ending], " ".join(self.said)).eval()
        with torch.no_grad():
            for parameter in net.parameters():
                if parameter.ndim > 1 and self.flip():
                    parameter.mul_(torch.rand(parameter.shape) < 0.3)
        return net, rows
