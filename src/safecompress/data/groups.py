"""`load_groups` and `distinct_rows`: the rows of an audit, members and non-members.

The user declares which rows are members; all other rows are non-members.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from safecompress.config import DataConfig
from safecompress.data.duplicates import check_disjoint, content_of_inputs
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


def distinct_rows(rows: Pool[Rows], *, deduplicate: bool) -> Pool[Rows]:
    """Drop the non-members whose inputs equal a member's or an earlier non-member's.

    Args:
        rows: members and non-members as the model takes them, so that texts are compared after
            they are cut.
        deduplicate: whether to drop duplicates; False keeps all rows and refuses non-members that
            equal a member.

    Raises:
        SplitOverlapError: when a non-member equals a member and duplicates are not dropped.
        DataError: when no non-member is left.
    """
    members, others = content_of_inputs([rows.members.inputs, rows.nonmembers.inputs])
    if not deduplicate:
        ids = rows.map(lambda r: r.ids.numpy())
        check_disjoint(
            {"nonmembers": (others, ids.nonmembers), "members": (members, ids.members)},
            what=" with the same inputs",
            remedy="what the model was trained on is no non-member; say split.deduplicate: true.",
        )
        return rows
    content = np.concatenate([members, others])
    places = np.arange(len(content))
    kept, _ = without_duplicates(places[: len(members)], places[len(members) :], content)
    if not len(kept):
        raise DataError(
            f"all {len(others)} non-members have the inputs of members; give rows that the model "
            "was not trained on."
        )
    return Pool(rows.members, rows.nonmembers.take(torch.from_numpy(kept - len(members))))
