"""Small random networks of many kinds of layers, each a list of traced steps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from tests.rounding_bounds import Joined, Layer, Linearly, Net, Normed, Step, Stretched

FEATURES, CHANNELS, SIZE, WORDS, LENGTH, CLASSES = 12, 4, 6, 30, 5, 3


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
