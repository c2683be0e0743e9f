"""`Measure` and its registry: accuracy, density and attacks, each as an `Estimate` of a model."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from safecompress.attacks import ATTACKS
from safecompress.checks.metrics import Auc, Metric, metric_named
from safecompress.checks.subject import Stopwatch, Subject
from safecompress.config import Request
from safecompress.errors import MissingEvidenceError
from safecompress.protocols import Attack, AttackResult, Estimate
from safecompress.registry import Registry
from safecompress.stats import Interval, accuracy_difference, clopper_pearson


class Measure(ABC):
    """One figure of a model, and its paired difference to another model on the same rows."""

    worse: ClassVar[Literal["higher", "lower"]]
    """Which values speak against the model: higher ones of a leak, lower ones of an accuracy."""
    most: ClassVar[float] = math.inf
    """The largest value that the figure can have, as 1 of an AUC; infinite where none is known."""

    @property
    def leak(self) -> bool:
        """Whether a failed check of it means that the model is not safe to ship.

        Otherwise the model is only not good enough. A measure whose higher values are worse counts
        as a leak unless its class says otherwise, so that none is played down by accident.
        """
        return getattr(self, "worse", "higher") == "higher"

    @property
    @abstractmethod
    def name(self) -> str:
        """Short name, unique in a suite."""

    @property
    def requires(self) -> frozenset[str]:
        """Fields of the evidence needed besides `outputs`, and `canaries` for a run's canaries."""
        return frozenset()

    @property
    def uses_attacks(self) -> tuple[Attack, ...]:
        """The attacks whose figures the measure reads; controls run for each of them."""
        return ()

    @abstractmethod
    def estimate(self, subject: Subject, *, level: float) -> Estimate:
        """Return the figure with its interval.

        Args:
            subject: the model.
            level: confidence level of the interval, in (0, 1).

        Raises:
            MissingEvidenceError: when the subject lacks evidence that the measure requires.
            UndecidableError: when the figure cannot be measured on these rows.
        """

    @abstractmethod
    def difference(self, subject: Subject, dense: Subject, *, level: float) -> Estimate:
        """Return the figure minus the dense model's, with its paired interval.

        Args:
            subject: the model.
            dense: the model compared with, on the same rows.
            level: confidence level of the interval, in (0, 1).

        Raises:
            MissingEvidenceError: when either subject lacks evidence that the measure requires.
            UndecidableError: when the difference cannot be measured on these rows.
        """

    def limited(self, subject: Subject, *, level: float) -> Estimate:
        """Return what an upper limit judges: the figure itself, unless it has two directions.

        Args:
            subject: the model.
            level: confidence level of the interval, in (0, 1).

        Raises:
            MissingEvidenceError: when the subject lacks evidence that the measure requires.
            UndecidableError: when the figure cannot be measured on these rows.
        """
        return self.estimate(subject, level=level)

    def limited_difference(self, subject: Subject, dense: Subject, *, level: float) -> Estimate:
        """Return the difference that an upper limit relative to the dense model judges.

        Args:
            subject: the model.
            dense: the model compared with, on the same rows.
            level: confidence level of the interval, in (0, 1).

        Raises:
            MissingEvidenceError: when either subject lacks evidence that the measure requires.
            UndecidableError: when the difference cannot be measured on these rows.
        """
        return self.difference(subject, dense, level=level)


MEASURES: Registry[Measure] = Registry("measure", "safecompress.measures", Measure)
"""The measures a configuration can name, each added below its class or factory."""


@dataclass(frozen=True)
class Accuracy(Measure):
    """Task accuracy on the non-members, with its exact binomial interval."""

    name: ClassVar[str] = "accuracy"
    worse: ClassVar[Literal["higher", "lower"]] = "lower"

    def estimate(self, subject: Subject, *, level: float) -> Estimate:
        correct = subject.evidence.nonmembers.outputs.correct
        interval = clopper_pearson(int(correct.sum()), len(correct), level=level)
        return Estimate(interval.value, interval.low, interval.high, 0, len(correct))

    def difference(self, subject: Subject, dense: Subject, *, level: float) -> Estimate:
        subject_correct = subject.evidence.nonmembers.outputs.correct
        dense_correct = dense.evidence.nonmembers.outputs.correct
        interval = accuracy_difference(subject_correct, dense_correct, level=level)
        return Estimate(interval.value, interval.low, interval.high, 0, len(subject_correct))


MEASURES.add(
    "accuracy", Accuracy, summary="task accuracy on rows never trained on", cost="milliseconds"
)


@dataclass(frozen=True)
class Density(Measure):
    """Existing share of the maskable weights; exact, so its interval is a point."""

    name: ClassVar[str] = "density"
    worse: ClassVar[Literal["higher", "lower"]] = "higher"
    leak: ClassVar[bool] = False

    def estimate(self, subject: Subject, *, level: float) -> Estimate:
        del level
        density = _density_of(subject)
        return Estimate(density, density, density, 0, 0)

    def difference(self, subject: Subject, dense: Subject, *, level: float) -> Estimate:
        del level
        gap = _density_of(subject) - _density_of(dense)
        return Estimate(gap, gap, gap, 0, 0)


def _density_of(subject: Subject) -> float:
    if subject.density is None:
        raise MissingEvidenceError(f"the density of '{subject.name}' is not known.")
    return subject.density


MEASURES.add("density", Density, summary="existing share of the maskable weights", cost="none")


@dataclass(frozen=True)
class AttackMeasure(Measure):
    """How well an attack does against the model.

    Args:
        attack: the attack.
        metric: the figure of its result.
    """

    worse: ClassVar[Literal["higher", "lower"]] = "higher"
    most: ClassVar[float] = 1.0

    attack: Attack
    metric: Metric = field(default_factory=Auc)

    @property
    def name(self) -> str:
        return f"{self.attack.name}.{self.metric.name}"

    @property
    def requires(self) -> frozenset[str]:
        return self.attack.requires

    @property
    def uses_attacks(self) -> tuple[Attack, ...]:
        return (self.attack,)

    def estimate(self, subject: Subject, *, level: float) -> Estimate:
        watch = Stopwatch()
        result = subject.attacked_by(self.attack)
        interval = self.metric.interval(result, level=level)
        return self._estimate(interval, self.metric.sizes(result), watch)

    def difference(self, subject: Subject, dense: Subject, *, level: float) -> Estimate:
        watch = Stopwatch()
        results = subject.attacked_by(self.attack), dense.attacked_by(self.attack)
        interval = self.metric.difference(*results, level=level, seed=subject.seed)
        return self._estimate(interval, self.metric.sizes(results[0]), watch)

    def limited(self, subject: Subject, *, level: float) -> Estimate:
        """Return the figure in the direction in which it is larger (`Metric.either_way`).

        Args:
            subject: the model.
            level: confidence level of the interval, in (0, 1).
        """
        watch = Stopwatch()
        result = subject.attacked_by(self.attack)
        interval = self.metric.either_way(result, level=level)
        estimate = self._estimate(interval, self.metric.sizes(result), watch)
        return replace(estimate, note=self._reversed(result))

    def limited_difference(self, subject: Subject, dense: Subject, *, level: float) -> Estimate:
        """Return the difference of both figures, each in the direction in which it tells members.

        Args:
            subject: the model.
            dense: the model compared with, on the same rows.
            level: confidence level of the interval, in (0, 1).
        """
        watch = Stopwatch()
        results = subject.attacked_by(self.attack), dense.attacked_by(self.attack)
        a, b = (r.turned if r.is_reversed else r for r in results)
        interval = self.metric.difference(a, b, level=level, seed=subject.seed)
        estimate = self._estimate(interval, self.metric.sizes(a), watch)
        return replace(estimate, note=self._reversed(results[0]))

    def _reversed(self, result: AttackResult) -> str:
        """Return a sentence where members score lower than non-members; empty otherwise."""
        if not result.is_reversed:
            return ""
        auc = Auc().value(result)
        return (
            f"reversed: the AUC is {auc:.3f}, so members score lower than non-members; that tells "
            "them apart as well, and the limit judges it so."
        )

    def _estimate(self, span: Interval, sizes: tuple[int, int], watch: Stopwatch) -> Estimate:
        knowledge = "auditor" if self.metric.thresholded else self.attack.knowledge
        return Estimate(span.value, span.low, span.high, *sizes, knowledge, watch.seconds)


def _attack_measure(attack: str | Mapping[str, Any], metric: str = "auc") -> AttackMeasure:
    """Return how well an attack does against the model, as a measure.

    Args:
        attack: the attack, a name or one name with its options.
        metric: `auc`, `balanced-accuracy`, `advantage`, the last two also as `class-…` with one
            threshold for each class, or `tpr@RATE` such as `tpr@0.01`.

    Raises:
        ConfigError: on an unknown attack or metric.
    """
    request = attack if isinstance(attack, str) else dict(attack)
    return AttackMeasure(ATTACKS.build(request, where="attack"), metric_named(metric))


MEASURES.add(
    "attack",
    _attack_measure,
    summary="how well an attack tells members from non-members",
    cost="the attack's",
)


def measure_from(request: Request, *, where: str) -> Measure:
    """Build a measure from `accuracy` or `{attack: {attack: loss, metric: auc}}`.

    Args:
        request: the measure's name, alone or with its options.
        where: the place in the configuration, for messages.

    Raises:
        ConfigError: on an unknown name or option.
    """
    return MEASURES.build(request, where=where)
