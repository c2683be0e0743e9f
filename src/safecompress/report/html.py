"""`write_report` and `render_report`: one self-contained page from the files of a run or audit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from safecompress.files import write_text
from safecompress.report.folder import RunFiles, read_folder
from safecompress.report.lineage import read_nodes
from safecompress.report.page import page
from safecompress.report.plots.rounds import MOST_NODES, rounds_tree
from safecompress.report.plots.spread import spread
from safecompress.report.safe import mapping, short, text
from safecompress.report.summary import write_summary
from safecompress.report.view_answers import LONGEST_STEP, answers, steps_of, worst
from safecompress.report.view_checks import checks_view
from safecompress.report.view_comparison import comparison
from safecompress.report.view_curves import cost_rows, layer_rows, loss_panels, roc_panels
from safecompress.report.view_leak import exposures, leak
from safecompress.report.view_left_out import left_out
from safecompress.report.view_recall import recalls
from safecompress.report.view_run import candidates, facts, openness
from safecompress.report.view_set import AUDITS, set_view
from safecompress.report.view_transfer import transfer
from safecompress.report.view_verdict import hero, strongest
from safecompress.report.wording import moment, seconds

REPORT = "report.html"


def write_report(folder: Path) -> Path:
    """Write `report.html` and `summary.html` into a run folder, atomically.

    Returns the path of the report.

    Args:
        folder: the folder of a run or an audit.

    Raises:
        RunFolderError: when the folder has no readable verdict.
        StorageError: when the disk is full or the folder not writable.
    """
    path = Path(folder) / REPORT
    write_text(path, render_report(Path(folder)))
    write_summary(Path(folder))
    return path


def render_report(folder: Path) -> str:
    """Return a run folder's report as HTML; the same files give the same page.

    Args:
        folder: the folder of a run or an audit.

    Raises:
        RunFolderError: when the folder has no readable verdict.
    """
    return page("report.html.j2", **_context(read_folder(Path(folder))))


def _context(run: RunFiles) -> dict[str, Any]:
    nodes = read_nodes(run.history)
    return {
        "name": text(run.name, longest=120),
        "created": moment(text(run.provenance.get("created"), longest=60)),
        "commit": text(run.provenance.get("commit"), longest=12).rstrip("…"),
        "version": text(run.provenance.get("safecompress"), longest=60),
        "model": _other_name(run),
        "notes": [text(note, longest=400) for note in run.notes],
        "hero": hero(run.verdict),
        "answers": answers(run.verdict),
        "steps": _steps_below(run.verdict),
        "steps_whole": len(steps_of(run.verdict)[0]) > LONGEST_STEP,
        "spread": _spread(run.verdict),
        "checks": checks_view(run.verdict),
        "beyond": left_out(run),
        "comparison": comparison(run.verdict),
        "rocs": roc_panels(run.figures, run.verdict),
        "losses": loss_panels(run.figures),
        "pair": transfer(run.figures, run.verdict, nodes),
        "tree": rounds_tree(nodes, identity="rounds") if nodes else None,
        "undrawn": max(0, len(nodes) - MOST_NODES),
        "candidates": candidates(nodes),
        "layers": layer_rows(run.figures),
        "costs": cost_rows(run.figures, run.provenance),
        "checks_took": seconds(mapping(run.provenance.get("seconds")).get("verdict")),
        "open": openness(run.verdict),
        "searched": run.verdict.get("kind") not in AUDITS,
        "counted": run.verdict.get("kind") not in AUDITS or run.verdict.get("looks") != 1,
        "files": set_view(run.verdict),
        "exposed": exposures(run.verdict),
        "leak": leak(run.verdict),
        "recalls": recalls(run.verdict),
        "facts": facts(run.verdict, run.provenance, run.config),
        "config": text(run.config, longest=60_000),
    }


def _steps_below(verdict: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what to do next and the answer on the first screen does not say, or not all of."""
    first, *others = steps_of(verdict)
    return (first, *others) if len(first) > LONGEST_STEP else tuple(others)


def _spread(verdict: Mapping[str, Any]) -> Markup:
    """Draw the strongest attack over all rows beside the worst group."""
    found, group = strongest(verdict), worst(verdict)
    if found is None or group is None:
        return Markup()
    spans = {"all rows": found.span, group.name: group.span}
    return spread(spans, group.limit, identity="spread")


def _other_name(run: RunFiles) -> str:
    """Return the model's name where the title does not say it."""
    name = short(text(mapping(run.verdict.get("model")).get("name"), longest=200), 60)
    return "" if name == run.name else name
