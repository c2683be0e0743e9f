"""`left_out`: how many entries of each list are in a file and not on the page."""

from __future__ import annotations

from collections.abc import Mapping

from safecompress.report import (
    view_comparison,
    view_curves,
    view_leak,
    view_recall,
    view_run,
    view_set,
)
from safecompress.report.folder import RunFiles
from safecompress.report.safe import mapping, sequence

_LISTS: Mapping[str, tuple[str, int]] = {
    "classes": ("leak.classes", view_leak.MOST_CLASSES),
    "groups": ("leak.groups", view_leak.MOST_CLASSES),
    "recalls": ("by_class", view_recall.MOST_CLASSES),
    "exposed": ("exposed.members", view_leak.MOST_EXPOSED),
    "new": ("newly_exposed", view_leak.MOST_ATTACKS),
    "models": ("comparison", view_comparison.MOST_SUBJECTS),
    "files": ("files", view_set.MOST_FILES),
    "pairs": ("pairs", view_set.MOST_PAIRS),
    "limits": ("limits", view_run.MOST_LIMITS),
    "layers": ("layers", view_curves.MOST_LAYERS),
    "costs": ("costs", view_curves.MOST_COSTS),
}
"""By list of the page, where its entries are and how many of them are shown at most."""


def left_out(run: RunFiles) -> dict[str, int]:
    """Return by list of the page how many of its entries are not shown.

    Args:
        run: the files of the run folder.
    """
    return {name: _beyond(run, path, most) for name, (path, most) in _LISTS.items()}


def _beyond(run: RunFiles, path: str, most: int) -> int:
    *outer, last = path.split(".")
    place: object = run.figures if last in {"layers", "costs"} else run.verdict
    for name in outer:
        place = mapping(place).get(name)
    return max(0, len(sequence(mapping(place).get(last))) - most)
