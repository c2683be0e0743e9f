"""`violations`: the rules that every objective and every measure keeps, built in or not.

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
    """Return the rules that an objective or a measure breaks, in words; empty when it keeps all.

    Either must be a frozen dataclass that holds nothing but its options. It must not change its
    arguments or draw from global generators, and must return the same result for the same figures
    or rows in any order.

    An objective ranks every candidate once, each with a number and a reason; a candidate whose
    figures are all better is ranked before and scored no lower; one whose figure is NaN is never
    first among others. A `blind` objective must not depend on any figure.

    A measure's value lies in its interval, which does not shrink at a higher level; it counts the
    rows it rests on and says which direction is worse. It must fail without any one field of the
    evidence that it requires, and the difference of a model to itself must be 0.

    Args:
        part: the objective, run on some ten rounds, or the measure, run about ten times on a small
            model that knows 200 rows by heart and 200 others it has not seen.
        seed: seed of the rounds, or of the model and its rows.
    """
    if isinstance(part, Objective):
        return broken(part, OBJECTIVE_RULES, seed=seed)
    return broken(part, MEASURE_RULES, seed=seed)
