"""Where a leak is: the classes whose members an attack finds, and what an accusation is worth."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from safecompress.errors import UndecidableError
from safecompress.protocols import AttackResult
from safecompress.stats import auc_interval, precision_at_prior, tpr_at_fpr
from safecompress.stats.roc import require_false_positives, threshold_at_fpr
from safecompress.verdicts.parts import Accusation, ClassLeak, Leak

FEWEST = 10
"""Members, and non-members, that a class needs before an AUC says anything of it."""
_SHOWN = 20
PRIORS = (0.01, 0.1)
"""Shares of the asked rows that are members, in worlds where an attacker asks about many."""


def leak_of(result: AttackResult | None, *, level: float, names: Sequence[str] = ()) -> Leak | None:
    """Return where the strongest attack finds members; None where none could be measured.

    Args:
        result: what the attack said; None where none could be measured.
        level: confidence that no class's interval misses, in (0, 1).
        names: names of the classes, by their numbers; none where they are not known.
    """
    if result is None:
        return None
    classes = by_class(result, level=level, names=names)
    return Leak(
        attack=result.attack,
        accusations=accusations(result),
        classes=classes[:_SHOWN],
        classes_measured=len(classes),
        classes_without_rows=result.classes - len(classes),
    )


def by_class(
    result: AttackResult, *, level: float, names: Sequence[str] = ()
) -> tuple[ClassLeak, ...]:
    """Return the classes with enough rows, the surest leak first.

    Args:
        result: what the attack said.
        level: confidence that no class's interval misses, in (0, 1) (Bonferroni).
        names: names of the classes, by their numbers; none where they are not known.
    """
    labels = result.labels
    if len(labels.members) != len(result.scores.members):
        labels = labels.zip(result.halves, lambda y, mask: y[~mask])
    counts = labels.map(lambda y: torch.bincount(y, minlength=result.classes))
    enough = torch.minimum(counts.members, counts.nonmembers) >= FEWEST
    measured = torch.nonzero(enough).squeeze(1).tolist()
    found: list[tuple[tuple[float, float, int], ClassLeak]] = []
    for label in measured:
        scores = result.scores.zip(labels, lambda s, y: s[y == label])  # noqa: B023
        each = auc_interval(
            scores.members, scores.nonmembers, level=1 - (1 - level) / len(measured)
        )
        leak = ClassLeak(
            label=label,
            members=len(scores.members),
            nonmembers=len(scores.nonmembers),
            auc=each.value,
            low=each.low,
            high=each.high,
            name=names[label] if names else str(label),
        )
        found.append(((-each.low, -each.value, label), leak))
    return tuple(leak for _, leak in sorted(found, key=lambda pair: pair[0]))


def accusations(
    result: AttackResult, *, fpr: float = 0.01, priors: Sequence[float] = PRIORS
) -> tuple[Accusation, ...]:
    """Return the worth of an accusation where few of the rows asked about are members.

    An attack that is right half of the time among as many members as non-members is wrong most of
    the time where one row in a hundred is a member.

    Args:
        result: what the attack said.
        fpr: share of the non-members that the attacker puts up with accusing, in (0, 1).
        priors: shares of members among the rows asked about, in (0, 1).

    Returns:
        One entry a prior; none where the rows do not carry so small a rate, or nobody is accused.
    """
    scores = result.scores
    nonmembers = scores.nonmembers.numpy()
    try:
        require_false_positives(len(nonmembers), fpr=fpr, where="accusations")
        tpr = tpr_at_fpr(scores.members, nonmembers, fpr=fpr)
        # Where scores tie fewer are accused than may be, and an accusation is worth more.
        realized = float((nonmembers > threshold_at_fpr(nonmembers, fpr=fpr)).mean())
        return tuple(
            Accusation(
                prior=prior,
                fpr=realized,
                tpr=tpr,
                precision=precision_at_prior(tpr, realized, prior=prior),
            )
            for prior in priors
        )
    except UndecidableError:
        return ()
