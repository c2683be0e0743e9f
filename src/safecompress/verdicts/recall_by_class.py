"""`recall_by_class`: how many rows of each class a model is right about, beside the dense model."""

from __future__ import annotations

import torch

from safecompress.checks import Subject
from safecompress.stats import class_recalls, corrected_level, recall_differences
from safecompress.verdicts.parts import ClassRecall, Span

_SHOWN = 20


def recall_by_class(
    subject: Subject, dense: Subject | None, *, level: float
) -> tuple[ClassRecall, ...]:
    """Return the classes that lost most, or without a dense model those with the lowest recall.

    Args:
        subject: the judged model.
        dense: the dense model on the same rows; None without one.
        level: confidence that no interval of one kind misses, in (0, 1) (Bonferroni).
    """
    if not subject.classifies:
        return ()
    outputs = subject.outputs.nonmembers
    counts = torch.bincount(outputs.labels).tolist()
    at = corrected_level(level, sum(n > 0 for n in counts))
    recalls = class_recalls(outputs.labels, outputs.predicted, level=at)
    before, lost = {}, {}
    if dense is not None:
        other = dense.outputs.nonmembers.predicted
        before = class_recalls(outputs.labels, other, level=at)
        lost = recall_differences(outputs.labels, outputs.predicted, other, level=at)
    order = sorted(recalls, key=lambda c: ((lost or recalls)[c].value, recalls[c].value, c))
    return tuple(
        ClassRecall(
            label=c,
            name=subject.class_named(c),
            rows=counts[c],
            recall=Span.of(recalls[c]),
            dense=Span.of(before[c]) if before else None,
            difference=Span.of(lost[c]) if lost else None,
        )
        for c in order[:_SHOWN]
    )
