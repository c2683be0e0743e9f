"""`render_summary`, `write_summary`: a verdict on one page of paper, to be signed and filed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safecompress.files import write_text
from safecompress.report.document_facts import file_of
from safecompress.report.evidence import Evidence, digests_of, read_evidence
from safecompress.report.page import page
from safecompress.report.safe import mapping, number, sequence, short, text
from safecompress.report.view_answers import answers
from safecompress.report.view_checks import CheckRow, checks_view
from safecompress.report.view_verdict import hero
from safecompress.report.wording import count, figure, moment

SUMMARY = "summary.html"
_MOST_ROWS, _MOST_DIGESTS = 8, 3
_LONGEST_LIMIT, _ALL_LIMITS, _LONGEST_NAME = 140, 400, 44
"""What fits on one page, whatever the document holds; the whole of it is in the report."""


@dataclass(frozen=True)
class _Line:
    """A line of the table of figures."""

    name: str
    figure: str
    condition: str
    word: str
    css: str


def write_summary(folder: Path) -> Path:
    """Write `summary.html` into a run folder, atomically, and return its path.

    Args:
        folder: the folder of a run or an audit.

    Raises:
        RunFolderError: when the folder has no readable verdict.
        StorageError: when the disk is full or the folder not writable.
    """
    path = folder / SUMMARY
    write_text(path, render_summary(read_evidence(folder)))
    return path


def render_summary(evidence: Evidence) -> str:
    """Return a verdict as a page that prints on one sheet; the same verdict gives the same page.

    Args:
        evidence: the verdict on a run, an audited model or an exported file.
    """
    document = evidence.document
    view = checks_view(document)
    rows = [row for group in view.groups for row in group.rows]
    controls = len(view.held)
    stated = sequence(document.get("limits"))
    limits = _limits(stated)
    top = hero(document)
    return page(
        "summary.html.j2",
        name=text(evidence.name, longest=_LONGEST_NAME),
        hero=top,
        answers=answers(document, rest="in the report"),
        lines=[_line(row) for row in rows[:_MOST_ROWS]],
        more=max(0, len(rows) - _MOST_ROWS) + len(view.repeated) + view.more,
        controls=controls,
        facts=_facts(evidence),
        limits=limits,
        more_limits=len(stated) - len(limits),
    )


def _limits(stated: Sequence[object]) -> list[str]:
    """Return the first limits, as many as there is room for."""
    shown: list[str] = []
    for limit in stated:
        words = short(text(limit, longest=600), _LONGEST_LIMIT)
        if sum(map(len, [*shown, words])) > _ALL_LIMITS:
            break
        shown.append(words)
    return shown


def _line(row: CheckRow) -> _Line:
    words = f"{row.figure.shown} {row.interval}".strip()
    name = short(row.name, _LONGEST_NAME) + ("" if row.critical else " (informs only)")
    return _Line(name, words, short(row.condition, 40), row.badge.word, row.badge.css)


def _facts(evidence: Evidence) -> list[tuple[str, str, bool]]:
    """Return what identifies the verdict: name, value, and whether the value is a digest."""
    document, made = evidence.document, evidence.provenance
    lines = [("Judged", file_of(document), False)]
    digests = list(digests_of(evidence).items())
    for name, digest in digests[:_MOST_DIGESTS]:
        lines.append((f"SHA-256 of {short(name, 30)}", digest, True))
    if len(digests) > _MOST_DIGESTS:
        lines.append(("More digests", f"{len(digests) - _MOST_DIGESTS}, in provenance.json", False))
    lines += [
        ("Judged on", moment(text(made.get("created"), longest=40)) or "not recorded", False),
        ("Made with", _software(made), False),
        ("Rows", _rows(document), False),
    ]
    return [(name, short(value, 100), is_digest) for name, value, is_digest in lines]


def _software(made: Mapping[str, Any]) -> str:
    version = text(made.get("safecompress"), longest=30) or "of an unknown version"
    commit = text(made.get("commit"), longest=44)
    clean = "" if made.get("clean_tree") is not False else ", with uncommitted changes"
    return f"SafeCompress {version}" + (f", commit {commit}{clean}" if commit else "")


def _rows(document: Mapping[str, Any]) -> str:
    power = mapping(document.get("power"))
    members, others = number(power.get("n_members")), number(power.get("n_nonmembers"))
    if members is None or others is None:
        return "see the report"
    level = figure(number(document.get("level")), "percent")
    return f"{count(members)} members, {count(others)} non-members; intervals at {level}"
