"""What a model is worth where classes are unequal: measures that give every class a say.

Accuracy counts rows, so a model may lose a rare class wholly and hardly lose accuracy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from safecompress.checks.measures import MEASURES, Measure
from safecompress.checks.subject import Subject
from safecompress.errors import UndecidableError
from safecompress.protocols import Estimate, Outputs
from safecompress.stats import (
    Interval,
    accuracy_difference,
    balanced_recall,
    balanced_recall_difference,
    class_recalls,
    corrected_level,
    macro_f1,
    macro_f1_difference,
    macro_f1_interval,
    recall_differences,
)

FEWEST = 10
"""Fewest non-members of a class whose recall is judged."""
_NAMED = 3


@dataclass(frozen=True)
class ModelBalancedAccuracy(Measure):
    """Mean recall of the classes on the non-members, each class with the same weight."""

    name: ClassVar[str] = "balanced-accuracy"
    worse: ClassVar[Literal["higher", "lower"]] = "lower"

    def estimate(self, subject: Subject, *, level: float) -> Estimate:
        outputs = subject.outputs.nonmembers
        return _estimate(balanced_recall(outputs.labels, outputs.predicted, level=level), outputs)

    def difference(self, subject: Subject, dense: Subject, *, level: float) -> Estimate:
        outputs = subject.outputs.nonmembers
        gap = balanced_recall_difference(
            outputs.labels, outputs.predicted, dense.outputs.nonmembers.predicted, level=level
        )
        return _estimate(gap, outputs)


MEASURES.add(
    "balanced-accuracy",
    ModelBalancedAccuracy,
    summary="mean recall of the classes, each with the same weight",
    cost="milliseconds",
)


@dataclass(frozen=True)
class MacroF1(Measure):
    """Mean F1 of the classes on the non-members, each class with the same weight."""

    name: ClassVar[str] = "macro-f1"
    worse: ClassVar[Literal["higher", "lower"]] = "lower"

    def estimate(self, subject: Subject, *, level: float) -> Estimate:
        outputs = subject.outputs.nonmembers
        span = macro_f1_interval(outputs.labels, outputs.predicted, level=level, seed=subject.seed)
        return _estimate(span, outputs)

    def difference(self, subject: Subject, dense: Subject, *, level: float) -> Estimate:
        outputs, other = subject.outputs.nonmembers, dense.outputs.nonmembers
        gap = macro_f1_difference(
            outputs.labels, outputs.predicted, other.predicted, level=level, seed=subject.seed
        )
        return _estimate(gap, outputs)


MEASURES.add(
    "macro-f1",
    MacroF1,
    summary="mean F1 of the classes, each with the same weight",
    cost="a second",
)


@dataclass(frozen=True)
class WorstClassRecall(Measure):
    """Recall on the non-members of the class in which it is lowest.

    Compared with the dense model it is the change of the class that lost most, whichever class that
    is. The intervals of all classes hold together (Bonferroni): a limit is kept only where every
    class keeps it, and missed where any class misses it. Classes of fewer than 10 rows are left
    out, and named.
    """

    name: ClassVar[str] = "worst-class-recall"
    worse: ClassVar[Literal["higher", "lower"]] = "lower"

    def estimate(self, subject: Subject, *, level: float) -> Estimate:
        outputs = subject.outputs.nonmembers
        judged, small = _judged_classes(outputs)
        at = corrected_level(level, len(judged))
        spans = class_recalls(outputs.labels, outputs.predicted, level=at)
        return _worst({c: spans[c] for c in judged}, small, subject, "recall")

    def difference(self, subject: Subject, dense: Subject, *, level: float) -> Estimate:
        outputs, other = subject.outputs.nonmembers, dense.outputs.nonmembers
        judged, small = _judged_classes(outputs)
        at = corrected_level(level, len(judged))
        spans = recall_differences(outputs.labels, outputs.predicted, other.predicted, level=at)
        return _worst({c: spans[c] for c in judged}, small, subject, "change of recall")


MEASURES.add(
    "worst-class-recall",
    WorstClassRecall,
    summary="recall of the class with the lowest; the class that lost most, beside the dense model",
    cost="milliseconds",
)


@dataclass(frozen=True)
class GainOverMajority(Measure):
    """Accuracy minus that of always answering the most frequent class, on the non-members."""

    name: ClassVar[str] = "gain-over-majority"
    worse: ClassVar[Literal["higher", "lower"]] = "lower"

    def estimate(self, subject: Subject, *, level: float) -> Estimate:
        outputs = subject.outputs.nonmembers
        majority = int(torch.bincount(outputs.labels).argmax())
        constant = outputs.labels == majority
        gain = accuracy_difference(outputs.correct, constant, level=level)
        note = (
            f"right on {float(outputs.correct.double().mean()):.1%}; always answering class "
            f"{subject.class_named(majority)} is right on {float(constant.double().mean()):.1%}"
        )
        if gain.low < 0:
            sure = "no better" if gain.value <= 0 else "too few rows to tell whether it is better"
            note = f"{sure} than one answer for all rows: {note}"
        return _estimate(gain, outputs, note)

    def difference(self, subject: Subject, dense: Subject, *, level: float) -> Estimate:
        # The majority is the same for both models, so it cancels.
        outputs, other = subject.outputs.nonmembers, dense.outputs.nonmembers
        return _estimate(accuracy_difference(outputs.correct, other.correct, level=level), outputs)


MEASURES.add(
    "gain-over-majority",
    GainOverMajority,
    summary="accuracy beyond that of always answering the most frequent class",
    cost="milliseconds",
)

WORTH: Mapping[str, Callable[[Outputs], float]] = {
    "accuracy": lambda outputs: float(outputs.correct.double().mean()),
    "balanced-accuracy": lambda o: balanced_recall(o.labels, o.predicted).value,
    "macro-f1": lambda outputs: macro_f1(outputs.labels, outputs.predicted),
}
"""By the name in `steer.worth`, the figure of a model's outputs on the steering non-members."""


def _estimate(span: Interval, outputs: Outputs, note: str = "") -> Estimate:
    return Estimate(span.value, span.low, span.high, 0, len(outputs), note=note)


def _judged_classes(outputs: Outputs) -> tuple[list[int], dict[int, int]]:
    """Return the classes with enough rows, and by class the number of rows where they are few."""
    counts = torch.bincount(outputs.labels).tolist()
    judged = [c for c, n in enumerate(counts) if n >= FEWEST]
    return judged, {c: n for c, n in enumerate(counts) if 0 < n < FEWEST}


def _worst(
    spans: Mapping[int, Interval], small: Mapping[int, int], subject: Subject, what: str
) -> Estimate:
    few = [f"{subject.class_named(c)} ({n})" for c, n in small.items()]
    more = f" and {len(few) - _NAMED} more" if len(few) > _NAMED else ""
    left_out = f"too few rows to judge: class {', '.join(few[:_NAMED])}{more}" if few else ""
    if not spans:
        raise UndecidableError(f"worst-class-recall: no class has {FEWEST} rows; {left_out}.")
    worst = min(spans, key=lambda c: (spans[c].high, spans[c].value))
    span = spans[worst]
    note = (
        f"worst in class {subject.class_named(worst)}: {what} {span.value:.3f} "
        f"[{span.low:.3f}, {span.high:.3f}]"
    )
    least = min(spans, key=lambda c: spans[c].low)
    if least != worst:
        note += f"; least settled in class {subject.class_named(least)} ({spans[least].low:.3f})"
    return _estimate(
        Interval(span.value, spans[least].low, span.high),
        subject.outputs.nonmembers,
        "; ".join(filter(None, (note, left_out))),
    )
