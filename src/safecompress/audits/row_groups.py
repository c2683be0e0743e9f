"""`with_row_groups`: audited rows with the groups that the user names or gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from safecompress.config import DataConfig
from safecompress.data import (
    GroupsGiven,
    RecordedOutputs,
    attach_groups,
    columns_named,
    given_groups,
    load_source,
    with_columns,
)
from safecompress.errors import DataError, did_you_mean
from safecompress.protocols import Pool


def with_row_groups(
    recorded: RecordedOutputs,
    data: Any,
    *,
    groups: GroupsGiven | None,
    group_by: Sequence[str],
    seed: int,
) -> RecordedOutputs:
    """Return recorded outputs whose rows know their groups.

    Args:
        recorded: the outputs of the rows that judge.
        data: where the rows are from: settings of a source, or members and non-members as pairs of
            inputs and labels; None where the outputs brought their rows along.
        groups: by name, the values of all given members and non-members.
        group_by: names of columns of the data.
        seed: seed of a source that generates rows.

    Raises:
        DataError: when values do not fit the rows, or a column is not there.
    """
    if groups is not None and not isinstance(groups, Mapping):
        raise DataError(
            f"groups: expected {{name: (member values, non-member values)}}, got "
            f"{type(groups).__name__}."
        )
    if groups:
        recorded = attach_groups(recorded, groups)
    known = recorded.groups.members
    missing = [name for name in dict.fromkeys(group_by) if name not in known]
    if not missing:
        return recorded
    if data is None:
        raise DataError(
            f"{recorded.path}: group_by names '{missing[0]}', whose values are not recorded"
            + (did_you_mean(missing[0], known) if known else "")
            + f"; record member_group_{missing[0]} and nonmember_group_{missing[0]} (see "
            "read_outputs), or give groups in Python."
        )
    if isinstance(data, DataConfig):
        columns = columns_named(load_source(data.source, seed=seed), missing)
        ids = recorded.outputs.map(lambda o: o.ids.numpy())
        pools = {n: Pool(v[ids.members], v[ids.nonmembers]) for n, v in columns.items()}
        return with_columns(recorded, pools)
    (members, _), (others, _) = data
    return attach_groups(recorded, given_groups(Pool(members, others), missing))
