"""`leak_of`: the classes whose members an attack finds, and the precision of its accusations."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from safecompress.errors import UndecidableError
from safecompress.protocols import AttackResult
from safecompress.stats import auc_interval, precision_at_prior, realized_tpr_at_fpr
from safecompress.stats.roc import require_false_positives, threshold_at_fpr
from safecompress.verdicts.parts import Accusation, ClassLeak, Leak

FEWEST = 10
"""Fewest members, and fewest non-members, of a class whose AUC is measured."""
_SHOWN = 20
PRIORS = (0.01, 0.1)
"""Assumed shares of members among the rows that an attacker tests.

Attackers test many rows, of which few are members; among the judged rows members are frequent.
"""


def leak_of(result: AttackResult | None, *, level: float, names: Sequence[str] = ()) -> Leak | None:
    """Return where the strongest attack finds members; None where none could be measured.

    Args:
        result: the result of the attack; None where none could be measured.
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
        result: the result of the attack.
        level: confidence that no class's interval misses, in (0, 1) (Bonferroni).
        names: names of the classes, by their numbers; none where they are not known.
    """
    labels = result.labels
    if len(labels.members) != len(result.scores.members):
        labels = labels.zip(result.halves, lambda y, mask: y[~mask])
    counts = labels.map(lambda y: torch.bincount(y, minlength=result.classes))
    enough = torch.minimum(counts.members, counts.nonmembers) >= FEWEST
    measured = torch.nonzero(enough).squeeze(1).tolist()
    ranked: list[tuple[tuple[float, float, int], ClassLeak]] = []
    for label in measured:
        scores = result.scores.zip(labels, lambda s, y: s[y == label])  # noqa: B023
        interval = auc_interval(
            scores.members, scores.nonmembers, level=1 - (1 - level) / len(measured)
        )
        leak = ClassLeak(
            label=label,
            members=len(scores.members),
            nonmembers=len(scores.nonmembers),
            auc=interval.value,
            low=interval.low,
            high=interval.high,
            name=names[label] if names else str(label),
        )
        ranked.append(((-interval.low, -interval.value, label), leak))
    return tuple(leak for _, leak in sorted(ranked, key=lambda pair: pair[0]))


def accusations(
    result: AttackResult, *, fpr: float = 0.01, priors: Sequence[float] = PRIORS
) -> tuple[Accusation, ...]:
    """Return the precision of accusations where few of the tested rows are members.

    An attack whose accusations are mostly right among as many members as non-members can be mostly
    wrong where one row in a hundred is a member.

    Args:
        result: the result of the attack.
        fpr: largest share of the non-members that may be accused, in (0, 1).
        priors: shares of members among the tested rows, in (0, 1).

    Returns:
        One entry for each prior; none where there are too few non-members for the rate, or no row
        is accused.
    """
    scores = result.scores
    nonmembers = scores.nonmembers.numpy()
    try:
        require_false_positives(len(nonmembers), fpr=fpr, where="accusations")
        tpr = realized_tpr_at_fpr(scores.members, nonmembers, fpr=fpr)
        # Tied scores can make the accused share smaller than `fpr`, so it is measured anew.
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
