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
