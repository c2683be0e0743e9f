"""Unpairing a finished small model: as strongly as its accuracy allows."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from safecompress.config import EngineConfig, TrainConfig
from safecompress.defenses.unpairing import Unpairing
from safecompress.errors import ConfigError
from safecompress.protocols import Rows
from safecompress.stats import Interval, accuracy_difference
from safecompress.topology import Topology, maskable_parameters
from safecompress.train import Trainer
from safecompress.train.predict import predict
from safecompress.transforms import PLAIN, Transforms

WEIGHTS = (0.1, 0.5, 1.0, 5.0)
TOLERANCE = 0.01


@dataclass(frozen=True)
class UnpairedModel:
    """A small model unpaired with one weight.

    Args:
        weight: λ; 0 is the model as it was given.
        module: the model, in evaluation mode.
        lost: accuracy lost on the rows that choose, with its paired 95 % interval.
    """

    weight: float
    module: nn.Module
    lost: Interval


def unpaired(
    small: nn.Module,
    full: nn.Module,
    rows: Rows,
    *,
    choosing: Rows,
    train: TrainConfig,
    seed: int,
    weights: Sequence[float] = WEIGHTS,
    tolerance: float = TOLERANCE,
    alpha: float = 1.0,
    topology: Topology | None = None,
    transforms: Transforms = PLAIN,
    engine: EngineConfig | None = None,
) -> UnpairedModel:
    """Return the small model unpaired as strongly as it may be.

    Weights are tried from the largest down, each from the model as it was given; the first that
    costs no more than the tolerance ends the search. Weights that are zero stay zero, and weights
    of few bits stay on a grid of as many.

    How long it trains matters as much as λ: gradients part slowly. As many epochs as the full model
    took are a good start; a third of them left more than half of the transfer
    (benchmarks/transfer.py).

    Args:
        small: left as it is.
        full: the model to part from; left as it is.
        rows: trained on.
        choosing: rows that say what accuracy is lost; not those that judge later.
        train: length and rhythm of each training.
        seed: of batches and augmentation.
        weights: values of λ.
        tolerance: accuracy that may be lost, in [0, 1].
        alpha: of staying with what the small model says.
        topology: which weights exist; None takes those that are not zero, which of a quantized
            model leaves out those rounded to zero.
        transforms: how the small model reads its weights: the bits they are rounded to, the
            channels that are gone. What is not named here is lost.
        engine: where it runs.

    Returns:
        The strongest one within the tolerance, or the model as given with weight 0.

    Raises:
        ConfigError: without a weight, on a negative one, or when the tolerance is no share.
    """
    if not weights or not 0 <= tolerance <= 1:
        raise ConfigError(
            f"weights {tuple(weights)}, tolerance {tolerance}; expected at least one weight and a "
            "tolerance in [0, 1]."
        )
    before = predict(small, choosing).correct
    for weight in sorted(weights, reverse=True):
        module = copy.deepcopy(small)
        trainer = Trainer(
            module,
            rows,
            train,
            seed=seed,
            engine=engine or EngineConfig(),
            stage="unpair",
            defenses=[Unpairing(weight=weight, alpha=alpha)],
            dense=full,
        )
        start = trainer.start(topology or existing(module)).evolve(transforms=transforms)
        trainer.load_(trainer.train(start, trainer.total_steps))
        module.to("cpu").eval()
        lost = accuracy_difference(before, predict(module, choosing).correct, level=0.95)
        if lost.value <= tolerance:
            return UnpairedModel(weight, module, lost)
    return UnpairedModel(0.0, copy.deepcopy(small).eval(), Interval(0.0, 0.0, 0.0))


def existing(module: nn.Module) -> Topology:
    """Return the topology of the weights that are not zero; a dense model's is dense."""
    return Topology(
        {name: p.detach().cpu() != 0 for name, p in maskable_parameters(module).items()}
    )
