"""`contest`, `runs_side_by_side`: tables of a comparison, with spreads, tests and Pareto fronts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from safecompress.stats import holm
from safecompress.verdicts.assemble import assemble_cohorts, assemble_runs
from safecompress.verdicts.comparison_document import (
    AttackSpan,
    AttackSpread,
    CohortRow,
    CohortTable,
    Hypervolume,
    Mean,
    PairedTest,
    RunRow,
    RunTable,
    Spread,
    Value,
)
from safecompress.verdicts.document import AuditVerdict, CompressVerdict
from safecompress.verdicts.parts import ComparedModel, aucs_of

LEVEL = 0.95

Values = NDArray[np.float64]
Point = tuple[float, float]
"""Accuracy, and the AUC of the strongest attack."""


def contest(cells: Sequence[Mapping[str, Any]], *, reference: str | None) -> CohortTable:
    """Return the table of a comparison.

    The strongest attack of a cell is the attack with the largest mean AUC over its targets, not the
    largest AUC of each target, which would be biased upwards. `value` is accuracy × (1 − AUC of the
    strongest attack), higher = better: the area of the rectangle between a point and the corner of
    accuracy 0 and AUC 1, so that one number orders points of the two-dimensional plane. Every
    method is compared with `reference` on the same data at the same density by the two-sided paired
    t-test of `value` over targets, Holm-corrected over these methods. Targets of a cohort share
    rows, so intervals and tests hold for other draws from these rows, not for other rows.

    Args:
        cells: documents of cells, as `compare` wrote them.
        reference: the method that all others are compared with; None tests nothing.

    Returns:
        The table: one row for each cell, ordered by data, density and falling `value`.
    """
    rows: list[CohortRow] = []
    for group in _groups(cells):
        points = [_point(cell) for cell in group]
        tests = _tests(group, reference)
        rows += [
            _row(cell, pareto=_on_front(point, points), against=tests.get(cell["method"]))
            for cell, point in zip(group, points, strict=True)
        ]
    rows.sort(key=lambda r: (r.data, r.density, -r.value.mean))
    return assemble_cohorts(rows, level=LEVEL, reference=reference, hypervolume=_hypervolumes(rows))


def runs_side_by_side(
    runs: Mapping[str, CompressVerdict | AuditVerdict], rows: Mapping[str, str]
) -> RunTable:
    """Return finished runs and audits as a table with a row for every judged model.

    Args:
        runs: the verdicts by name.
        rows: by name the digest of the rows that the run was judged on. Runs with equal digests
            share a Pareto front; a run with the digest "" (unknown) is compared with no other.

    Returns:
        The table, as `contest` returns it, with one model for each row.
    """
    together = {name: digest or f"unknown, {name}" for name, digest in rows.items()}
    groups: dict[str, list[tuple[str, ComparedModel, Point]]] = {}
    for name, verdict in runs.items():
        for model in verdict.comparison:
            if (point := _point_of(model)) is not None:
                groups.setdefault(together[name], []).append((name, model, point))
    run_rows: list[RunRow] = []
    for digest in dict.fromkeys(together.values()):
        group = groups.get(digest, [])
        points = [point for *_, point in group]
        group_rows = [
            _run_row(
                name,
                runs[name],
                model,
                data=f"rows {rows[name][:12] or digest}",
                pareto=_on_front(point, points),
            )
            for name, model, point in group
        ]
        run_rows += sorted(group_rows, key=lambda r: -r.value.value)
    return assemble_runs(run_rows)


def _point_of(model: ComparedModel) -> Point | None:
    """Return a model's accuracy and strongest AUC; None where they were not measured."""
    strongest, accuracy = model.strongest(), model.accuracy
    if strongest is None or accuracy is None:
        return None
    auc = strongest[1].value
    return None if auc is None or accuracy.value is None else (accuracy.value, auc)


def _run_row(
    name: str,
    verdict: CompressVerdict | AuditVerdict,
    model: ComparedModel,
    *,
    data: str,
    pareto: bool,
) -> RunRow:
    strongest, point = model.strongest(), _point_of(model)
    if strongest is None or model.accuracy is None or point is None:
        raise TypeError(f"{name}: a model without figures has no row.")
    attack, span = strongest
    return RunRow(
        data=data,
        density=model.density,
        method=f"{name}: {model.name}",
        says=str(verdict.verdict) if model.name == verdict.judged else "",
        models=1,
        accuracy=model.accuracy,
        attacks=aucs_of(model.attacks),
        strongest=AttackSpan(attack=attack, value=span.value, low=span.low, high=span.high),
        value=Value(value=point[0] * (1 - point[1])),
        pareto=pareto,
        against=None,
    )


def _row(cell: Mapping[str, Any], *, pareto: bool, against: PairedTest | None) -> CohortRow:
    targets = cell["targets"]
    attacks = _aucs(cell)
    strongest = _strongest(attacks)
    return CohortRow(
        data=cell["data"],
        density=cell["density"],
        method=cell["method"],
        says=cell["says"],
        models=cell["models"],
        paths=len({tuple(t.get("lineage", ())) for t in targets}),
        accuracy=_spread([t["accuracy"] for t in targets]),
        attacks=attacks,
        strongest=_of_attack(strongest, attacks[strongest]),
        tpr=_tprs(cell),
        value=_spread(_values(cell)),
        seconds=cell["seconds"]["train"] / cell["models"],
        pareto=pareto,
        against=against,
    )


def _aucs(cell: Mapping[str, Any]) -> dict[str, Spread]:
    """Return the AUC of each attack over a cell's targets."""
    targets = cell["targets"]
    return {name: _spread([t["attacks"][name]["auc"] for t in targets]) for name in _attacks(cell)}


def _strongest(attacks: Mapping[str, Spread]) -> str:
    return max(attacks, key=lambda name: attacks[name].mean)


def _point(cell: Mapping[str, Any]) -> Point:
    """Return mean accuracy and mean AUC of the strongest attack over a cell's targets."""
    attacks = _aucs(cell)
    accuracy = _spread([t["accuracy"] for t in cell["targets"]])
    return accuracy.mean, attacks[_strongest(attacks)].mean


def _values(cell: Mapping[str, Any]) -> list[float]:
    """Return accuracy × (1 − AUC of the cell's strongest attack) of each target."""
    strongest = _strongest(_aucs(cell))
    return [t["accuracy"] * (1 - t["attacks"][strongest]["auc"]) for t in cell["targets"]]


def _attacks(cell: Mapping[str, Any]) -> list[str]:
    """Return the names of a cell's attacks in the order of the comparison's configuration.

    The table's columns have this order, and of two attacks with equal AUC the first counts as the
    strongest, so neither may depend on the order of the entries in a file.
    """
    requested = [next(iter(a)) if isinstance(a, Mapping) else a for a in cell.get("attacks", ())]
    order = {name: place for place, name in enumerate(requested)}
    return sorted(cell["targets"][0]["attacks"], key=lambda name: order.get(name, len(order)))


def _tprs(cell: Mapping[str, Any]) -> dict[str, AttackSpread | None]:
    """Return, for each false-positive rate, the attack with the largest mean rate."""
    targets, names = cell["targets"], _attacks(cell)
    strongest: dict[str, AttackSpread | None] = {}
    for rate in sorted(key for key in targets[0]["attacks"][names[0]] if "@" in key):
        means = {
            name: _spread([t["attacks"][name][rate] for t in targets])
            for name in names
            if all(t["attacks"][name][rate] is not None for t in targets)
        }
        best = max(means, key=lambda name: means[name].mean, default=None)
        strongest[rate] = None if best is None else _of_attack(best, means[best])
    return strongest


def _of_attack(attack: str, spread: Spread) -> AttackSpread:
    return AttackSpread(attack=attack, **dict(spread))


def _spread(values: Sequence[float]) -> Spread:
    """Return mean, standard deviation over targets and the t interval of the mean."""
    array: Values = np.asarray(values, dtype=np.float64)
    mean, deviation = float(array.mean()), float(array.std(ddof=1)) if len(array) > 1 else 0.0
    half = float(stdtrit(max(1, len(array) - 1), (1 + LEVEL) / 2)) * deviation
    half /= math.sqrt(len(array))
    return Spread(mean=mean, deviation=deviation, low=mean - half, high=mean + half)


def _t_test(differences: Values) -> float:
    """Return the two-sided p-value of the t-test that the mean is 0; 1 where none differs."""
    deviation = float(differences.std(ddof=1)) if len(differences) > 1 else 0.0
    if not deviation:
        return 1.0
    t = float(differences.mean()) / deviation * math.sqrt(len(differences))
    return 2 * float(stdtr(len(differences) - 1, -abs(t)))


def _groups(cells: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Return the cells of each data set and density."""
    groups: dict[tuple[str, float], list[Mapping[str, Any]]] = {}
    for cell in cells:
        groups.setdefault((cell["data"], cell["density"]), []).append(cell)
    return list(groups.values())


def _on_front(point: Point, others: Sequence[Point]) -> bool:
    """Return whether no other point is at least as good in both coordinates and better in one."""
    gains = ((other[0] - point[0], point[1] - other[1]) for other in others)
    return not any(min(gain) >= 0 and max(gain) > 0 for gain in gains)


def _tests(group: Sequence[Mapping[str, Any]], reference: str | None) -> dict[str, PairedTest]:
    """Return by method the paired difference of `value`, reference minus method, with p-values."""
    reference_cell = next((cell for cell in group if cell["method"] == reference), None)
    if reference_cell is None:
        return {}
    spreads, ps = {}, {}
    for cell in group:
        if cell is not reference_cell:
            difference = np.asarray(_values(reference_cell)) - np.asarray(_values(cell))
            spreads[cell["method"]] = _spread(difference.tolist())
            ps[cell["method"]] = _t_test(difference)
    corrected = holm(ps)
    return {
        name: PairedTest(**dict(spread), p=ps[name], p_corrected=corrected[name])
        for name, spread in spreads.items()
    }


def _hypervolumes(rows: Sequence[CohortRow]) -> list[Hypervolume]:
    """Return the mean `value` over data sets of each method that all sets of a density have.

    All data sets have the same weight. The interval covers other targets on these data sets, not
    other data sets; its degrees of freedom are those of Welch and Satterthwaite.
    """
    volumes = []
    for density in sorted({row.density for row in rows}):
        rows_of_density = [row for row in rows if row.density == density]
        sets = {row.data for row in rows_of_density}
        for method in dict.fromkeys(row.method for row in rows_of_density):
            rows_of_method = [row for row in rows_of_density if row.method == method]
            if len(rows_of_method) == len(sets):
                mean = _mean_of_means([(row.value, row.models) for row in rows_of_method])
                volumes.append(
                    Hypervolume(density=density, method=method, sets=len(sets), **dict(mean))
                )
    return sorted(volumes, key=lambda f: (f.density, -f.mean))


def _mean_of_means(spreads: Sequence[tuple[Spread, int]]) -> Mean:
    mean = sum(spread.mean for spread, _ in spreads) / len(spreads)
    parts = [(spread.deviation**2 / count, count - 1) for spread, count in spreads]
    variance = sum(part for part, _ in parts)
    half = 0.0
    if variance:
        freedom = variance**2 / sum(part**2 / max(1, free) for part, free in parts)
        half = float(stdtrit(freedom, (1 + LEVEL) / 2)) * math.sqrt(variance) / len(spreads)
    return Mean(mean=mean, low=mean - half, high=mean + half)
