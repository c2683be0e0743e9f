"""`is_ours`: whether a text file was written by SafeCompress, so that it may be replaced."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_MARKS: Mapping[str, re.Pattern[bytes]] = {
    "--junit": re.compile(rb"<testsuites>.*name=\"schema_version\"", re.DOTALL),
    "--html": re.compile(rb"<title>[^<]*SafeCompress (report|comparison)</title>"),
    "--summary": re.compile(rb"<title>[^<]*SafeCompress summary</title>"),
    "--markdown": re.compile(rb"### (PASS|FAIL|INCONCLUSIVE|ERROR): "),
    "--bom": re.compile(rb"\"bomFormat\": \"CycloneDX\".*\"name\": \"safecompress\"", re.DOTALL),
    "--sarif": re.compile(rb"\"tool\": \{\s*\"driver\": \{\s*\"name\": \"SafeCompress\""),
}
"""By option, what every file of this kind has near its beginning."""
_BEGINNING = 64 * 1024


def is_ours(path: Path, option: str) -> bool:
    """Return whether a file may be replaced: it is missing, empty, or an earlier one of its kind.

    Args:
        path: the file.
        option: the option that names it, such as `--junit`; files of other options than
            these are never known.
    """
    if not path.exists():
        return True
    try:
        with path.open("rb") as file:
            beginning = file.read(_BEGINNING)
    except OSError:
        return False
    mark = _MARKS.get(option)
    return not beginning or (mark is not None and mark.search(beginning) is not None)
