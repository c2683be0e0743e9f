"""`Metric`: figures of an `AttackResult`, each with its interval and its paired difference."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from safecompress.errors import ConfigError, did_you_mean
from safecompress.protocols import AttackResult, Pool
from safecompress.stats import (
    Interval,
    auc,
    auc_difference,
    auc_interval,
    balanced_accuracy,
    balanced_accuracy_difference,
    balanced_accuracy_interval,
    tpr_at_fpr,
    tpr_at_fpr_difference,
    tpr_at_fpr_interval,
)


class Metric(ABC):
    """One figure of an attack's result; higher values mean that the model leaks more."""

    thresholded: ClassVar[bool] = False
    """Whether it counts guesses with thresholds learned on the target's own rows.

    Only an auditor, who knows the members, can learn these; an attacker cannot.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """As written in a configuration."""

    @abstractmethod
    def value(self, result: AttackResult) -> float:
        """Return the figure without its interval; the search uses it, which needs no intervals.

        Args:
            result: scores and guesses of the attack.
        """

    @abstractmethod
    def interval(self, result: AttackResult, *, level: float) -> Interval:
        """Return the figure with its interval.

        Args:
            result: scores and guesses of the attack.
            level: confidence level, in (0, 1).
        """

    @abstractmethod
    def difference(
        self, result: AttackResult, other: AttackResult, *, level: float, seed: int
    ) -> Interval:
        """Return this figure minus another model's on the same rows, with its paired interval.

        Args:
            result: the attack on this model.
            other: the same attack on the other model.
            level: confidence level, in (0, 1).
            seed: seed of the resampling, where the interval is a bootstrap.
        """

    def either_way(self, result: AttackResult, *, level: float) -> Interval:
        """Return the larger of the figure and that of the same scores turned round.

        A limit judges this one: who finds that members score *lower* recognizes them as well. Both
        ends are the larger ones of the two directions, so that the figure lies above the upper end
        in at most (1 - level) / 2 of cases, and below the lower end in at most 1 - level.

        Args:
            result: scores and guesses of the attack.
            level: confidence level of either direction's interval, in (0, 1).
        """
        ways = [self.interval(r, level=level) for r in (result, result.turned)]
        return Interval(
            max(way.value for way in ways), max(way.low for way in ways), max(w.high for w in ways)
        )

    def sizes(self, result: AttackResult) -> tuple[int, int]:
        """Return how many members and non-members the figure is computed from.

        Args:
            result: scores and guesses of the attack.
        """
        return len(result.scores.members), len(result.scores.nonmembers)


@dataclass(frozen=True)
class Auc(Metric):
    """Area under the ROC curve; .5 is chance."""

    name: ClassVar[str] = "auc"

    def value(self, result: AttackResult) -> float:
        return auc(result.scores.members, result.scores.nonmembers)

    def interval(self, result: AttackResult, *, level: float) -> Interval:
        return auc_interval(result.scores.members, result.scores.nonmembers, level=level)

    def difference(
        self, result: AttackResult, other: AttackResult, *, level: float, seed: int
    ) -> Interval:
        del seed
        return auc_difference(
            result.scores.members,
            result.scores.nonmembers,
            other.scores.members,
            other.scores.nonmembers,
            level=level,
        )


@dataclass(frozen=True)
class BalancedAccuracy(Metric):
    """Mean of the true-positive and true-negative rate at a threshold learned on the fit half.

    Args:
        per_class: one threshold per class instead of one for all.
        advantage: report the advantage, TPR - FPR = 2 x balanced accuracy - 1, instead.
    """

    thresholded: ClassVar[bool] = True

    per_class: bool = False
    advantage: bool = False

    @property
    def name(self) -> str:
        base = "advantage" if self.advantage else "balanced-accuracy"
        return f"class-{base}" if self.per_class else base

    def value(self, result: AttackResult) -> float:
        guesses = self._guesses(result)
        return self._scaled(balanced_accuracy(guesses.members, guesses.nonmembers))

    def interval(self, result: AttackResult, *, level: float) -> Interval:
        guesses = self._guesses(result)
        interval = balanced_accuracy_interval(guesses.members, guesses.nonmembers, level=level)
        return Interval(*(self._scaled(v) for v in (interval.value, interval.low, interval.high)))

    def difference(
        self, result: AttackResult, other: AttackResult, *, level: float, seed: int
    ) -> Interval:
        del seed
        a, b = self._guesses(result), self._guesses(other)
        interval = balanced_accuracy_difference(
            a.members, a.nonmembers, b.members, b.nonmembers, level=level
        )
        scale = 2.0 if self.advantage else 1.0
        return Interval(*(scale * v for v in (interval.value, interval.low, interval.high)))

    def sizes(self, result: AttackResult) -> tuple[int, int]:
        return len(result.guesses.members), len(result.guesses.nonmembers)

    def _guesses(self, result: AttackResult) -> Pool[Tensor]:
        return result.class_guesses if self.per_class else result.guesses

    def _scaled(self, value: float) -> float:
        return 2.0 * value - 1.0 if self.advantage else value


@dataclass(frozen=True)
class TprAtFpr(Metric):
    """True-positive rate at a fixed false-positive rate, on the ROC's upper envelope.

    Args:
        fpr: the false-positive rate, in (0, 1).

    Raises:
        ConfigError: when the rate is outside (0, 1).
    """

    fpr: float

    def __post_init__(self) -> None:
        if not 0.0 < self.fpr < 1.0:
            raise ConfigError(f"tpr@{self.fpr:g}: the false-positive rate must lie in (0, 1).")

    @property
    def name(self) -> str:
        return f"tpr@{self.fpr:g}"

    def value(self, result: AttackResult) -> float:
        return tpr_at_fpr(result.scores.members, result.scores.nonmembers, fpr=self.fpr)

    def interval(self, result: AttackResult, *, level: float) -> Interval:
        return tpr_at_fpr_interval(
            result.scores.members, result.scores.nonmembers, fpr=self.fpr, level=level
        )

    def difference(
        self, result: AttackResult, other: AttackResult, *, level: float, seed: int
    ) -> Interval:
        return tpr_at_fpr_difference(
            result.scores.members,
            result.scores.nonmembers,
            other.scores.members,
            other.scores.nonmembers,
            fpr=self.fpr,
            level=level,
            seed=seed,
        )


_NAMED: dict[str, Metric] = {
    m.name: m
    for m in (
        Auc(),
        BalancedAccuracy(),
        BalancedAccuracy(per_class=True),
        BalancedAccuracy(advantage=True),
        BalancedAccuracy(per_class=True, advantage=True),
    )
}


def metric_named(name: str) -> Metric:
    """Return the metric called `name`, e.g. `auc`, `balanced-accuracy` or `tpr@0.01`.

    Args:
        name: as written in a configuration.

    Raises:
        ConfigError: on an unknown name.
    """
    if name in _NAMED:
        return _NAMED[name]
    if name.startswith("tpr@"):
        try:
            return TprAtFpr(float(name.removeprefix("tpr@")))
        except ValueError as error:
            raise ConfigError(f"metric '{name}': expected tpr@RATE, e.g. tpr@0.01.") from error
    raise ConfigError(f"no metric is called '{name}'{did_you_mean(name, [*_NAMED, 'tpr@0.01'])}")
