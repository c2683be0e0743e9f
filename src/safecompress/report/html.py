"""`write_report` and `render_report`: one self-contained page from the files of a run or audit."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from safecompress.files import write_text
from safecompress.report.folder import RunFiles, read_folder
from safecompress.report.lineage import read_nodes
from safecompress.report.plots.rounds import MOST_NODES, rounds_tree
from safecompress.report.safe import mapping, text
from safecompress.report.view_comparison import comparison
from safecompress.report.view_curves import cost_rows, layer_rows, loss_panels, roc_panels
from safecompress.report.view_leak import exposures, leak
from safecompress.report.view_recall import recalls
from safecompress.report.view_run import candidates, facts, openness
from safecompress.report.view_set import AUDITS, set_view
from safecompress.report.view_transfer import transfer
from safecompress.report.view_verdict import check_groups, held_controls, hero
from safecompress.report.wording import seconds

REPORT = "report.html"


def write_report(folder: Path) -> Path:
    """Write `report.html` into a run folder, atomically, and return its path.

    Args:
        folder: the folder of a run or an audit.

    Raises:
        RunFolderError: when the folder has no readable verdict.
        StorageError: when the disk is full or the folder not writable.
    """
    path = Path(folder) / REPORT
    write_text(path, render_report(Path(folder)))
    return path


def render_report(folder: Path) -> str:
    """Return a run folder's report as HTML; the same files give the same page.

    Args:
        folder: the folder of a run or an audit.

    Raises:
        RunFolderError: when the folder has no readable verdict.
    """
    return page("report.html.j2", **_context(read_folder(Path(folder))))


def page(template: str, **values: Any) -> str:
    """Return a page from one of this package's templates, with style and script embedded.

    Args:
        template: file name of the template.
        values: variables of the template.
    """
    style, script = _asset("report.css"), _asset("report.js")
    return (
        _environment()
        .get_template(template)
        .render(
            style=_trusted(style),
            style_digest=_digest(style),
            script=_trusted(script),
            script_digest=_digest(script),
            **values,
        )
    )


def fragment(template: str, **values: Any) -> str:
    """Return a piece of a page from one of this package's templates, without script.

    Args:
        template: file name of the template.
        values: variables of the template, which are escaped.
    """
    return _environment().get_template(template).render(**values)


def _context(run: RunFiles) -> dict[str, Any]:
    nodes = read_nodes(run.history)
    return {
        "name": text(run.name, longest=120),
        "created": text(run.provenance.get("created"), longest=60),
        "version": text(run.provenance.get("safecompress"), longest=60),
        "model": text(mapping(run.verdict.get("model")).get("name"), longest=200),
        "notes": [text(note, longest=400) for note in run.notes],
        "hero": hero(run.verdict),
        "checks": check_groups(run.verdict),
        "held": held_controls(run.verdict),
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


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("safecompress.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _asset(name: str) -> str:
    return package_files("safecompress.report").joinpath("templates", name).read_text("utf-8")


def _digest(content: str) -> str:
    """Return the hash by which a content security policy allows embedded code: SHA-256, base64."""
    return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def _trusted(content: str) -> Markup:
    """Mark a file of this package as safe markup; text from a run must never be marked so."""
    return Markup(content)  # noqa: S704 - our own stylesheet and script
