"""What a comparison's cells add up to: means, spreads, paired tests and the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from safecompress.stats import holm

LEVEL = 0.95

Values = NDArray[np.float64]


def contest(cells: Sequence[Mapping[str, Any]], *, reference: str | None) -> dict[str, Any]:
    """Return the table of a comparison.

    The strongest attack of a cell is the one whose AUC is largest on average over its targets, not
    the luckiest of each target. `value` is accuracy × (1 − its AUC): the area between a point and
    the corner where a model is always wrong and always found out, so that one number orders points
    of the two-dimensional plane. The test, for every method that `reference` is compared with on
    the same data at the same density: the paired t-test of `value` over targets, two-sided,
    Holm-corrected over these methods. Targets of a cohort share rows, so that intervals and tests
    hold for other draws from these rows, not for other rows.

    Args:
        cells: documents of cells, as `compare` wrote them.
        reference: the method all others are compared with; None tests nothing.

    Returns:
        JSON: `rows`, one a cell, ordered by data, density and falling `value`.
    """
    rows = [_row(cell) for cell in cells]
    for group in _groups(rows):
        for row in group:
            row["pareto"] = not any(_dominates(other, row) for other in group)
        _test(group, cells, reference)
    rows.sort(key=lambda r: (r["data"], r["density"], -r["value"]["mean"]))
    return {
        "schema_version": 1,
        "kind": "comparison",
        "level": LEVEL,
        "reference": reference,
        "rows": rows,
        "hypervolume": _hypervolumes(rows),
    }


def runs_side_by_side(
    runs: Mapping[str, Mapping[str, Any]], rows: Mapping[str, str]
) -> dict[str, Any]:
    """Return finished runs and audits as a table: every judged model of each a row.

    Args:
        runs: by name the contents of their `verdict.json`.
        rows: by name the digest of the rows they were judged on; "" where it is not known, and
            then with no others.

    Returns:
        JSON: as `contest`, of one model a row.
    """
    together = {name: digest or f"unknown, {name}" for name, digest in rows.items()}
    digests = list(dict.fromkeys(together.values()))
    found: list[dict[str, Any]] = []
    for name, verdict in runs.items():
        for model in verdict["comparison"]:
            attacks = {
                measure.removesuffix(".auc"): span
                for measure, span in model["attacks"].items()
                if measure.endswith(".auc")
            }
            strongest = max(attacks, key=lambda a: attacks[a]["value"], default=None)
            if strongest is None or model["accuracy"] is None:
                continue
            value = model["accuracy"]["value"] * (1 - attacks[strongest]["value"])
            found.append(
                {
                    "data": f"rows {rows[name][:12] or together[name]}",
                    "density": model["density"],
                    "method": f"{name}: {model['name']}",
                    "says": verdict["verdict"] if model["name"] in _JUDGED else "",
                    "models": 1,
                    "accuracy": model["accuracy"],
                    "attacks": attacks,
                    "strongest": {"attack": strongest, **attacks[strongest]},
                    "value": {"value": value},
                    "against": None,
                    "order": digests.index(together[name]),
                }
            )
    for order in range(len(digests)):
        group = [row for row in found if row["order"] == order]
        for row in group:
            row["pareto"] = not any(_dominates(other, row) for other in group)
    found.sort(key=lambda r: (r.pop("order"), -r["value"]["value"]))
    return {"schema_version": 1, "kind": "runs", "reference": None, "rows": found}


_JUDGED = frozenset({"compressed", "model"})


def _row(cell: Mapping[str, Any]) -> dict[str, Any]:
    targets = cell["targets"]
    attacks = {
        name: _spread([t["attacks"][name]["auc"] for t in targets]) for name in _attacks(cell)
    }
    strongest = max(attacks, key=lambda name: attacks[name]["mean"])
    return {
        "data": cell["data"],
        "density": cell["density"],
        "method": cell["method"],
        "says": cell["says"],
        "models": cell["models"],
        "paths": len({tuple(t.get("lineage", ())) for t in targets}),
        "accuracy": _spread([t["accuracy"] for t in targets]),
        "attacks": attacks,
        "strongest": {"attack": strongest, **attacks[strongest]},
        "tpr": _tprs(cell),
        "value": _spread(_values(cell, strongest)),
        "seconds": cell["seconds"]["train"] / cell["models"],
    }


def _values(cell: Mapping[str, Any], strongest: str) -> list[float]:
    return [t["accuracy"] * (1 - t["attacks"][strongest]["auc"]) for t in cell["targets"]]


def _attacks(cell: Mapping[str, Any]) -> list[str]:
    """Return the names of a cell's attacks in the order in which they were asked for.

    A table has its columns in that order, and of two equal attacks names the first, so neither may
    depend on the order in which a file names its entries.
    """
    asked = [next(iter(a)) if isinstance(a, Mapping) else a for a in cell.get("attacks", ())]
    order = {name: place for place, name in enumerate(asked)}
    return sorted(cell["targets"][0]["attacks"], key=lambda name: order.get(name, len(order)))


def _tprs(cell: Mapping[str, Any]) -> dict[str, dict[str, Any] | None]:
    """Return, for each false-positive rate, the attack with the largest mean rate."""
    targets, names = cell["targets"], _attacks(cell)
    found: dict[str, dict[str, Any] | None] = {}
    for rate in sorted(key for key in targets[0]["attacks"][names[0]] if "@" in key):
        means = {
            name: _spread([t["attacks"][name][rate] for t in targets])
            for name in names
            if all(t["attacks"][name][rate] is not None for t in targets)
        }
        best = max(means, key=lambda name: means[name]["mean"], default=None)
        found[rate] = None if best is None else {"attack": best, **means[best]}
    return found


def _spread(values: Sequence[float]) -> dict[str, float]:
    """Return mean, deviation between targets and the t interval of the mean."""
    array: Values = np.asarray(values, dtype=np.float64)
    mean, deviation = float(array.mean()), float(array.std(ddof=1)) if len(array) > 1 else 0.0
    half = float(stats.t.ppf((1 + LEVEL) / 2, max(1, len(array) - 1))) * deviation
    half /= math.sqrt(len(array))
    return {"mean": mean, "deviation": deviation, "low": mean - half, "high": mean + half}


def _groups(rows: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return the rows of each data set and density."""
    keys = dict.fromkeys((row["data"], row["density"]) for row in rows)
    return [[r for r in rows if (r["data"], r["density"]) == key] for key in keys]


def _dominates(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether `a` is at least as accurate and as safe as `b`, and better in one."""
    gains = (
        _middle(a["accuracy"]) - _middle(b["accuracy"]),
        _middle(b["strongest"]) - _middle(a["strongest"]),
    )
    return min(gains) >= 0 and max(gains) > 0


def _middle(span: Mapping[str, Any]) -> float:
    return float(span["mean"] if "mean" in span else span["value"])


def _test(
    group: Sequence[dict[str, Any]], cells: Sequence[Mapping[str, Any]], reference: str | None
) -> None:
    """Add to each row the paired difference of the reference minus it, with its p-value."""
    own = next((row for row in group if row["method"] == reference), None)
    documents = {(c["data"], c["density"], c["method"]): c for c in cells}
    tested = {}
    for row in group:
        row["against"] = None
        if own is None or row is own:
            continue
        values = [
            np.asarray(
                _values(documents[r["data"], r["density"], r["method"]], r["strongest"]["attack"])
            )
            for r in (own, row)
        ]
        difference = values[0] - values[1]
        p = float(stats.ttest_1samp(difference, 0.0).pvalue) if difference.std() else 1.0
        row["against"] = _spread(difference.tolist()) | {"p": p}
        tested[row["method"]] = row["against"]
    for name, p in holm({name: found["p"] for name, found in tested.items()}).items():
        tested[name]["p_corrected"] = p


def _hypervolumes(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the mean `value` of each method that every data set of a density has.

    Data sets count alike. The interval is of these sets: it holds what other targets would change,
    not what other data would; degrees of freedom by Welch and Satterthwaite.
    """
    found = []
    for density in sorted({row["density"] for row in rows}):
        mine = [row for row in rows if row["density"] == density]
        sets = {row["data"] for row in mine}
        for method in dict.fromkeys(row["method"] for row in mine):
            its = [row for row in mine if row["method"] == method]
            if len(its) == len(sets):
                span = _mean_of_means([(row["value"], row["models"]) for row in its])
                found.append({"density": density, "method": method, "sets": len(sets), **span})
    return sorted(found, key=lambda f: (f["density"], -f["mean"]))


def _mean_of_means(spreads: Sequence[tuple[Mapping[str, float], int]]) -> dict[str, float]:
    mean = sum(spread["mean"] for spread, _ in spreads) / len(spreads)
    parts = [(spread["deviation"] ** 2 / count, count - 1) for spread, count in spreads]
    variance = sum(part for part, _ in parts)
    half = 0.0
    if variance:
        freedom = variance**2 / sum(part**2 / max(1, free) for part, free in parts)
        half = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * math.sqrt(variance) / len(spreads)
    return {"mean": mean, "low": mean - half, "high": mean + half}
