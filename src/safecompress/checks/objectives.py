"""`Objective`, `Outcome`, `Ranked` and the built-in objectives: rankings of a round's candidates.

An objective is given the figures of every candidate on the same steering rows and returns a
ranking, best first. Higher scores are better; scores are compared across rounds for early
stopping only.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch

from safecompress.checks.check import Check
from safecompress.checks.margins import LimitMargin
from safecompress.checks.measures import Measure
from safecompress.checks.suite import Suite
from safecompress.errors import ConfigError
from safecompress.randomness import generator
from safecompress.registry import Registry


@dataclass(frozen=True)
class Outcome:
    """The figures of one candidate on the steering rows.

    Args:
        name: the candidate's name.
        accuracy: what the candidate is worth, in [0, 1]: the share of the steering non-members
            classified correctly, or the figure that `worth` names.
        auc: AUC per attack.
        attack_accuracy: balanced accuracy per attack, thresholds learned on the fit half.
        round: round number, from 0.
        risks: further figures by name, smaller is better, such as a transfer rate.
        worth: name of the figure in `accuracy`: `accuracy`, `balanced-accuracy` or `macro-f1`.
        margins: by how much each limit that the objective reads is kept; empty where it reads none.
    """

    name: str
    accuracy: float
    auc: dict[str, float]
    attack_accuracy: dict[str, float]
    round: int = 0
    risks: dict[str, float] = field(default_factory=dict)
    worth: str = "accuracy"
    margins: tuple[LimitMargin, ...] = ()

    @property
    def leaks(self) -> dict[str, float]:
        """AUC per attack in the direction in which it tells members, at least 0.5."""
        return {name: max(auc, 1 - auc) for name, auc in self.auc.items()}

    @property
    def worst_auc(self) -> float:
        """AUC of the strongest attack in either direction; NaN where that of any is NaN."""
        return _largest(self.leaks.values())

    @property
    def worst_accuracy(self) -> float:
        """Balanced accuracy of the strongest attack; NaN where that of any attack is NaN."""
        return _largest(self.attack_accuracy.values())

    @property
    def mean_auc(self) -> float:
        """Mean AUC over the attacks, each in its direction: less noisy than the strongest one's."""
        return sum(self.leaks.values()) / len(self.leaks)


def _largest(values: Iterable[float]) -> float:
    """Return the largest value, or NaN where there is one.

    Every comparison with NaN is false, so plain `max` returns NaN in some orders only.
    """
    return max(values, key=lambda value: (math.isnan(value), value))


@dataclass(frozen=True)
class Ranked:
    """A candidate's place: index among the outcomes, score (higher is better) and the reason."""

    index: int
    score: float
    reason: str


class Objective(ABC):
    """A rule that ranks the candidates of a round, best first."""

    blind: ClassVar[bool] = False
    """Whether it ignores all figures: a control that shows what choosing by figures is worth."""
    reads_limits: ClassVar[bool] = False
    """Whether it ranks by `Outcome.margins`; the loop then measures what `limits` returns."""

    def limits(self, suite: Suite, *, worth: Measure) -> tuple[Check, ...]:
        """Return the limits whose margins it reads; by default none.

        Args:
            suite: the suite of the verdict.
            worth: the measure of what a candidate is worth (`steer.worth`).
        """
        del suite, worth
        return ()

    @abstractmethod
    def rank(self, outcomes: Sequence[Outcome]) -> list[Ranked]:
        """Return every outcome once, best first; ties keep the order of the proposals.

        A candidate whose figures are NaN comes behind all others.

        Args:
            outcomes: the round's candidates, in the order of the proposals.
        """


def _best_accuracy(outcomes: Sequence[Outcome]) -> float:
    """Return the highest accuracy that is a number; NaN where none is."""
    return max((o.accuracy for o in outcomes if not math.isnan(o.accuracy)), default=math.nan)


def _by_keys(keys: Sequence[tuple[float, ...]]) -> list[int]:
    """Return the positions of the keys, the smallest key first; a key with a NaN comes last."""
    return sorted(range(len(keys)), key=lambda i: (any(map(math.isnan, keys[i])), keys[i]))


OBJECTIVES: Registry[Objective] = Registry("objective", "safecompress.objectives", Objective)
"""The objectives a configuration can name, each added below its class."""


def _by_score(scores: Sequence[float], reasons: Sequence[str]) -> list[Ranked]:
    order = _by_keys([(-score,) for score in scores])
    return [Ranked(i, scores[i], reasons[i]) for i in order]


@dataclass(frozen=True)
class Paired(Objective):
    """The least leakage among candidates that keep the accuracy floor.

    Leakage is the mean AUC over the attacks on all steering rows. Every candidate is judged on
    the same rows after training on the same batches, so differences between the candidates of a
    round are far less noisy than the figures themselves. AUC needs no learned threshold and is
    therefore less noisy than an attack's accuracy.

    Args:
        tolerance: accuracy a candidate may lie below the round's best, in [0, 1].
    """

    tolerance: float = 0.01

    def __post_init__(self) -> None:
        if not 0 <= self.tolerance <= 1:
            raise ConfigError(f"tolerance must lie in [0, 1], got {self.tolerance}.")

    def rank(self, outcomes: Sequence[Outcome]) -> list[Ranked]:
        floor = _best_accuracy(outcomes) - self.tolerance
        keeps = [o.accuracy >= floor - 1e-12 for o in outcomes]
        keys = [
            (0, o.mean_auc, -o.accuracy) if kept else (1, -o.accuracy, o.mean_auc)
            for o, kept in zip(outcomes, keeps, strict=True)
        ]
        order = _by_keys(keys)
        return [
            Ranked(i, outcomes[i].accuracy / outcomes[i].mean_auc, self._reason(outcomes[i], floor))
            for i in order
        ]

    def _reason(self, outcome: Outcome, floor: float) -> str:
        if outcome.accuracy >= floor - 1e-12:
            return (
                f"mean AUC {outcome.mean_auc:.4f} at {outcome.worth} {outcome.accuracy:.4f} "
                f"(floor {floor:.4f})"
            )
        return f"{outcome.worth} {outcome.accuracy:.4f} is below the floor {floor:.4f}"


OBJECTIVES.add(
    "paired", Paired, summary="least mean attack AUC at an accuracy floor, on the same rows"
)


@dataclass(frozen=True)
class TmScore(Objective):
    """TM(λ) = task accuracy^λ / accuracy or AUC of the strongest attack (SafeCompress, ASE 2022).

    Args:
        trade_off: λ; above 1 favors accuracy.
        attack: `accuracy`, balanced, as published; or `auc`, which is far less noisy because it
            needs no learned threshold.
    """

    trade_off: float = 1.0
    attack: Literal["accuracy", "auc"] = "accuracy"

    def __post_init__(self) -> None:
        if self.attack not in ("accuracy", "auc"):
            raise ConfigError(f"attack is {self.attack!r}; expected accuracy or auc.")

    def rank(self, outcomes: Sequence[Outcome]) -> list[Ranked]:
        leaks = [o.worst_auc if self.attack == "auc" else o.worst_accuracy for o in outcomes]
        scores = [
            o.accuracy**self.trade_off / max(r, 1e-9) for o, r in zip(outcomes, leaks, strict=True)
        ]
        power = "" if self.trade_off == 1 else f"^{self.trade_off:g}"
        reasons = [
            f"TM {s:.4f} = {o.accuracy:.4f}{power} / {self.attack} {r:.4f}"
            for s, o, r in zip(scores, outcomes, leaks, strict=True)
        ]
        return _by_score(scores, reasons)


OBJECTIVES.add(
    "tm",
    TmScore,
    summary="task accuracy / accuracy or AUC of the strongest attack",
    reference="SafeCompress, ASE 2022; the exponent is ours",
)


@dataclass(frozen=True)
class Weighted(Objective):
    """accuracy - weight x leakage, leakage = 2 x strongest AUC - 1.

    Args:
        weight: accuracy points paid for one point of leakage.
    """

    weight: float = 1.0

    def rank(self, outcomes: Sequence[Outcome]) -> list[Ranked]:
        scores = [o.accuracy - self.weight * (2 * o.worst_auc - 1) for o in outcomes]
        reasons = [
            f"{o.accuracy:.4f} − {self.weight:g} × {2 * o.worst_auc - 1:.4f}" for o in outcomes
        ]
        return _by_score(scores, reasons)


OBJECTIVES.add("weighted", Weighted, summary="accuracy minus weighted leakage")


@dataclass(frozen=True)
class WorstAttacker(Objective):
    """The lowest AUC of the strongest attack."""

    def rank(self, outcomes: Sequence[Outcome]) -> list[Ranked]:
        return _by_score(
            [-o.worst_auc for o in outcomes],
            [f"strongest attack AUC {o.worst_auc:.4f}" for o in outcomes],
        )


OBJECTIVES.add("worst-attacker", WorstAttacker, summary="lowest AUC of the strongest attack")


@dataclass(frozen=True)
class Pareto(Objective):
    """Successive fronts of accuracy, 1 - strongest AUC and further risks; balanced ones first.

    Balance is the product of accuracy, 1 - AUC and 1 - each risk: the volume that the point
    dominates, 0 where a risk is 1 or more. The first candidate thus has the largest hypervolume.
    """

    def rank(self, outcomes: Sequence[Outcome]) -> list[Ranked]:
        points = [
            (o.accuracy, 1.0 - o.worst_auc, *(1.0 - o.risks[n] for n in sorted(o.risks)))
            for o in outcomes
        ]
        balance = [math.prod(max(0.0, value) for value in point) for point in points]
        rest, ranked = list(range(len(points))), []
        front = 0
        while rest:
            best = [i for i in rest if not any(_dominates(points[j], points[i]) for j in rest)]
            best.sort(key=lambda i: -balance[i])
            ranked += [
                Ranked(i, balance[i] - front, _product(outcomes[i], balance[i], front + 1))
                for i in best
            ]
            rest = [i for i in rest if i not in best]
            front += 1
        return ranked


OBJECTIVES.add("pareto", Pareto, summary="successive Pareto fronts of accuracy and safety")


def _product(outcome: Outcome, balance: float, front: int) -> str:
    risks = "".join(f" × (1 − {outcome.risks[name]:.4f})" for name in sorted(outcome.risks))
    area = f"{outcome.accuracy:.4f} × (1 − AUC {outcome.worst_auc:.4f}){risks}"
    return f"{balance:.4f} = {area}" + (f", front {front}" if front > 1 else "")


def _dominates(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return all(x >= y for x, y in zip(a, b, strict=True)) and a != b


@dataclass(frozen=True)
class Bounded(Objective):
    """The least risk among candidates that keep the accuracy floor.

    Risk is the largest of the strongest attack's leakage, 2 x AUC - 1, and the further risks
    (`steer.measures`). This objective suits rounds that try a defense at several strengths: it
    chooses the safest of them whose loss of accuracy is within `tolerance`.

    Args:
        tolerance: accuracy a candidate may lie below the round's best, in [0, 1].
    """

    tolerance: float = 0.01

    def __post_init__(self) -> None:
        if not 0 <= self.tolerance <= 1:
            raise ConfigError(f"tolerance must lie in [0, 1], got {self.tolerance}.")

    def rank(self, outcomes: Sequence[Outcome]) -> list[Ranked]:
        floor = _best_accuracy(outcomes) - self.tolerance - 1e-12
        worst = [_largest([2 * o.worst_auc - 1, *o.risks.values()]) for o in outcomes]
        keys = [
            (0, risk, -o.accuracy) if o.accuracy >= floor else (1, -o.accuracy, risk)
            for o, risk in zip(outcomes, worst, strict=True)
        ]
        order = _by_keys(keys)
        return [
            Ranked(
                i,
                -worst[i] - keys[i][0],
                f"largest risk {worst[i]:.4f} at {outcomes[i].worth} {outcomes[i].accuracy:.4f} "
                f"(floor {floor:.4f})",
            )
            for i in order
        ]


OBJECTIVES.add("bounded", Bounded, summary="least of the largest risk at an accuracy floor")


@dataclass(frozen=True)
class MostAccurate(Objective):
    """The highest accuracy, whatever leaks; a control for the other objectives."""

    def rank(self, outcomes: Sequence[Outcome]) -> list[Ranked]:
        return _by_score(
            [o.accuracy for o in outcomes], [f"{o.worth} {o.accuracy:.4f}" for o in outcomes]
        )


OBJECTIVES.add("accuracy", MostAccurate, summary="accuracy alone; a control")


@dataclass(frozen=True)
class RandomChoice(Objective):
    """A fixed random order: the control every objective has to beat at equal training budget.

    Args:
        seed: fixes the order of every round.
    """

    blind: ClassVar[bool] = True

    seed: int = 0

    def rank(self, outcomes: Sequence[Outcome]) -> list[Ranked]:
        draw = generator(self.seed, "random objective", outcomes[0].round if outcomes else 0)
        order = torch.randperm(len(outcomes), generator=draw).tolist()
        return [Ranked(i, float(-place), "random choice") for place, i in enumerate(order)]


OBJECTIVES.add("random", RandomChoice, summary="random choice; the control to beat")
