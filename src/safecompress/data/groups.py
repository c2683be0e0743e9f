"""`load_groups` and `distinct_rows`: the rows of an audit, members and non-members.

The user declares which rows are members; all other rows are non-members.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from safecompress.config import DataConfig
from safecompress.data.copies import shared_message, shared_rows
from safecompress.data.duplicates import check_disjoint, repeated
from safecompress.data.input_copies import input_clusters
from safecompress.data.membership import declared_members, draw_rows
from safecompress.data.partition import without_duplicates
from safecompress.data.raw import RawData
from safecompress.data.sources import load_source
from safecompress.errors import ConfigError, DataError, MembershipError
from safecompress.protocols import Pool, Rows

_WITHOUT_EFFECT = ("members", "steer", "reference")


@dataclass(frozen=True)
class Groups:
    """Raw rows whose membership is declared.

    Args:
        raw: the source's rows.
        members: int64, indices of the rows that the model was trained on, rising.
        nonmembers: int64, indices of the other rows in use, rising.
    """

    raw: RawData
    members: NDArray[np.int64]
    nonmembers: NDArray[np.int64]


def load_groups(config: DataConfig, *, seed: int) -> Groups:
    """Read the rows of an audit; nothing is learned from them.

    Args:
        config: the source, and which rows are members: membership `pair` or `index`.
        seed: seed of `split.rows`, and of a source that generates rows.

    Raises:
        MembershipError: when the configuration does not declare which rows are members.
        ConfigError: on a setting of `data.split` that has no effect in an audit.
        DataError: when the rows cannot be used, or a group is empty.
    """
    split = config.split
    if ineffective := sorted(set(_WITHOUT_EFFECT) & split.model_fields_set):
        raise ConfigError(
            f"data.split.{ineffective[0]}: says nothing in an audit, where all declared members "
            "and all other rows judge; remove it."
        )
    raw = load_source(config.source, seed=seed)
    membership = split.membership
    declared = None if membership is None else declared_members(raw, split, membership)
    if declared is None:
        raise MembershipError(
            f"data.split.membership is {membership or 'missing'}; an audit compares rows "
            "the model was trained on with rows it was not. Declare: membership: pair (the "
            "source's train part was trained on, its test part was not), or membership: index "
            "with members_file (a list of the rows that were)."
        )
    used = draw_rows(raw, split, seed=seed)
    members, others = np.intersect1d(used, declared), np.setdiff1d(used, declared)
    for name, rows in (("members", members), ("non-members", others)):
        if not len(rows):
            raise DataError(f"{raw.where}: no {name} among the {len(used)} rows in use.")
    return Groups(raw, members, others)


@dataclass(frozen=True)
class DistinctRows(Pool[Rows]):
    """Members and non-members of which no row is given twice.

    Args:
        given: numbers of members and of non-members before repeated rows were left out.
        remarks: what was left out and why, one sentence each.
    """

    given: Pool[int]
    remarks: tuple[str, ...] = ()


def distinct_rows(
    rows: Pool[Rows], *, deduplicate: bool | None = None, where: str = "data"
) -> Pool[Rows]:
    """Leave out rows whose inputs an earlier row has, because a row is judged once.

    A row that was trained on and is among the non-members, too, is a member. Inputs are equal if
    they differ by no more than the last digits of float32.

    Args:
        rows: members and non-members as the model takes them, so that texts are compared after
            they are cut.
        deduplicate: True leaves out repeated rows, however many they are. False keeps all rows and
            refuses non-members that equal a member. None leaves out repeated rows, and refuses
            groups that share more of them than distinct rows would coincide.
        where: name of the rows in messages.

    Raises:
        SplitOverlapError: when a non-member equals a member and duplicates are not dropped.
        DataError: when both groups share rows beyond chance, or no non-member is left.
    """
    members, others = input_clusters(rows.map(lambda r: r.inputs))
    if deduplicate is False:
        ids = rows.map(lambda r: r.ids.numpy())
        check_disjoint(
            {"nonmembers": (others, ids.nonmembers), "members": (members, ids.members)},
            what=" with the same inputs",
            remedy="what the model was trained on is no non-member; say split.deduplicate: true.",
        )
        return rows
    given = rows.map(len)
    found = (0, 0) if deduplicate else shared_rows(members, others)
    if found != (0, 0):
        raise DataError(
            f"{shared_message(where, found, given, 'inputs')} Remove them, or say "
            "data.split.deduplicate: true where they are meant to be left out."
        )
    content, places = np.concatenate([members, others]), np.arange(len(members) + len(others))
    kept, dropped = without_duplicates(places[: len(members)], places[len(members) :], content)
    if not len(kept):
        raise DataError(
            f"{where}: all {len(others)} non-members have the inputs of members; give rows that "
            "the model was not trained on."
        )
    once = np.flatnonzero(~repeated(members))
    return DistinctRows(
        rows.members.take(torch.from_numpy(once)),
        rows.nonmembers.take(torch.from_numpy(kept - len(members))),
        given,
        _left_out(given, len(members) - len(once), dropped),
    )


def repeats_remark(given: Pool[int], dropped: Pool[int], what: str) -> str:
    """Return the sentence on rows that are judged once although they were given several times.

    Args:
        given: numbers of members and of non-members.
        dropped: how many of them repeat others.
        what: what repeated rows have in common.
    """
    parts = [
        f"{out:,} of {n:,} {group}"
        for n, out, group in (
            (given.members, dropped.members, "members"),
            (given.nonmembers, dropped.nonmembers, "non-members"),
        )
        if out
    ]
    return f"{' and '.join(parts)} repeat the {what} of others; each such row is judged once."


def _left_out(given: Pool[int], members: int, dropped: Mapping[str, int]) -> tuple[str, ...]:
    like, again = dropped["nonmembers_like_members_dropped"], dropped["nonmembers_repeated_dropped"]
    said = []
    if like:
        said.append(
            f"{like:,} of {given.nonmembers:,} non-members have the inputs of members, on which "
            "the model was trained; they are left out."
        )
    if members or again:
        said.append(repeats_remark(given, Pool(members, again), "inputs"))
    return tuple(said)
