"""`holm`: p-values corrected for the number of tests."""

from __future__ import annotations

from collections.abc import Mapping


def holm(values: Mapping[str, float]) -> dict[str, float]:
    """Return p-values corrected for their number by Holm's step-down method.

    Args:
        values: a p-value in [0, 1] by the name of each test.

    Returns:
        Corrected p-values in [0, 1], in ascending order.

    Reference: Holm, Scandinavian Journal of Statistics 1979.

    >>> holm({"a": 0.04, "b": 0.01})
    {'b': 0.02, 'a': 0.04}
    """
    corrected, largest = {}, 0.0
    for place, name in enumerate(sorted(values, key=lambda n: values[n])):
        largest = max(largest, min(1.0, values[name] * (len(values) - place)))
        corrected[name] = largest
    return corrected


def corrected_level(level: float, looks: int) -> float:
    """Return the level of one interval where any of several could mislead.

    Bonferroni: with `looks` intervals at the returned level, the chance that any of them misses its
    true value is at most 1 - level. Several models that were judged on the same sealed rows are
    corrected in this way, and the failures of the checks of one suite. Earlier verdicts are not
    corrected after the fact.

    Args:
        level: confidence level of one single look, in (0, 1).
        looks: number of intervals, such as the distinct models judged on these rows so far, this
            one included; 0 counts as 1.

    >>> round(corrected_level(0.95, 5), 4)
    0.99
    """
    return 1.0 - (1.0 - level) / max(looks, 1)
