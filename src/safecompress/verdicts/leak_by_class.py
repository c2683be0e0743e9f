"""`leak_of`: the groups whose members attacks find, and the precision of their accusations."""

from __future__ import annotations

from collections.abc import Sequence

from safecompress.checks.group_findings import GroupFinding, findings_of
from safecompress.checks.group_leak import CLASS, GroupLeak, classes_of
from safecompress.errors import FOREIGN, UndecidableError
from safecompress.protocols import AttackResult
from safecompress.stats import precision_at_prior, realized_tpr_at_fpr
from safecompress.stats.roc import require_false_positives, threshold_at_fpr
from safecompress.verdicts.parts import (
    Accusation,
    ClassLeak,
    GroupEntry,
    Leak,
    SignalEntry,
    Span,
)
from safecompress.verdicts.verdict import Finding

_SHOWN = 20
PRIORS = (0.01, 0.1)
"""Assumed shares of members among the rows that an attacker tests.

Attackers test many rows, of which few are members; among the judged rows members are frequent.
"""


def leak_of(finding: Finding, strongest: AttackResult | None) -> Leak | None:
    """Return where attacks find members; None where no attack could be measured.

    The figures of groups are those that the checks of groups judge. Where the suite has none, they
    are of all attacks that need no second model.

    Args:
        finding: the results of the checks.
        strongest: the result of the strongest attack; None where none could be measured.
    """
    if strongest is None:
        return None
    asked = {measure.by: measure for measure in finding.group_measures}
    of_classes = asked.pop(CLASS, GroupLeak(finding.alone))
    classified = finding.subject.classifies
    classes = _surest(of_classes, finding) if classified else ()
    if classified and not classes:
        # One attack that breaks must not hide where another finds members.
        groups = classes_of(finding.subject)
        classes = findings_of([strongest], groups, by=CLASS, level=finding.level).surest
    others = [entry for measure in asked.values() for entry in _surest(measure, finding)[:_SHOWN]]
    worst = finding.worst_group
    return Leak(
        attack=strongest.attack,
        accusations=accusations(strongest),
        classes=tuple(
            ClassLeak(
                label=found.code,
                members=found.members,
                nonmembers=found.nonmembers,
                auc=found.auc,
                low=found.low,
                high=found.high,
                name=found.name,
                attack=found.attack,
            )
            for found in classes[:_SHOWN]
        ),
        classes_measured=len(classes),
        classes_without_rows=strongest.classes - len(classes),
        groups=tuple(map(GroupEntry.of, others)),
        worst_group=None if worst is None else GroupEntry.of(worst),
        limit=of_classes.limit,
        by_signals=tuple(
            SignalEntry(
                signals=found.signals,
                attack=found.result.attack,
                auc=Span.of(found.auc),
                steered=found.steered,
            )
            for found in finding.by_signals
        ),
    )


def _surest(measure: GroupLeak, finding: Finding) -> tuple[GroupFinding, ...]:
    """Return the groups with enough rows, the surest leak first; none where measuring fails."""
    try:
        return measure.findings(finding.subject, level=finding.level).surest
    except FOREIGN:  # third-party attacks may raise anything; their checks report the error
        return ()


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
