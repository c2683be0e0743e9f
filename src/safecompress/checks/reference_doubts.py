"""`reference_doubts`: whether reference models bear out what is claimed of the rows.

Two ordinary mistakes hide any leak. The model was trained on the non-members too, because they come
from another split or because the weights that are shipped were trained on everything: then both
groups are members, and nothing tells them apart. Or the reference models never left out a row, for
example because they were made from the model itself: then they say nothing about rows that nobody
saw. Neither can be proved from answers alone, so both leave a verdict undecided: such an audit can
fail, and cannot pass.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import t as student

from safecompress.checks.check import CheckResult
from safecompress.checks.overall import in_doubt
from safecompress.checks.reference_rows import ReferenceRows
from safecompress.checks.skill import Floats, in_errors
from safecompress.protocols import Evidence, Pool
from safecompress.stats import auc

_FEWEST = 30
"""Fewest rows from which anything is concluded."""
_FEWEST_MODELS = 3
"""Fewest references whose spread is known."""
_LEVEL = 0.999
"""How sure it must be that a model differs from its references."""
_POSITION = 0.3
"""Least share of the way from rows that a model did not see to those that it saw. Another split
gives one half, weights that were trained on everything give one."""
_APART = 4.0
"""Standard deviations of a model by which rows that it saw must differ from others."""
_ERRORS = 4.5
"""Standard errors that count as a difference."""
_NO_LIFT = 2.0
"""Standard errors below which no difference is found."""
_SURER, _SURER_BESIDE = 0.55, 0.65
"""AUC of members against non-members from which a model is surer of its members; the second where
each row's log-odds are compared with those of its references."""
_NEAR = 0.35
"""Most of the distance of a reference from the others at which a model is made of them."""


def reference_doubts(
    evidence: Pool[Evidence], *, accuracy_known: bool = False
) -> tuple[CheckResult, ...]:
    """Return an undecided control for each claim about rows that the references contradict.

    Args:
        evidence: members and non-members; without references there is nothing to compare.
        accuracy_known: whether the non-members bear out the accuracy that the model's owner knows
            it to have on rows that it was not trained on, which settles whether it saw them.
    """
    if evidence.members.references is None or evidence.nonmembers.references is None:
        return ()
    groups = evidence.map(ReferenceRows.of)
    position = None if accuracy_known else seen_position(groups)
    doubts = []
    if position is not None and position >= _POSITION:
        doubts.append(
            in_doubt(
                "non-members that the model did not see",
                f"of non-members the model is surer than reference models that did not see them, "
                f"by {position:.0%} of what seeing a row adds",
                wanted="non-members answered like rows that a model did not see",
                advice="Check that members and non-members are those of this very training (the "
                "same split and seed), and that these weights were never trained on all rows. "
                "Where the reference models are only worse than the model, train them as it was "
                "trained, or state its accuracy on rows that it was not trained on (--accuracy, "
                "or accuracy in Python), which the non-members must bear out.",
            )
        )
    if why := _silent(groups):
        doubts.append(
            in_doubt(
                "reference models that learn their rows",
                why,
                wanted="reference models that are surer of the rows that they saw",
                advice="Check that reference_seen is in the order of the rows, and that each "
                "reference model was trained from its beginning as the model was, without the "
                "rows that it is said not to have seen.",
            )
        )
    return tuple(doubts)


def seen_position(groups: Pool[ReferenceRows]) -> float | None:
    """Return how far the model's answers to non-members lean to those of models that saw them.

    A model's excess on a row is by how much its log-odds exceed the mean of references that did not
    see it, in units of what seeing it adds. Over rows, each weighted by the square of that unit,
    the references' own excess is measured with each left out in turn, on rows that it saw and on
    others. A model that is surer of everything, as a higher temperature makes it, is scaled back
    by what it says of the rows that it was trained on.

    Args:
        groups: members and non-members.

    Returns:
        0 for rows that the model did not see, 1 for rows that it saw; None where that cannot be
        told from chance, because seeing a row adds too little, or references or rows are too few.
    """
    both = ReferenceRows.together(groups)
    others = np.arange(both.target.size) >= groups.members.target.size
    own = _excess(both, both.target, ~others, others, left_out=None)
    unseen, seen = [], []
    for at, (odds, saw) in enumerate(zip(both.references, both.seen, strict=True)):
        first = _excess(both, odds, saw, others & ~saw, left_out=at)
        second = _excess(both, odds, saw, others & saw, left_out=at)
        if first is not None and second is not None:
            unseen.append(first)
            seen.append(second)
    if own is None or len(unseen) < _FEWEST_MODELS:
        return None
    spread = float(np.std(unseen, ddof=1))
    apart, ahead = float(np.mean(seen) - np.mean(unseen)), own - float(np.mean(unseen))
    # The mean of the references has an error, too.
    error = spread * math.sqrt(1 + 1 / len(unseen))
    if apart <= _APART * spread or apart <= 0:
        return None
    return ahead / apart if ahead > error * student.ppf(_LEVEL, len(unseen) - 1) else 0.0


def _excess(
    rows: ReferenceRows,
    odds: Floats,
    trained: np.ndarray[tuple[int], np.dtype[np.bool_]],
    judged: np.ndarray[tuple[int], np.dtype[np.bool_]],
    *,
    left_out: int | None,
) -> float | None:
    """Return a model's mean excess on rows, in units of what seeing a row adds; None of too few.

    Args:
        rows: all rows and references.
        odds: the model's log-odds, (n,).
        trained: bool (n,), rows that the model was trained on.
        judged: bool (n,), the rows whose mean is returned.
        left_out: number of the reference that is the model itself; None of any other model.
    """
    seen, values = rows.seen, rows.references
    sums = (values * seen).sum(axis=0), (values * ~seen).sum(axis=0)
    counts = seen.sum(axis=0), (~seen).sum(axis=0)
    if left_out is not None:
        saw = seen[left_out]
        sums = sums[0] - odds * saw, sums[1] - odds * ~saw
        counts = counts[0] - saw, counts[1] - ~saw
    known = (counts[0] > 0) & (counts[1] > 0)
    judged, trained = judged & known, trained & known
    if judged.sum() < _FEWEST or trained.sum() < _FEWEST:
        return None
    inside, outside = (s / np.maximum(c, 1) for s, c in zip(sums, counts, strict=True))
    size = float(np.median(np.abs(inside[trained])))
    scale = float(np.median(np.abs(odds[trained]))) / size if size > 0 else 1.0
    unit = (inside - outside)[judged]
    total = float((unit**2).sum())
    excess = odds[judged] / max(1.0, scale) - outside[judged]
    return float((unit * excess).sum()) / total if total > 0 else None


def _silent(groups: Pool[ReferenceRows]) -> str:
    """Return why references are no models that left rows out; empty where nothing says so."""
    both = ReferenceRows.together(groups)
    lifts = both.lifts()
    if len(lifts) < _FEWEST or abs(in_errors(lifts)) >= _NO_LIFT:
        return ""
    beside = groups.map(lambda g: g.target - g.references.mean(axis=0))
    members, others = groups.members.target, groups.nonmembers.target
    error = math.sqrt((1 / len(members) + 1 / len(others)) / 12)
    surer = auc(members, others)
    if surer > max(_SURER, 0.5 + _ERRORS * error) or (
        auc(beside.members, beside.nonmembers) > _SURER_BESIDE
    ):
        return (
            "the model is surer of its members than of others, but its reference models are not "
            "surer of the rows that they saw"
        )
    return _made_of_it(both)


def _made_of_it(rows: ReferenceRows) -> str:
    """Return that the model lies in the middle of its references; empty where it does not."""
    count = len(rows.references)
    if count <= _FEWEST_MODELS:
        return ""
    mean = rows.references.mean(axis=0)
    # A reference differs from the mean of the others by this factor more than from that of all.
    apart = (rows.references - mean) * count / (count - 1)
    usual, own = np.median(apart**2), np.median((rows.target - mean) ** 2)
    if own >= _NEAR * usual:
        return ""
    return (
        f"the model is nearer to the mean of its {count} reference models than they are to each "
        "other, and they are not surer of the rows that they saw, as if they were made from it"
    )
