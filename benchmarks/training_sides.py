"""The two sides of `benchmarks/training.py`: our trainer, and the loop that everybody writes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad
from torch.utils.data import DataLoader, Dataset, TensorDataset

from benchmarks.artifact_nets import Transformer
from safecompress.config import EngineConfig, TrainConfig
from safecompress.models import MODELS
from safecompress.protocols import Rows
from safecompress.randomness import seeded
from safecompress.sparse import initialize
from safecompress.topology import Topology
from safecompress.train import Arithmetic, Trainer

ROWS = 2048
ENCODER = "encoder"
"""The name of `artifact_nets.Transformer`, which is in no zoo."""
IMAGE = (3, 32, 32)

Turn = Callable[[int], None]
"""Trains some steps."""


@dataclass(frozen=True)
class Subject:
    """A model with inputs and a batch size that one core manages.

    One with words takes their numbers instead of real numbers, and is trained by AdamW.
    """

    model: str
    shape: tuple[int, ...]
    classes: int
    batch: int
    options: dict[str, Any] = field(default_factory=dict)
    words: int = 0


SUBJECTS = {
    "mlp": Subject("mlp", (446,), 30, 64),
    "mlp-1.3m": Subject("mlp", (446,), 30, 128, {"hidden": (1024, 768)}),
    "mlp-4k": Subject("mlp", (24,), 10, 64, {"hidden": (64, 32)}),
    "mlp-52k": Subject("mlp", (64,), 20, 128, {"hidden": (256, 128)}),
    "alexnet": Subject("alexnet", IMAGE, 100, 64),
    "vgg-small": Subject("vgg-small", IMAGE, 10, 64),
    "vgg16": Subject("vgg16", IMAGE, 10, 8),
    "vgg-c": Subject("vgg-c", IMAGE, 10, 8),
    "resnet8": Subject("resnet8", IMAGE, 10, 64),
    "resnet20": Subject("resnet20", IMAGE, 10, 32),
    "resnet18": Subject("resnet18", IMAGE, 10, 8),
    "encoder": Subject(ENCODER, (32,), 77, 32, {"width": 256}, words=5000),
}
if "MINILM" in os.environ:
    SUBJECTS["minilm"] = Subject(
        "hugging_face", (20,), 77, 32, {"folder": "${MINILM}", "start": "nothing"}, words=30_522
    )


def trainer(
    subject: Subject, augment: str, settings: Arithmetic | None, density: float = 1.0
) -> Trainer:
    """Return our trainer, with the given settings or those that it chooses by rule."""
    config = TrainConfig(
        epochs=100_000,
        batch_size=subject.batch,
        lr=0.01,
        augment=augment,
        optimizer="adamw" if subject.words else "sgd",
    )
    network = model(subject)
    return Trainer(
        network,
        rows(subject),
        config,
        seed=0,
        engine=EngineConfig(accelerator="cpu"),
        settings=settings,
        typical=topology(network, density) if density < 1.0 else None,
    )


def turn_of(made: Trainer, density: float) -> Turn:
    """Return a turn of our trainer, which includes loading and collecting the candidate."""
    state = [made.start(topology(made._module, density))]

    def turn(steps: int) -> None:
        state[0] = made.train(state[0], steps)

    return turn


def plain_loop(subject: Subject, density: float, augment: str) -> Turn:
    """Return a turn of the loop that everybody writes."""
    network, data = model(subject).train(), rows(subject)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    pairs: list[tuple[nn.Parameter, Tensor]] = []
    if density < 1.0:
        mask = topology(network, density)
        mask.apply_(network)
        pairs = [(p, m.float()) for p, m in mask.bind(network)]
    dataset: Dataset[Any] = TensorDataset(data.inputs, data.labels)
    if augment != "none":
        dataset = CropFlip(data.inputs, data.labels)
    batches = endless(DataLoader(dataset, subject.batch, shuffle=True, drop_last=True))

    def turn(steps: int) -> None:
        for _ in range(steps):
            x, y = next(batches)
            optimizer.zero_grad()
            cross_entropy(network(x), y).backward()
            optimizer.step()
            with torch.no_grad():
                for parameter, kept in pairs:
                    parameter.mul_(kept)

    return turn


class CropFlip(Dataset[Any]):
    """Rows cropped and mirrored one by one, as image libraries do it."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self._images, self._labels = images, labels

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return one augmented row."""
        image = self._images[index]
        top, left, mirrored = torch.randint(9, (3,)).tolist()
        height, width = image.shape[1:]
        image = pad(image, (4, 4, 4, 4))[:, top : top + height, left : left + width]
        return (image.flip(2) if mirrored > 3 else image), self._labels[index]


def endless(loader: DataLoader[Any]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches, epoch after epoch."""
    while True:
        yield from loader


def model(subject: Subject) -> nn.Module:
    """Return the subject's model with the same random weights in every process."""
    with seeded(0, "benchmark", "init"):
        if subject.model == ENCODER:
            return Transformer(subject.words, classes=subject.classes, **subject.options)
        made: nn.Module = MODELS.parts[subject.model].factory(
            input_shape=subject.shape, classes=subject.classes, **subject.options
        )
    return made


def rows(subject: Subject) -> Rows:
    """Return random rows, because their values do not change the time."""
    g = torch.Generator().manual_seed(0)
    if subject.words:
        inputs = torch.randint(subject.words, (ROWS, *subject.shape), generator=g)
    else:
        inputs = torch.randn(ROWS, *subject.shape, generator=g)
    labels = torch.randint(subject.classes, (ROWS,), generator=g)
    return Rows(inputs, labels, torch.arange(ROWS))


def topology(network: nn.Module, density: float) -> Topology:
    """Return the mask of the largest weights of each layer, shared out by ERK."""
    return initialize(
        network, density=density, distribution="erk", method="magnitude-layer", seed=0
    )
