"""`group_checks`, `worth_checks`: checks of default suites that look behind averages."""

from __future__ import annotations

from collections.abc import Sequence

from safecompress.checks.check import Check, CheckResult, named_check
from safecompress.checks.conditions import Status, at_least, at_least_dense, at_most
from safecompress.checks.group_leak import GroupLeak
from safecompress.checks.worth import GainOverMajority, ModelBalancedAccuracy, WorstClassRecall
from safecompress.protocols import Attack

BALANCED_LOSS = 0.05
"""Most balanced accuracy that compression may cost."""
RECALL_LOSS = 0.10
"""Most recall that compression may cost any class."""


def group_checks(
    attacks: Sequence[Attack], *, bound: float, by: Sequence[str], decisive: bool = False
) -> list[Check]:
    """Return the checks of the leak within each group of some attributes.

    Args:
        attacks: the attacks that are judged, at least one.
        bound: most that an attack's two-sided AUC may be within a group, in [0.5, 1].
        by: names of the attributes: `class`, and columns of `Evidence.groups`.
        decisive: whether the verdict stays undecided where the rows of a group are too few. A
            default suite does not insist, because few data have enough rows of every class.
    """
    measures = [GroupLeak(tuple(attacks), name, bound) for name in dict.fromkeys(by)]
    return [named_check(measure, at_most(bound), decisive=decisive) for measure in measures]


def worth_checks(*, relative: bool) -> list[Check]:
    """Return the checks of what a model is worth to every class.

    Args:
        relative: whether there is a dense model to compare with.
    """
    checks = [named_check(GainOverMajority(), at_least(0.0), critical=False, decisive=False)]
    if relative:
        checks = [
            named_check(ModelBalancedAccuracy(), at_least_dense(-BALANCED_LOSS)),
            named_check(WorstClassRecall(), at_least_dense(-RECALL_LOSS), decisive=False),
            *checks,
        ]
    return checks


def majority_clause(results: Sequence[CheckResult]) -> str:
    """Return as a clause that a model does no better than one answer for all rows; else empty.

    Args:
        results: the results of all checks.
    """
    for result in results:
        gain = result.estimate if result.name.startswith(GainOverMajority.name) else None
        if gain is not None and result.status is Status.WARN and gain.value <= 0:
            return f"The model is {result.message}"
    return ""
