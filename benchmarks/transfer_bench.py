"""`Setting`, `Bench`: rows, trained models and results that cells of `transfer.py` share."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.siblings import fit
from safecompress.attacks.transfer import RADII, Pgd, UnitInputModel, craft
from safecompress.config import DataConfig, ModelConfig, TrainConfig, load_section
from safecompress.data import Splits, load_splits
from safecompress.files import write_json
from safecompress.models import build_model
from safecompress.protocols import Ball, InputRange, Rows
from safecompress.train.predict import predict

HUNTED_IN = Ball("l2", RADII["l2"])
"""The ball that query attacks may not leave."""


@dataclass(frozen=True)
class Setting:
    """The settings of all cells.

    Args:
        classes: classes of CIFAR-100, the first in the order of their numbers.
        members: rows trained on.
        epochs: of the full model; siblings take a third.
        unpair_epochs: of unpairing.
        width: of every architecture.
        judged: rows attacked by transfer, of which those count that both models get right.
        targeted: whether transfer is measured towards a class drawn at random, too.
        hunted: rows attacked by questions.
        budget: questions about a row.
        questions: rows about which attackers that train a model ask the full one.
        weights: values of λ that unpairing may try.
    """

    classes: int
    members: int
    epochs: float
    unpair_epochs: float
    width: float
    judged: int
    targeted: bool
    hunted: int
    budget: int
    questions: int
    weights: tuple[float, ...]


@dataclass(frozen=True)
class Bench:
    """A setting with its rows, its trained models and its stored results.

    Args:
        setting: the settings of all cells.
        data: folder that holds `cifar100/cifar100.npz`.
        work: folder for models and results; every setting needs its own.
    """

    setting: Setting
    data: Path
    work: Path

    @property
    def width(self) -> float:
        """Width of full models."""
        return self.setting.width

    def folder(self, name: str) -> Path:
        """Return a folder for a run."""
        return self.work / name

    @cached_property
    def splits(self) -> Splits:
        """The rows: members, those that choose (steering) and those that judge (reference)."""
        section = {
            "source": {
                "source": "npz",
                "path": str(self._rows()),
                "x": "x_train",
                "y": "y_train",
                "test_x": "x_test",
                "test_y": "y_test",
            },
            "split": {
                "membership": "fresh",
                "rows": 2 * self.setting.members,
                "members": self.setting.members,
                "steer": 0.5,
                "reference": 0.4,
            },
        }
        config = load_section(DataConfig, section, where="data")
        return load_splits(config, seed=0, weights_given=False)

    def _rows(self) -> Path:
        """Return a file of the classes' rows alone."""
        whole = self.data / "cifar100" / "cifar100.npz"
        if self.setting.classes == 100:
            return whole
        path = self.work / "rows.npz"
        if not path.exists():
            self.work.mkdir(parents=True, exist_ok=True)
            with np.load(whole) as arrays:
                kept = {
                    part: arrays[f"y_{part}"] < self.setting.classes for part in ("train", "test")
                }
                some = {
                    f"{kind}_{part}": arrays[f"{kind}_{part}"][mask]
                    for part, mask in kept.items()
                    for kind in "xy"
                }
            np.savez(path, **some)
        return path

    @property
    def span(self) -> InputRange:
        """Range of the standardized images."""
        fitted = self.splits.preprocessor
        span = None if fitted is None else fitted.input_range
        if span is None:
            raise SystemExit("expected images of 256 gray levels")
        return span

    @property
    def choosing(self) -> Rows:
        """Rows on which λ is chosen, and on which the attacker trains its copy of the sibling."""
        return self.splits.steer.nonmembers

    @property
    def judging(self) -> Rows:
        """Rows that nobody trained or chose on."""
        rows = self.splits.reference
        if rows is None:
            raise SystemExit("no rows to judge on")
        return rows

    def units(self, rows: Rows) -> Tensor:
        """Return rows' images in units."""
        if not isinstance(rows.inputs, Tensor):
            raise SystemExit("expected images")
        return self.span.units(rows.inputs)

    def vulnerable(self, full: nn.Module) -> Tensor:
        """Return places of judging rows that a model gets right and white-box PGD fools it on."""
        rows = self.judging
        right = predict(full, rows).correct.nonzero().squeeze(1)
        rows = rows.take(right)
        asked, x = UnitInputModel(full, self.span), self.units(rows)
        attack = Pgd(steps=50, loss="margin")
        points = craft(attack, asked, x, rows.labels, ball=HUNTED_IN, seed=0)
        with torch.no_grad():
            fooled = asked(points).argmax(dim=1) != rows.labels
        return right[fooled]

    def train(self, share: float = 1.0) -> TrainConfig:
        """Return how models are trained, for a share of the epochs."""
        return TrainConfig(
            epochs=max(1.0, share * self.setting.epochs),
            lr=0.05 if share == 1 else 0.02,
            batch_size=64,
            augment="crop-flip",
        )

    def made(self, architecture: str, *, seed: int, width: float | None = None) -> nn.Module:
        """Return an untrained model."""
        config = ModelConfig(name=architecture, options={"width": width or self.width})
        shape, classes = self.splits.input_shape, self.splits.classes
        return build_model(config, input_shape=shape, classes=classes, seed=seed)

    def trained(self, architecture: str, *, seed: int) -> nn.Module:
        """Return a full model, from its file where it has one."""
        file = self.work / f"{architecture}-{seed}.pt"
        module = self.made(architecture, seed=seed)
        if file.exists():
            module.load_state_dict(torch.load(file, weights_only=True))
            return module.eval()
        with timed(f"training {file.stem}"):
            fit(module, self, seed=seed, share=1.0)
        self.work.mkdir(parents=True, exist_ok=True)
        whole = file.with_suffix(".part")
        torch.save(module.state_dict(), whole)
        whole.replace(file)
        return module

    def kept(self, name: str, made: Callable[[], Any]) -> Any:
        """Return the content of a file in the work folder, which is made first if missing."""
        file = self.work / f"{name}.json"
        if not file.exists():
            with timed(name):
                found = made()
            write_json(file, found)
        return json.loads(file.read_text())


class timed:  # noqa: N801 - reads as a statement
    """A context that prints the seconds its block took."""

    def __init__(self, what: str) -> None:
        self._what, self._begun = what, time.perf_counter()

    def __enter__(self) -> None:
        self._begun = time.perf_counter()

    def __exit__(self, *problem: object) -> None:
        if problem[0] is None:
            print(f"  {self._what}: {time.perf_counter() - self._begun:.0f} s", flush=True)
