"""`with_file_groups`: the groups of rows that a file of recorded outputs brings along."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from safecompress.data.group_columns import attach_groups
from safecompress.data.npz_source import read_npz
from safecompress.errors import DataError

if TYPE_CHECKING:
    from safecompress.data.outputs_file import RecordedOutputs

PREFIXES = ("member_group_", "nonmember_group_")
_MOST_BYTES = 128 << 20
"""Largest sum of these arrays: a million rows of texts of 16 letters are 64 MB."""


def with_file_groups(
    recorded: RecordedOutputs, path: Path, present: Sequence[str]
) -> RecordedOutputs:
    """Return recorded outputs with the groups that their file names.

    Args:
        recorded: the outputs.
        path: the `.npz`.
        present: names of its arrays; those called `member_group_NAME` and `nonmember_group_NAME`
            are read: numbers, texts or yes/no (n,).

    Raises:
        DataError: when only one side has a name, or an array cannot be used.
    """
    named = [
        {name.removeprefix(prefix) for name in present if name.startswith(prefix)}
        for prefix in PREFIXES
    ]
    if lone := sorted(named[0] ^ named[1]):
        raise DataError(
            f"{path}: groups '{lone[0]}' of one side only; expected member_group_{lone[0]} and "
            f"nonmember_group_{lone[0]}."
        )
    if not named[0]:
        return recorded
    keys = [prefix + name for name in sorted(named[0]) for prefix in PREFIXES]
    arrays = read_npz(path, {key: key for key in keys}, most=_MOST_BYTES)
    groups = {n: (arrays[PREFIXES[0] + n], arrays[PREFIXES[1] + n]) for n in sorted(named[0])}
    try:
        return attach_groups(recorded, groups)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
