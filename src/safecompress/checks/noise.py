"""`AccuracyUnderNoise`: what is left of the task accuracy under noise on the inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from safecompress.attacks.transfer import UnitInputModel, noisy, single
from safecompress.checks.measures import MEASURES, Measure
from safecompress.checks.subject import Stopwatch, Subject
from safecompress.errors import ConfigError, MissingEvidenceError, UndecidableError
from safecompress.protocols import Ball, Estimate, InputRange, Rows
from safecompress.randomness import generator
from safecompress.stats import accuracy_difference, clopper_pearson
from safecompress.train.predict import predict

_RANGE = Ball("l2", 0.0)
"""Inputs are in units, so the range that noise is a fraction of is that of a ball in units."""


@dataclass(frozen=True)
class AccuracyUnderNoise(Measure):
    """Task accuracy on the non-members when Gaussian noise is added to their inputs.

    Noise of 0.01 is 2.5 gray levels, which no eye sees. A model that hides its gradients under
    others of high frequency loses accuracy to it.

    Args:
        noise: standard deviation of the noise as a fraction of the input range, > 0; noisy inputs
            are not cut to the range.

    Raises:
        ConfigError: on noise that is not above 0.
    """

    worse: ClassVar[Literal["higher", "lower"]] = "lower"

    noise: float = 0.01

    def __post_init__(self) -> None:
        if not 0 < self.noise < float("inf"):
            raise ConfigError(f"noise is {self.noise}; expected a finite number, above 0.")

    @property
    def name(self) -> str:
        return f"accuracy-under-noise@{self.noise:g}"

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"rows", "target"})

    def estimate(self, subject: Subject, *, level: float) -> Estimate:
        watch = Stopwatch()
        correct = self._correct(subject)
        share = clopper_pearson(int(correct.sum()), len(correct), level=level)
        plain = f"without noise {subject.accuracy:.3f}"
        return Estimate(
            share.value,
            share.low,
            share.high,
            0,
            len(correct),
            seconds=watch.seconds,
            note=plain,
        )

    def difference(self, subject: Subject, dense: Subject, *, level: float) -> Estimate:
        watch = Stopwatch()
        correct = self._correct(subject)
        gap = accuracy_difference(correct, self._correct(dense), level=level)
        return Estimate(gap.value, gap.low, gap.high, 0, len(correct), seconds=watch.seconds)

    def _correct(self, subject: Subject) -> Tensor:
        """Return which non-members a model gets right under noise, bool (n,), in order of ids."""
        evidence = subject.evidence.nonmembers
        if evidence.rows is None or evidence.target is None:
            raise MissingEvidenceError(
                f"{self.name}: needs the rows and the model; this audit does not have both."
            )
        # Noise is drawn by position. Sorting by id gives a row the same noise in any order.
        rows = evidence.rows.take(evidence.outputs.ids.argsort())
        x = single(rows.inputs)
        if x is None or not x.is_floating_point():
            raise UndecidableError(
                f"{self.name}: needs inputs that are one tensor of real numbers; there is no noise "
                "on words."
            )
        span = evidence.span or InputRange.of_rows(x)
        around = torch.randn(x.shape, generator=generator(subject.seed, "accuracy under noise"))
        points = noisy(span.units(x), around, self.noise, ball=_RANGE)
        said = predict(UnitInputModel(evidence.target, span), Rows(points, rows.labels, rows.ids))
        return said.correct


MEASURES.add(
    "accuracy-under-noise",
    AccuracyUnderNoise,
    summary="task accuracy on rows never trained on, under noise on their inputs",
    cost="a forward pass a row",
)
