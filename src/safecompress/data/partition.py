"""Which row goes where: members, steering, sealed and reference rows, drawn with the seed."""

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
"""Two rows to fit and two to judge on each side is the least an attacker can do with."""
REMEDY = (
    "non-members must never be trained on, nor judge what they steered. Drop them or pass "
    "deduplicate=True."
)


@dataclass(frozen=True)
class Partition:
    """Row positions of every group, each in rising order, and what was dropped on the way.

    Args:
        steer_members, sealed_members: together the members.
        steer_nonmembers, sealed_nonmembers: the non-members that steer and that judge.
        reference: non-members set aside for defenses; may be empty.
        duplicates: per kind of duplicate the number of rows.
        dropped: rows left out as duplicates.
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
    """How many rows each group gets; counts or shares, as in `SplitConfig`."""

    members: float
    steer: float
    reference: float
    deduplicate: bool


def partition(
    rows: Ids, content: Ids, *, names: Ids, declared: Ids | None, shares: Shares, seed: int
) -> Partition:
    """Cut rows into groups.

    Where members are drawn here, repeated contents are dropped before the draw, so that members
    and non-members come from the same distribution. Where members are declared they are kept as
    they are, and what equals one of them, or an earlier non-member, is dropped from the others.
    Equal members always go to the same side of steer and sealed.

    Args:
        rows: positions of the rows in use, rising.
        content: per position a number; equal numbers mean equal inputs.
        names: per position the row's id, for messages.
        declared: positions of the members, or None to draw them.
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
    """Return the others that equal no member and no earlier other, and how many were dropped."""
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
    """Return which members steer: whole groups of equal inputs, up to the share of the rows."""
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
