"""`unread`: arrays of a file of recorded outputs that nothing reads.

A name with a mistake in it must not take references or groups away from an audit, which would then
find less. So names that look like known ones are refused, and any other array is named.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from safecompress.data.file_groups import PREFIXES
from safecompress.data.own_recipe import RECIPE, REFERENCE_RECIPE
from safecompress.errors import DataError, did_you_mean

GROUPS = ("member", "nonmember")
CLASS_NAMES = "class_names"
OPTIONAL = ("reference_logits", "reference_seen")
KNOWN = (
    *(f"{g}_{what}" for g in GROUPS for what in ("logits", "labels", *OPTIONAL)),
    *(CLASS_NAMES, RECIPE, REFERENCE_RECIPE),
)
"""Names of the arrays that are read, but for those of groups."""
_LIKE = 0.75
"""Least similarity, by difflib, of a name that is taken for a known one with a mistake."""
_SHOWN = 10


def unread(present: Sequence[str], path: Path) -> tuple[str, ...]:
    """Return a remark on arrays that nothing reads; none where there are none.

    Args:
        present: names of the arrays of a file.
        path: the file.

    Raises:
        DataError: when one looks like a known name, or something of the references is of one group
            only or stands without them.
    """
    for what in OPTIONAL:
        have = [name for name in (f"{group}_{what}" for group in GROUPS) if name in present]
        if len(have) == 1:
            raise DataError(f"{path}: has {have[0]} only; expected that of both groups.")
        if have and f"{GROUPS[0]}_{OPTIONAL[0]}" not in present:
            raise DataError(f"{path}: has {have[0]}, but no {GROUPS[0]}_{OPTIONAL[0]}.")
    others = [n for n in present if n not in KNOWN and not n.startswith(PREFIXES)]
    for name in others:
        ours = name.lower().startswith(tuple(f"{group}_" for group in GROUPS))
        if ours or difflib.get_close_matches(name.lower(), KNOWN, n=1, cutoff=_LIKE):
            raise DataError(
                f"{path}: nothing reads the array '{name}'{did_you_mean(name, KNOWN)}. Groups of "
                "rows are called member_group_NAME and nonmember_group_NAME; leave other arrays "
                "out, or give them another name."
            )
    if not others:
        return ()
    named = ", ".join(others[:_SHOWN]) + (", …" if len(others) > _SHOWN else "")
    return (f"Nothing reads these arrays of the file: {named}.",)
