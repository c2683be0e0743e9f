"""`fitting_references`: whether the outputs of reference models belong to the rows of the target.

References of other rows, of other classes, or of other models make every likelihood attack fail,
and the verdict would be a false PASS. Copies of the target or of each other are left out.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scipy.special import expit

from safecompress.checks.reference_rows import ReferenceRows
from safecompress.checks.skill import Floats, in_errors
from safecompress.errors import DataError
from safecompress.protocols import Evidence, Outputs, Pool
from safecompress.stats.ranks import midranks

_FEWEST = 30
"""Fewest rows from which anything is concluded."""
_ERRORS = 4.5
"""Standard errors that a contradiction needs; chance gives them once in 300,000 audits."""
_EQUAL = 1e-3
"""Relative difference of log-odds that rounding explains."""
_EQUAL_SHARE = 0.006
"""Difference of probabilities that two decimals explain."""
_SAME = 0.99
"""Share of the telling rows on which a copy is equal."""
_SHARED, _SHARED_CLOSELY, _CLOSE = 0.35, 0.6, 0.9
"""Least correlation of the target with its references, as a share of that of the references with
each other; the second where the latter is above the third."""
_LIFT = 0.25
"""Least share of the target's lift over chance that the references have on unseen rows."""
_TIES_TELL = 0.01
"""Share of rows above which a value of the log-odds repeats too often to tell copies."""


def fitting_references(
    evidence: Pool[Evidence], *, where: str
) -> tuple[Pool[Evidence], tuple[str, ...]]:
    """Return evidence whose references belong to its rows, and what was left out, in sentences.

    Args:
        evidence: members and non-members; returned as it is where it has no references.
        where: the outputs' file or name, for messages.

    Raises:
        DataError: when the references contradict the target, each other, or what they are said to
            have seen.
    """
    references = evidence.map(lambda e: e.references)
    if references.members is None or references.nonmembers is None:
        return evidence, ()
    groups = evidence.map(ReferenceRows.of)
    copies, doubles = _copies(groups)
    total = len(references.members.log_odds)
    dropped = sorted(copies | doubles)
    if len(dropped) == total and copies:
        raise DataError(
            f"{where}: all {total} reference models are copies of the audited model, so they say "
            "nothing about how other models answer. Give the outputs of models that were trained "
            f"apart. {_AFTER}"
        )
    kept = [at for at in range(total) if at not in dropped]
    groups = groups.map(lambda g: g.of_models(kept))
    if problem := _contradiction(evidence.map(lambda e: e.outputs), groups):
        raise DataError(f"{where}: {problem} {_AFTER}")
    remarks = _remarks(copies, doubles - copies)
    if not dropped:
        return evidence, remarks
    index = torch.tensor(kept)

    def reduced(one: Evidence) -> Evidence:
        found = one.references
        if found is None:
            return one
        return replace(one, references=found.of_models(index))

    return evidence.map(reduced), remarks


_AFTER = "A verdict would be a false PASS."
_CHECK = (
    "Check that the reference outputs are of these rows in this order, of the same classes in "
    "this order, and of models of the same task."
)


def _copies(groups: Pool[ReferenceRows]) -> tuple[set[int], set[int]]:
    """Return the references that equal the target, and those that equal an earlier reference."""
    rows = ReferenceRows.together(groups)
    models = rows.references
    copies = {j for j, model in enumerate(models) if _same(rows.target, model)}
    doubles = {
        j
        for j in range(len(models))
        if any(i not in copies and _same(models[i], models[j]) for i in range(j))
    }
    return copies, doubles


def _same(one: Floats, other: Floats) -> bool:
    """Return whether two models are one, as rows that are neither tied nor certain show."""
    values, inverse, counts = np.unique(one, return_inverse=True, return_counts=True)
    telling = counts[inverse] <= max(1, _TIES_TELL * len(one))
    if telling.sum() >= _FEWEST:
        near = np.abs(one - other) <= _EQUAL * (1 + np.abs(one))
        if near[telling].mean() >= _SAME:
            return True
    elif len(values) > 1 and len(one) - counts.max() >= _FEWEST:
        return bool((one == other).all())
    p, q = expit(one), expit(other)
    unsure = (p > 0.02) & (p < 0.98)
    if unsure.sum() < _FEWEST or np.ptp(p[unsure]) < 0.1:
        return False
    return bool((np.abs(p - q)[unsure] <= _EQUAL_SHARE).mean() >= _SAME)


def _contradiction(outputs: Pool[Outputs], groups: Pool[ReferenceRows]) -> str:
    """Return what proves that references and rows do not belong together; empty if nothing."""
    both = ReferenceRows.together(groups)
    for name, rows in (
        ("", both),
        (" of the members", groups.members),
        (" of the non-members", groups.nonmembers),
    ):
        if len(rows.target) >= _FEWEST and (problem := _unrelated(rows, name)):
            return f"{problem} {_CHECK}"
    if problem := _at_chance(outputs.nonmembers, groups.nonmembers):
        return f"{problem} {_CHECK}"
    if problem := _reversed(both):
        return problem
    return ""


def _correlation(one: Floats, other: Floats) -> float:
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(np.corrcoef(midranks(one), midranks(other))[0, 1])


def _agreement(references: Floats) -> float:
    """Return the median correlation of a reference with the mean of the others; 0 of one alone."""
    if len(references) < 2:
        return 0.0
    total = references.sum(axis=0)
    few = references[:16]
    return float(np.median([_correlation(r, total - r) for r in few]))


def _unrelated(rows: ReferenceRows, name: str) -> str:
    found, error = _correlation(rows.target, rows.references.mean(axis=0)), len(rows.target) ** -0.5
    among = _agreement(rows.references)
    needed = among * (_SHARED_CLOSELY if among > _CLOSE else _SHARED)
    below = found + _ERRORS * error < 0 or found + _ERRORS * error < needed
    if not below:
        return ""
    return (
        f"over the rows{name}, the model's log-odds of the labels correlate with those of its "
        f"reference models by {found:.2f}, and the reference models with each other by {among:.2f}."
    )


def _at_chance(outputs: Outputs, rows: ReferenceRows) -> str:
    """Compare probabilities of the labels on rows that the target did not see."""
    n = len(rows.target)
    if n < _FEWEST:
        return ""
    shares = torch.bincount(outputs.labels, minlength=outputs.classes).double() / len(outputs)
    mean = torch.softmax(outputs.logits.double(), dim=1).mean(dim=0)
    chance = float((shares * mean).sum())
    own, theirs = expit(rows.target), expit(rows.references).mean(axis=0)
    lift = float(own.mean()) - chance
    gap = own - chance - (theirs - chance) / _LIFT
    if lift < 0.1 or in_errors(own - chance) < _ERRORS or in_errors(gap) < _ERRORS:
        return ""
    return (
        f"the model gives the labels of non-members a probability of {own.mean():.2f} in the mean, "
        f"its reference models {theirs.mean():.2f}, and chance is {chance:.2f}."
    )


def _reversed(rows: ReferenceRows) -> str:
    lower = rows.lifts()
    if len(lower) < _FEWEST or in_errors(lower) > -_ERRORS:
        return ""
    share = float((lower < 0).mean())
    if share < 0.55:
        return ""
    return (
        f"reference models are less sure of rows that they are said to have seen: so on "
        f"{share:.1%} of {len(lower)} rows. Check that reference_seen is true where a row was "
        "trained on, and in the order of the rows."
    )


def _remarks(copies: set[int], doubles: set[int]) -> tuple[str, ...]:
    remarks = []
    if copies:
        remarks.append(
            f"Reference models {_listed(copies)} have the audited model's own outputs and were "
            "left out, because a model says nothing about itself."
        )
    if doubles:
        remarks.append(
            f"Reference models {_listed(doubles)} have the outputs of an earlier one and were "
            "left out."
        )
    return tuple(remarks)


def _listed(numbers: set[int]) -> str:
    shown = sorted(numbers)
    return ", ".join(map(str, shown[:8])) + (" and more" if len(shown) > 8 else "")
