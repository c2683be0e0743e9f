"""`partition`: which rows are members, and which steer, judge or are set aside for defenses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from safecompress.data.duplicates import check_disjoint, repeated
from safecompress.data.membership import how_many
from safecompress.errors import DataError
from safecompress.randomness import permutation

Ids = NDArray[np.int64]

SMALLEST_GROUP = 4
"""Fewest rows of a group: an attack needs two rows to fit on and two to be judged on."""
REMEDY = (
    "non-members must never be trained on, nor judge what they steered. Drop them or pass "
    "deduplicate=True."
)


@dataclass(frozen=True)
class Partition:
    """Positions of the rows of every group, each int64 and in rising order.

    Args:
        steer_members, sealed_members: the two halves of the members.
        steer_nonmembers, sealed_nonmembers: the non-members that steer, and those that judge.
        reference: non-members set aside for defenses; may be empty.
        duplicates: number of rows per kind of duplicate.
        dropped: rows that are in no group because they are duplicates.
    """

    steer_members: Ids
    sealed_members: Ids
    steer_nonmembers: Ids
    sealed_nonmembers: Ids
    reference: Ids
    duplicates: Mapping[str, int]
    dropped: Ids

    @property
    def members(self) -> Ids:
        """All members: the steering ones, then the sealed ones."""
        return np.concatenate([self.steer_members, self.sealed_members])


@dataclass(frozen=True)
class Shares:
    """How many rows each group gets.

    Args:
        members: members, where they are drawn.
        steer: share of members, and of non-members that are no reference rows, that steers.
        reference: non-members set aside for defenses.
        deduplicate: whether duplicates are dropped instead of refused.

    Each of the numbers is an int for a count or a float for a share, as in `SplitConfig`.
    """

    members: float
    steer: float
    reference: float
    deduplicate: bool


def partition(
    rows: Ids, content: Ids, *, names: Ids, declared: Ids | None, shares: Shares, seed: int
) -> Partition:
    """Cut rows into groups.

    Where members are drawn here, duplicates are dropped before the draw, so that members and
    non-members come from the same distribution. Where members are declared, they are all kept, and
    non-members that equal a member or an earlier non-member are dropped. Equal members are always
    in the same half, both steering or both sealed.

    Args:
        rows: int64, positions of the rows in use, rising.
        content: int64 (all rows,), a number per position; equal numbers mean equal inputs.
        names: int64 (all rows,), the row's id per position, for messages.
        declared: int64, positions of the members; None draws them.
        shares: sizes of the groups.
        seed: seed of the draw.

    Raises:
        SplitOverlapError: when inputs are shared across groups and `deduplicate` is off.
        DataError: when a group has too few rows.
    """
    if declared is None:
        kept = rows[~repeated(content[rows])] if shares.deduplicate else rows
        duplicates = {"repeated_rows_dropped": len(rows) - len(kept)}
        count = how_many(shares.members, len(kept))
        order = permutation(len(kept), seed, "members").numpy()
        members, others = kept[np.sort(order[:count])], kept[np.sort(order[count:])]
    else:
        members, others = np.intersect1d(rows, declared), np.setdiff1d(rows, declared)
        duplicates = {"among_members_kept": int(repeated(content[members]).sum())}
        if shares.deduplicate:
            others, dropped = without_duplicates(members, others, content)
            duplicates |= dropped
    result = _cut(members, others, content, shares=shares, seed=seed, duplicates=duplicates)
    dropped_rows = np.setdiff1d(rows, np.concatenate([members, others]))
    result = Partition(**{**result.__dict__, "dropped": dropped_rows})
    groups = {
        "sealed.nonmembers": result.sealed_nonmembers,
        "steer.nonmembers": result.steer_nonmembers,
        "reference": result.reference,
        "members": result.members,
    }
    check_disjoint(
        {name: (content[group], names[group]) for name, group in groups.items()},
        what=" with the same inputs",
        remedy=REMEDY,
    )
    _check_sizes(result)
    return result


def without_duplicates(members: Ids, others: Ids, content: Ids) -> tuple[Ids, dict[str, int]]:
    """Return the non-members that equal no member and no earlier non-member.

    Args:
        members: int64, positions of the members.
        others: int64, positions of the non-members.
        content: int64, a number per position; equal numbers mean equal inputs.

    Returns:
        The positions that are kept, and the number dropped per kind of duplicate.
    """
    like_members = np.isin(content[others], content[members])
    kept = others[~like_members]
    again = repeated(content[kept])
    return kept[~again], {
        "nonmembers_like_members_dropped": int(like_members.sum()),
        "nonmembers_repeated_dropped": int(again.sum()),
    }


def _cut(
    members: Ids,
    others: Ids,
    content: Ids,
    *,
    shares: Shares,
    seed: int,
    duplicates: Mapping[str, int],
) -> Partition:
    steers = _half_of_members(content[members], shares.steer, seed=seed)
    shuffled = others[permutation(len(others), seed, "nonmembers").numpy()]
    reference = how_many(shares.reference, len(others))
    steer = reference + how_many(shares.steer, len(others) - reference)
    return Partition(
        steer_members=members[steers],
        sealed_members=members[~steers],
        steer_nonmembers=np.sort(shuffled[reference:steer]),
        sealed_nonmembers=np.sort(shuffled[steer:]),
        reference=np.sort(shuffled[:reference]),
        duplicates=duplicates,
        dropped=np.zeros(0, dtype=np.int64),
    )


def _half_of_members(content: Ids, share: float, *, seed: int) -> NDArray[np.bool_]:
    """Return which members steer, bool (n,): whole groups of equal inputs, up to the share."""
    groups, inverse, counts = np.unique(content, return_inverse=True, return_counts=True)
    order = permutation(len(groups), seed, "steer members").numpy()
    taken = np.cumsum(counts[order])
    target = how_many(share, len(content))
    chosen = order[: int(np.searchsorted(taken, target, side="right"))]
    steers = np.zeros(len(groups), dtype=bool)
    steers[chosen] = True
    return np.asarray(steers[inverse])


def _check_sizes(result: Partition) -> None:
    sizes = {
        "steer.members": len(result.steer_members),
        "sealed.members": len(result.sealed_members),
        "steer.nonmembers": len(result.steer_nonmembers),
        "sealed.nonmembers": len(result.sealed_nonmembers),
    }
    if min(sizes.values()) < SMALLEST_GROUP:
        raise DataError(
            f"too few rows: {', '.join(f'{name} {n}' for name, n in sizes.items())}; each needs at "
            f"least {SMALLEST_GROUP} (reference {len(result.reference)}, dropped as duplicates "
            f"{len(result.dropped)}). Give more rows, or change split.members, split.steer, "
            "split.reference or split.rows."
        )
