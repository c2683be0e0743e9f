"""`show`: the table of `transfer.py`'s cells, the goal each meets, and what predicts transfer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import rankdata

from benchmarks.cells import Cells
from safecompress.stats import bootstrap_interval

LEVEL = 0.95
LOST_AT_MOST = 0.01
REDUCED_BY = 0.9


def show(finished: Cells) -> None:
    """Print the table and the correlation of similarity with vulnerability."""
    found = list(finished.finished().values())
    for cell in found:
        print(_line(cell))
    if not found:
        return
    met = sum(_met(cell) for cell in found)
    undecided = sum("undecidable" in cell["after"]["saving"] for cell in found)
    print(f"goal met by {met} of {len(found)} siblings; no query saving decided for {undecided}")
    if len(found) < 4:
        print("fewer than 4 cells: no interval of the correlation")
        return
    table = np.array(
        [
            [v for when in ("before", "after") for v in _similar_and_hurt(cell[when])]
            for cell in found
        ]
    )
    rho = bootstrap_interval(_spearman, table, level=LEVEL, seed=0, edges=(-1, 1))
    print(f"Spearman of cosine and transfer: {rho.value:.2f} [{rho.low:.2f}, {rho.high:.2f}]")


def _line(cell: Mapping[str, Any]) -> str:
    before, after = cell["before"], cell["after"]
    rates = [half["transfer"]["l2"] for half in (before, after)]
    cosines = [half["similarity"]["gradients"]["value"] for half in (before, after)]
    marks = " masked gradients" if rates[1]["masked"] else ""
    gains = [_told(rate.get("gain") or {}) for rate in rates]
    return (
        f"{cell['architecture']:9} {cell['mechanism']:15} {cell['seed']} "
        f"accuracy {before['accuracy']['value']:.3f} -> {after['accuracy']['value']:.3f}, "
        f"cosine {cosines[0]:.2f} -> {cosines[1]:.2f}, transfer {_told(rates[0])} -> "
        f"{_told(rates[1])}, gain {gains[0]} -> {gains[1]} (another seed's net "
        f"{_told(cell['floor']['l2'])}), saving "
        f"{_told(before['saving'])} -> {_told(after['saving'])}, λ {after['weight']:g}, "
        f"{'met' if _met(cell) else 'not met'}{marks}"
    )


def _told(interval: Mapping[str, Any]) -> str:
    if "value" not in interval:
        return "unknown"
    return f"{interval['value']:.2f} [{interval['low']:.2f}, {interval['high']:.2f}]"


def _met(cell: Mapping[str, Any]) -> bool:
    """Return whether a cell meets the goal; an undecided one does not.

    Nor does one in which no attacker without the sibling ran, as in cells of before that was
    measured.
    """
    before, after = cell["before"], cell["after"]
    first, last = (half["transfer"]["l2"].get("gain") for half in (before, after))
    if first is None or last is None:
        return False
    harmless = last["low"] <= 0 or last["value"] <= (1 - REDUCED_BY) * first["value"]
    kept = before["accuracy"]["value"] - after["accuracy"]["value"] <= LOST_AT_MOST
    gone = after["saving"].get("low", np.inf) <= 1
    masked = after["transfer"]["l2"]["masked"]
    return bool(harmless and kept and gone and after["weight"] > 0 and not masked)


def _similar_and_hurt(half: Mapping[str, Any]) -> tuple[float, float]:
    return half["similarity"]["gradients"]["value"], half["transfer"]["l2"]["value"]


def _spearman(samples: Any) -> Any:
    """Return Spearman's correlation per resample of cells (b, n, 4): two points a cell."""
    points = samples.reshape(len(samples), -1, 2)
    ranks = rankdata(points, axis=1)
    centered = ranks - ranks.mean(axis=1, keepdims=True)
    product = centered.prod(axis=2).sum(axis=1)
    sizes = np.sqrt((centered**2).sum(axis=1).prod(axis=1))
    return product / np.where(sizes > 0, sizes, 1)
