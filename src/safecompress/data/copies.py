"""`refuse_shared` and `repeats_of`: the same rows in both groups, and rows given several times.

An audit of members against themselves finds nothing, and a row given ten times is not ten pieces of
evidence. Only outputs may be known, and a model may have the same outputs for different rows; so
both functions ask whether distinct rows could have coincided in this way by chance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import bdtr, bdtrc, gammaln

from safecompress.data.equal_rows import first_equal
from safecompress.data.near import Ids, near_clusters
from safecompress.errors import DataError
from safecompress.protocols import Evidence, Pool

_LEVEL = 1e-4
"""Probability of refusing distinct rows, over all that is looked at in one pair of groups."""
_MOST_MIXED = 0.65
"""Share of clusters of one size that must have one and the same mixed composition. Of distinct
rows it is at most a half, whatever the two groups' distributions are."""
_SHARE = 0.04
"""Share of either group that must be in the other; a few natural duplicates are no mistake."""
_RESOLUTIONS = (0.0, 2e-6, 2e-5)
"""Differences, relative to a row's largest output, within which two rows count as one."""
_RERUN = (2e-4, 4e-3, 3e-2)
"""The same of a row that was asked a second time in half precision, which keeps 8 to 11 bits, in
int8, or after a change that nobody sees."""
_LOOKS = len(_RESOLUTIONS) + len(_RERUN) + 1
"""Differences at which one pair of groups is looked at, with the step of rounded outputs."""
_WINDOW = 8_000
"""Most rows that are compared within the differences of `_RERUN`. Among more of them, rows stand so
close that a row's copy is seldom its neighbor."""
_DIRECTIONS = 4
"""Projections along which they are compared."""
_SATURATED = 1e-4
"""Distance from certainty below which a model says the same of many rows."""
_UNEVEN = 4
"""How many times fewer pairs differ because rows that a model is sure of err less often."""
_FEWEST = 14
"""Fewest groups of copies by which sizes with a common divisor prove rows given several times."""


@dataclass(frozen=True)
class Answers:
    """What is known of the rows of one group where their inputs are not.

    Args:
        values: float32 (n, columns): logits or probabilities, with what reference models said.
        labels: int64 (n,).
        wrong: bool (n,), whether the model's class is not the label.
        saturated: bool (n,), whether the model is so sure that it says the same of many rows.
    """

    values: NDArray[np.float32]
    labels: Ids
    wrong: NDArray[np.bool_]
    saturated: NDArray[np.bool_]

    @classmethod
    def of(cls, evidence: Evidence, *, kind: str, references: bool = False) -> Answers:
        """Return what is known of a group.

        Args:
            evidence: of its rows.
            kind: `logits` or `probabilities`, in which outputs are compared as recorded: small
                probabilities that differ in their last digits have quite different logarithms.
            references: whether what reference models said tells rows apart, too.
        """
        outputs = evidence.outputs
        shares = outputs.logits.softmax(dim=1)
        values = [shares if kind == "probabilities" else outputs.logits]
        if references and evidence.references is not None:
            values.append(evidence.references.log_odds.T.float())
        return cls(
            values=torch.cat(values, dim=1).numpy(),
            labels=outputs.labels.numpy(),
            wrong=(~outputs.correct).numpy(),
            saturated=(shares.amax(dim=1) > 1 - _SATURATED).numpy(),
        )

    def __len__(self) -> int:
        return len(self.labels)


Recorded: TypeAlias = Pool[Answers]


@dataclass(frozen=True)
class Repeats:
    """Which rows are judged.

    Args:
        kept: int64 positions of the rows that are judged, rising.
        dropped: number of rows that repeat one of them.
    """

    kept: Ids
    dropped: int


class _Both:
    """The rows of both groups, members first, and which of them are equal.

    Args:
        recorded: answers of members and non-members.
        labels: whether rows with different labels are different.
    """

    def __init__(self, recorded: Recorded, *, labels: bool = True) -> None:
        both = (recorded.members, recorded.nonmembers)
        self._values = np.concatenate([answers.values for answers in both])
        self._labels = np.concatenate([answers.labels for answers in both]) * labels
        self._members = len(recorded.members)
        self._equal = first_equal([[self._values, self._labels]])

    def groups(self, allowed: float) -> tuple[Ids, Ids]:
        """Return `clusters` of the members and of the non-members."""
        first, second = np.split(self.clusters(allowed), [self._members])
        return first, second

    def groups_nearby(self, allowed: float) -> tuple[Ids, Ids]:
        """Return `groups` of rows that are neighbors along some direction, at most `_WINDOW`.

        A row and its copy are among them, or neither is, as good as always.
        """
        rows, count = np.arange(len(self._values)), min(len(self._values), _WINDOW)
        if count < len(rows):
            draw = np.random.default_rng(0)
            along = np.argsort(self._values @ draw.normal(size=self._values.shape[1]))
            start = int(draw.integers(len(rows) - count))
            rows = np.sort(along[start : start + count])
        clusters = near_clusters(
            self._values[rows],
            self._labels[rows],
            self._largest(rows) * allowed,
            once=self._equal[rows],
            directions=_DIRECTIONS,
        )
        return clusters[rows < self._members], clusters[rows >= self._members]

    def clusters(self, allowed: float) -> Ids:
        """Return a number per row, equal for rows that are equal but for `allowed` of their size.

        Args:
            allowed: largest difference of two outputs, as a share of the largest output of the row;
                0 for exactly equal rows.
        """
        if not allowed:
            return self._equal
        return near_clusters(
            self._values, self._labels, self._largest() * allowed, once=self._equal
        )

    def _largest(self, rows: Ids | slice = slice(None)) -> NDArray[np.float64]:
        """Return each row's largest output, at least 1, (n, 1)."""
        largest: NDArray[np.float32] = np.abs(self._values[rows]).max(axis=1, keepdims=True)
        return np.maximum(largest, 1.0).astype(np.float64)


def shared_rows(first: Ids, second: Ids) -> tuple[int, int]:
    """Return how many rows of two groups are in the other group, beyond what chance explains.

    A cluster of s equal rows has some composition: a rows of the first group and s − a of the
    second. If rows are distinct and drawn independently, and answers coincide because there are few
    of them, a is binomial given s, whatever the frequency of the answer in either group. No mixed
    composition then has a probability above a half: not that of clusters of two, and no other.
    Copies have the same composition nearly always: (1, 1), or (1, 2) where each is given twice.

    Args:
        first: int64 (m,), numbers that are equal for equal rows, within and across both groups.
        second: int64 (n,), those of the other group.

    Returns:
        Numbers of rows of the first and of the second group in clusters whose composition chance
        does not explain; (0, 0) where it explains all, or where they are fewer than 4 % of either
        group.
    """
    size = int(max(first.max(initial=-1), second.max(initial=-1))) + 1
    counts = np.stack([np.bincount(group, minlength=size) for group in (first, second)], axis=1)
    counts = counts[counts.sum(axis=1) > 1]
    compositions, found = np.unique(counts, axis=0, return_counts=True)
    sizes = compositions.sum(axis=1)
    rows = np.zeros(2, dtype=np.int64)
    for (a, b), times, s in zip(compositions.tolist(), found.tolist(), sizes.tolist(), strict=True):
        of_size = int(found[sizes == s].sum())
        # The levels of all compositions of all sizes add up to less than the whole.
        level = _LEVEL / _LOOKS / (s * s * (s - 1))
        certain = float(bdtrc(times - 1, of_size, 0.5)) <= level
        if a and b and certain and times >= _MOST_MIXED * of_size:
            rows += np.array([a, b]) * times
    if rows[0] >= _SHARE * len(first) or rows[1] >= _SHARE * len(second):
        return int(rows[0]), int(rows[1])
    return 0, 0


def refuse_shared(recorded: Recorded, path: Path, *, step: float = 0.0) -> None:
    """Refuse groups that share rows, known by their outputs and labels.

    Args:
        recorded: answers of members and non-members.
        path: the file, or the model's name, for the message.
        step: distance of neighboring outputs, where they are known to be rounded.

    Raises:
        DataError: with the number of shared rows.
    """
    both = _Both(recorded)
    for allowed in (*_RESOLUTIONS, *((1.01 * step,) if step else ())):
        _refuse(both.groups(allowed), path, "outputs and label")
    for allowed in _RERUN:
        what = f"outputs (within {allowed:.2%} of the largest) and label"
        _refuse(both.groups_nearby(allowed), path, what)


def _refuse(groups: tuple[Ids, Ids], path: Path, what: str) -> None:
    """Refuse groups whose clusters of rows show that they share rows."""
    sizes, found = Pool(*map(len, groups)), shared_rows(*groups)
    if _same_sets(*groups):
        found = (sizes.members, sizes.nonmembers)
    if found != (0, 0):
        raise DataError(shared_message(path, found, sizes, what))


def shared_message(where: object, found: tuple[int, int], sizes: Pool[int], what: str) -> str:
    """Return the refusal of groups that share rows.

    Args:
        where: the file, or the model's name.
        found: numbers of members and of non-members that are in both groups.
        sizes: numbers of members and of non-members.
        what: what the shared rows have in common.
    """
    return (
        f"{where}: the same rows are in both groups: {found[1]:,} of {sizes.nonmembers:,} "
        f"non-members have the {what} of {found[0]:,} of {sizes.members:,} members, which distinct "
        "rows would not. Non-members are rows that the model was not trained on."
    )


def repeats_of(recorded: Recorded) -> Pool[Repeats]:
    """Return the rows of each group without those that were given several times.

    Rows are taken for copies only where that is certain. Either all clusters of equal rows in a
    group have sizes with a common divisor, as when every row is given ten times; or equal outputs
    of a model that is often wrong never have different labels. Where neither holds, the model has
    few different answers, coincidences are expected, and every row is kept.

    Args:
        recorded: answers of members and non-members.
    """
    clusters = _Both(recorded).clusters(_RESOLUTIONS[1])
    first, second = np.split(clusters, [len(recorded.members)])
    copied = _never_disagree(recorded)

    def kept(group: Ids, answers: Answers) -> Repeats:
        rank, sizes = _ranks(group)
        times = _common_divisor(sizes)
        if times > 1:
            keep = rank % times == 0
        elif copied:
            keep = (rank == 0) | answers.saturated
        else:
            keep = np.ones(len(group), dtype=bool)
        return Repeats(np.flatnonzero(keep).astype(np.int64), int((~keep).sum()))

    return Pool(first, second).zip(recorded, kept)


def _same_sets(first: Ids, second: Ids) -> bool:
    """Return whether both groups hold the same rows, each equally often, beyond chance.

    Few different answers leave no clusters of one composition, but the same rows then still have
    every answer in exactly the same proportion.
    """
    size = int(max(first.max(initial=-1), second.max(initial=-1))) + 1
    first, second = (np.bincount(part, minlength=size) for part in (first, second))
    used = (first > 0) | (second > 0)
    first, second = first[used], second[used]
    if not used.any() or not np.array_equal(first * second.sum(), second * first.sum()):
        return False
    # The largest probability, over all frequencies of the answers, of exactly these counts.
    chances = [
        gammaln(n.sum() + 1) - gammaln(n + 1).sum() + (n * np.log(n / n.sum())).sum()
        for n in (first, second)
    ]
    return float(min(chances)) <= math.log(_LEVEL / _LOOKS)


def _ranks(clusters: Ids) -> tuple[Ids, Ids]:
    """Return each row's rank in its cluster, from 0, and the sizes of the clusters."""
    _, inverse, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    order = np.argsort(inverse, kind="stable")
    starts = np.cumsum(sizes) - sizes
    rank = np.empty(len(clusters), dtype=np.int64)
    rank[order] = np.arange(len(clusters)) - np.repeat(starts, sizes)
    return rank, sizes


def _common_divisor(sizes: Ids) -> int:
    """Return how often every row was given; 1 where sizes prove nothing."""
    return math.gcd(*sizes.tolist()) if len(sizes) >= _FEWEST else 1


def _never_disagree(recorded: Recorded) -> bool:
    """Return whether rows with equal outputs have equal labels so often that they are copies.

    Two different rows with the same outputs are predicted alike, and each is wrong as often as such
    rows are. With one error rate e for all rows, their labels differ in a share 2e(1 − e) of pairs
    at least. Sure rows err less often than others, which makes it smaller, in calibrated models by
    less than a factor of `_UNEVEN`. The labels of one row given twice never differ.
    """
    both = (recorded.members, recorded.nonmembers)
    clusters = _Both(recorded, labels=False).clusters(_RESOLUTIONS[1])
    usable = ~np.concatenate([answers.saturated for answers in both])
    labels = np.concatenate([answers.labels for answers in both])[usable]
    wrong = np.concatenate([answers.wrong for answers in both])[usable]
    group = np.repeat([0, 1], [len(answers) for answers in both])
    inside = clusters[usable] * 2 + group[usable]
    # One pair of each cluster, drawn at random, because pairs of one cluster are not independent.
    order = np.random.default_rng(0).permutation(len(inside))
    order = order[np.argsort(inside[order], kind="stable")]
    rank, _ = _ranks(inside[order])
    second = np.flatnonzero(rank == 1)
    a, b = order[second - 1], order[second]
    if not len(a):
        return False
    error = float(np.concatenate([wrong[a], wrong[b]]).mean())
    differ = int((labels[a] != labels[b]).sum())
    return float(bdtr(differ, len(a), 2 * error * (1 - error) / _UNEVEN)) <= _LEVEL
