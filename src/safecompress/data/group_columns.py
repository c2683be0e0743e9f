"""`attach_groups`, `columns_named` and `given_groups`: the groups of audited rows.

Groups are given with the rows and follow them: a row is found by its id, so rows may be dropped or
reordered before or after their groups are attached.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from safecompress.data.group_values import group_column, values_of
from safecompress.data.raw import Array, RawData
from safecompress.errors import DataError, did_you_mean
from safecompress.protocols import Groups, Pool

if TYPE_CHECKING:
    from safecompress.data.outputs_file import RecordedOutputs

GroupsGiven: TypeAlias = Mapping[str, tuple[Any, Any]]
"""By name, the values of members and of non-members: one number, text or yes/no for each row."""

RESERVED = "class"
"""What the classes are called; no column of groups can have this name."""


def attach_groups(recorded: RecordedOutputs, groups: GroupsGiven) -> RecordedOutputs:
    """Return recorded outputs whose rows know their groups.

    Args:
        recorded: the outputs; rows may have been dropped from those that were given, as long as
            ids count the given rows, members first.
        groups: by name, the values of all given members and of all given non-members.

    Raises:
        DataError: when there is not one value for each row, values are no single numbers or texts,
            or a name is taken.
    """
    ids = recorded.outputs.map(lambda o: o.ids.numpy())
    columns: dict[str, Pool[Array]] = {}
    for name, given in groups.items():
        values = both_values(given, f"groups['{name}']")
        columns[name] = values.zip(_places(ids, values.map(len), name), lambda v, at: v[at])
    return with_columns(recorded, columns)


def both_values(given: tuple[Any, Any], where: str) -> Pool[Array]:
    """Return the values of members and non-members as arrays.

    Args:
        given: both, each with one value for each row.
        where: their name in messages.

    Raises:
        DataError: when there are no two sides, or values are no single numbers or texts.
    """
    try:
        members, others = given
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{where}: expected a pair of member values and non-member values, got "
            f"{type(given).__name__}."
        ) from error
    return Pool(values_of(members, f"{where}[0]"), values_of(others, f"{where}[1]"))


def _places(ids: Pool[Array], given: Pool[int], name: str) -> Pool[Array]:
    """Return where the values of the rows are, among those of the rows that were given."""
    sizes = ids.map(len)
    if given == sizes:
        return sizes.map(np.arange)
    # More values than rows: some rows were dropped, and ids tell which are left.
    places = Pool(ids.members, ids.nonmembers - given.members)
    for at, n in ((places.members, given.members), (places.nonmembers, given.nonmembers)):
        if len(at) > n or int(at.min()) < 0 or int(at.max()) >= n:
            raise DataError(
                f"groups['{name}']: {given.members} values of members and {given.nonmembers} of "
                f"non-members; expected one for each of {sizes.members} members and "
                f"{sizes.nonmembers} non-members, in their order."
            )
    return places


def with_columns(recorded: RecordedOutputs, columns: Mapping[str, Pool[Array]]) -> RecordedOutputs:
    """Return recorded outputs with columns of groups beside those that they have.

    Args:
        recorded: the outputs.
        columns: by name, the values of the members' and the non-members' rows.

    Raises:
        DataError: when a name is taken.
    """
    return with_group_columns(recorded, group_columns(columns))


def with_group_columns(
    recorded: RecordedOutputs, columns: Pool[Mapping[str, Groups]]
) -> RecordedOutputs:
    """Return recorded outputs with more groups beside those that they have.

    Args:
        recorded: the outputs.
        columns: by name, the groups of the members' and the non-members' rows.
    """
    evidence = recorded.evidence.zip(
        columns, lambda e, m: replace(e, groups={**(e.groups or {}), **m} or None)
    )
    return replace(recorded, evidence=evidence)


def group_columns(columns: Mapping[str, Pool[Array]]) -> Pool[Mapping[str, Groups]]:
    """Return the groups that the values of columns stand for.

    Args:
        columns: by name, the values of the members' and the non-members' rows.

    Raises:
        DataError: when a name is taken.
    """
    for name in columns:
        if str(name) == RESERVED:
            raise DataError(
                f"groups: '{RESERVED}' means the classes, which are always judged; give the column "
                "another name."
            )
    found = {str(name): group_column(values) for name, values in columns.items()}
    members: Mapping[str, Groups] = {name: column.members for name, column in found.items()}
    return Pool(members, {name: column.nonmembers for name, column in found.items()})


def columns_named(raw: RawData, names: Sequence[str]) -> dict[str, Array]:
    """Return columns of a source by name, (n,) with the values of all rows.

    Args:
        raw: the source's rows.
        names: columns; those that are no inputs (dropped ones) may be named, too.

    Raises:
        DataError: when the source has no column of such a name.
    """
    table = raw.columns if isinstance(raw.columns, tuple) else ()
    known = {column.name: column.values for column in (*table, *raw.aside)}
    if names and not known:
        raise DataError(
            f"{raw.where}: group_by names '{names[0]}', but only the columns of a table "
            "have names; give the values of other rows as groups in Python."
        )
    for name in names:
        if name not in known:
            raise DataError(
                f"{raw.where}: group_by names '{name}', which is no column beside the label"
                f"{did_you_mean(name, known)}"
            )
    return {name: known[name] for name in names}


def given_groups(inputs: Pool[Any], names: Sequence[str]) -> dict[str, tuple[Any, Any]]:
    """Return columns of inputs given in memory, such as data frames or mappings of arrays.

    Args:
        inputs: the members' and the non-members' inputs.
        names: columns of both.

    Raises:
        DataError: when the inputs have no column of such a name.
    """
    found = {}
    for name in names:
        try:
            found[name] = (inputs.members[name], inputs.nonmembers[name])
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise DataError(
                f"group_by names '{name}', which the inputs ({type(inputs.members).__name__}) do "
                "not have as a column; give its values as groups={'" + name + "': (of the members, "
                "of the non-members)}."
            ) from error
    return found
