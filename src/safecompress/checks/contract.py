"""What every objective and every measure must keep to, built in or published by somebody else.

>>> from safecompress.checks import OBJECTIVES
>>> violations(OBJECTIVES.build("tm", where="example"))
()
"""

from __future__ import annotations

from safecompress.checks.measure_contract import MEASURE_RULES
from safecompress.checks.measures import Measure
from safecompress.checks.objective_contract import OBJECTIVE_RULES
from safecompress.checks.objectives import Objective
from safecompress.registry.contract import broken


def violations(part: Objective | Measure, *, seed: int = 0) -> tuple[str, ...]:
    """Return what an objective or a measure breaks, in words; empty when it keeps to everything.

    Either must be a frozen dataclass that holds nothing but its options, change nothing it is
    given, leave global generators alone and say the same of the same figures or rows in any order.

    An objective ranks every candidate once, each with a number and a reason; a candidate whose
    figures are all better is ranked before and scored no lower; one whose figure is NaN is never
    first among others. One that is `blind` follows no figure at all.

    A measure's value lies in its interval, which does not shrink at a higher level; it counts the
    rows it rests on, says which direction is worse, asks exactly for the evidence it requires, and
    the difference of a model to itself is nothing.

    Args:
        part: the objective, run on some ten rounds, or the measure, run about ten times on a small
            model that knows 200 rows by heart and 200 others it has not seen.
        seed: of the rounds, or of the model and its rows.
    """
    if isinstance(part, Objective):
        return broken(part, OBJECTIVE_RULES, seed=seed)
    return broken(part, MEASURE_RULES, seed=seed)
