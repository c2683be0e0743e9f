"""`SIBLINGS`: ten ways to make a smaller model from a full one.

Each starts from the trained full model, trains on members only, and records its structure, which
unpairing then preserves: the existing weights, their bits, the removed channels.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from torch import nn
from torch.nn.functional import softmax

from safecompress import compress
from safecompress.candidate import Candidate, SoftTarget
from safecompress.config import EngineConfig, TrainConfig
from safecompress.data import Splits
from safecompress.defenses.unpair_finished import nonzero_topology
from safecompress.models import channel_groups
from safecompress.models.channels import few_inputs
from safecompress.proposals import without_channels
from safecompress.randomness import derive
from safecompress.run.load import load
from safecompress.sparse import initialize
from safecompress.topology import Topology, maskable_parameters
from safecompress.train import Trainer, quantize_after_training
from safecompress.train.predict import predict
from safecompress.transforms import PLAIN, Transforms, factorize

SHARE = 1 / 3
"""Share of the full model's epochs that fine-tuning takes."""


class Kitchen(Protocol):
    """The rows and training settings that siblings are made with."""

    @property
    def splits(self) -> Splits:
        """The rows."""

    @property
    def width(self) -> float:
        """Width of the full model."""

    def train(self, share: float = 1.0) -> TrainConfig:
        """Return how a model is trained for a share of the epochs."""

    def made(self, architecture: str, *, seed: int, width: float | None = None) -> nn.Module:
        """Return an untrained model."""

    def folder(self, name: str) -> Path:
        """Return a folder for a run."""


@dataclass(frozen=True)
class Sibling:
    """A smaller model.

    Args:
        module: computes as it is published.
        topology: which weights exist.
        transforms: how many bits they have, and which channels are gone.
    """

    module: nn.Module
    topology: Topology
    transforms: Transforms = PLAIN


Mechanism = Callable[[nn.Module, str, Kitchen, int], Sibling]
"""(full model, architecture, kitchen, seed) -> sibling."""


def fit(
    module: nn.Module,
    kitchen: Kitchen,
    *,
    seed: int,
    share: float = SHARE,
    topology: Topology | None = None,
    teacher: nn.Module | None = None,
    change: Callable[[Candidate], Candidate] = lambda start: start,
) -> Sibling:
    """Train a module in place.

    Args:
        module: trained on from what it is.
        kitchen: rows and rhythm.
        seed: of batches.
        share: share of the full model's epochs.
        topology: which weights exist; all by default.
        teacher: a model whose answers make nine tenths of the labels, or None.
        change: what happens to the candidate before it is trained.
    """
    members = kitchen.splits.members
    soft = None if teacher is None else softmax(predict(teacher, members).logits, dim=1)
    config, engine = kitchen.train(share), EngineConfig()
    trainer = Trainer(module, members, config, seed=seed, engine=engine, soft_labels=soft)
    start = change(trainer.start(topology))
    if teacher is not None:
        start = start.evolve(soft_target=SoftTarget(0.9, 4.0))
    done = trainer.train(start, trainer.total_steps)
    trainer.load_(done)
    return Sibling(module.to("cpu").eval(), done.topology, done.transforms)


def magnitude(density: float) -> Mechanism:
    """Return global magnitude pruning to a density, then fine-tuning."""

    def made(full: nn.Module, architecture: str, kitchen: Kitchen, seed: int) -> Sibling:
        del architecture
        module = copy.deepcopy(full)
        weights = dict(maskable_parameters(module))
        topology = initialize(
            weights, density=density, distribution="erk", method="magnitude-global", seed=seed
        )
        return fit(module, kitchen, seed=seed, topology=topology)

    return made


def rounded(bits: int) -> Mechanism:
    """Return quantization after training: weights and layers' inputs rounded, nothing trained."""

    def made(full: nn.Module, architecture: str, kitchen: Kitchen, seed: int) -> Sibling:
        del architecture, seed
        found = quantize_after_training(full, kitchen.splits.members, bits=bits)
        transforms = Transforms(bits, activations=True, ranges=found.numbers.ranges)
        return Sibling(found.module, found.topology, transforms)

    return made


def trained_rounded(bits: int) -> Mechanism:
    """Return quantization-aware training."""

    def made(full: nn.Module, architecture: str, kitchen: Kitchen, seed: int) -> Sibling:
        del architecture
        few = Transforms(bits, activations=True)
        module = copy.deepcopy(full)
        return fit(module, kitchen, seed=seed, change=lambda start: start.evolve(transforms=few))

    return made


def thinned(share: float) -> Mechanism:
    """Return a model without a share of its channels, fine-tuned."""

    def made(full: nn.Module, architecture: str, kitchen: Kitchen, seed: int) -> Sibling:
        del architecture
        module = copy.deepcopy(full)
        groups = channel_groups(module, few_inputs(module, kitchen.splits.members))

        def change(start: Candidate) -> Candidate:
            return without_channels(start, groups, share=share)

        return fit(module, kitchen, seed=seed, change=change)

    return made


def low_rank(share: float) -> Mechanism:
    """Return a model whose layers are products of two, with a share of the weights; fine-tuned."""

    def made(full: nn.Module, architecture: str, kitchen: Kitchen, seed: int) -> Sibling:
        del architecture
        return fit(factorize(full, share=share), kitchen, seed=seed)

    return made


def distilled(full: nn.Module, architecture: str, kitchen: Kitchen, seed: int) -> Sibling:
    """Return a new model of half the width, distilled from the full one."""
    module = kitchen.made(architecture, seed=derive(seed, "student"), width=kitchen.width / 2)
    return fit(module, kitchen, seed=seed, share=1.0, teacher=full)


def searched(full: nn.Module, architecture: str, kitchen: Kitchen, seed: int) -> Sibling:
    """Return the full model compressed by SafeCompress's loop to a density of 10 %."""
    out = kitchen.folder(f"run-{architecture}-{seed}")
    if (out / "verdict.json").exists():
        module = load(out, model=Given(full))
    else:
        config = {
            "seed": seed,
            "dense": {"epochs": 0},
            "sparse": {"density": 0.1, "rounds": 2, "train": kitchen.train(SHARE).model_dump()},
            "steer": {"proposals": ["rigl", "set"]},
            "baselines": [],
        }
        # Its rows were standardized already: the module takes them as they are.
        plain = replace(kitchen.splits, preprocessor=None)
        module = compress(copy.deepcopy(full), plain, config=config, out=out).model
    return Sibling(module, nonzero_topology(module))


class Given:
    """Makes copies of a trained model, for a run that trains on from it."""

    def __init__(self, full: nn.Module) -> None:
        self._full = full
        self.__name__ = "given"

    def __call__(self) -> nn.Module:
        """Return a copy."""
        return copy.deepcopy(self._full)


MECHANISMS: dict[str, Mechanism] = {
    "int8": rounded(8),
    "int4": rounded(4),
    "int4-aware": trained_rounded(4),
    "magnitude-50": magnitude(0.5),
    "magnitude-80": magnitude(0.2),
    "magnitude-95": magnitude(0.05),
    "channels-50": thinned(0.5),
    "low-rank-50": low_rank(0.5),
    "distilled": distilled,
    "safecompress-10": searched,
}
"""Siblings by name."""
