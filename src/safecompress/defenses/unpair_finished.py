"""`unpaired` and `UnpairedModel`: unpair a finished model as strongly as its accuracy allows."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from safecompress.config import EngineConfig, TrainConfig
from safecompress.defenses.unpairing import BLURS, Unpairing
from safecompress.errors import ConfigError
from safecompress.protocols import Rows
from safecompress.stats import Interval, accuracy_difference
from safecompress.topology import Topology, maskable_parameters
from safecompress.train import Trainer
from safecompress.train.predict import predict
from safecompress.transforms import PLAIN, Transforms

WEIGHTS = (0.1, 0.5, 1.0, 5.0)
"""Values of λ that are tried."""
TOLERANCE = 0.01
"""Accuracy that may be lost, a share of the rows."""


@dataclass(frozen=True)
class UnpairedModel:
    """A small model unpaired with one weight.

    Args:
        weight: λ; 0 for the model as it was given.
        module: the model, in evaluation mode.
        lost: accuracy lost on the rows that choose λ, a share in [-1, 1], with its paired 95 %
            interval; positive where the unpaired model is worse.
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
    blurs: Sequence[float] = BLURS,
    noise: float | None = None,
    topology: Topology | None = None,
    transforms: Transforms = PLAIN,
    engine: EngineConfig | None = None,
) -> UnpairedModel:
    """Return the small model, unpaired with the largest λ that its accuracy allows.

    The values of λ are tried from the largest down, each on the model as it was given; the first
    that costs no more accuracy than the tolerance ends the search. Model weights that are zero stay
    zero, and quantized weights stay on a grid of as many bits.

    The length of training matters as much as λ, because input gradients diverge slowly. As many
    epochs as the full model was trained are a good start; a third of them left more than half of
    the transfer (benchmarks/transfer.py).

    Args:
        small: the model to unpair; it is not changed.
        full: the model whose input gradients it must differ from; it is not changed.
        rows: rows to train on.
        choosing: rows on which the lost accuracy is measured; not those that judge later.
        train: epochs, batch size, optimizer and learning rate of each training.
        seed: seed of batches and augmentation.
        weights: values of λ, each at least 0.
        tolerance: accuracy that may be lost, in [0, 1].
        alpha: factor of the term that keeps the small model's outputs, at least 0.
        blurs: blurs of images' gradients that are compared as well, as in `Unpairing`.
        noise: noise at whose points gradients are compared as well, as in `Unpairing`.
        topology: which weights exist; None takes those that are not zero, so that weights which
            quantization rounded to zero count as missing.
        transforms: how the small model reads its weights, for example the bits they are rounded to
            and the channels that are removed; transforms that are not given here are lost.
        engine: device and precision; by default those of `EngineConfig()`.

    Returns:
        The model with the largest λ within the tolerance, or the model as given with weight 0.

    Raises:
        ConfigError: without a weight, on a negative one, or when the tolerance is outside [0, 1].
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
            defenses=[Unpairing(weight=weight, alpha=alpha, blurs=blurs, noise=noise)],
            dense=full,
        )
        start = trainer.start(topology or nonzero_topology(module)).evolve(transforms=transforms)
        trainer.load_(trainer.train(start, trainer.total_steps))
        module.to("cpu").eval()
        lost = accuracy_difference(before, predict(module, choosing).correct, level=0.95)
        if lost.value <= tolerance:
            return UnpairedModel(weight, module, lost)
    return UnpairedModel(0.0, copy.deepcopy(small).eval(), Interval(0.0, 0.0, 0.0))


def nonzero_topology(module: nn.Module) -> Topology:
    """Return the topology of the weights that are not zero; without such weights it is dense.

    Args:
        module: the model; its maskable parameters are read.
    """
    return Topology(
        {name: p.detach().cpu() != 0 for name, p in maskable_parameters(module).items()}
    )
