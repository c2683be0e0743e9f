"""`EpsilonLowerBound`: what guesses about canaries show about differential privacy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from safecompress.checks.measures import MEASURES, Measure
from safecompress.checks.subject import Subject
from safecompress.errors import DataError, MissingEvidenceError, UndecidableError
from safecompress.protocols import Estimate, Outputs, log_odds
from safecompress.stats import LARGEST_EPSILON, clopper_pearson, one_run_epsilon

SHARES = (1.0, 0.5, 0.2)
"""Shares of the canaries that are guessed, those of the most extreme scores. Few and sure guesses
show more where a model has memorized some canaries, many where it leaks a little of each."""


@dataclass(frozen=True)
class CanaryScores:
    """How strongly a model suggests of each canary that it was trained on it.

    Args:
        scores: float64 (n,), higher = more likely trained on.
        included: bool (n,), whether it was, by a fair coin for each canary.
        delta: δ of the guarantees that are tested, in [0, 1).

    Raises:
        DataError: when there is not one flip for each score, or δ is out of range.
    """

    scores: Tensor
    included: Tensor
    delta: float

    def __post_init__(self) -> None:
        if self.scores.shape != self.included.shape or self.included.dtype != torch.bool:
            raise DataError(
                f"canaries: scores {tuple(self.scores.shape)}, flips {self.included.dtype} "
                f"{tuple(self.included.shape)}; expected one bool for every score."
            )
        if not 0 <= self.delta < 1:
            raise DataError(f"delta is {self.delta}; expected a number in [0, 1).")


class Guesses(NamedTuple):
    """Guesses about the coins and what they show.

    Args:
        number: number of canaries that are guessed; the other scores are too near the middle.
        correct: number of right guesses.
        epsilon: no (ε, δ) guarantee below this ε fits so many right guesses, in [0, 36].
        at_most: the ε that this attacker would show with any number of canaries lies below.
    """

    number: int
    correct: int
    epsilon: float
    at_most: float


def guess(canaries: CanaryScores, *, level: float) -> Guesses:
    """Return the guesses that show the largest ε.

    Every share of the canaries in `SHARES` is tried; the level is corrected for their number.

    Args:
        canaries: scores and coins.
        level: confidence that ε is at least `epsilon`, in (0, 1).

    Raises:
        UndecidableError: when there are fewer than two canaries.

    Reference: Steinke, Nasr & Jagielski, "Privacy auditing with one (1) training run", NeurIPS
    2023, algorithm 1.
    """
    n = len(canaries.scores)
    if n < 2:
        raise UndecidableError(f"{n} canaries: guesses need at least 2.")
    each = 1.0 - (1.0 - level) / len(SHARES)
    order = canaries.scores.argsort(stable=True)
    tried = []
    for share in SHARES:
        half = max(1, int(share * n) // 2)
        out, inside = canaries.included[order[:half]], canaries.included[order[n - half :]]
        correct = int(inside.sum()) + int((~out).sum())
        low = one_run_epsilon(correct, 2 * half, canaries=n, delta=canaries.delta, level=each)
        high = clopper_pearson(correct, 2 * half, level=each).high
        tried.append(Guesses(2 * half, correct, low, _epsilon_of(high)))
    best = max(tried, key=lambda guesses: guesses.epsilon)
    return best._replace(at_most=max(best.epsilon, *(guesses.at_most for guesses in tried)))


def _epsilon_of(accuracy: float) -> float:
    """Return the ε at which guesses can be as accurate as this, in [0, 36]."""
    if accuracy >= 1.0:
        return LARGEST_EPSILON
    return min(LARGEST_EPSILON, max(0.0, math.log(accuracy / (1.0 - accuracy))))


def calibrated_scores(said: Outputs, others: Outputs, *, mislabeled: bool) -> Tensor:
    """Return how much surer a model is of each canary's label than of that label elsewhere.

    A model is surer of some classes than of others, and that says nothing of a canary.

    Args:
        said: the model's outputs on the canaries.
        others: its outputs on rows that were not trained on.
        mislabeled: whether to compare with rows whose label is another one, as the true label of a
            mislabeled canary is; otherwise with rows of the same label.

    Returns:
        float64 (n,), in nats; without such rows the log-odds themselves.
    """
    scores = log_odds(said.logits.double(), said.labels)
    for label in sorted(set(said.labels.tolist())):
        alike = (others.labels != label) if mislabeled else (others.labels == label)
        if bool(alike.any()):
            logits = others.logits[alike].double()
            usual = log_odds(logits, torch.full((len(logits),), label)).mean()
            scores = torch.where(said.labels == label, scores - usual, scores)
    return scores


@dataclass(frozen=True)
class EpsilonLowerBound(Measure):
    """The largest ε that guesses about a run's canaries rule out, with what they leave open.

    The value and the lower end are the bound: training is not (ε, δ)-private for any smaller ε. The
    upper end is the ε that this attacker would show with more canaries. So a limit is kept only
    where there are canaries enough to show that this attacker stays below it; a better attacker may
    find more.
    """

    name: ClassVar[str] = "epsilon-lower-bound"
    worse: ClassVar[Literal["higher", "lower"]] = "higher"
    requires: ClassVar[frozenset[str]] = frozenset({"canaries"})

    def estimate(self, subject: Subject, *, level: float) -> Estimate:
        canaries = subject.canaries
        if canaries is None:
            raise MissingEvidenceError(
                f"{self.name}: '{subject.name}' was trained without canaries; a run places them "
                "with verdict.canaries.count."
            )
        found = guess(canaries, level=level)
        inside = int(canaries.included.sum())
        note = (
            f"{found.correct} of {found.number} guesses about {len(canaries.scores)} canaries were "
            f"right; δ is {canaries.delta:g}."
        )
        return Estimate(
            found.epsilon,
            found.epsilon,
            found.at_most,
            inside,
            len(canaries.scores) - inside,
            note=note,
        )

    def difference(self, subject: Subject, dense: Subject, *, level: float) -> Estimate:
        del subject, dense, level
        raise UndecidableError(
            f"{self.name}: bounds of two models have no difference that guesses could bound; "
            "state a limit for each, with at_most."
        )


MEASURES.add(
    "epsilon-lower-bound",
    EpsilonLowerBound,
    summary="the ε of differential privacy that a run's canaries rule out",
    reference="Steinke, Nasr & Jagielski, NeurIPS 2023",
    cost="milliseconds, and canaries in the training",
)
